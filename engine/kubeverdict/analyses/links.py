"""From cells between kinds to links between the peers of a report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from kubeverdict.analyses.blocks import blocks
from kubeverdict.analyses.cells import Cell, Cells, Run
from kubeverdict.analyses.peers import Group, Member, Peer, address_peer
from kubeverdict.model.addresses import Family

Kind = tuple[Member, ...]
# What to show of one cell: a value and its family, which is empty where they do not differ.
Outcome = tuple[tuple[int, str], ...]


class Link(NamedTuple):
    """What a cell says of two peers. ``family`` is ``IPv4`` or ``IPv6`` where the two differ.

    It holds for every pod of one with every pod of the other, except a pod with itself.
    """

    source: Peer
    destination: Peer
    value: int
    family: str


class Kinds:
    """Groups by kind, that is by the identities of their pods."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups: dict[Kind, list[Group]] = {}
        for group in groups:
            self.groups.setdefault(tuple(sorted(group.members)), []).append(group)
        self.kinds = list(self.groups)
        # Whether the pods of a kind have addresses of the same families.
        self.whole = [
            all(
                len({identity >= 0 for identity in plane}) == 1 for plane in zip(*kind, strict=True)
            )
            for kind in self.kinds
        ]

    def in_plane(self, plane: int) -> list[list[int]]:
        """The identities of each kind in a plane, ascending."""
        return [sorted({member[plane] for member in kind} - {-1}) for kind in self.kinds]

    def numbers(self, wanted: Callable[[Group], bool]) -> set[int]:
        """The kinds of which any group is wanted."""
        return {
            number for number, groups in enumerate(self.groups.values()) if any(map(wanted, groups))
        }


def links(
    kinds: Kinds, planes: Sequence[Cells], only: Collection[int] | None = None
) -> Iterator[Link]:
    """The links of all planes: between pods first, then with addresses. ``only`` leaves out what
    has no end in these kinds."""
    pairs = dict.fromkeys(pair for plane in planes for pair in plane.pods)
    for source, destination in pairs:
        if only is None or source in only or destination in only:
            yield from _between(kinds, planes, source, destination)
    known: dict[tuple[Family, int, int], Peer] = {}
    for number in range(len(kinds.kinds)) if only is None else sorted(only):
        kind = kinds.kinds[number]
        for inbound in (True, False):
            for members, runs in _external(kind, number, planes, inbound).items():
                for run in runs:
                    bounds = run[:3]
                    peer = known.get(bounds)
                    if peer is None:
                        peer = known[bounds] = address_peer(*bounds)
                    for group in kinds.groups[kind]:
                        own = group.part(members)
                        ends = (peer, own) if inbound else (own, peer)
                        yield Link(*ends, run.value, "")


def _between(
    kinds: Kinds, planes: Sequence[Cells], source: int, destination: int
) -> Iterator[Link]:
    rows, columns = kinds.kinds[source], kinds.kinds[destination]
    cells = [plane.pods.get((source, destination), 0) for plane in planes]
    found = _outcome(planes, cells, rows[0], columns[0], source, destination)
    if not (kinds.whole[source] and kinds.whole[destination] and all(map(_is_value, cells))):
        table = [
            [_outcome(planes, cells, row, column, source, destination) for column in columns]
            for row in rows
        ]
        if any(outcome != found for row in table for outcome in row):
            yield from _in_parts(kinds, table, rows, columns)
            return
    others = kinds.groups[columns]
    for one in kinds.groups[rows]:
        for other in others:
            if one is not other or len(one.pods) > 1:
                for value, family in found:
                    yield Link(one.peer, other.peer, value, family)


def _is_value(cell: Cell) -> bool:
    return isinstance(cell, int)


def _in_parts(
    kinds: Kinds, table: Sequence[Sequence[Outcome]], rows: Kind, columns: Kind
) -> Iterator[Link]:
    """Links between parts of groups. They differ only in names, save for a group and itself:
    there a member of one pod has nobody to talk to."""
    everyone = blocks(table)
    for one in kinds.groups[rows]:
        for other in kinds.groups[columns]:
            found = everyone
            if one is other:
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
                source = one.part(rows[index] for index in block.rows)
                destination = other.part(columns[index] for index in block.columns)
                for value, family in block.value:
                    yield Link(source, destination, value, family)


def _outcome(
    planes: Sequence[Cells],
    cells: Sequence[Cell],
    row: Member,
    column: Member,
    source: int,
    destination: int,
) -> Outcome:
    """What to show between two members: one value, or one for each family where they differ.

    A plane in which either has no address has no say.
    """
    found: list[tuple[int, str]] = []
    for number, (plane, cell) in enumerate(zip(planes, cells, strict=True)):
        if row[number] < 0 or column[number] < 0:
            continue
        if not isinstance(cell, int):
            at = plane.kinds[source].index(row[number])
            cell = cell[at][plane.kinds[destination].index(column[number])]
        found.append((cell, f"IPv{plane.families[0]}"))
    if len({value for value, _ in found}) == 1:
        found = [(found[0][0], "")]
    return tuple((value, family) for value, family in found if value)


def _external(
    kind: Kind, number: int, planes: Sequence[Cells], inbound: bool
) -> dict[tuple[Member, ...], tuple[Run, ...]]:
    """The runs of addresses that reach the members of a kind, or that they reach, by the
    members that have them in common."""
    alike: dict[tuple[Run, ...], list[Member]] = {}
    for member in kind:
        runs: tuple[Run, ...] = ()
        for identity, plane in zip(member, planes, strict=True):
            known = (plane.inbound if inbound else plane.outbound).get(number)
            if known and identity >= 0:
                runs += known[plane.kinds[number].index(identity)]
        alike.setdefault(runs, []).append(member)
    return {tuple(members): runs for runs, members in alike.items()}
