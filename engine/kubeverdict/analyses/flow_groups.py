"""Connections of flow logs in groups that people can read, with what decides each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.attribution import TrafficEnd
from kubeverdict.analyses.decisions import Decider, Decision, between
from kubeverdict.analyses.ends import Party, pod_party
from kubeverdict.analyses.judged_traffic import JudgedTraffic
from kubeverdict.analyses.questions import Flow
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.evaluate.flows import Verdicts
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol

# So many groups of connections are listed, the largest, and for so many of them the nearest miss
# is looked for.
LISTED = 10_000
EXPLAINED = 200


class FlowGroup(msgspec.Struct, frozen=True):
    """Connections between the same two workloads (or an address) on one port, decided alike.

    ``records`` and ``connections`` count them as the log does and distinct ones; ``source`` and
    ``destination`` are one of them. ``before``: what the present policies said where others were
    proposed.
    """

    source_workload: str
    destination_workload: str
    port: str
    records: int
    connections: int
    source: str
    destination: str
    egress: Decision
    ingress: Decision
    before: bool | None = None


class FlowGroups:
    """Connections that are alike, added up over batches; the largest of each batch. ``left_out``
    counts the groups beyond those."""

    def __init__(self) -> None:
        self.counts: dict[tuple[object, ...], list[int]] = {}
        self.examples: dict[tuple[object, ...], tuple[TrafficEnd, TrafficEnd]] = {}
        self.left_out = 0

    def add(
        self,
        part: JudgedTraffic,
        weight: NDArray[np.int64],
        before: NDArray[np.bool_] | None = None,
    ) -> None:
        """All rows of ``part``. Ends outside are put together as the policies do."""
        traffic, verdicts = part.traffic, part.verdicts
        if not len(traffic):
            return
        kinds = _kinds(traffic.ends)
        first_outside = int(kinds.max(initial=0)) + 1
        told = np.zeros(len(traffic), np.int8) if before is None else before.astype(np.int8)
        columns = (
            np.where(
                kinds[traffic.source] >= 0, kinds[traffic.source], first_outside + part.source
            ),
            np.where(
                kinds[traffic.destination] >= 0,
                kinds[traffic.destination],
                first_outside + part.destination,
            ),
            *(traffic.protocol, traffic.port, verdicts.egress, verdicts.ingress, told),
        )
        group = _numbered(columns)
        first = np.zeros(int(group.max()) + 1, np.int64)
        first[group[::-1]] = np.arange(len(traffic))[::-1]
        connections = np.bincount(group)
        records = np.bincount(group, weight).astype(np.int64)
        order = np.argsort(-records, kind="stable")
        self.left_out += max(order.size - LISTED, 0)
        ends = traffic.ends
        for number in order[:LISTED].tolist():
            row = int(first[number])
            source, destination = ends[traffic.source[row]], ends[traffic.destination[row]]
            key = (
                _label(source, int(part.source[row])),
                _label(destination, int(part.destination[row])),
                *(int(column[row]) for column in columns[2:]),
            )
            if key not in self.counts and len(self.counts) >= LISTED:
                self.left_out += 1
                continue
            count = self.counts.setdefault(key, [0, 0])
            count[0] += int(records[number])
            count[1] += int(connections[number])
            self.examples.setdefault(key, (source, destination))


def _numbered(columns: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """One number for each distinct row of equally long columns."""
    found: NDArray[np.int64] | None = None
    for column in columns:
        _, inverse = np.unique(column, return_inverse=True)
        if found is not None:
            joined = found * (int(inverse.max()) + 1) + inverse
            _, inverse = np.unique(joined, return_inverse=True)
        found = inverse.astype(np.int64)
    assert found is not None
    return found


def _kinds(ends: Sequence[TrafficEnd]) -> NDArray[np.int64]:
    """A number for the workload of each end, -1 for addresses."""
    numbers: dict[object, int] = {}
    return np.array(
        [numbers.setdefault(end.pod.workload, len(numbers)) if end.pod else -1 for end in ends],
        np.int64,
    )


def _label(end: TrafficEnd, number: int) -> object:
    return end.pod.workload if end.pod is not None else number


def grouped(compiled: CompiledPolicy, part: JudgedTraffic) -> Iterator[FlowGroup]:
    """Connections that were seen, in groups, the largest first."""
    groups = FlowGroups()
    groups.add(part, part.traffic.observed)
    return explained(compiled, groups, False)


def grouped_between(
    compiled: CompiledPolicy, most: JudgedTraffic, least: JudgedTraffic
) -> Iterator[FlowGroup]:
    """The same of connections in both bounds, which may depend on conditions."""
    pairs = [
        np.unique(np.stack((high, low)), axis=1, return_inverse=True)
        for high, low in (
            (most.verdicts.egress, least.verdicts.egress),
            (most.verdicts.ingress, least.verdicts.ingress),
        )
    ]
    # Alike is what is decided alike in both: pairs take the place of what decided.
    egress, ingress = (place.ravel().astype(np.int32) for _, place in pairs)
    groups = FlowGroups()
    numbered = most._replace(verdicts=Verdicts(most.verdicts.allowed, egress, ingress))
    groups.add(numbered, most.traffic.observed)
    deciders = [Decider(bound) for bound in (compiled, *compiled.least)]

    def decide(pair: int, direction: Direction, flow: Flow, misses: bool) -> Decision:
        table = pairs[0 if direction is Direction.EGRESS else 1][0]
        return between(
            *(
                _decision(decider, int(decided), direction, flow, misses)
                for decider, decided in zip(deciders, table[:, pair], strict=True)
            )
        )

    return _explained(compiled, groups, False, decide)


def explained(compiled: CompiledPolicy, groups: FlowGroups, proposed: bool) -> Iterator[FlowGroup]:
    """The largest first."""
    return _explained(compiled, groups, proposed, partial(_decision, Decider(compiled)))


def _explained(
    compiled: CompiledPolicy,
    groups: FlowGroups,
    proposed: bool,
    decide: Callable[[int, Direction, Flow, bool], Decision],
) -> Iterator[FlowGroup]:
    order = sorted(groups.counts.items(), key=lambda item: -item[1][0])
    for place, (key, (records, connections)) in enumerate(order):
        source, destination = groups.examples[key]
        protocol, port, egress, ingress, before = (int(str(value)) for value in key[2:])
        parties = [_party(compiled, end) for end in (source, destination)]
        flow = Flow(parties[0], parties[1], Protocol(protocol), port)
        misses = place < EXPLAINED
        yield FlowGroup(
            source_workload=_group_name(source),
            destination_workload=_group_name(destination),
            port=port_text(Protocol(protocol), port),
            records=records,
            connections=connections,
            source=source.name,
            destination=destination.name,
            egress=decide(egress, Direction.EGRESS, flow, misses),
            ingress=decide(ingress, Direction.INGRESS, flow, misses),
            before=bool(before) if proposed else None,
        )


def _party(compiled: CompiledPolicy, end: TrafficEnd) -> Party:
    if end.pod is not None:
        number = compiled.pod_ids.get((end.pod.namespace, end.pod.name))
        return pod_party(compiled, compiled.pods[number] if number is not None else end.pod)
    address = parse_address(end.address)
    assert address is not None
    return Party(end.address, (address,))


def _decision(
    decider: Decider, decided: int, direction: Direction, flow: Flow, misses: bool
) -> Decision:
    if decided == Reason.NO_ADDRESS:
        return Decision(False, "no-address")
    return decider.decision(decided, direction, flow, misses)


def _group_name(end: TrafficEnd) -> str:
    return str(end.pod.workload) if end.pod is not None else end.address


def port_text(protocol: Protocol, port: int) -> str:
    return f"{port}/{protocol.name}" if protocol.has_ports else protocol.name
