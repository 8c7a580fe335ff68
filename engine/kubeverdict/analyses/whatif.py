"""What a change of policy opens and closes, and which rules do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.cells import CellRow, Cells, Intervals, gather
from kubeverdict.analyses.effects import CLOSED, OPENED, Effect, findings_of, length
from kubeverdict.analyses.external import External, families_in_use
from kubeverdict.analyses.findings import Check, Finding
from kubeverdict.analyses.joint_ends import JointAddresses, JointPods
from kubeverdict.analyses.links import Fans, GroupKinds
from kubeverdict.analyses.outside import outside
from kubeverdict.analyses.peers import Peer, group_pods
from kubeverdict.analyses.port_text import PortTexts
from kubeverdict.analyses.samples import SampleFlow, decided, deciders, on_one_node
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.sequences import changed
from kubeverdict.evaluate.aligned import Joint
from kubeverdict.evaluate.bounds import conditions, judge_bounds
from kubeverdict.evaluate.changed_rows import DeltaRow
from kubeverdict.evaluate.delta import Delta, delta
from kubeverdict.evaluate.pairs import known_pairs
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import policy_key
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.policy import says_the_same
from kubeverdict.model.unevaluated import Unevaluated, merged

# A rule that passes connections on to another tier may decide nothing itself.
_UNNAMED = "the condition of a rule that passes it on"
_FAMILIES: dict[str, Family | None] = {"": None, "IPv4": 4, "IPv6": 6}


class PairTotals(msgspec.Struct, frozen=True):
    """Ordered pairs of different pods, over ``families``. ``before`` and ``after`` count those
    that connect on some port, ``opened`` those that gain a port, ``closed`` those that lose one.
    """

    families: tuple[Family, ...]
    before: int
    after: int
    opened: int
    closed: int


class WhatIf(msgspec.Struct, frozen=True):
    """The report. ``pairs`` has one entry, or one for each family where they are distinguished.
    ``changed`` are the policies that come, go or say something else, by kind and name.

    Implements :class:`kubeverdict.analyses.findings.Checked`, for the formats of CI systems.
    """

    profile: str
    opened: tuple[Effect, ...]
    closed: tuple[Effect, ...]
    pairs: tuple[PairTotals, ...]
    unevaluated: tuple[Unevaluated, ...] = ()
    changed: frozenset[tuple[str, str]] = frozenset()

    @property
    def verb(self) -> str:
        return "whatif"

    @property
    def checks(self) -> tuple[Check, ...]:
        return OPENED, CLOSED

    @property
    def findings(self) -> tuple[Finding, ...]:
        return findings_of(self.opened, self.closed, self.changed)


def whatif(old: CompiledPolicy, new: CompiledPolicy) -> WhatIf:
    """How the connections of ``old`` change in ``new``.

    Pods match by namespace and name, so this is for two states of one cluster;
    :mod:`kubeverdict.analyses.differences` compares clusters whose pods have other names.
    """
    with collector_paused():
        opened, closed, pairs = _effects(old, new)
        return WhatIf(
            new.profile.name,
            opened=tuple(opened),
            closed=tuple(closed),
            pairs=pairs,
            unevaluated=merged(old.unevaluated, new.unevaluated),
            changed=_changed(old.cluster, new.cluster),
        )


class Opening(NamedTuple):
    """What a change opens and closes, for readers of a part of it: the rules behind an effect are
    looked up when it is read, and both versions are held until then."""

    opened: Sequence[Effect]
    closed: Sequence[Effect]
    pairs: tuple[PairTotals, ...]


def opening(old: CompiledPolicy, new: CompiledPolicy) -> Opening:
    """As :func:`whatif`, at a cost that depends little on how many effects there are."""
    with collector_paused():
        return _effects(old, new)


class Shortest(NamedTuple):
    """Effects that come whatever conditions rules have: ``found`` in all, and of those that the
    same rules decide the one that takes the fewest words, the shortest of all first."""

    effects: list[Effect]
    found: int


def shortest(old: CompiledPolicy, new: CompiledPolicy) -> Shortest:
    """As :func:`whatif`, for examples alone: rules are looked up for these only."""
    with collector_paused():
        change = delta(old, new)
        if old.least or new.least:
            both = _Bounds(change)
            writer, drafts = both.writers[0], both.certain
        else:
            writer = _Writer(change, _port_texts(change))
            drafts = list(writer.drafts())
        return Shortest(writer.effects(writer.shortest(drafts)), len(drafts))


def _effects(old: CompiledPolicy, new: CompiledPolicy) -> Opening:
    change = delta(old, new)
    sides: list[Sequence[Effect]] = []
    if old.least or new.least:
        effects = _Bounds(change).effects()
        for opens in (True, False):
            sides.append([effect for draft, effect in effects if draft.opens is opens])
    else:
        writer = _Writer(change, _port_texts(change))
        drafts = list(writer.drafts())
        for opens in (True, False):
            sides.append(_Effects(writer, [draft for draft in drafts if draft.opens is opens]))
    return Opening(sides[0], sides[1], _totals(change))


def _changed(old: Cluster, new: Cluster) -> frozenset[tuple[str, str]]:
    """The policies that one of two clusters has and the other has not, or not with this content."""
    part = changed(old.policies, new.policies)
    spans = slice(part.start, part.before), slice(part.start, part.after)
    sides = [
        {policy_key(one): one for one in side.policies[span]}
        for side, span in zip((old, new), spans, strict=True)
    ]
    return frozenset(
        (policy.kind, str(policy))
        for side, other in (sides, sides[::-1])
        for key, policy in side.items()
        if key not in other or not says_the_same(policy, other[key])
    )


class _Bounds:
    """What changes where rules have conditions: in what is allowed at most, and at least.

    ``certain`` comes in both bounds, ``alone`` in one or the other. Where not the same pods of two
    workloads are concerned in both, it is all of one.
    """

    def __init__(self, change: Delta) -> None:
        self._versions = change.old, change.new
        least = delta(*((*one.least, one)[0] for one in self._versions))
        texts = _port_texts(change, least)
        self.writers = [_Writer(bound, texts) for bound in (change, least)]
        by_bound = [{draft.key: draft for draft in writer.drafts()} for writer in self.writers]
        self.certain: list[_Draft] = []
        self.alone: tuple[list[_Draft], list[_Draft]] = ([], [])
        for key in dict.fromkeys((*by_bound[0], *by_bound[1])):
            drafts = [bound.get(key) for bound in by_bound]
            most, other = (draft.ports if draft else 0 for draft in drafts)
            both = texts.less(most, texts.less(most, other))
            for draft, found, ports in (
                (drafts[0], self.certain, both),
                (drafts[0], self.alone[0], texts.less(most, both)),
                (drafts[1], self.alone[1], texts.less(other, both)),
            ):
                if draft and ports:
                    found.append(msgspec.structs.replace(draft, ports=ports))

    def effects(self) -> list[tuple[_Draft, Effect]]:
        """The effects that come in both bounds, and those of one alone with their conditions."""
        certain = self.writers[0].effects(self.certain)
        made = [*zip(self.certain, certain, strict=True)]
        for writer, several in zip(self.writers, self.alone, strict=True):
            for draft, effect in zip(several, writer.effects(several), strict=True):
                depends = writer.conditions(draft, self._versions)
                made.append((draft, msgspec.structs.replace(effect, conditions=depends)))
        made.sort(key=lambda one: (one[0].source.order, one[0].destination.order, one[0].family))
        return made


def _port_texts(*changes: Delta) -> PortTexts:
    """Sets of ports, cut as finely as any of ``changes``."""
    edges = np.unique(np.concatenate([change.planes[0].ports.first for change in changes]))
    return PortTexts(edges, without_icmp=changes[0].new.profile.icmp == "always")


def _totals(change: Delta) -> tuple[PairTotals, ...]:
    def pairs(compiled: CompiledPolicy, families: tuple[Family, ...]) -> int:
        counted = known_pairs(compiled)
        return max((one.pairs for one in counted if set(families) & set(one.families)), default=0)

    return tuple(
        PairTotals(
            one.families,
            pairs(change.old, one.families),
            pairs(change.new, one.families),
            one.pairs_opened,
            one.pairs_closed,
        )
        for one in change.counts
    )


class _Draft(msgspec.Struct, frozen=True):
    """An effect before its rules are looked up."""

    source: Peer
    destination: Peer
    family: str
    opens: bool
    ports: int

    @property
    def key(self) -> tuple[object, ...]:
        """What it is known by in another bound."""
        return self.source.name, self.destination.name, self.family, self.opens


class _Writer:
    """Turns the changed rows into effects; holds what is looked up along the way."""

    def __init__(self, change: Delta, texts: PortTexts) -> None:
        self._change = change
        self._texts = texts
        first = change.planes[0].ports.first
        # The atom of the change that each atom of the texts is a part of.
        self._atoms = np.searchsorted(first, texts.edges[:-1], side="right") - 1
        # A value of a cell stands for ports before and after, from 1 on; 0 for no difference.
        self._values: dict[tuple[int, int], int] = {}
        self._rows = [list(change.rows(plane)) for plane in change.planes]
        self._pods = JointPods(change)
        concerned = self._concerned()
        groups = group_pods(
            [self._pods[end] for end in concerned],
            [plane.identity[concerned].tolist() for plane in change.planes],
        )
        self._kinds = GroupKinds(groups)
        self._groups = {group.peer.whole: group for group in groups}
        self._members: dict[str, Sequence[str]] = {}  # the pods of those that were asked for

    @cached_property
    def _addresses(self) -> JointAddresses:
        return JointAddresses(self._change)

    def _concerned(self) -> list[int]:
        """The pods of workloads of which any pod gains or loses a connection: few, mostly."""
        pods = self._change.ends.pods
        found = np.zeros(pods, np.bool_)
        for plane, rows in zip(self._change.planes, self._rows, strict=True):
            changed = np.zeros(plane.size, np.bool_)
            for row in rows:
                changed[row.sources] = True
                changed[row.destinations] = True
            identity = plane.identity[:pods]
            found |= changed[identity] & (identity >= 0)
        return self._pods.alike(np.flatnonzero(found).tolist())

    def drafts(self) -> Iterator[_Draft]:
        """What opens and what closes; a connection may do both, on different ports."""
        planes = [
            self._cells(plane, rows, self._kinds.in_plane(number))
            for number, (plane, rows) in enumerate(
                zip(self._change.planes, self._rows, strict=True)
            )
        ]
        values = list(self._values)
        families = families_in_use(self._change.old.cluster, self._change.new.cluster)
        for fan in Fans(self._kinds, planes, External(planes, families), int):
            for target in fan.targets:
                before, after = values[target.value - 1]
                for opens, ports in (
                    (True, self._texts.less(after, before)),
                    (False, self._texts.less(before, after)),
                ):
                    if ports:
                        yield _Draft(fan.source, target.peer, target.family, opens, ports)

    def shortest(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        """Of those that the same rules decide before, and after, the one of the fewest words; the
        shortest of all first."""
        before, after = (
            deciders(compiled, self._samples(drafts, ends)) for compiled, ends in self._versions()
        )

        def key(place: int) -> tuple[int, str, str]:
            draft = drafts[place]
            return length(draft.source, draft.destination, self._texts.ports(draft.ports))

        found: dict[tuple[object, ...], _Draft] = {}
        for place in sorted(range(len(drafts)), key=key):
            found.setdefault((before[place], after[place]), drafts[place])
        return list(found.values())

    def effects(self, drafts: Sequence[_Draft]) -> list[Effect]:
        """The drafts with their rules, in their order: by source, then destination."""
        before, after = (
            decided(compiled, self._samples(drafts, ends)) for compiled, ends in self._versions()
        )
        return [
            Effect(
                draft.source,
                draft.destination,
                self._texts.ports(draft.ports),
                self._pairs(draft),
                was,
                now,
                draft.family,
            )
            for draft, was, now in zip(drafts, before, after, strict=True)
        ]

    def conditions(
        self, draft: _Draft, versions: tuple[CompiledPolicy, CompiledPolicy]
    ) -> tuple[str, ...]:
        """The conditions that the ends of a draft meet before and after, on all its ports."""
        found: dict[str, None] = {}
        ends = self._change.ends
        source, destination = self._sample(draft)
        places = self._texts.places(draft.ports)
        protocols, ports = zip(*places, strict=True)
        for compiled, of_version in zip(versions, (ends.old, ends.new), strict=True):
            if min(of_version[source], of_version[destination]) < 0:
                continue
            bounds = judge_bounds(
                compiled,
                np.full(len(places), of_version[source]),
                np.full(len(places), of_version[destination]),
                protocols,
                ports,
                family=_FAMILIES[draft.family],
            )
            for bound in (bounds.most, bounds.least):
                decided = np.concatenate((bound.egress, bound.ingress))
                found |= dict.fromkeys(conditions(compiled, np.unique(decided).tolist()))
        return tuple(found) or (_UNNAMED,)

    def _cells(self, plane: Joint, rows: Sequence[DeltaRow], kinds: list[list[int]]) -> Cells:
        by_destination: dict[int, list[DeltaRow]] = {}
        for row in rows:
            for identity in row.destinations.tolist():
                by_destination.setdefault(identity, []).append(row)

        def changed(identities: Sequence[int]) -> Iterator[CellRow]:
            for identity in identities:
                found = by_destination.get(identity, ())
                if found:
                    yield CellRow(
                        np.array([identity]),
                        [row.sources for row in found],
                        [self._value(row) for row in found],
                    )

        ends = self._change.ends
        if not any(row.touches(plane.external) for row in rows):
            nowhere = Intervals((), np.zeros(0, np.int64))
            return gather(changed, plane.size, plane.families, kinds, nowhere)
        identity = plane.identity[ends.pods :].tolist()
        hosts = zip(ends.hosts, identity, strict=False)
        space = (
            (interval, number)
            for interval, number in zip(ends.intervals, identity[len(ends.hosts) :], strict=True)
            if number >= 0
        )
        return gather(changed, plane.size, plane.families, kinds, outside(space, hosts))

    def _value(self, row: DeltaRow) -> int:
        key = (
            self._texts.number(row.before[self._atoms]),
            self._texts.number(row.after[self._atoms]),
        )
        if key[0] == key[1]:
            return 0
        return self._values.setdefault(key, len(self._values) + 1)

    def _names(self, peer: Peer) -> Sequence[str]:
        if peer.pods:
            return peer.pods
        if peer.whole not in self._members:
            self._members[peer.whole] = self._groups[peer.whole].pods
        return self._members[peer.whole]

    def _pairs(self, draft: _Draft) -> int:
        """Ordered pairs of different pods."""
        if not (draft.source.whole and draft.destination.whole):
            return 0
        sources, destinations = self._names(draft.source), self._names(draft.destination)
        pairs = len(sources) * len(destinations)
        if draft.source.whole == draft.destination.whole:
            pairs -= len({*sources} & {*destinations})
        return pairs

    def _sample(self, draft: _Draft) -> tuple[int, int]:
        """Joint ends between which it holds: the first that are not the same pod, nor, if there
        are others, a pod and its own node, which may connect whatever the rules say."""
        sources, destinations = map(list, map(self._ends, (draft.source, draft.destination)))
        pairs = (
            (source, destination)
            for source in sources
            for destination in destinations
            if source != destination
        )
        first = next(pairs)
        return next(
            (pair for pair in chain((first,), pairs) if not on_one_node(self._change, *pair)),
            first,
        )

    def _ends(self, peer: Peer) -> Iterator[int]:
        if peer.whole:
            for name in self._names(peer):
                yield self._pods.end(peer.namespace, name)
        else:
            yield self._addresses.end(peer.family, peer.spans[0][0])

    def _versions(self) -> tuple[tuple[CompiledPolicy, NDArray[np.int64]], ...]:
        """Both versions, each with its endpoint ids of joint ends."""
        change = self._change
        return (change.old, change.ends.old), (change.new, change.ends.new)

    def _samples(
        self, drafts: Sequence[_Draft], ends: NDArray[np.int64]
    ) -> list[SampleFlow | None]:
        """Of each draft the first port in one version; None where that lacks an end."""
        asked: list[SampleFlow | None] = []
        for draft in drafts:
            source, destination = (int(ends[end]) for end in self._sample(draft))
            known = source >= 0 and destination >= 0
            port = self._texts.first(draft.ports)
            family = _FAMILIES[draft.family]
            asked.append(SampleFlow(source, destination, *port, family) if known else None)
        return asked


class _Effects(Sequence[Effect]):
    """Effects whose rules are looked up each time that they are read."""

    def __init__(self, writer: _Writer, drafts: Sequence[_Draft]) -> None:
        self._writer = writer
        self._drafts = drafts

    def __len__(self) -> int:
        return len(self._drafts)

    def __iter__(self) -> Iterator[Effect]:
        return iter(self._read(self._drafts))

    @overload
    def __getitem__(self, index: int) -> Effect: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Effect]: ...
    def __getitem__(self, index: int | slice) -> Effect | Sequence[Effect]:
        if isinstance(index, slice):
            return self._read(self._drafts[index])
        return self._read([self._drafts[index]])[0]

    def _read(self, drafts: Sequence[_Draft]) -> list[Effect]:
        if not drafts:
            return []
        with collector_paused():
            return self._writer.effects(drafts)
