"""All pairs: how many connect, and row by row who connects to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane, PortSpace, freeze
from kubeverdict.compile.sets import ALL, bitmap, members
from kubeverdict.compile.tiers import rows_add_up
from kubeverdict.kernels import adding, reach
from kubeverdict.kernels.jit import Kernel, in_threads
from kubeverdict.kernels.ports import Runs
from kubeverdict.kernels.reach import BEFORE, Space, View
from kubeverdict.model.addresses import Family

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Ordered pairs of different pods that connect over the address families of a plane.

    ``pairs`` connect on at least one port of TCP, UDP or SCTP; ``pair_ports`` counts (pair,
    protocol, port). ``possible`` is how many pairs there are.
    """

    families: tuple[Family, ...]
    pairs: int
    pair_ports: int
    possible: int


@dataclass(frozen=True, slots=True, eq=False)
class DestinationGroups:
    """Destination identities that the same rules have as destination."""

    first: NDArray[np.int64]  # (groups,) one identity of each
    start: NDArray[np.int64]  # (groups + 1,)
    member: NDArray[np.int64]


def pod_space(plane: Plane, ports: PortSpace) -> Space:
    """Rows over pods only."""
    universe = bitmap(np.arange(plane.pods), (plane.pods + 63) >> 6)[None]
    space = Space(plane.matrix.sets, ports.sets, ports.weight, universe, plane.weight, plane.slices)
    freeze(space)
    return space


def whole_space(plane: Plane, ports: PortSpace) -> Space:
    """Rows over all identities."""
    universe = bitmap(members(plane.sets, ALL), plane.words)[None]
    slices = np.zeros((1, plane.words), np.uint64)
    space = Space(plane.matrix.sets, ports.sets, ports.weight, universe, plane.weight, slices)
    freeze(space)
    return space


def destination_groups(
    into: View, out_to: View, identities: NDArray[np.int64], apart: NDArray[np.int64] | None = None
) -> DestinationGroups:
    """Group destinations by the rules that select them and the rules that name them as peer, and
    by ``apart`` (identities,), 0 to 3, where given."""
    # Parts are numbered from -1 and fewer than identities.
    key = (into.part[identities].astype(np.int64) + 1) * (out_to.part.size + 1)
    key = (key + out_to.part[identities] + 1) * 4 + (0 if apart is None else apart)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    start = np.searchsorted(inverse[order], np.arange(first.size + 1)).astype(np.int64)
    return DestinationGroups(identities[first], start, identities[order])


def count_pairs(compiled: CompiledPolicy, *, threads: int | None = None) -> tuple[PairCounts, ...]:
    """Count the pod pairs that connect, for each plane of ``compiled``.

    A cluster whose address families are distinguished by nothing has one plane.
    """
    return tuple(_count_plane(compiled, plane, threads) for plane in compiled.planes)


_known: WeakKeyDictionary[CompiledPolicy, tuple[PairCounts, ...]] = WeakKeyDictionary()


def known_pairs(compiled: CompiledPolicy) -> tuple[PairCounts, ...]:
    """As :func:`count_pairs`, counted once: of a cluster that is followed each version is the new
    one first and the old one then."""
    found = _known.get(compiled)
    if found is None:
        found = _known[compiled] = count_pairs(compiled)
    return found


class MorePairs(NamedTuple):
    """How many more pod pairs connect in a plane than before, and (pod pair, port)."""

    pairs: int
    pair_ports: int


def follow_pairs(old: CompiledPolicy, new: CompiledPolicy, more: Sequence[MorePairs]) -> None:
    """Have :func:`known_pairs` know those of ``new``, where it knows those of ``old``."""
    known = _known.get(old)
    if known is None:
        return
    found: list[PairCounts] = []
    for before, change, plane in zip(known, more, new.planes, strict=True):
        pods = int(plane.weight.sum())
        pairs, pair_ports = before.pairs + change.pairs, before.pair_ports + change.pair_ports
        found.append(PairCounts(plane.families, pairs, pair_ports, pods * (pods - 1)))
    _known[new] = tuple(found)


def _count_plane(compiled: CompiledPolicy, plane: Plane, threads: int | None) -> PairCounts:
    groups = destination_groups(plane.matrix.into, plane.matrix.out_to, np.arange(plane.pods))
    space = pod_space(plane, compiled.ports)
    if all(rows_add_up(v.tier, v.action, v.rule) for v in (plane.matrix.into, plane.matrix.out_to)):
        counts = _added(groups, plane, space, compiled.port_runs, threads)
    else:
        counts = summed(
            reach.count_rows, 2, groups, plane.matrix.into, plane.matrix.out_to, space, threads
        )
    pods = int(plane.weight.sum())
    return PairCounts(plane.families, counts[0], counts[1], pods * (pods - 1))


def _added(
    groups: DestinationGroups, plane: Plane, space: Space, runs: Runs, threads: int | None
) -> list[int]:
    """Count by what each rule adds, in threads."""
    out = np.zeros((groups.first.size, 2), np.int64)
    count = adding.count_adding.on(groups.first.size * space.universe.size * 200)

    def run(first: int, stop: int) -> None:
        work = adding.adding_memory(space, runs)
        members = (groups.first, groups.start, groups.member)
        count(first, stop, *members, plane.matrix.into, plane.matrix.out_to, space, runs, work, out)

    in_threads(run, groups.first.size, threads if groups.first.size > 64 else 1)
    sums: list[int] = out.sum(axis=0).tolist()
    return sums


