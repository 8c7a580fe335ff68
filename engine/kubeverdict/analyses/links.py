"""From cells between kinds to what a report lists: for each peer, the peers that it reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.blocks import blocks
from kubeverdict.analyses.cells import Cells
from kubeverdict.analyses.external import External
from kubeverdict.analyses.peers import Member, Peer, PeerGroup

Value = TypeVar("Value")

Kind = tuple[Member, ...]
# What to show of one cell: a value and its family, which is empty where they do not differ.
Outcome = tuple[tuple[int, str], ...]
# By number, as cells in columns have them.
FAMILIES = ("", "IPv4", "IPv6")


class Target(msgspec.Struct, Generic[Value], frozen=True, eq=False, gc=False):
    """What a source reaches, and a value. ``family`` is ``IPv4`` or ``IPv6`` where the two
    differ. Equal targets of different sources are one object."""

    peer: Peer
    value: Value
    family: str


class Fan(msgspec.Struct, Generic[Value], frozen=True, eq=False, gc=False):
    """What one peer reaches, in order.

    It holds for every pod of the source with every pod of a target, except a pod with itself.
    """

    source: Peer
    targets: Sequence[Target[Value]]


class GroupKinds:
    """Groups by kind, that is by the identities of their pods."""

    def __init__(self, groups: Sequence[PeerGroup]) -> None:
        self.ordered = sorted(groups, key=lambda group: group.peer.order)
        numbers: dict[Kind, int] = {}
        # (groups,) the kind of each
        self.of_group = np.array(
            [
                numbers.setdefault(tuple(sorted(group.members)), len(numbers))
                for group in self.ordered
            ],
            np.int32,
        )
        self.kinds = list(numbers)
        # The groups of each kind, one kind after the other.
        self._groups = np.argsort(self.of_group, kind="stable")
        self._start = np.searchsorted(self.of_group[self._groups], np.arange(len(self.kinds) + 1))
        # Whether the pods of a kind have addresses of the same families.
        self.whole = np.array(
            [
                all(
                    len({identity >= 0 for identity in plane}) == 1
                    for plane in zip(*kind, strict=True)
                )
                for kind in self.kinds
            ],
            np.bool_,
        )

    def in_plane(self, plane: int) -> list[list[int]]:
        """The identities of each kind in a plane, ascending."""
        return [sorted({member[plane] for member in kind} - {-1}) for kind in self.kinds]

    def numbers(self, wanted: Callable[[PeerGroup], bool]) -> set[int]:
        """The kinds of which any group is wanted."""
        return {
            int(kind)
            for kind, group in zip(self.of_group, self.ordered, strict=True)
            if wanted(group)
        }

    def groups(self, kind: int) -> list[PeerGroup]:
        return [self.ordered[number] for number in self._members(kind).tolist()]

    def _members(self, kind: int) -> NDArray[np.int64]:
        return self._groups[self._start[kind] : self._start[kind + 1]]

    def spread(
        self, kinds: NDArray[np.int32], values: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The groups of all ``kinds``, and for each the value of its kind."""
        sizes = self._start[kinds + 1] - self._start[kinds]
        first = np.repeat(self._start[kinds] - np.cumsum(sizes) + sizes, sizes)
        return self._groups[first + np.arange(first.size)], np.repeat(values, sizes)


