"""Stage 2: cut external address space by the prefixes that rules name."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import AddressSpace, freeze
from kubeverdict.kernels.addresses import find_ipv4, find_ipv6, upper_index
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.sets import spans
from kubeverdict.model.addresses import Block, Family
from kubeverdict.model.policy import BlockPeer

_HALF = (1 << 64) - 1


def cut(peers: Iterable[BlockPeer], cut_before: AddressSpace | None = None) -> AddressSpace:
    """Address space as intervals inside which no block begins or ends; those of ``cut_before``
    are cut further."""
    edges: dict[Family, set[int]] = {4: {0}, 6: {0}}
    if cut_before is not None:
        edges[4].update(cut_before.ipv4.tolist())
        edges[6].update(upper << 64 | lower for upper, lower in cut_before.ipv6.tolist())
    for peer in peers:
        for block in (peer.block, *peer.excepts):
            edges[block.family].update((block.first, block.last + 1))
    edges[4].discard(1 << 32)
    edges[6].discard(1 << 128)
    ipv4 = np.array(sorted(edges[4]), np.uint32)
    ipv6 = np.array([(edge >> 64, edge & _HALF) for edge in sorted(edges[6])], np.uint64)
    # The first level pays for many prefixes only; below that a plain search is as fast.
    index = np.zeros(65537, np.int32)
    if ipv4.size > 64:
        index = upper_index.on(65537 * 8)(ipv4)
    else:
        index[:] = np.searchsorted(ipv4, np.arange(65537, dtype=np.int64) << 16)
    space = AddressSpace(ipv4=ipv4, ipv4_index=index, ipv6=ipv6)
    freeze(space)
    return space


def atoms_of_ipv4(space: AddressSpace, addresses: NDArray[np.uint32]) -> NDArray[np.int32]:
    """The atom of each address, (n,) uint32 in host order."""
    out = np.empty(addresses.size, np.int32)
    find_ipv4.on(addresses.size * 16)(addresses, space.ipv4, space.ipv4_index, out)
    return out


def atoms_of_ipv6(space: AddressSpace, addresses: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The atom of each address, (n, 2) uint64, upper half first."""
    out = np.empty(addresses.shape[0], np.int32)
    find_ipv6.on(addresses.shape[0] * 16)(addresses, space.ipv6, out)
    return out + np.int32(space.ipv4.size)


def block_sets(space: AddressSpace, peers: list[BlockPeer]) -> Sets:
    """The atoms inside each block and outside its excepts."""
    ipv4 = space.ipv4.tolist()
    ipv6 = [upper << 64 | lower for upper, lower in space.ipv6.tolist()]

    def atoms(block: Block) -> tuple[int, int]:
        edges, base = (ipv4, 0) if block.family == 4 else (ipv6, len(ipv4))
        return base + bisect_left(edges, block.first), base + bisect_right(edges, block.last)

    start = [0]
    low: list[int] = []
    high: list[int] = []
    take: list[bool] = []
    for peer in peers:
        for part, taken in ((peer.block, True), *((part, False) for part in peer.excepts)):
            first, stop = atoms(part)
            low.append(first)
            high.append(stop)
            take.append(taken)
        start.append(len(low))
    words = (space.atoms + 63) >> 6
    arrays = spans.on(len(low) * words)(
        np.array(start, np.int64),
        np.array(low, np.int64),
        np.array(high, np.int64),
        np.array(take, np.bool_),
        words,
    )
    return Sets(*arrays)
