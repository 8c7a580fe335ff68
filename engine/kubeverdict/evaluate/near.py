"""What changed between two versions that have nearly everything in common.

A kept edit leaves the numbers of sets, port lists and identities as they are, and touches few of
them. So the rules and sets of both versions are compared number by number, and only the identities
that differ are looked at: a cell of the reachability matrix can have changed only where

- either end is in other sets than before, or is new or gone, or
- a rule that one version alone has is about both ends.

For each such rule the rows, or the columns, of its smaller side are read in both versions; every
other cell is as it was. That both versions number alike is never taken for granted: where they do
not, too much differs, and they are compared as a whole (:mod:`kubeverdict.evaluate.delta`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane, PortSpace, freeze
from kubeverdict.compile.incremental.set_edits import holding
from kubeverdict.compile.indexing import of_direction
from kubeverdict.compile.ports import atoms_at
from kubeverdict.compile.sets import bitmap, chosen, members
from kubeverdict.compile.tiers import ordered_tiers
from kubeverdict.evaluate.aligned import AlignedEnds, Joint
from kubeverdict.evaluate.changed_rows import DeltaRow
from kubeverdict.evaluate.pairs import RowReader, by_column, unpacked
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import Rows
from kubeverdict.kernels.reach import BEFORE, Space, View
from kubeverdict.model.policy import Direction

# More than this is compared as a whole: ends that are numbered otherwise, sets that differ, and
# rules that one version alone has.
_MOST_ENDS, _MOST_SETS, _MOST_RULES = 5_000, 2_000, 400
# And of the identities to look at this many, and one more for so many that there are.
_MOST, _FOR_EACH = 40, 64

Side = NDArray[np.int64]
"""(joint identities,) the identity in one version, -1 where that has none."""


_Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]


class Near(NamedTuple):
    """One plane of two versions, and its changed rows."""

    joint: Joint
    rows: tuple[DeltaRow, ...]


def near(old: CompiledPolicy, new: CompiledPolicy, ends: AlignedEnds) -> tuple[Near, ...] | None:
    """The changed rows of each plane; None where the versions differ in too much."""
    if [plane.families for plane in old.planes] != [plane.families for plane in new.planes]:
        return None
    atoms = _old_atoms(old, new)
    if atoms is None or not all(map(_only_pods_are_subjects, (*old.planes, *new.planes))):
        return None
    found: list[Near] = []
    for planes in zip(old.planes, new.planes, strict=True):
        compared = _Compared.of(planes, (old.ports, new.ports), atoms, ends)
        touched = compared.touched() if compared is not None else None
        if compared is None or touched is None:
            return None
        found.append(Near(compared.joint, tuple(compared.changed(*touched))))
    return tuple(found)


def _old_atoms(old: CompiledPolicy, new: CompiledPolicy) -> NDArray[np.int64] | None:
    """For each port atom of ``new`` the one of ``old`` that it is a part of; None where the new
    one does not cut every port that the old one cuts, or numbers port lists otherwise."""
    if old.ports is new.ports:
        return np.arange(new.ports.weight.size)
    known = old.port_runs.start.size
    runs = old.port_runs.low.size
    alike = (
        np.array_equal(old.port_runs.start, new.port_runs.start[:known])
        and np.array_equal(old.port_runs.low, new.port_runs.low[:runs])
        and np.array_equal(old.port_runs.high, new.port_runs.high[:runs])
        and bool(np.isin(old.ports.first, new.ports.first).all())
    )
    return atoms_at(old.ports, new.ports.first[:-1]).astype(np.int64) if alike else None


def _by_destination(
    parts: Iterable[_Part], sources: NDArray[np.int64], size: int
) -> Iterator[DeltaRow]:
    """What was read source by source as rows: for each destination all sources whose ports change
    alike. ``parts`` are sources, destinations, and the ports before and after."""
    labels = np.zeros((sources.size, size), np.int32)
    ports: dict[tuple[bytes, bytes], int] = {}
    kinds: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
    for some, destinations, before, after in parts:
        number = ports.setdefault((before.tobytes(), after.tobytes()), len(ports))
        if number == len(kinds):
            kinds.append((before, after))
        labels[np.ix_(np.searchsorted(sources, some), destinations)] = number + 1
    there, changes = by_column(labels)
    for destinations, column in zip(there, changes, strict=True):
        for number in np.unique(column[column > 0]).tolist():
            yield DeltaRow(destinations, sources[column == number], *kinds[number - 1])


def _only_pods_are_subjects(plane: Plane) -> bool:
    """Whether no address is a subject of ingress: it would be read as one that lets nothing in."""
    subjects = plane.rows.subject[: plane.ingress_rows]
    last = plane.sets.word[plane.sets.start[subjects + 1] - 1]
    return bool((last < plane.external >> 6).all())


class _Compared:
    """One plane of both versions in joint numbers: those of the new version, and behind them what
    only pairs of both tell apart."""

    def __init__(
        self,
        planes: tuple[Plane, Plane],
        ports: tuple[PortSpace, PortSpace],
        atoms: NDArray[np.int64],
        joint: Joint,
        sides: tuple[Side, Side],
    ) -> None:
        self.joint = joint
        self._planes = planes
        self._ports = ports
        self._atoms = atoms
        self._sides = sides

    @classmethod
    def of(
        cls,
        planes: tuple[Plane, Plane],
        ports: tuple[PortSpace, PortSpace],
        atoms: NDArray[np.int64],
        ends: AlignedEnds,
    ) -> _Compared | None:
        """None where too many ends are numbered otherwise, or what is an address in one version is
        a pod in the other."""
        before, after = (
            np.where(side >= 0, plane.ends.identity[side], -1).astype(np.int64)
            for side, plane in zip((ends.old, ends.new), planes, strict=True)
        )
        for plane, side in zip(planes, (before, after), strict=True):
            beyond_pods = side[ends.pods :]
            if ((beyond_pods >= 0) & (beyond_pods < plane.external)).any():
                return None
        new = planes[1]
        # The last place is for ends that the new version has not: never the old identity.
        old_of = np.full(new.size + 1, -2, np.int64)
        old_of[after] = before
        old_of[-1] = -1
        other = np.flatnonzero(old_of[after] != before)
        if other.size > _MOST_ENDS:
            return None
        pairs: dict[tuple[bool, int, int], list[int]] = {}
        for end in other.tolist():
            key = end >= ends.pods, int(before[end]), int(after[end])
            pairs.setdefault(key, []).append(end)
        inside = [key for key in pairs if not key[0]]
        beyond = [key for key in pairs if key[0]]
        pods = new.pods + len(inside)
        shift = max(((pods + 63) >> 6 << 6) - new.external, 0)
        size = new.size + shift + len(beyond)
        external = new.external + shift

        identity = after + shift * (after >= new.external)
        sides = np.full((2, size), -1, np.int64)
        numbers = np.flatnonzero(old_of[:-1] > -2)
        places = numbers + shift * (numbers >= new.external)
        sides[0, places], sides[1, places] = old_of[numbers], numbers
        for first, keys in ((new.pods, inside), (new.size + shift, beyond)):
            for number, key in enumerate(keys, start=first):
                identity[pairs[key]] = number
                sides[:, number] = key[1:]
        joint = Joint(new.families, pods, external, size, identity, ports[1])
        return cls(planes, ports, atoms, joint, (sides[0], sides[1]))

    # --- what to look at ----------------------------------------------------------------------

    def touched(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The joint identities whose rows are to be read as destinations, and as sources; None
        where there are too many."""
        rules = [self._changed_rules(direction) for direction in Direction]
        if sum(len(side) for pair in rules for side in pair) > _MOST_RULES:
            return None
        moved = self._moved()
        if moved is None:
            return None
        marks = {True: moved.copy(), False: moved}  # as destinations, as sources
        for direction, pair in zip(Direction, rules, strict=True):
            for plane, side, which in zip(self._planes, self._sides, pair, strict=True):
                of_side = {way: np.zeros(plane.size + 1, np.bool_) for way in marks}
                part = of_direction(plane.rows, plane.ingress_rows, direction)
                for subject, peer in {*zip(part.subject[which], part.peer[which], strict=True)}:
                    own, others = members(plane.sets, subject), members(plane.sets, peer)
                    incoming = direction is Direction.INGRESS
                    if own.size <= others.size:
                        of_side[incoming][own] = True
                    else:
                        of_side[not incoming][others] = True
                for way, marked in of_side.items():
                    marks[way] = marks[way] | (marked[side] & (side >= 0))
        found = np.flatnonzero(marks[True]), np.flatnonzero(marks[False])
        most = _MOST + self.joint.size // _FOR_EACH
        return None if sum(part.size for part in found) > most else found

    def _changed_rules(self, direction: Direction) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows that only the old version has, and those that only the new one has. The others
        are the same in the same order, or in one that does not matter."""
        sides = [of_direction(one.rows, one.ingress_rows, direction) for one in self._planes]
        before, after = map(_columns, sides)
        count = min(len(before), len(after))
        first = _alike(before[:count], after[:count])
        behind = _alike(before[first:][::-1][: count - first], after[first:][::-1][: count - first])
        rows = [np.arange(first, len(table) - behind) for table in (before, after)]
        if any(ordered_tiers(one.tier, one.action, one.rule) for one in sides):
            return rows[0], rows[1]
        both = np.concatenate(
            [table[which] for table, which in zip((before, after), rows, strict=True)]
        )
        if not both.size:
            return rows[0], rows[1]
        number = np.unique(both, axis=0, return_inverse=True)[1].ravel()
        numbers = number[: rows[0].size], number[rows[0].size :]
        return (
            rows[0][~np.isin(numbers[0], numbers[1])],
            rows[1][~np.isin(numbers[1], numbers[0])],
        )

    def _moved(self) -> NDArray[np.bool_] | None:
        """(joint,) what is in other sets than before, or is in one version only; None where too
        many sets differ. Sets that no rule names are left aside."""
        old, new = self._planes
        toggled = _toggled(old.sets, new.sets)
        if toggled is None:
            return None
        before, after = self._sides
        shared = min(old.sets.start.size, new.sets.start.size) - 1
        named = np.zeros(shared, np.bool_)
        for plane in self._planes:
            for column in (plane.rows.subject, plane.rows.peer):
                named[column[column < shared]] = True
        named[0] = False  # everything
        different = np.zeros(max(old.size, new.size) + 65, np.bool_)
        different[toggled] = True
        present = (before >= 0) | (after >= 0)
        moved = present & ((before < 0) | (after < 0))
        asked = (before >= 0) & (after >= 0) & ((before != after) | different[after])
        if int(asked.sum()) > _MOST_SETS:
            return None
        for number in np.flatnonzero(asked).tolist():
            held = [
                which[which < shared]
                for which in (
                    holding(old.sets, int(before[number])),
                    holding(new.sets, int(after[number])),
                )
            ]
            was, now = (which[named[which]] for which in held)
            moved[number] = not np.array_equal(was, now)
        return moved

    # --- reading ------------------------------------------------------------------------------

    def changed(
        self, destinations: NDArray[np.int64], sources: NDArray[np.int64]
    ) -> Iterator[DeltaRow]:
        """The changed cells of some rows and columns, each once."""
        everything = np.ones(self.joint.size, np.bool_)
        for targets, others, before, after in self._read(destinations, everything, False):
            yield DeltaRow(targets, others, before, after)
        rest = everything
        rest[destinations] = False
        yield from _by_destination(self._read(sources, rest, True), sources, self.joint.size)

    def _read(
        self, wanted: NDArray[np.int64], among: NDArray[np.bool_], outward: bool
    ) -> Iterator[_Part]:
        """Identities, the others with which they connect otherwise than before, and the ports
        before and after; ``outward`` as their sources."""
        if not wanted.size:
            return
        joint = self.joint
        readers = [
            _Reader(plane, ports, side, wanted, outward)
            for plane, ports, side in zip(self._planes, self._ports, self._sides, strict=True)
        ]
        alike: dict[tuple[object, ...], list[int]] = {}
        for number in wanted.tolist():
            outside = number >= joint.external
            key = (outside, *(reader.rules(number) for reader in readers))
            alike.setdefault(key, []).append(number)
        for numbers in alike.values():
            (was, old_part), (now, part) = (reader.read(numbers[0]) for reader in readers)
            # Ports that neither version tells apart here.
            both = old_part[self._atoms] * len(now) + part
            distinct, place = np.unique(both, return_inverse=True)
            before, after = was[distinct // len(now)], now[distinct % len(now)]
            changed = (before != after).any(axis=0) & among
            if numbers[0] >= joint.external:
                changed[joint.pods :] = False
            if not changed.any():
                continue
            # A column that is nothing but true keeps the changed ones apart from the rest.
            columns = np.concatenate((before, after, np.ones((1, changed.size), np.bool_)))
            columns[:, ~changed] = False
            for others, column in zip(*by_column(columns), strict=True):
                ports = column[: distinct.size], column[distinct.size : -1]
                yield np.array(numbers), others, ports[0][place], ports[1][place]


class _Reader:
    """Rows of the reachability matrix of one version, in joint numbers; its columns where
    ``outward``. Of the rules only those of the ``wanted`` identities are indexed."""

    def __init__(
        self,
        plane: Plane,
        ports: PortSpace,
        side: Side,
        wanted: NDArray[np.int64],
        outward: bool,
    ) -> None:
        self._side = side
        own = np.unique(side[wanted])
        sets = {number: holding(plane.sets, number) for number in own.tolist() if number >= 0}
        ingress, egress = (
            of_direction(plane.rows, plane.ingress_rows, direction) for direction in Direction
        )
        # Of a source, what it may begin comes first, and what others let in of it then.
        views = [
            _view(ingress, sets, plane, by_subject=not outward),
            _view(egress, sets, plane, by_subject=outward),
        ]
        self._views = views
        present = bitmap(side[side >= 0], plane.words)[None]
        space = Space(
            plane.sets,
            ports.sets,
            ports.weight,
            present,
            plane.weight,
            np.zeros((1, plane.words), np.uint64),
        )
        freeze((views[0], views[1], space))
        self._reader = RowReader(views[outward], views[not outward], space)
        self._atoms = ports.weight.size

    def rules(self, number: int) -> tuple[bytes, ...]:
        """What tells the rows of joint identities apart, besides whether they are outside."""
        own = int(self._side[number])
        if own < 0:
            return ()
        return tuple(view.row[slice(*_span(view, own))].tobytes() for view in self._views)

    def read(self, number: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(patterns, joint) who connects by port pattern, and (atoms,) the pattern of each."""
        own = int(self._side[number])
        if own < 0:
            return np.zeros((1, self._side.size), np.bool_), np.zeros(self._atoms, np.int64)
        bits = unpacked(self._reader.packed(own, BEFORE))
        found = bits[:, np.maximum(self._side, 0)]
        found[:, self._side < 0] = False
        return found, self._reader.pattern_of_atom


