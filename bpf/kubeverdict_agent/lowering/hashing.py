"""Tables of single addresses, in which the datapath finds an address in one of two buckets.

Each address may lie in either of two buckets of four (Azar and others, 1994: with two choices
buckets fill evenly), so a look-up reads at most two cache lines, hit or miss. The multipliers are
those of ``datapath/policy.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict_agent.datapath import layout

_HASH4 = (0x9E3779B1, 0x85EBCA77)
_HASH6 = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_FOLD6 = 0x165667B19E3779F9
_FEWEST_BITS = 4
_LOAD = 2  # entries a bucket on average, of four
# With more new addresses than this, placing all of them anew is as fast.
_MOST_NEW = 64

Buckets = Callable[[NDArray[Any], int], list[NDArray[np.uint64]]]


class AddressTables:
    """Makes the tables of one set of tables after the other. Addresses that were there before lie
    where they did, as far as there is room for the others. Addresses are ascending."""

    def __init__(self) -> None:
        self._ipv4 = _Places(buckets_of_ipv4)
        self._ipv6 = _Places(buckets_of_ipv6)

    def of_ipv4(
        self, addresses: NDArray[np.uint32], classes: NDArray[np.uint32]
    ) -> tuple[NDArray[np.uint64], int]:
        """Entries (buckets * 4,) of ``address | class << 32``, and the bits of a bucket's number.
        ``classes`` (n,) have the flags of the addresses in their upper half."""
        wide = addresses.astype(np.uint64)
        place, bits = self._ipv4.of(addresses, wide, addresses)
        table = np.full(layout.BUCKET << bits, np.uint64(0xFFFFFFFF_FFFFFFFF))
        table[place] = wide | classes.astype(np.uint64) << np.uint64(32)
        return table, bits

    def of_ipv6(
        self, addresses: NDArray[np.uint64], classes: NDArray[np.uint32]
    ) -> tuple[NDArray[np.void], int]:
        """The same of layout.PEER6 for addresses (n, 2)."""
        keys = np.ascontiguousarray(addresses.astype(">u8")).view("S16").ravel()
        place, bits = self._ipv6.of(addresses, addresses, keys)
        table = np.zeros(layout.BUCKET << bits, layout.PEER6)
        table["class"] = layout.NO_CLASS
        table["high"][place], table["low"][place] = addresses[:, 0], addresses[:, 1]
        table["class"][place] = classes
        return table, bits


class _Places:
    """Where the addresses of one family lie, one set of them after the other."""

    def __init__(self, buckets_of: Buckets) -> None:
        self._buckets_of = buckets_of
        self._of: object = None
        self._keys: NDArray[Any] = np.zeros(0, np.uint32)
        self._place = np.zeros(0, np.int64)
        self._bits = 0

    def of(
        self, addresses: object, values: NDArray[Any], keys: NDArray[Any]
    ) -> tuple[NDArray[np.int64], int]:
        """The place of each of ``values`` (n,) or (n, 2), and the bits of a bucket's number.
        ``keys`` (n,) sort as the addresses do; the same object ``addresses`` has the same."""
        if addresses is not self._of:
            place = self._followed(values, keys)
            if place is None:
                place, self._bits = _arrange(keys.size, lambda bits: self._buckets_of(values, bits))
            self._of, self._keys, self._place = addresses, keys, place
        return self._place, self._bits

    def _followed(self, values: NDArray[Any], keys: NDArray[Any]) -> NDArray[np.int64] | None:
        """None where a table of this size has no room for those that are new."""
        before = self._keys
        if not before.size or _bits_for(keys.size) != _bits_for(before.size):
            return None
        at = np.minimum(np.searchsorted(before, keys), before.size - 1)
        same = before[at] == keys
        new = np.flatnonzero(~same)
        if new.size > _MOST_NEW:
            return None
        place = np.where(same, self._place[at], -1)
        taken = np.zeros((1 << self._bits, layout.BUCKET), np.bool_)
        taken.ravel()[place[same]] = True
        first, second = (each.tolist() for each in self._buckets_of(values[new], self._bits))
        for number, *buckets in zip(new.tolist(), first, second, strict=True):
            bucket = min(buckets, key=lambda one: int(taken[one].sum()))
            slot = int(taken[bucket].argmin())
            if taken[bucket, slot]:
                return None
            taken[bucket, slot] = True
            place[number] = bucket * layout.BUCKET + slot
        return place


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
    bits = _bits_for(count)
    while True:
        place = _try(count, bits, [b.astype(np.int64) for b in buckets_of(bits)])
        if place is not None:
            return place, bits
        bits += 1


def _bits_for(count: int) -> int:
    return max(_FEWEST_BITS, (count // _LOAD).bit_length())


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
