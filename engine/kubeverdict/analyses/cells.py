"""Rows of a reachability matrix, gathered into cells between kinds of peers.

A *kind* is a set of identities: all workloads whose pods have the same identities are of one
kind, and share their cells. The engine yields rows by destination; here the rows of a kind are
taken together and folded over the identities of each source kind. A cell holds a *value*, a
number above 0 for what the row says of a pair, such as a set of ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.addresses import Family

# A value for each pair of identities: rows are those of the source and columns those of the
# destination, in the order of their kinds.
Table = tuple[tuple[int, ...], ...]


class Run(NamedTuple):
    """Neighbouring external addresses with the same value."""

    family: Family
    first: int
    last: int
    value: int


class CellRow(NamedTuple):
    """The values of all sources, for each of ``destinations``."""

    destinations: NDArray[np.int64]
    sources: list[NDArray[np.int64]]
    values: list[int]


# Rows into some identities; those without a value may be left out.
Rows = Callable[[Sequence[int]], Iterator[CellRow]]


class Intervals(msgspec.Struct, frozen=True, eq=False):
    """External address space in order: family, first and last address, and identity."""

    bounds: Sequence[tuple[Family, int, int]]
    identity: NDArray[np.int64]


class Cells(msgspec.Struct, frozen=True, eq=False):
    """One plane. Cells between pods are columns: ``source`` and ``destination`` kind, and the
    ``value`` where all their identities agree; where they do not, -1 less the place of a table in
    ``tables``. Cells in which all values are 0 are left out.

    ``inbound[kind]`` and ``outbound[kind]`` hold, for each identity of the kind, the runs of
    addresses that reach it and that it reaches.
    """

    families: tuple[Family, ...]
    kinds: Sequence[Sequence[int]]
    source: NDArray[np.int32]
    destination: NDArray[np.int32]
    value: NDArray[np.int32]
    tables: Sequence[Table]
    inbound: dict[int, list[tuple[Run, ...]]]
    outbound: dict[int, list[tuple[Run, ...]]]


def gather(
    rows: Rows,
    size: int,
    families: tuple[Family, ...],
    kinds: Sequence[Sequence[int]],
    intervals: Intervals,
    destinations: Iterable[int] | None = None,
) -> Cells:
    """The cells of a plane with identities below ``size``.

    ``kinds`` are ascending and distinct identities; an empty one has no part in the plane.
    ``destinations`` (numbers of kinds) leaves out the cells into all others, and outside.
    """
    gatherer = _Gatherer(rows, size, kinds, intervals)
    wanted = range(len(kinds)) if destinations is None else sorted(destinations)
    gatherer.into_single([kind for kind in wanted if len(kinds[kind]) == 1])
    for kind in wanted:
        if len(kinds[kind]) > 1:
            gatherer.into_several(kind)
    if destinations is None:
        gatherer.to_outside()
    source, destination, value = (
        np.concatenate([np.zeros(0, np.int32), *parts]) for parts in gatherer.columns
    )
    return Cells(
        families,
        kinds,
        source,
        destination,
        value,
        gatherer.tables,
        gatherer.inbound,
        gatherer.outbound,
    )


class _Gatherer:
    def __init__(
        self, rows: Rows, size: int, kinds: Sequence[Sequence[int]], intervals: Intervals
    ) -> None:
        self._rows = rows
        self._size = size
        self._kinds = kinds
        # The identities of the kinds that have any, one kind after the other.
        self._sources = np.array([n for n, kind in enumerate(kinds) if kind], np.int32)
        self._flat = np.array([one for kind in kinds for one in kind], np.int64)
        self._offsets = np.cumsum([0, *(len(kind) for kind in kinds if kind)])[:-1]
        self._intervals = intervals
        family = np.array([family for family, _, _ in intervals.bounds], np.int64)
        self._family_edge = family[1:] != family[:-1]
        # Parts of the columns source, destination and value.
        self.columns: tuple[list[NDArray[np.int32]], ...] = ([], [], [])
        self.tables: list[Table] = []
        self.inbound: dict[int, list[tuple[Run, ...]]] = {}
        self.outbound: dict[int, list[tuple[Run, ...]]] = {}

    def into_single(self, kinds: list[int]) -> None:
        """Kinds of one identity, in one pass over the matrix."""
        by_identity: dict[int, list[int]] = {}
        for kind in kinds:
            by_identity.setdefault(self._kinds[kind][0], []).append(kind)
        for row in self._rows(list(by_identity)):
            values = self._spread(row)[None]
            for identity in row.destinations.tolist():
                for kind in by_identity[identity]:
                    self._fold(kind, values)

    def into_several(self, kind: int) -> None:
        """A kind of several identities: their rows together."""
        identities = self._kinds[kind]
        place = {identity: number for number, identity in enumerate(identities)}
        values = np.zeros((len(identities), self._size), np.int32)
        for row in self._rows(identities):
            values[[place[one] for one in row.destinations.tolist()]] = self._spread(row)
        self._fold(kind, values)

    def to_outside(self) -> None:
        """What leaves the cluster, of all kinds. Rows that several addresses share are kept
        once, and only what they say of the kinds."""
        identity = self._intervals.identity
        row_of = np.zeros(self._size, np.int64)
        found = [np.zeros(self._flat.size, np.int32)]
        for row in self._rows(sorted(set(identity.tolist()))):
            row_of[row.destinations] = len(found)
            found.append(self._spread(row)[self._flat])
        table = np.stack(found)
        at = row_of[identity]
        for kind, offset in zip(self._sources.tolist(), self._offsets.tolist(), strict=True):
            columns = table[:, offset : offset + len(self._kinds[kind])]
            if columns.any():
                self.outbound[kind] = [self._runs(column[at]) for column in columns.T]

    def _spread(self, row: CellRow) -> NDArray[np.int32]:
        """(size,) the value of each source identity."""
        values = np.zeros(self._size, np.int32)
        for sources, value in zip(row.sources, row.values, strict=True):
            values[sources] = value
        return values

    def _fold(self, kind: int, values: NDArray[np.int32]) -> None:
        """The cells into a kind, from the values (its identities, size) of all sources."""
        low = np.minimum.reduceat(values.min(axis=0)[self._flat], self._offsets)
        high = np.maximum.reduceat(values.max(axis=0)[self._flat], self._offsets)
        present = np.flatnonzero(high)
        cells = high[present]
        for place in np.flatnonzero(low[present] != cells).tolist():
            source = self._kinds[self._sources[present[place]]]
            cells[place] = -1 - len(self.tables)
            self.tables.append(tuple(map(tuple, values[:, list(source)].T.tolist())))
        for column, part in zip(
            self.columns,
            (self._sources[present], np.full(present.size, kind, np.int32), cells),
            strict=True,
        ):
            column.append(part)
        inbound = values[:, self._intervals.identity]
        if inbound.any():
            self.inbound[kind] = [self._runs(one) for one in inbound]

    def _runs(self, values: NDArray[np.int32]) -> tuple[Run, ...]:
        """Neighbouring intervals with equal values become one run, inside a family."""
        cuts = np.flatnonzero((values[1:] != values[:-1]) | self._family_edge) + 1
        first = np.concatenate(([0], cuts))
        last = np.concatenate((cuts, [values.size])) - 1
        kept = values[first] > 0
        bounds = self._intervals.bounds
        return tuple(
            Run(bounds[one][0], bounds[one][1], bounds[other][2], value)
            for one, other, value in zip(
                first[kept].tolist(), last[kept].tolist(), values[first][kept].tolist(), strict=True
            )
        )