def _span(view: View, identity: int) -> tuple[int, int]:
    part = int(view.part[identity])
    return int(view.start[part]), int(view.start[part + 1])


def _view(
    rows: Rows, sets: dict[int, NDArray[np.int64]], plane: Plane, *, by_subject: bool
) -> View:
    """The rules of one direction, listed for some identities; ``sets`` are those that hold
    each."""
    found_by, others = (rows.subject, rows.peer) if by_subject else (rows.peer, rows.subject)
    part = np.full(plane.size, -1, np.int32)
    lists: list[NDArray[np.int64]] = []
    held = np.zeros(plane.sets.start.size - 1, np.bool_)
    for place, (identity, numbers) in enumerate(sets.items()):
        part[identity] = place
        held[numbers] = True
        lists.append(np.flatnonzero(held[found_by]))
        held[numbers] = False
    start = np.cumsum([0, *(one.size for one in lists)])
    row = np.concatenate([np.zeros(0, np.int64), *lists]).astype(np.int32)
    return View(
        part=part,
        start=start.astype(np.int64),
        row=row,
        found_by=found_by,
        sources=others,
        ports=rows.ports,
        action=rows.action,
        tier=rows.tier,
        rule=rows.rule,
        version=np.full(rows.rule.size, BEFORE, np.uint8),
    )