class Fans(Generic[Value]):
    """All fans in order of their sources. They are made anew each time that they are asked for,
    one at a time, as all together may be many times larger than what they are made of.

    ``show`` makes a value of the number that cells have. ``only`` leaves out what has no end in
    these kinds.
    """

    def __init__(
        self,
        kinds: GroupKinds,
        planes: Sequence[Cells],
        external: External,
        show: Callable[[int], Value],
        only: Collection[int] | None = None,
    ) -> None:
        self._kinds = kinds
        self._show = show
        # Targets that are not all of a group, or of a source that is not, by the source.
        self._apart: dict[Peer, list[Target[Value]]] = {}
        self._add_pods(planes, only)
        self._add_addresses(external, range(len(kinds.kinds)) if only is None else sorted(only))

    def __iter__(self) -> Iterator[Fan[Value]]:
        kinds = self._kinds
        # Of kinds that reach nothing there may be many thousand groups.
        reaching = np.diff(self._start) > 0
        reaching[list(self._outbound)] = True
        numbers = np.flatnonzero(reaching[kinds.of_group]).tolist()
        sources = {kinds.ordered[number].peer: number for number in numbers}
        parts = [peer for peer in self._apart if peer not in sources]
        for source in sorted((*sources, *parts), key=lambda peer: peer.order):
            number = sources.get(source, -1)
            targets = []
            if number >= 0:
                kind = int(kinds.of_group[number])
                targets = [self._targets[code] for code in self._codes(kind, number).tolist()]
                targets += self._outbound.get(kind, ())
            apart = self._apart.get(source)
            if apart:
                targets = sorted(
                    [*targets, *apart], key=lambda target: (target.peer.order, target.family)
                )
            if targets:
                yield Fan(source, targets)

    def _add_pods(self, planes: Sequence[Cells], only: Collection[int] | None) -> None:
        """Cells as columns that are sorted by source: destination kind, and a code of family and
        value. What is not that simple is looked at pod by pod."""
        kinds = self._kinds
        count = len(kinds.kinds)
        source, destination, values = _joined(planes, count)
        if only is not None:
            kept = np.isin(source, list(only)) | np.isin(destination, list(only))
            source, destination, values = source[kept], destination[kept], values[:, kept]
        simple = (values >= 0).all(axis=0) & kinds.whole[source] & kinds.whole[destination]
        for cell in np.flatnonzero(~simple).tolist():
            self._add_in_detail(
                planes, int(source[cell]), int(destination[cell]), values[:, cell].tolist()
            )
        source, destination, values = source[simple], destination[simple], values[:, simple]
        self._values = int(values.max(initial=0)) + 1
        self._targets = _Targets(kinds.ordered, self._show, self._values)
        rows: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]] = []
        if len(planes) == 1:
            rows.append((source, destination, values[0].astype(np.int64)))
        elif planes:
            serves = np.array([[bool(kind) for kind in plane.kinds] for plane in planes], np.bool_)
            served = serves[:, source] & serves[:, destination]
            alike = ~served.all(axis=0) | (values[0] == values[1])
            # A plane in which either end has no address decides nothing.
            rows.append((source[alike], destination[alike], (values * served).max(axis=0)[alike]))
            for plane, value in zip(planes, values, strict=True):
                differs = ~alike & (value > 0)
                family = FAMILIES.index(f"IPv{plane.families[0]}")
                code = value[differs].astype(np.int64) + family * self._values
                rows.append((source[differs], destination[differs], code))
        if rows:
            source, destination, code = map(np.concatenate, zip(*rows, strict=True))
        else:
            code = np.zeros(0, np.int64)
        order = np.argsort(source, kind="stable")
        self._destination, self._code = destination[order], code[order]
        self._start = np.searchsorted(source[order], np.arange(count + 1))

    def _codes(self, kind: int, group: int) -> NDArray[np.int64]:
        """The targets of a group in order, each a number of group, family and value."""
        row = slice(self._start[kind], self._start[kind + 1])
        groups, codes = self._kinds.spread(self._destination[row], self._code[row])
        codes = groups * (self._values * len(FAMILIES)) + codes
        if len(self._kinds.ordered[group].pods) == 1:
            codes = codes[groups != group]
        codes.sort()
        return codes

    def _add_in_detail(
        self, planes: Sequence[Cells], source: int, destination: int, values: Sequence[int]
    ) -> None:
        """A cell in which pods have different values, or addresses of different families."""
        kinds = self._kinds
        rows, columns = kinds.kinds[source], kinds.kinds[destination]
        table = [
            [_outcome(planes, values, row, column, source, destination) for column in columns]
            for row in rows
        ]
        sources, destinations = kinds.groups(source), kinds.groups(destination)
        everyone = blocks(table)
        for one in sources:
            for other in destinations:
                found = everyone
                if one is other:
                    # A member of one pod has no other end.
                    found = blocks(
                        [
                            [
                                None if row == column and len(one.members[row]) == 1 else outcome
                                for column, outcome in zip(columns, outcomes, strict=True)
                            ]
                            for row, outcomes in zip(rows, table, strict=True)
                        ]
                    )
                for block in found:
                    part = one.part(rows[index] for index in block.rows)
                    target = other.part(columns[index] for index in block.columns)
                    for value, family in block.value:
                        self._put(part, target, value, family)

    def _put(self, source: Peer, target: Peer, value: int, family: str = "") -> None:
        self._apart.setdefault(source, []).append(Target(target, self._show(value), family))

    def _add_addresses(self, external: External, wanted: Collection[int]) -> None:
        kinds = self._kinds
        self._outbound: dict[int, list[Target[Value]]] = {}
        for number in wanted:
            kind = kinds.kinds[number]
            for members, found in external.outbound(kind, number).items():
                if len(members) == len(kind):
                    self._outbound[number] = [
                        Target(peer, self._show(value), "") for peer, value in found
                    ]
                    continue
                for group in kinds.groups(number):
                    for peer, value in found:
                        self._put(group.part(members), peer, value)
            for members, found in external.inbound(kind, number).items():
                for group in kinds.groups(number):
                    own = group.part(members)
                    for peer, value in found:
                        self._put(peer, own, value)


class _Targets(dict[int, Target[Value]]):
    """Targets by code, each made when it is first asked for."""

    def __init__(
        self, groups: Sequence[PeerGroup], show: Callable[[int], Value], values: int
    ) -> None:
        self._groups = groups
        self._show = show
        self._values = values

    def __missing__(self, code: int) -> Target[Value]:
        rest, value = divmod(code, self._values)
        group, family = divmod(rest, len(FAMILIES))
        target = Target(self._groups[group].peer, self._show(value), FAMILIES[family])
        self[code] = target
        return target


def _joined(
    planes: Sequence[Cells], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """The cells of all planes: source and destination kinds, and values (planes, cells)."""
    if len(planes) == 1:
        return planes[0].source, planes[0].destination, planes[0].value[None]
    keys = [plane.source.astype(np.int64) * count + plane.destination for plane in planes]
    cells = np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))
    values = np.zeros((len(planes), cells.size), np.int32)
    for plane, key, row in zip(planes, keys, values, strict=True):
        row[np.searchsorted(cells, key)] = plane.value
    source, destination = np.divmod(cells, max(1, count))
    return source.astype(np.int32), destination.astype(np.int32), values


def _outcome(
    planes: Sequence[Cells],
    values: Sequence[int],
    row: Member,
    column: Member,
    source: int,
    destination: int,
) -> Outcome:
    """What to show between two members: one value, or one for each family where they differ.

    A plane in which either has no address decides nothing.
    """
    found: list[tuple[int, str]] = []
    for number, (plane, value) in enumerate(zip(planes, values, strict=True)):
        if row[number] < 0 or column[number] < 0:
            continue
        if value < 0:
            at = plane.kinds[source].index(row[number])
            table = plane.tables[-1 - value]
            value = table[at][plane.kinds[destination].index(column[number])]
        found.append((value, f"IPv{plane.families[0]}"))
    if len({value for value, _ in found}) == 1:
        found = [(found[0][0], "")]
    return tuple((value, family) for value, family in found if value)
