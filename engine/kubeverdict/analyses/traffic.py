"""Traffic: logged connections, each distinct one once, between ends of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol as Shape

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.attribution import Attribution, TrafficEnd
from kubeverdict.analyses.replies import RecordMeaning, UndirectedFlows, meanings
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import Problem, UsageError
from kubeverdict.evaluate.ends import address_ids, pod_id
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.flows import DIRECTED, FlowRecord, Seen
from kubeverdict.model.ports import Protocol
from kubeverdict.services import Backend, Client, ServiceResolver, Via

# Distinct connections that are held at once, unless they are wanted all together.
BATCH = 1_000_000
# Reports name so many of a kind.
NAMED = 5

NO_BACKEND = "connections to a Service port that leads nowhere"
NO_ENDPOINTS = "connections to a Service whose endpoints the input does not have"
UNCLEAR = "connections to a Service that is defined twice with different content"
DROPPED = "connections that the client's node drops: no backend there (internalTrafficPolicy Local)"
REPLY = "replies"
UNKNOWN_OPENER = "records that do not say which end opened the connection"
FROM_SERVICE = "connections from the address of a Service"

# A connection as one number: source, destination, protocol, port, what was seen.
_END_BITS, _PROTOCOL_BITS, _PORT_BITS, _SEEN_BITS = 21, 3, 16, 2
_MOST_ENDS = 1 << _END_BITS
_DESTINATION = _PROTOCOL_BITS + _PORT_BITS
_SOURCE = _DESTINATION + _END_BITS
_END_MASK, _PORT_MASK = _MOST_ENDS - 1, (1 << _PORT_BITS) - 1
_FRONT_MASK = (1 << _SOURCE) - 1  # destination, protocol, port


class Lines(Shape):
    """What a reader of logs hands over."""

    records: list[FlowRecord]
    lines: int
    skipped: Counter[str]
    malformed: list[Problem]


@dataclass(slots=True)
class LogReading:
    """How reading went. Everything counts lines or records as the log has them."""

    lines: int = 0
    records: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    malformed_first: list[Problem] = field(default_factory=list)
    unattributed: Counter[str] = field(default_factory=Counter)
    unattributed_first: dict[str, list[str]] = field(default_factory=dict)
    by_workload: int = 0

    def not_attributed(self, reason: str, count: int, name: str) -> None:
        self.unattributed[reason] += count
        names = self.unattributed_first.setdefault(reason, [])
        if len(names) < NAMED and name not in names:
            names.append(name)


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Distinct connections, all columns (n,); ``source`` and ``destination`` index ``ends``.

    ``observed`` counts the records of connections that got through, ``denied`` those of
    connections that were refused; either may be 0.
    """

    ends: Sequence[TrafficEnd]
    source: NDArray[np.int32]
    destination: NDArray[np.int32]
    protocol: NDArray[np.int8]
    port: NDArray[np.int32]
    observed: NDArray[np.int64]
    denied: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.source.size)

    def rows(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Traffic:
        """Some of the connections."""
        return Traffic(
            self.ends,
            self.source[which],
            self.destination[which],
            self.protocol[which],
            self.port[which],
            self.observed[which],
            self.denied[which],
        )


def collect(
    batches: Iterable[Lines], cluster: Cluster, reading: LogReading, most: int | None = BATCH
) -> Iterator[Traffic]:
    """The traffic in logs, at most about ``most`` distinct connections at a time (None:
    all of them at once). What happened on the way goes into ``reading``."""
    collector = _Collector(cluster, reading)
    for batch in batches:
        reading.lines += batch.lines
        reading.records += len(batch.records)
        reading.skipped += batch.skipped
        reading.malformed += len(batch.malformed)
        room = NAMED - len(reading.malformed_first)
        reading.malformed_first += batch.malformed[: max(room, 0)]
        collector.add(batch.records)
        if most is not None and collector.size >= most:
            yield collector.take()
    yield collector.take()


class _Collector:
    def __init__(self, cluster: Cluster, reading: LogReading) -> None:
        self._reading = reading
        self._resolver = ServiceResolver(cluster)
        self._attribution = Attribution(cluster, self._resolver)
        # Addresses of nodes, of which some ports may lead to Services.
        self._shared = frozenset(self._resolver.shared)
        self._flows: dict[int, int] = {}
        self._undirected = UndirectedFlows(self._attribution)

    @property
    def size(self) -> int:
        ends = len(self._attribution.ends)
        return max(len(self._flows) + len(self._undirected), ends)

    def add(self, records: Iterable[FlowRecord]) -> None:
        known, number, flows = self._attribution.known, self._attribution.number, self._flows
        for record in records:
            source = known.get(record.source)
            if source is None:
                source = number(record.source, record.time)
            destination = known.get(record.destination)
            if destination is None:
                destination = number(record.destination, record.time)
            if record.source_port != DIRECTED:
                self._undirected.add(source, destination, record)
                continue
            key = (
                ((source << 21 | destination) << 3 | record.protocol) << 16 | record.port
            ) << 2 | record.seen
            flows[key] = flows.get(key, 0) + record.count
        if len(self._attribution.ends) >= _MOST_ENDS:
            raise UsageError(f"more than {_MOST_ENDS:,} different ends in one batch of flows")

    def take(self) -> Traffic:
        """Everything so far, and begin anew."""
        attribution = self._attribution
        attribution.settle()
        count = len(self._flows)
        keys = np.fromiter(self._flows.keys(), np.int64, count)
        counts = np.fromiter(self._flows.values(), np.int64, count)
        seen, keys = keys & 3, keys >> _SEEN_BITS
        if len(self._undirected):
            keys, seen, counts = self._directed(keys, seen, counts)
        keys, seen, counts = self._through_services(keys, seen, counts)
        # After settling and Services, two numbers may mean one end.
        keys = self._same_ends(keys)
        traffic = self._merged(keys, seen, counts)
        self._flows.clear()
        attribution.forget()
        return traffic

    def _directed(
        self, keys: NDArray[np.int64], seen: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The connections that are known, with those among flows of which the log does not say
        which end began; replies and what is not known are counted and left out."""
        keys = self._same_ends(keys)
        flows, what, weight = self._undirected.take(self._same())
        found = meanings(flows, keys[seen != Seen.DENIED], self._undirected.declared(flows))
        replies = int(weight[found == RecordMeaning.REPLY].sum())
        if replies:
            self._reading.skipped[REPLY] += replies
            self._reading.records -= replies
        ends = self._attribution.ends
        for row in np.flatnonzero(found == RecordMeaning.UNKNOWN).tolist():
            source, end = ends[flows.source[row]].name, ends[flows.destination[row]].name
            port, protocol = flows.port[row], Protocol(int(flows.protocol[row]))
            name = f"{source} → {end} {port}/{protocol.name}"
            self._reading.not_attributed(UNKNOWN_OPENER, int(weight[row]), name)
        is_new = found == RecordMeaning.CONNECTION
        new = (flows.source << _SOURCE | flows.there)[is_new]
        return (
            np.concatenate((keys, new)),
            np.concatenate((seen, what[is_new])),
            np.concatenate((counts, weight[is_new])),
        )

    def _through_services(
        self, keys: NDArray[np.int64], seen: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Connections to Services lead to a pod of each workload behind them, and to every address
        that is no pod."""
        ends = self._attribution.ends
        perhaps = np.array([bool(end.virtual) or end.address in self._shared for end in ends])
        if not perhaps.any():
            return keys, seen, counts
        through = perhaps[keys >> _DESTINATION & _END_MASK]
        found: list[tuple[int, int, int]] = []
        known: dict[tuple[int, Client], list[int] | str] = {}
        columns = zip(*(c[through].tolist() for c in (keys, seen, counts)), strict=True)
        for key, what, count in columns:
            asked = (key & _FRONT_MASK, self._client(ends[key >> _SOURCE]))
            if asked not in known:
                known[asked] = self._behind(*asked)
            places = known[asked]
            if isinstance(places, str):
                protocol, port = Protocol(key >> _PORT_BITS & 7), key & _PORT_MASK
                name = f"{ends[key >> _DESTINATION & _END_MASK].name} {port}/{protocol.name}"
                self._reading.not_attributed(places, count, name)
                continue
            found += ((key >> _SOURCE << _SOURCE | place, what, count) for place in places)
        new = np.array(found, np.int64).reshape(-1, 3)
        return (
            np.concatenate((keys[~through], new[:, 0])),
            np.concatenate((seen[~through], new[:, 1])),
            np.concatenate((counts[~through], new[:, 2])),
        )

    def _client(self, end: TrafficEnd) -> Client:
        if end.pod is not None:
            return Client(end.pod.node)
        node = self._resolver.node_of(end.address)
        return Client(node, inside=bool(node))

    def _behind(self, front: int, client: Client) -> list[int] | str:
        """Where connections to a destination, protocol and port lead, packed in the same way;
        or why they lead nowhere."""
        end = self._attribution.ends[front >> _DESTINATION]
        protocol = Protocol(front >> _PORT_BITS & 7)
        entry = self._resolver.entry(end.virtual or end.address, protocol, front & _PORT_MASK)
        if entry is None or entry.via is Via.PROXY:
            return [front] if end.address else NO_BACKEND
        if entry.service.also:
            return UNCLEAR
        choice = self._resolver.choice(entry, client)
        if choice.dropped:
            return DROPPED
        if not choice.backends:
            return NO_BACKEND if self._resolver.is_known(entry.service) else NO_ENDPOINTS
        distinct: dict[object, Backend] = {}
        for backend in choice.backends:
            owner = backend.pod.workload if backend.pod is not None else backend.address
            distinct.setdefault((owner, backend.target), backend)
        return [
            (self._number(backend) << _PROTOCOL_BITS | protocol) << _PORT_BITS | backend.target
            for backend in distinct.values()
        ]

    def _number(self, backend: Backend) -> int:
        if backend.pod is not None:
            return self._attribution.pod_number(backend.pod)
        return self._attribution.address_number(backend.address)

    def _same(self) -> NDArray[np.int64]:
        """For each end (ends,) the first number that means it."""
        first: dict[object, int] = {}
        ends = self._attribution.ends
        return np.array(
            [first.setdefault(_identity(end), number) for number, end in enumerate(ends)], np.int64
        )

    def _same_ends(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        same = self._same()
        if not keys.size or (same == np.arange(same.size)).all():
            return keys
        sources, destinations = same[keys >> _SOURCE], same[keys >> _DESTINATION & _END_MASK]
        rest = keys & ((1 << _DESTINATION) - 1)
        joined: NDArray[np.int64] = (sources << _END_BITS | destinations) << _DESTINATION | rest
        return joined

    def _merged(
        self, keys: NDArray[np.int64], seen: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> Traffic:
        distinct, inverse = np.unique(keys, return_inverse=True)
        columns = np.zeros((3, distinct.size), np.int64)
        np.add.at(columns, (seen, inverse), counts)
        arrived, sent, denied = columns[Seen.ARRIVED], columns[Seen.SENT], columns[Seen.DENIED]
        # One that left its source and was refused at its destination did not get through.
        observed = arrived + np.where((denied > 0) & (arrived == 0), 0, sent)
        traffic = Traffic(
            self._attribution.ends,
            (distinct >> _SOURCE).astype(np.int32),
            (distinct >> _DESTINATION & _END_MASK).astype(np.int32),
            (distinct >> _PORT_BITS & 7).astype(np.int8),
            (distinct & _PORT_MASK).astype(np.int32),
            observed,
            denied,
        )
        return self._attributed(traffic)

    def _attributed(self, traffic: Traffic) -> Traffic:
        """Leave out what has an end that is not known, and say so."""
        ends = traffic.ends
        bad = np.array([bool(end.unknown or end.service) for end in ends], np.bool_)
        weight = traffic.observed + traffic.denied
        lost = bad[traffic.source] | bad[traffic.destination]
        for row in np.flatnonzero(lost).tolist():
            source, destination = ends[traffic.source[row]], ends[traffic.destination[row]]
            end = source if bad[traffic.source[row]] else destination
            self._reading.not_attributed(end.unknown or FROM_SERVICE, int(weight[row]), end.name)
        stands_in = np.array([end.by_workload for end in ends], np.bool_)
        kept = traffic.rows(~lost) if lost.any() else traffic
        by_workload = stands_in[kept.source] | stands_in[kept.destination]
        self._reading.by_workload += int((kept.observed + kept.denied)[by_workload].sum())
        return kept


def _identity(end: TrafficEnd) -> object:
    if end.pod is not None:
        return (end.pod.namespace, end.pod.name, end.by_workload)
    return end.address or (end.name, end.unknown)


def endpoints(
    compiled: CompiledPolicy, ends: Sequence[TrafficEnd]
) -> tuple[NDArray[np.int32], dict[int, str]]:
    """Endpoint ids (ends,) of ends in a compiled cluster, and why some of them have none (-1)."""
    ids = np.full(len(ends), -1, np.int32)
    why: dict[int, str] = {}
    addresses = [number for number, end in enumerate(ends) if end.address]
    ids[addresses] = address_ids(compiled, [ends[number].address for number in addresses])
    for number, end in enumerate(ends):
        if end.pod is not None:
            found = compiled.pod_ids.get((end.pod.namespace, end.pod.name), -1)
            if found < 0:
                try:
                    found = pod_id(compiled, end.pod)
                except UsageError as error:
                    why[number] = str(error).partition(": ")[2]
            ids[number] = found
    return ids, why