def _columns(rows: Rows) -> NDArray[np.int64]:
    """(rows, 6) what a row says: the ids of rules mean nothing to another version."""
    reasons = np.minimum(rows.rule, 0)
    columns = (rows.tier, rows.action, rows.subject, rows.peer, rows.ports, reasons)
    return np.stack([column.astype(np.int64) for column in columns], axis=1)


def _alike(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """How many rows are the same at the beginning of two tables of the same length."""
    different = (one != other).any(axis=1)
    return int(different.argmax()) if different.any() else len(different)


def _toggled(old: Sets, new: Sets) -> NDArray[np.int64] | None:
    """The positions that any set holds in one version and not in the other; None where too many
    sets differ. Sets that only one version has are left aside."""
    count = min(old.start.size, new.start.size) - 1
    lengths = [np.diff(sets.start[: count + 1]) for sets in (old, new)]
    same = lengths[0] == lengths[1]
    places = np.flatnonzero(np.repeat(same, lengths[0]))
    owner = np.repeat(np.arange(count), lengths[0])[places]
    moved = places + (new.start[:count] - old.start[:count])[owner]
    different = (old.word[places] != new.word[moved]) | (old.bits[places] != new.bits[moved])
    which = np.unique(np.concatenate((np.flatnonzero(~same), owner[different])))
    if which.size > _MOST_SETS:
        return None
    parts = [chosen(sets, which) for sets in (old, new)]
    owners = [np.repeat(np.arange(which.size), np.diff(part.start)) for part in parts]
    keys = np.concatenate(
        [(one << 32) + part.word for one, part in zip(owners, parts, strict=True)]
    )
    bits = np.concatenate([part.bits for part in parts])
    order = np.argsort(keys, kind="stable")
    keys, first = np.unique(keys[order], return_index=True)
    if not keys.size:
        return np.zeros(0, np.int64)
    toggled = np.bitwise_xor.reduceat(bits[order], first)
    words = keys & 0xFFFFFFFF
    ones = np.unpackbits(toggled.view(np.uint8), bitorder="little").reshape(-1, 64)
    entry, column = np.nonzero(ones)
    return np.unique((words[entry] << 6) + column)