def summed(
    kernel: Kernel,
    columns: int,
    groups: DestinationGroups,
    into: View,
    out_to: View,
    space: Space,
    threads: int | None,
) -> list[int]:
    """Run a counting kernel of ``kernels.reach`` over groups of destinations, in threads, and
    add its ``columns`` up."""
    out = np.zeros((groups.first.size, columns), np.int64)
    count = kernel.on(groups.first.size * space.universe.size * 200)

    def run(first: int, stop: int) -> None:
        work = reach.scratch(space)
        members = (groups.first, groups.start, groups.member)
        count(first, stop, *members, into, out_to, space, work, out)

    in_threads(run, groups.first.size, threads if groups.first.size > 64 else 1)
    sums: list[int] = out.sum(axis=0).tolist()
    return sums


class RowReader:
    """Reads rows of the reachability matrix one at a time, with memory that is used again."""

    def __init__(self, into: View, out_to: View, space: Space) -> None:
        self._views = (into, out_to)
        self._space = space
        self._words = space.universe.shape[1]
        self._work = reach.scratch(space)
        self._kernel = reach.one_row.on(self._words * 64 * 400)
        self._bitmaps = np.empty((16, self._words), np.uint64)
        self._stamp = 0

    def read(self, destination: int, version: int) -> NDArray[np.bool_]:
        """(patterns, positions): the sources that reach a destination by port pattern."""
        return unpacked(self.packed(destination, version))

    def packed(self, destination: int, version: int) -> NDArray[np.uint64]:
        """The same as bitmaps (patterns, words), which the next call overwrites."""
        while True:
            self._stamp += 1
            found = int(
                self._kernel(
                    destination,
                    version,
                    *self._views,
                    self._space,
                    self._work,
                    self._stamp,
                    self._bitmaps,
                )
            )
            if found >= 0:
                return self._bitmaps[:found]
            self._bitmaps = np.empty((-found, self._words), np.uint64)

    def by_atom(self, patterns: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What holds for the patterns of the destination read last, as (atoms,)."""
        return patterns[self._work.part]

    @property
    def pattern_of_atom(self) -> NDArray[np.int64]:
        """(atoms,) the pattern of each port atom, in the destination read last."""
        return self._work.part.astype(np.int64)

    def patterns_with(self, atoms: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The patterns of the destination read last that hold any of ``atoms`` (atoms,)."""
        return np.flatnonzero(np.bincount(self._work.part[atoms]))


def unpacked(bitmaps: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Bitmaps (n, words) as (n, positions)."""
    return np.unpackbits(bitmaps.view(np.uint8), axis=1, bitorder="little").view(np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class ReachRow:
    """What reaches one group of destination identities.

    ``sources[i]`` reach all of ``destinations`` at exactly the port atoms of ``atoms[i]``, a
    bitmap (atoms,) over ``CompiledPolicy.ports``. Sources that reach nothing are left out, and
    so are pairs of identities outside the cluster. The destination itself may be among its
    sources: its other pods are meant.
    """

    destinations: NDArray[np.int64]
    sources: list[NDArray[np.int64]]
    atoms: list[NDArray[np.bool_]]


def rows(
    compiled: CompiledPolicy,
    plane: Plane,
    destinations: Iterable[int] | None = None,
) -> Iterator[ReachRow]:
    """The reachability matrix of a plane, row by row, over pods and external identities.

    ``destinations`` restricts it to some identities.
    """
    for targets, reader, packed in bitmap_rows(compiled, plane, destinations):
        bits = unpacked(packed)
        if targets[0] >= plane.external:
            bits[:, plane.pods :] = False
        sources, patterns = by_column(bits)
        if sources:
            yield ReachRow(targets, sources, [reader.by_atom(pattern) for pattern in patterns])


def bitmap_rows(
    compiled: CompiledPolicy, plane: Plane, destinations: Iterable[int] | None = None
) -> Iterator[tuple[NDArray[np.int64], RowReader, NDArray[np.uint64]]]:
    """As :func:`rows`, unread: the destinations of each group, what read it, and the bitmaps
    (patterns, words) of its sources, which the next one overwrites. Those of destinations outside
    hold sources outside too, which mean nothing."""
    if destinations is None:
        wanted = np.concatenate((np.arange(plane.pods), np.arange(plane.external, plane.size)))
    else:
        wanted = np.array(sorted(destinations), np.int64)
    reader = RowReader(plane.matrix.into, plane.matrix.out_to, whole_space(plane, compiled.ports))
    # Rows to a destination outside are about pods only, so these are grouped on their own.
    for identities in (wanted[wanted < plane.pods], wanted[wanted >= plane.external]):
        groups = destination_groups(plane.matrix.into, plane.matrix.out_to, identities)
        for index in range(groups.first.size):
            targets = groups.member[groups.start[index] : groups.start[index + 1]]
            yield targets, reader, reader.packed(groups.first[index], BEFORE)


def by_column(
    table: NDArray[Value],
) -> tuple[list[NDArray[np.int64]], list[NDArray[Value]]]:
    """Group the columns of (n, positions) that are equal and not all 0."""
    present = np.flatnonzero(table.any(axis=0))
    if not present.size:
        return [], []
    content: NDArray[Any] = table[:, present]
    if content.dtype == np.bool_:
        content = np.packbits(content, axis=0)
    content = np.ascontiguousarray(content.T)
    width = content.shape[1] * content.itemsize
    keys = content.view(np.dtype((np.void, width))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    cuts = np.searchsorted(inverse[order], np.arange(1, first.size))
    return (
        [present[part] for part in np.split(order, cuts)],
        [table[:, present[column]] for column in first],
    )
