"""Logged connections against policies: what would break, and which rules are not used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.decisions import RuleView, by_rule
from kubeverdict.analyses.flow_groups import FlowGroup, FlowGroups
from kubeverdict.analyses.judged_traffic import Count, JudgedTraffic, at_least, judged, only
from kubeverdict.analyses.rule_use import RuleUse
from kubeverdict.analyses.traffic import LogReading, Traffic, endpoints
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import Problem
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.model.unevaluated import Unevaluated


class IdleRule(msgspec.Struct, frozen=True):
    """A rule that nothing used: it is behind the verdict of no connection that was seen (see
    :class:`~kubeverdict.analyses.rule_use.RuleUse`). ``shadowed``: it matches connections, and
    others decide all of them."""

    rule: RuleView
    direction: str
    shadowed: bool


class Unjudged(msgspec.Struct, frozen=True):
    """Records that could not be judged, why, and some of the names behind them."""

    reason: str
    records: int
    names: tuple[str, ...] = ()


class Log(msgspec.Struct, frozen=True):
    """How many lines of the logs were used: each is a record, skipped or malformed; a record is
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
    None where the families differ. ``proposed``: policies were applied first; ``broken_by_change``
    are of what breaks those that the present policies allow, if only under conditions. Of very
    many groups the smallest are not listed: ``groups_left_out``. ``idle`` are of all ``rules``,
    whatever their action. ``conditional`` are among those that the policies allow, and depend on
    the condition of a rule.
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
        self._breaks, self._admits = FlowGroups(policies), FlowGroups(policies)
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
            least = at_least(self._policies, part)
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
            breaks=tuple(self._breaks.explained(self._present is not None)),
            admits=tuple(self._admits.explained()),
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
