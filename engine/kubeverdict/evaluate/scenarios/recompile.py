"""The outcome of a scenario from two clusters compiled as a whole: the slow way, for any change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Reason, RuleRef
from kubeverdict.evaluate.aligned import Joint
from kubeverdict.evaluate.changed_rows import DeltaCounts, DeltaRow
from kubeverdict.evaluate.delta import Delta, delta
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.scenarios.outcome import Example, Focus, Judged, Outcome
from kubeverdict.evaluate.scenarios.results import between, judged
from kubeverdict.model.address_text import address_text
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Pod
from kubeverdict.model.ports import Protocol

_PROTOCOL = 65536


class _Sample(NamedTuple):
    """A connection that changed, as joint ends, and the pod pairs that it stands for."""

    pairs: int
    opens: bool
    source: int
    destination: int
    place: int
    family: Family | None


def outcome(
    name: str, old: CompiledPolicy, new: CompiledPolicy, focus: Focus, examples: int
) -> Outcome:
    """The changes from ``old`` to ``new`` that are in ``focus``: where rules of either are
    conditional in both bounds."""
    most, least = ((old.bound(part), new.bound(part)) for part in (False, True))
    if not old.least and not new.least:
        return _Whole(delta(*most), focus, examples).outcome(name)
    return between(
        _Whole(delta(*most), focus, examples, least).outcome(name),
        _Whole(delta(*least), focus, examples, most).outcome(name),
    )


class _Whole:
    def __init__(
        self, change: Delta, focus: Focus, examples: int, other: Sequence[CompiledPolicy] = ()
    ) -> None:
        """``other`` are the old and the new version in the other bound, where there is one."""
        self._change = change
        bounds = [(change.old, change.new), *([other] if other else [])]
        self._versions = tuple(zip(*bounds, strict=True))
        self._most = not (change.old.at_least or change.new.at_least)
        self._focus = focus
        self._kept = examples
        known = {(pod.namespace, pod.name): pod for pod in (*change.old.pods, *change.new.pods)}
        keys = dict.fromkeys((*change.old.pod_ids, *change.new.pod_ids))
        self._pods = [known[key] for key in keys]
        self._in_focus = np.array(
            [not focus.namespaces or pod.namespace in focus.namespaces for pod in self._pods],
            np.bool_,
        )
        self._touched: set[int] = set()
        self._outside = [False, False]  # closed, opened
        self._samples: list[_Sample] = []

    def outcome(self, name: str) -> Outcome:
        counts = tuple(self._count(plane) for plane in self._change.planes)
        workloads = {self._pods[pod].workload for pod in self._touched}
        best: list[Example] = []
        for opens in (True, False):
            found = [sample for sample in self._samples if sample.opens is opens]
            shown = map(self._example, sorted(found, key=lambda sample: -sample.pairs))
            best += islice(filter(_is_by_rules, shown), self._kept)
        return Outcome(
            name=name,
            counts=counts,
            workloads=len(workloads),
            namespaces=len({ref.namespace for ref in workloads}),
            outside_opened=self._outside[True],
            outside_closed=self._outside[False],
            examples=tuple(best),
            recompiled=True,
        )

    def _count(self, plane: Joint) -> DeltaCounts:
        totals = np.zeros((2, 2), np.int64)  # closed and opened; pairs and ports
        weight = plane.ports.weight.copy()
        if self._focus.port is not None:
            protocol, port = self._focus.port
            atom = plane.ports.table[protocol * _PROTOCOL + port]
            weight[:] = 0
            weight[atom] = 1
        members = _Members(plane)
        for row in self._change.rows(plane):
            for opens, atoms in (
                (True, row.after & ~row.before),
                (False, row.before & ~row.after),
            ):
                ports = int(weight[atoms].sum())
                if not ports:
                    continue
                pairs, outside = self._pairs(plane, members, row)
                if not pairs and not outside:
                    continue
                totals[int(opens)] += pairs, pairs * ports
                self._outside[opens] |= outside
                place = self._place(plane, np.flatnonzero(atoms & (weight > 0))[0])
                self._sample(plane, members, row, opens, place, pairs)
        (closed, ports_closed), (opened, ports_opened) = totals.tolist()
        return DeltaCounts(plane.families, opened, closed, ports_opened, ports_closed)

    def _pairs(self, plane: Joint, members: _Members, row: DeltaRow) -> tuple[int, bool]:
        """Pod pairs of a row with an end in focus, and whether an end is outside; what they
        touch is noted."""
        pods: list[NDArray[np.int64]] = []
        outside: list[bool] = []
        for identities in (row.sources, row.destinations):
            pods.append(members.ends(identities[identities < plane.pods]))
            outside.append(bool((identities >= plane.external).any()))
        sources, destinations = pods
        in_focus = [self._in_focus[part] for part in pods]
        both = np.intersect1d(sources, destinations, assume_unique=True)
        pairs = sources.size * destinations.size - both.size
        pairs -= int((~in_focus[0]).sum()) * int((~in_focus[1]).sum())
        pairs += int((~self._in_focus[both]).sum())
        some_outside = False
        for here, own in enumerate(pods):
            other = pods[1 - here]
            # A pod is touched where the other end is another pod, or outside.
            others = other.size - np.isin(own, other)
            counted = np.where(in_focus[here], others > 0, in_focus[1 - here].any())
            self._touched.update(own[counted].tolist())
            if outside[1 - here] and in_focus[here].any():
                some_outside = True
                self._touched.update(own[in_focus[here]].tolist())
        return pairs, some_outside

    def _place(self, plane: Joint, atom: np.intp) -> int:
        first = int(plane.ports.first[atom])
        if self._focus.port is not None:
            protocol, port = self._focus.port
            return protocol * _PROTOCOL + port
        return first

    def _sample(
        self,
        plane: Joint,
        members: _Members,
        row: DeltaRow,
        opens: bool,
        place: int,
        pairs: int,
    ) -> None:
        if not self._kept:
            return
        sources, destinations = (
            self._candidates(members, identities) for identities in (row.sources, row.destinations)
        )
        family = plane.families[0] if len(self._change.planes) > 1 else None
        for source in sources:
            for destination in destinations:
                focused = self._is_focused(source) or self._is_focused(destination)
                if source != destination and focused:
                    self._samples.append(_Sample(pairs, opens, source, destination, place, family))
                    return

    def _candidates(self, members: _Members, identities: NDArray[np.int64]) -> list[int]:
        """A few ends of some identities, those in focus first and nodes last: a pod and its own
        node may connect whatever the rules say."""
        hosts = range(len(self._pods), len(self._pods) + len(self._change.ends.hosts))
        ends = sorted(members.ends(identities).tolist(), key=lambda end: (end in hosts, end))
        focused = [end for end in ends if self._is_focused(end)]
        return [*focused[:2], *ends[:2]]

    def _is_focused(self, end: int) -> bool:
        return end < len(self._pods) and bool(self._in_focus[end])

    def _example(self, sample: _Sample) -> Example:
        protocol, port = divmod(sample.place, _PROTOCOL)
        ends = self._change.ends
        before, after = (
            self._judged(bounds, own, sample)
            for bounds, own in zip(self._versions, (ends.old, ends.new), strict=True)
        )
        return Example(
            opens=sample.opens,
            source=self._end(sample.source),
            destination=self._end(sample.destination),
            protocol=Protocol(protocol),
            port=port,
            family=sample.family,
            before=before,
            after=after,
        )

    def _end(self, end: int) -> Pod | str:
        ends = self._change.ends
        if end < len(self._pods):
            return self._pods[end]
        if end < len(self._pods) + len(ends.hosts):
            return ends.hosts[end - len(self._pods)]
        family, first, last = ends.intervals[end - len(self._pods) - len(ends.hosts)]
        return address_text(family, [(first, last)])

    def _judged(
        self, bounds: Sequence[CompiledPolicy], ends: NDArray[np.int64], sample: _Sample
    ) -> Judged | None:
        source, destination = ends[sample.source], ends[sample.destination]
        if source < 0 or destination < 0:
            return None
        protocol, port = divmod(sample.place, _PROTOCOL)
        flow = [source], [destination], [protocol], [port]
        verdicts = [judge(compiled, *flow, family=sample.family) for compiled in bounds]
        own, other = (
            [
                _decision(bounds[0], int(part[0]))
                for one in some
                for part in (one.egress, one.ingress)
            ]
            for some in (verdicts[:1], verdicts[1:])
        )
        return judged(bool(verdicts[0].allowed[0]), own, other, self._most)


def _is_by_rules(example: Example) -> bool:
    """Whether rules decide an example: a pod and its own node may connect whatever they say."""
    before, after = example.before, example.after
    return (before is not None and before.allowed) != (after is not None and after.allowed)


class _Members:
    """Joint ends by joint identity."""

    def __init__(self, plane: Joint) -> None:
        self._order = np.argsort(plane.identity, kind="stable")
        self._start = np.searchsorted(plane.identity[self._order], np.arange(plane.size + 1))

    def ends(self, identities: NDArray[np.int64]) -> NDArray[np.int64]:
        parts = [self._of(identity) for identity in identities.tolist()]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def _of(self, identity: int) -> NDArray[np.int64]:
        return self._order[self._start[identity] : self._start[identity + 1]]


def _decision(compiled: CompiledPolicy, decided: int) -> RuleRef | Reason:
    return compiled.rules[decided] if decided >= 0 else Reason(decided)
