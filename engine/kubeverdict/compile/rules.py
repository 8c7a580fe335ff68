"""Stage 5: rules as rows of set numbers, named ports resolved.

A named port is compiled away: the rule is split by the numbers that the name resolves to, and
each part applies where the destination pod resolves it so (the subject for ingress, the peer
for egress).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import Reason
from kubeverdict.compile.labels import PortNumbers
from kubeverdict.compile.lowering import LoweredRule, Questions
from kubeverdict.compile.ports import ALL_ICMP, PortList, joined, place, without
from kubeverdict.compile.sets import ALL, EMPTY, join, members, offsets
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import Rows
from kubeverdict.kernels.sets import combine
from kubeverdict.model.policy import Action, Direction
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.profile import Profile

NO_MASK = -1
ANY_NODE = -2
# The action of a rule that does not count: what it asks for is distinguished, and that is all.
UNCOUNTED = -1
# Sorts behind every rule of its tier.
LAST = 1 << 30

Row = tuple[int, int, int, int, int, int, int, int]
"""direction, tier, order, subject, peer, ports, action, rule"""
DIRECTION, TIER, ORDER, SUBJECT, PEER, PORTS, ACTION, RULE = range(8)


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The evaluated sets that rules are put together from, by number in ``sets``."""

    sets: Sets
    words: int
    subjects: Sequence[int]  # by selector, managed pods only
    peers: Sequence[int]  # by selector, with hostNetwork pods where the profile wants them
    blocks: Sequence[int]  # by block
    named: dict[NamedPort, list[tuple[int, int]]]  # (number, set of pods that resolve to it)
    # Of names that rules exclude: (number, set of the ends that do not resolve to it).
    unnamed: dict[NamedPort, list[tuple[int, int]]] = field(default_factory=dict)
    # By other peer, the set of its ends: under ``ANY_NODE`` for every subject, or by the node of
    # the subject; and the pods on each node, where that matters.
    others: Sequence[dict[int, int]] = ()
    on_node: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Derived:
    """Unions and intersections still to be made, numbered behind the base sets."""

    first: int
    numbers: dict[tuple[tuple[int, ...], int], int] = field(default_factory=dict)

    def of(self, union: tuple[int, ...], mask: int = NO_MASK) -> int:
        """The number of ``union`` restricted to ``mask``."""
        if len(union) == 1 and mask == NO_MASK:
            return union[0]
        if union == (ALL,):
            return mask
        return self.numbers.setdefault((union, mask), self.first + len(self.numbers))

    def make(self, base: Sets, words: int) -> Sets:
        """The base sets with the derived ones behind them."""
        asked = list(self.numbers)
        while asked:
            known = base.start.size - 1
            # Those made of sets that are there already: all of them as a rule.
            count = next(
                (
                    place
                    for place, (union, mask) in enumerate(asked)
                    if max(mask, *union, -1) >= known
                ),
                len(asked),
            )
            now, asked = asked[:count], asked[count:]
            start = offsets(np.array([len(union) for union, _ in now]))
            union = np.array([part for parts, _ in now for part in parts], np.int64)
            mask = np.array([mask for _, mask in now], np.int64)
            made = combine.on(union.size * 8)(start, union, mask, base, words)
            base = join(base, Sets(*made))
        return base


def resolve_names(
    named: set[NamedPort], port_sets: Sequence[PortNumbers], ports_of_group: NDArray[np.int32]
) -> tuple[list[tuple[NamedPort, int]], list[NDArray[np.int64]]]:
    """What each named port stands for: (name, number) and the groups that resolve it so."""
    holders: dict[tuple[NamedPort, int], list[int]] = {}
    for index, numbers in enumerate(port_sets):
        for name, protocol, number in numbers:
            port = NamedPort(protocol, name)
            if port in named:
                holders.setdefault((port, number), []).append(index)
    keys = sorted(holders)
    return keys, [np.flatnonzero(np.isin(ports_of_group, holders[key])) for key in keys]


