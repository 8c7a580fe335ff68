"""Connections of flow logs in groups that people can read, with what decides each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.attribution import TrafficEnd
from kubeverdict.analyses.decisions import Decider, Decision, between
from kubeverdict.analyses.ends import Party, pod_party
from kubeverdict.analyses.judged_traffic import JudgedTraffic, at_least
from kubeverdict.analyses.questions import Flow
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol

# So many groups of connections are listed, the largest, and for so many of them the nearest miss
# is looked for.
LISTED = 10_000
EXPLAINED = 200
# What is counted in a signed word.
_LARGEST = (1 << 63) - 1


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
    """Connections that are alike, in both bounds where rules are conditional, added up over
    batches; the largest of each batch. ``left_out`` counts the groups beyond those."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        self._compiled = compiled
        self._counts: dict[tuple[object, ...], list[int]] = {}
        self._examples: dict[tuple[object, ...], tuple[TrafficEnd, TrafficEnd]] = {}
        self.left_out = 0

    def add(
        self,
        part: JudgedTraffic,
        weight: NDArray[np.int64],
        before: NDArray[np.bool_] | None = None,
    ) -> None:
        """All rows of ``part``, each with its number of records. Ends outside are put together as
        the policies do. ``before``: what other policies said."""
        traffic, bounds = part.traffic, [part.verdicts]
        if not len(traffic):
            return
        if self._compiled.least:
            bounds.append(at_least(self._compiled, part).verdicts)
        kinds = _kinds(traffic.ends)
        first_outside = int(kinds.max(initial=0)) + 1
        before_code = np.zeros(len(traffic), np.int8) if before is None else before.astype(np.int8)
        columns = (
            np.where(
                kinds[traffic.source] >= 0, kinds[traffic.source], first_outside + part.source
            ),
            np.where(
                kinds[traffic.destination] >= 0,
                kinds[traffic.destination],
                first_outside + part.destination,
            ),
            *(traffic.protocol, traffic.port, before_code),
            *(one.egress for one in bounds),
            *(one.ingress for one in bounds),
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
            if key not in self._counts and len(self._counts) >= LISTED:
                self.left_out += 1
                continue
            count = self._counts.setdefault(key, [0, 0])
            count[0] += int(records[number])
            count[1] += int(connections[number])
            self._examples.setdefault(key, (source, destination))

    def explained(self, proposed: bool = False) -> Iterator[FlowGroup]:
        """The largest first; ``proposed``: with what was said before."""
        compiled = self._compiled
        deciders = [Decider(bound) for bound in (compiled, *compiled.least)]

        def decision(
            decided: Sequence[int], direction: Direction, flow: Flow, misses: bool
        ) -> Decision:
            bounds = [
                _decision(decider, one, direction, flow, misses)
                for decider, one in zip(deciders, decided, strict=True)
            ]
            return between(*bounds) if len(bounds) > 1 else bounds[0]

        order = sorted(self._counts.items(), key=lambda item: -item[1][0])
        for place, (key, (records, connections)) in enumerate(order):
            source, destination = self._examples[key]
            protocol, port, before, *decided = (int(str(value)) for value in key[2:])
            parties = [_party(compiled, end) for end in (source, destination)]
            flow = Flow(parties[0], parties[1], Protocol(protocol), port)
            egress, ingress = decided[: len(deciders)], decided[len(deciders) :]
            misses = place < EXPLAINED
            yield FlowGroup(
                source_workload=_group_name(source),
                destination_workload=_group_name(destination),
                port=port_text(Protocol(protocol), port),
                records=records,
                connections=connections,
                source=source.name,
                destination=destination.name,
                egress=decision(egress, Direction.EGRESS, flow, misses),
                ingress=decision(ingress, Direction.INGRESS, flow, misses),
                before=bool(before) if proposed else None,
            )


def grouped(compiled: CompiledPolicy, part: JudgedTraffic) -> Iterator[FlowGroup]:
    """Connections that were seen, in groups, the largest first."""
    groups = FlowGroups(compiled)
    groups.add(part, part.traffic.observed)
    return groups.explained()


def _numbered(columns: Iterable[NDArray[Any]]) -> NDArray[np.int64]:
    """One number for each distinct row of equally long columns, in the order of the rows."""
    found: NDArray[np.int64] = np.zeros(1, np.int64)
    count = 1
    for column in columns:
        low = int(column.min())
        width = int(column.max()) - low + 1
        if count * width > _LARGEST:
            distinct, inverse = np.unique(found, return_inverse=True)
            found, count = inverse.astype(np.int64), distinct.size
        found = found * width + (column.astype(np.int64) - low)
        count *= width
    _, inverse = np.unique(found, return_inverse=True)
    return inverse.astype(np.int64)


def _kinds(ends: Sequence[TrafficEnd]) -> NDArray[np.int64]:
    """A number for the workload of each end, -1 for addresses."""
    numbers: dict[object, int] = {}
    return np.array(
        [numbers.setdefault(end.pod.workload, len(numbers)) if end.pod else -1 for end in ends],
        np.int64,
    )


def _label(end: TrafficEnd, number: int) -> object:
    return end.pod.workload if end.pod is not None else number


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
