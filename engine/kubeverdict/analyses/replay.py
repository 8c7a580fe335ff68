"""Logged connections against policies: what would break, and which rules are not used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.attribution import TrafficEnd
from kubeverdict.analyses.decisions import Decider, Decision, RuleView, by_rule
from kubeverdict.analyses.ends import Party, pod_party
from kubeverdict.analyses.questions import Flow
from kubeverdict.analyses.rule_use import RuleUse
from kubeverdict.analyses.traffic import LogReading, Traffic, endpoints
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.errors import Problem
from kubeverdict.evaluate.flows import Verdicts, judge
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from kubeverdict.model.unevaluated import Unevaluated

NO_PART = "pods that take no part: {}"
NO_FAMILY = "ends that have no address family in common"

# So many groups of connections are listed, the largest, and for so many of them the nearest miss
# is looked for.
LISTED = 10_000
_PART = 250_000  # connections judged by one call
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


class IdleRule(msgspec.Struct, frozen=True):
    """A rule that nothing used: it is behind the verdict of no connection that was seen (see
    :class:`~kubeverdict.analyses.rule_use.RuleUse`). ``shadowed``: it matches connections, and
    others decide all of them."""

    rule: RuleView
    direction: str
    shadowed: bool


class Count(msgspec.Struct, frozen=True):
    """Records as the log has them, and distinct connections."""

    records: int = 0
    connections: int = 0


class Unjudged(msgspec.Struct, frozen=True):
    """Records that could not be judged, why, and some of the names behind them."""

    reason: str
    records: int
    names: tuple[str, ...] = ()


class Log(msgspec.Struct, frozen=True):
    """What became of the lines of the logs: each is a record, skipped or malformed; a record is
    judged or, in ``lost``, not."""

    lines: int
    records: int
    skipped: tuple[Unjudged, ...]
    malformed: int
    malformed_first: tuple[Problem, ...]
    lost: tuple[Unjudged, ...]
    by_workload: int

    @property
    def lost_records(self) -> int:
        """Records of which nothing is known."""
        return sum(one.records for one in self.lost)


class Replay(msgspec.Struct, frozen=True):
    """The report.

    ``allowed`` and ``breaking`` got through when they were logged; ``refused`` were denied then
    and are now, ``admitted`` were denied then and the policies allow them. ``pairs_allowed`` is
    None where the families differ. ``proposed``: policies were applied first. Of very many groups
    the smallest are not listed: ``groups_left_out``. ``idle`` are of all ``rules``, whatever their
    action. ``conditional`` are among those that the
    policies allow, and depend on the condition of a rule.
    """

    profile: str
    proposed: bool
    allowed: Count
    breaking: Count
    broken_by_change: Count
    refused: Count
    admitted: Count
    breaks: tuple[FlowGroup, ...]
    admits: tuple[FlowGroup, ...]
    groups_left_out: int
    idle: tuple[IdleRule, ...]
    rules: int
    pairs_seen: int
    pairs_allowed: int | None
    log: Log
    unevaluated: tuple[Unevaluated, ...] = ()
    conditional: Count = Count()


def replay(
    batches: Iterable[Traffic],
    policies: CompiledPolicy,
    reading: LogReading,
    present: CompiledPolicy | None = None,
) -> Replay:
    """Judge traffic by ``policies``; ``present`` are those in force where these are proposed."""
    run = _Run(policies, reading, present)
    for traffic in batches:
        run.add(traffic)
    return run.report()


class JudgedTraffic(NamedTuple):
    """Traffic by endpoint id, and its verdicts."""

    traffic: Traffic
    source: NDArray[np.int32]
    destination: NDArray[np.int32]
    verdicts: Verdicts


def judged(
    compiled: CompiledPolicy, traffic: Traffic, reading: LogReading | None = None
) -> JudgedTraffic:
    """Judge traffic. Ends that take no part in ``compiled`` are left out, and said so."""
    ids, why = endpoints(compiled, traffic.ends)
    if why:
        lost = (ids[traffic.source] < 0) | (ids[traffic.destination] < 0)
        if reading is not None:
            _note_lost(traffic.rows(lost), why, reading, NO_PART)
        traffic = traffic.rows(~lost)
    source, destination = ids[traffic.source], ids[traffic.destination]
    verdicts = _verdicts(compiled, source, destination, traffic)
    part = JudgedTraffic(traffic, source, destination, verdicts)
    apart = verdicts.egress == Reason.NO_ADDRESS
    if apart.any():
        if reading is not None:
            strangers = traffic.rows(apart)
            _note_lost(strangers, dict.fromkeys(strangers.source.tolist(), ""), reading, NO_FAMILY)
        part = only(part, ~apart)
    return part


def _verdicts(
    compiled: CompiledPolicy,
    source: NDArray[np.int32],
    destination: NDArray[np.int32],
    traffic: Traffic,
) -> Verdicts:
    """In parts that fit into the cache, several at a time where there are many."""

    def part(first: int) -> Verdicts:
        rows = slice(first, first + _PART)
        columns = (source, destination, traffic.protocol, traffic.port)
        return judge(compiled, *(column[rows] for column in columns), threads=1)

    firsts = range(0, source.size, _PART)
    if len(firsts) <= 1:
        return part(0)
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(part, firsts))
    return Verdicts(
        np.concatenate([one.allowed for one in parts]),
        np.concatenate([one.egress for one in parts]),
        np.concatenate([one.ingress for one in parts]),
    )


def _note_lost(lost: Traffic, why: dict[int, str], reading: LogReading, what: str) -> None:
    columns = (lost.source, lost.destination, lost.observed + lost.denied)
    for source, destination, count in zip(*(c.tolist() for c in columns), strict=True):
        end = source if source in why else destination
        reading.not_attributed(what.format(why[end]), count, lost.ends[end].name)


class _Groups:
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


@dataclass(slots=True)
class _Tally:
    records: int = 0
    connections: int = 0

    def add(self, weight: NDArray[np.int64]) -> None:
        self.records += int(weight.sum())
        self.connections += int(weight.size)

    @property
    def count(self) -> Count:
        return Count(self.records, self.connections)


class _Run:
    def __init__(
        self, policies: CompiledPolicy, reading: LogReading, present: CompiledPolicy | None
    ) -> None:
        self._policies = policies
        self._present = present
        self._reading = reading
        self._use = RuleUse(policies)
        self._breaks, self._admits = _Groups(), _Groups()
        self._tallies = {
            name: _Tally()
            for name in (
                *("allowed", "breaking", "by_change", "refused", "admitted"),
                "conditional",
            )
        }
        self._pairs = np.zeros(0, np.int64)

    def add(self, traffic: Traffic) -> None:
        part = judged(self._policies, traffic, self._reading)
        traffic, allowed = part.traffic, part.verdicts.allowed
        observed, denied = traffic.observed > 0, traffic.denied > 0
        tallies = self._tallies
        tallies["allowed"].add(traffic.observed[observed & allowed])
        tallies["breaking"].add(traffic.observed[observed & ~allowed])
        tallies["refused"].add(traffic.denied[denied & ~allowed])
        tallies["admitted"].add(traffic.denied[denied & allowed])
        self._used(self._policies, part)
        for bound in self._policies.least:
            least = part._replace(verdicts=_verdicts(bound, part.source, part.destination, traffic))
            self._used(bound, least)
            depends = allowed & ~least.verdicts.allowed
            tallies["conditional"].add((traffic.observed + traffic.denied)[depends])
        broken = observed & ~allowed
        before = self._before(part, broken)
        if before is not None:
            tallies["by_change"].add(traffic.observed[broken][before])
        self._breaks.add(only(part, broken), traffic.observed[broken], before)
        self._admits.add(only(part, denied & allowed), traffic.denied[denied & allowed])
        self._seen(only(part, observed & allowed))

    def _before(self, part: JudgedTraffic, broken: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """What the present policies say of connections that break."""
        if self._present is None:
            return None
        rows = part.traffic.rows(broken)
        ids, _ = endpoints(self._present, rows.ends)
        known = (ids[rows.source] >= 0) & (ids[rows.destination] >= 0)
        found = np.zeros(len(rows), np.bool_)
        some = rows.rows(known)
        found[known] = judge(
            self._present, ids[some.source], ids[some.destination], some.protocol, some.port
        ).allowed
        return found

    def _used(self, bound: CompiledPolicy, part: JudgedTraffic) -> None:
        ports = part.traffic.protocol, part.traffic.port
        self._use.add(bound, part.source, part.destination, *ports, part.verdicts)

    def _seen(self, part: JudgedTraffic) -> None:
        pods = len(self._policies.pods)
        inside = (
            (part.source < pods) & (part.destination < pods) & (part.source != part.destination)
        )
        pairs = part.source[inside].astype(np.int64) << 32 | part.destination[inside]
        self._pairs = np.union1d(self._pairs, pairs)

    def report(self) -> Replay:
        counts = {name: tally.count for name, tally in self._tallies.items()}
        pairs = count_pairs(self._policies)
        return Replay(
            profile=self._policies.profile.name,
            proposed=self._present is not None,
            allowed=counts["allowed"],
            breaking=counts["breaking"],
            broken_by_change=counts["by_change"],
            refused=counts["refused"],
            admitted=counts["admitted"],
            breaks=tuple(_explained(self._policies, self._breaks, self._present is not None)),
            admits=tuple(_explained(self._policies, self._admits, False)),
            groups_left_out=self._breaks.left_out + self._admits.left_out,
            idle=tuple(self._idle()),
            rules=len(self._policies.rules),
            pairs_seen=int(self._pairs.size),
            pairs_allowed=pairs[0].pairs if len(pairs) == 1 else None,
            log=log_of(self._reading),
            unevaluated=self._policies.unevaluated,
            conditional=self._tallies["conditional"].count,
        )

    def _idle(self) -> Iterator[IdleRule]:
        use = self._use
        listed = [(number, False) for number in use.idle]
        listed += [(number, True) for number in use.shadowed]
        for number, shadowed in sorted(listed):
            ref = self._policies.rules[number]
            view = by_rule(ref).rule
            assert view is not None
            yield IdleRule(view, ref.rule.direction.word, shadowed)


def grouped(compiled: CompiledPolicy, part: JudgedTraffic) -> Iterator[FlowGroup]:
    """Connections that were seen, in groups, the largest first."""
    groups = _Groups()
    groups.add(part, part.traffic.observed)
    return _explained(compiled, groups, False)


def _explained(compiled: CompiledPolicy, groups: _Groups, proposed: bool) -> Iterator[FlowGroup]:
    """The largest first."""
    decider = Decider(compiled)
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
            egress=_decision(decider, egress, Direction.EGRESS, flow, misses),
            ingress=_decision(decider, ingress, Direction.INGRESS, flow, misses),
            before=bool(before) if proposed else None,
        )


def only(part: JudgedTraffic, which: NDArray[np.bool_]) -> JudgedTraffic:
    """Some of the connections."""
    verdicts = part.verdicts
    return JudgedTraffic(
        part.traffic.rows(which),
        part.source[which],
        part.destination[which],
        Verdicts(verdicts.allowed[which], verdicts.egress[which], verdicts.ingress[which]),
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


def log_of(reading: LogReading) -> Log:
    """How reading went, for a report."""
    return Log(
        lines=reading.lines,
        records=reading.records,
        skipped=tuple(Unjudged(*item) for item in reading.skipped.most_common()),
        malformed=reading.malformed,
        malformed_first=tuple(reading.malformed_first),
        lost=tuple(
            Unjudged(reason, count, tuple(reading.unattributed_first[reason]))
            for reason, count in reading.unattributed.most_common()
        ),
        by_workload=reading.by_workload,
    )
