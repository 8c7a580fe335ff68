"""Address blocks of new policies, over addresses that were cut without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import (
    atoms_of_ipv4,
    atoms_of_ipv6,
    block_sets,
    cut,
)
from kubeverdict.compile.compiled import AddressSpace
from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.sets import members
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import BlockPeer

_HALF = (1 << 64) - 1


def with_edges(
    space: AddressSpace, blocks: Iterable[BlockPeer]
) -> tuple[AddressSpace, NDArray[np.int64]]:
    """``space`` cut by more blocks, and the atom of ``space`` that each atom is a part of."""
    finer = cut(blocks, space)
    ipv4 = np.searchsorted(space.ipv4, finer.ipv4, side="right") - 1
    wide = [upper << 64 | lower for upper, lower in space.ipv6.tolist()]
    ipv6 = (
        np.searchsorted(
            np.array(wide, object),
            np.array([upper << 64 | lower for upper, lower in finer.ipv6.tolist()], object),
            side="right",
        )
        - 1
    )
    return finer, np.concatenate((ipv4, ipv6 + space.ipv4.size)).astype(np.int64)


def cut_atoms(plane: EditablePlane, part_of: NDArray[np.int64]) -> None:
    """Number the ends of a plane by finer atoms, each with what the atom it is a part of has."""
    index = np.concatenate((np.arange(plane.first_atom), part_of + plane.first_atom))
    plane.identity = plane.identity[index]
    plane.node = plane.node[index]
    plane.about = plane.about[index]
    plane.atoms = part_of.size


def atoms_in(space: AddressSpace, blocks: list[BlockPeer]) -> list[NDArray[np.int64]]:
    """The atoms inside of each block."""
    sets = block_sets(space, blocks)
    return [members(sets, place) for place in range(len(blocks))]


def atoms_at(
    space: AddressSpace, family: Family, values: Sequence[int] | NDArray[np.unsignedinteger]
) -> NDArray[np.int32]:
    """The atoms of addresses of one family: numbers, or arrays as a population has them."""
    if family == 4:
        return atoms_of_ipv4(space, np.asarray(values, np.uint32))
    if not isinstance(values, np.ndarray):
        values = np.array([(value >> 64, value & _HALF) for value in values], np.uint64)
    return atoms_of_ipv6(space, values.reshape(-1, 2))