def rows_of(table: NDArray[np.int64], sets: Sets) -> tuple[Rows, int]:
    """The rows of a table that apply to any end, and how many of them are ingress."""
    filled = np.diff(sets.start) > 0
    counts = table[:, ACTION] != UNCOUNTED
    table = table[counts & filled[table[:, SUBJECT]] & filled[table[:, PEER]]]
    rows = Rows(
        subject=table[:, SUBJECT].astype(np.int32),
        peer=table[:, PEER].astype(np.int32),
        ports=table[:, PORTS].astype(np.int32),
        action=table[:, ACTION].astype(np.uint8),
        tier=table[:, TIER].astype(np.int32),
        rule=table[:, RULE].astype(np.int32),
    )
    return rows, int((table[:, DIRECTION] == Direction.INGRESS).sum())


def sets_of_uncounted(table: NDArray[np.int64], sets: Sets) -> NDArray[np.int64]:
    """The sets of rules that do not count, which ends are distinguished by as well."""
    filled = np.diff(sets.start) > 0
    table = table[table[:, ACTION] == UNCOUNTED]
    return table[filled[table[:, SUBJECT]] & filled[table[:, PEER]]][:, [SUBJECT, PEER]].ravel()


class RowMaker:
    """Makes the rows of one plane, in evaluation order."""

    def __init__(
        self,
        base: Base,
        lists: dict[PortList | None, int],
        profile: Profile,
    ) -> None:
        self._base = base
        self._lists = lists
        self._profile = profile
        self._rows: list[Row] = []
        self._ranks: Sequence[int] = ()
        # The node of each position, once it is asked for.
        self._node_at: NDArray[np.int32] | None = None
        self.derived = Derived(first=base.sets.start.size - 1)

    def make(self, questions: Questions) -> tuple[Rows, int, Sets]:
        """The rows that apply to any end, how many of them are ingress, and the sets that they
        number."""
        table, sets = self.table(questions)
        return (*rows_of(table, sets), sets)

    def table(self, questions: Questions) -> tuple[NDArray[np.int64], Sets]:
        """All rows, (rows, 8) with the columns of ``Row``, and the sets that they number."""
        self._ranks = questions.ranks
        subjects, peers = self._base.subjects, self._base.peers
        for draft in questions.drafts:
            if draft.others or draft.within >= 0:
                self._add_with_others(draft)
            else:
                selected = tuple([peers[index] for index in draft.selectors])
                self._add_part(draft, subjects[draft.subject], selected)
        self._add_isolation(questions)
        sets = self.derived.make(self._base.sets, self._base.words)
        # Flat and by column: sorting and converting tuples takes longer than making them.
        flat = np.fromiter(chain.from_iterable(self._rows), np.int64, 8 * len(self._rows))
        table = flat.reshape(-1, 8)
        return table[np.lexsort(table.T[::-1])], sets

    def _add(self, draft: LoweredRule, subject: int, peer: int, ports: PortList | None) -> None:
        number = self._lists.setdefault(ports, len(self._lists))
        rule = draft.rule
        order = self._ranks[rule] if self._ranks else rule
        action = draft.action if draft.counts else UNCOUNTED
        self._rows.append((draft.direction, draft.tier, order, subject, peer, number, action, rule))

    def _add_with_others(self, draft: LoweredRule) -> None:
        base = self._base
        subject = base.subjects[draft.subject]
        selected = tuple([base.peers[index] for index in draft.selectors])
        if draft.within >= 0:
            # Which pods are in it does not depend on where they run.
            subject = self.derived.of((subject,), base.others[draft.within][ANY_NODE])
        others = [base.others[index] for index in draft.others]
        if all(ANY_NODE in by_node for by_node in others):
            ends = tuple([by_node[ANY_NODE] for by_node in others])
            self._add_part(draft, subject, selected + ends)
            return
        for node in self._nodes_of(subject):
            pods = base.on_node[node]
            ends = tuple([by_node.get(node, by_node.get(ANY_NODE, EMPTY)) for by_node in others])
            self._add_part(draft, self.derived.of((subject,), pods), selected + ends)

    def _nodes_of(self, subject: int) -> Iterable[int]:
        """The nodes that pods of a set run on; all nodes where the set is still to be made. Of a
        thousand nodes a rule is mostly about a few."""
        base = self._base
        if subject >= base.sets.start.size - 1:
            return base.on_node
        if self._node_at is None:
            self._node_at = np.full(base.words * 64, len(base.on_node), np.int32)
            for place, pods in enumerate(base.on_node.values()):
                self._node_at[members(base.sets, pods)] = place
        nodes = list(base.on_node)
        found = np.unique(self._node_at[members(base.sets, subject)]).tolist()
        return [nodes[place] for place in found if place < len(nodes)]

    def _add_part(self, draft: LoweredRule, subject: int, selected: tuple[int, ...]) -> None:
        """The rows of a rule for some of its subjects. ``selected`` are the sets of its peers, but
        for blocks."""
        base = self._base
        union = (ALL,) if draft.anyone else selected
        if draft.blocks:
            union += tuple([base.blocks[block] for block in draft.blocks])
        if not union:
            return
        peer = self.derived.of(union)
        held: dict[int, list[int]] = {}  # by place, the ends for which no name excludes it
        for name in draft.excluded_names:
            for number, others in base.unnamed.get(name, ()):
                held.setdefault(place(name.protocol, number), []).append(others)
        ports = draft.ports
        if ports and held:
            ports = without(ports, joined((at, at + 1) for at in held))
            for at, ends in held.items():
                if any(low <= at < high for low, high in draft.ports or ()):
                    self._add_held(draft, subject, peer, at, ends)
        if ports is None or ports:
            self._add(draft, subject, peer, ports)
        reached = union
        if draft.direction is Direction.EGRESS and not draft.anyone:
            reached = union if self._profile.named_port_through_ipblock else selected
        for port in draft.named:
            for number, holders in base.named.get(port, ()):
                at = place(port.protocol, number)
                if any(low <= at < high for low, high in draft.excluded):
                    continue
                ends = held.get(at, [])
                if draft.direction is Direction.INGRESS:
                    self._add_held(draft, self.derived.of((subject,), holders), peer, at, ends)
                elif reached:
                    self._add_held(draft, subject, self.derived.of(reached, holders), at, ends)

    def _add_held(
        self, draft: LoweredRule, subject: int, peer: int, at: int, ends: Iterable[int]
    ) -> None:
        """The row of a rule for one place of ports, for destinations in all of some sets."""
        for some in ends:
            if draft.direction is Direction.INGRESS:
                subject = self.derived.of((subject,), some)
            else:
                peer = self.derived.of((peer,), some)
        self._add(draft, subject, peer, ((at, at + 1),))

    def _add_isolation(self, questions: Questions) -> None:
        """Deny behind the rules of each tier; and, where the NetworkPolicies of a CNI let ICMP
        through, Allow in front of the rules of their tier."""
        for (tier, direction), subjects in questions.isolated.items():
            denied = self._union_of(subjects)
            self._rows.append(
                (direction, tier, LAST, denied, ALL, 0, Action.DENY, Reason.NO_RULE_MATCHES)
            )
        if self._profile.icmp == "always":
            ports = self._lists.setdefault(ALL_ICMP, len(self._lists))
            tier = questions.network_tier
            for direction, subjects_of in questions.network_subjects.items():
                subject = self._union_of(subjects_of)
                self._rows.append(
                    (direction, tier, -1, subject, ALL, ports, Action.ALLOW, Reason.ALWAYS_ICMP)
                )

    def _union_of(self, subjects: Iterable[int]) -> int:
        return self.derived.of(
            tuple(sorted({self._base.subjects[subject] for subject in subjects}))
        )
