"""What each of many scenarios opens and closes, and which of them matter most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeverdict.analyses.decisions import Decision, by_reason, by_rule
from kubeverdict.analyses.misses import policy_view
from kubeverdict.analyses.redundancy import Removable
from kubeverdict.compile.compiled import Reason, RuleRef
from kubeverdict.evaluate.delta import DeltaCounts
from kubeverdict.evaluate.scenarios.combine import covers
from kubeverdict.evaluate.scenarios.outcome import Example, Judged, Outcome
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.model.cluster import Pod
from kubeverdict.model.edit import PolicyKey
from kubeverdict.model.ports import Protocol
from kubeverdict.model.unevaluated import Unevaluated, merged, unmodelled_in


class Figures(msgspec.Struct, frozen=True):
    """Ordered pairs of different pods that gain and lose a port, and (pair, port) combinations
    that open and close."""

    pairs_opened: int = 0
    pairs_closed: int = 0
    ports_opened: int = 0
    ports_closed: int = 0


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Both directions of one connection at one time."""

    allowed: bool
    egress: Decision
    ingress: Decision


class ChangedConnection(msgspec.Struct, frozen=True, omit_defaults=True):
    """One connection that a scenario opens or closes. ``port`` is as ``8080/TCP``; an end that is
    no pod has no workload. ``before`` and ``after`` are None where an end does not exist."""

    opens: bool
    source: str
    destination: str
    port: str
    source_workload: str = ""
    destination_workload: str = ""
    family: str = ""
    before: Verdict | None = None
    after: Verdict | None = None


class Redundancy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why nothing changes without a policy: it selects no pod; or ``covered_by`` isolate the
    same pods and allow the same; or, where that is empty, nothing that it allows gets through
    at the other end. ``unmodelled`` are kinds of which pods may exist that it could select: then
    it is not known to be redundant."""

    selects_nothing: bool = False
    covered_by: tuple[str, ...] = ()
    unmodelled: tuple[str, ...] = ()


class ScenarioReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One scenario. ``figures`` are the largest of all address families, ``families`` those of
    each where they are told apart."""

    name: str
    figures: Figures = Figures()
    families: dict[str, Figures] = {}
    workloads: int = 0
    namespaces: int = 0
    outside_opened: bool = False
    outside_closed: bool = False
    examples: tuple[ChangedConnection, ...] = ()
    milliseconds: float = 0.0
    recompiled: bool = False
    redundant: Redundancy | None = None
    breaks: bool = False
    broken: int = 0
    error: str = ""
    unevaluated: tuple[Unevaluated, ...] = ()

    @property
    def opens(self) -> bool:
        return self.outside_opened or self.figures.ports_opened > 0

    @property
    def closes(self) -> bool:
        return self.outside_closed or self.figures.ports_closed > 0

    @property
    def changes(self) -> bool:
        return self.opens or self.closes

    @property
    def is_redundant(self) -> bool:
        """Whether nothing would change without a policy, whatever pods there are beside."""
        return self.redundant is not None and not self.redundant.unmodelled

    @property
    def blast_radius(self) -> tuple[int, int, int]:
        """What reports are ranked by: pod pairs that change, then ports, then workloads."""
        found = self.figures
        return (
            found.pairs_opened + found.pairs_closed,
            found.ports_opened + found.ports_closed,
            self.workloads,
        )


def report(outcome: Outcome, unevaluated: tuple[Unevaluated, ...] = ()) -> ScenarioReport:
    """An outcome in the words of the input, which left ``unevaluated`` out."""
    by_family = {
        "+".join(f"IPv{family}" for family in one.families): _figures(one) for one in outcome.counts
    }
    figures = list(by_family.values())
    largest = [max(column) for column in zip(*map(msgspec.structs.astuple, figures), strict=True)]
    return ScenarioReport(
        name=outcome.name,
        figures=Figures(*largest),
        families=by_family if len(figures) > 1 else {},
        workloads=outcome.workloads,
        namespaces=outcome.namespaces,
        outside_opened=outcome.outside_opened,
        outside_closed=outcome.outside_closed,
        examples=tuple(map(_change, outcome.examples)),
        milliseconds=round(outcome.seconds * 1e3, 4),
        recompiled=outcome.recompiled,
        breaks=outcome.breaks,
        broken=outcome.broken,
        error=outcome.error,
        unevaluated=unevaluated,
    )


