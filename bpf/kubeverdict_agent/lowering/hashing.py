"""Tables of single addresses, in which the datapath finds an address in one of two buckets.

Each address may lie in either of two buckets of four (Azar and others, 1994: with two choices
buckets fill evenly), so a look-up reads at most two cache lines, hit or miss. The multipliers are
those of ``datapath/policy.h``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict_agent.datapath import layout
from kubeverdict_agent.lowering.remembered import Remembered

_HASH4 = (0x9E3779B1, 0x85EBCA77)
_HASH6 = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_FOLD6 = 0x165667B19E3779F9
_FEWEST_BITS = 4
_LOAD = 2  # entries a bucket on average, of four


class AddressTables:
    """Makes the tables of one set of tables after the other. Where addresses lie is found anew only
    where they are other arrays than before."""

    def __init__(self) -> None:
        self._ipv4: Remembered[tuple[NDArray[np.int64], int]] = Remembered()
        self._ipv6: Remembered[tuple[NDArray[np.int64], int]] = Remembered()

    def of_ipv4(
        self, addresses: NDArray[np.uint32], classes: NDArray[np.uint32]
    ) -> tuple[NDArray[np.uint64], int]:
        """Entries (buckets * 4,) of ``address | class << 32``, and the bits of a bucket's number.
        ``classes`` (n,) have the flags of the addresses in their upper half."""
        wide = addresses.astype(np.uint64)
        place, bits = self._ipv4.get(
            (addresses,),
            lambda: _arrange(addresses.size, lambda bits: buckets_of_ipv4(wide, bits)),
        )
        table = np.full(layout.BUCKET << bits, np.uint64(0xFFFFFFFF_FFFFFFFF))
        table[place] = wide | classes.astype(np.uint64) << np.uint64(32)
        return table, bits

    def of_ipv6(
        self, addresses: NDArray[np.uint64], classes: NDArray[np.uint32]
    ) -> tuple[NDArray[np.void], int]:
        """The same of layout.PEER6 for addresses (n, 2)."""
        place, bits = self._ipv6.get(
            (addresses,),
            lambda: _arrange(addresses.shape[0], lambda bits: buckets_of_ipv6(addresses, bits)),
        )
        table = np.zeros(layout.BUCKET << bits, layout.PEER6)
        table["class"] = layout.NO_CLASS
        table["high"][place], table["low"][place] = addresses[:, 0], addresses[:, 1]
        table["class"][place] = classes
        return table, bits


def buckets_of_ipv4(addresses: NDArray[np.uint64], bits: int) -> list[NDArray[np.uint64]]:
    """Both buckets of each address (n,), of ``1 << bits``."""
    low = np.uint64(0xFFFFFFFF)
    return [(addresses * np.uint64(h) & low) >> np.uint64(32 - bits) for h in _HASH4]


def buckets_of_ipv6(addresses: NDArray[np.uint64], bits: int) -> list[NDArray[np.uint64]]:
    """The same for addresses (n, 2)."""
    with np.errstate(over="ignore"):
        mixed = addresses[:, 1] ^ addresses[:, 0] * np.uint64(_FOLD6)
        return [mixed * np.uint64(h) >> np.uint64(64 - bits) for h in _HASH6]


def _arrange(count: int, buckets_of: Any) -> tuple[NDArray[np.int64], int]:
    """A place for each of ``count`` entries, by rounds: an entry takes its emptier bucket while
    there is room. The table is made larger until all have one."""
    bits = max(_FEWEST_BITS, (count // _LOAD).bit_length())
    while True:
        place = _try(count, bits, [b.astype(np.int64) for b in buckets_of(bits)])
        if place is not None:
            return place, bits
        bits += 1


def _try(count: int, bits: int, choices: list[NDArray[np.int64]]) -> NDArray[np.int64] | None:
    filled = np.zeros(1 << bits, np.int64)
    place = np.full(count, -1, np.int64)
    left = np.arange(count)
    while left.size:
        first, second = (choice[left] for choice in choices)
        bucket = np.where(filled[second] < filled[first], second, first)
        if (filled[bucket] >= layout.BUCKET).any():
            return None
        # One entry a bucket and round, so that each sees how full the buckets are by now.
        _, chosen = np.unique(bucket, return_index=True)
        place[left[chosen]] = bucket[chosen] * layout.BUCKET + filled[bucket[chosen]]
        filled[bucket[chosen]] += 1
        left = np.delete(left, chosen)
    return place