def redundancies(
    bench: Workbench, reports: Sequence[ScenarioReport], keys: Sequence[PolicyKey]
) -> list[ScenarioReport]:
    """Reports of policies taken out one by one (``keys``, one each), with the reason where
    nothing changes without one."""
    known = [key in bench.numbers for key in keys]
    idle = [
        number
        for number, one in enumerate(reports)
        if not one.changes and not one.error and known[number]
    ]
    found = list(reports)
    for number, cover in zip(idle, covers(bench, [keys[n] for n in idle]), strict=True):
        names = tuple(policy_view(policy).title for policy in cover.covered_by)
        beside = unmodelled_in(bench.compiled.unevaluated, keys[number][1] or None)
        unmodelled = tuple(f"{one.count} {one.resource}" for one in beside)
        redundant = Redundancy(cover.selects_nothing, names, unmodelled)
        found[number] = msgspec.structs.replace(reports[number], redundant=redundant)
    return found


class Summary(msgspec.Struct, frozen=True):
    """All scenarios of a run."""

    scenarios: int
    changed: int
    redundant: int
    failed: int


class Pair(msgspec.Struct, frozen=True):
    """Two candidates: how many (pair, port) both change, and how many come out otherwise when
    both are in force than either alone would have it."""

    first: str
    second: str
    overlap: int
    conflict: int


class Order(msgspec.Struct, frozen=True):
    """Steps of a rollout in an order in which none breaks a connection; empty where none was
    found. ``complete`` says whether there is then none: the search has a limit."""

    steps: tuple[str, ...]
    complete: bool = True


class Ranking(msgspec.Struct, frozen=True):
    """The report of a run. ``top`` is how much of it is shown at length. ``removable`` are those
    of the redundant policies that can go together, where that was asked. In a rollout the
    reports are its steps in order, and ``safe_order`` is another where theirs breaks connections.
    """

    reports: tuple[ScenarioReport, ...]
    summary: Summary
    top: int
    pairs: tuple[Pair, ...] = ()
    rollout: bool = False
    safe_order: Order | None = None
    removable: Removable | None = None

    @property
    def unevaluated(self) -> tuple[Unevaluated, ...]:
        return unevaluated_of(self.reports)


def unevaluated_of(reports: Iterable[ScenarioReport]) -> tuple[Unevaluated, ...]:
    """What is not taken into account in any of ``reports``, which nearly all share theirs."""
    return merged(*{id(one.unevaluated): one.unevaluated for one in reports}.values())


def summary(reports: Iterable[ScenarioReport]) -> Summary:
    counts = [0, 0, 0, 0]
    for one in reports:
        counts[0] += 1
        counts[1] += one.changes
        counts[2] += one.is_redundant
        counts[3] += bool(one.error)
    return Summary(*counts)


def ranked(reports: Iterable[ScenarioReport]) -> list[ScenarioReport]:
    """Largest blast radius first; those that failed in front of all."""
    return sorted(
        reports, key=lambda one: (not one.error, *(-part for part in one.blast_radius), one.name)
    )


def _figures(counts: DeltaCounts) -> Figures:
    return Figures(
        counts.pairs_opened, counts.pairs_closed, counts.ports_opened, counts.ports_closed
    )


def _change(example: Example) -> ChangedConnection:
    (source, source_workload), (destination, destination_workload) = map(
        _end, (example.source, example.destination)
    )
    return ChangedConnection(
        opens=example.opens,
        source=source,
        destination=destination,
        port=f"{example.port}/{Protocol(example.protocol).name}",
        source_workload=source_workload,
        destination_workload=destination_workload,
        family=f"IPv{example.family}" if example.family else "",
        before=_verdict(example.before),
        after=_verdict(example.after),
    )


def _end(end: Pod | str) -> tuple[str, str]:
    return (end, "") if isinstance(end, str) else (str(end), str(end.workload))


def _verdict(judged: Judged | None) -> Verdict | None:
    if judged is None:
        return None
    return Verdict(judged.allowed, _decision(judged.egress), _decision(judged.ingress))


def _decision(decided: RuleRef | Reason) -> Decision:
    return by_rule(decided) if isinstance(decided, RuleRef) else by_reason(decided)
