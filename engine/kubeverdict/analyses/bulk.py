"""What each of many scenarios opens and closes, and which of them matter most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kubeverdict.analyses.decisions import ConnectionVerdict, Decision, between, by_reason, by_rule
from kubeverdict.analyses.misses import policy_view
from kubeverdict.analyses.redundancy import Removable
from kubeverdict.compile.compiled import RuleRef
from kubeverdict.evaluate.changed_rows import DeltaCounts
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
    before: ConnectionVerdict | None = None
    after: ConnectionVerdict | None = None


class Least(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a scenario changes of what is allowed at least. Fields are as in the report."""

    figures: Figures
    families: dict[str, Figures] = {}
    workloads: int = 0
    namespaces: int = 0
    outside_opened: bool = False
    outside_closed: bool = False
    breaks: bool = False
    broken: int = 0


class Redundancy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why nothing changes without a policy: it selects no pod; or ``covered_by`` isolate the
    same pods and allow the same; or, where that is empty, nothing that it allows gets through
    at the other end. ``unmodelled`` are kinds of which pods may exist that it could select: then
    it is not known to be redundant."""

    selects_nothing: bool = False
    covered_by: tuple[str, ...] = ()
    unmodelled: tuple[str, ...] = ()


class ScenarioReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One scenario. ``figures`` are the largest of all address families, ``families`` those of each
    where they are distinguished.

    Where rules are conditional, all numbers are about what is allowed at most and ``at_least``
    has those about what is allowed at least; ``conditional`` says that it depends on conditions
    what changes: the numbers differ, or the verdict of an example does."""

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
    at_least: Least | None = None
    conditional: bool = False

    @property
    def opens(self) -> bool:
        """Whether some connection opens, in either bound; and so below."""
        return any(one.outside_opened or one.figures.ports_opened > 0 for one in self._bounds)

    @property
    def closes(self) -> bool:
        return any(one.outside_closed or one.figures.ports_closed > 0 for one in self._bounds)

    @property
    def changes(self) -> bool:
        return self.opens or self.closes

    @property
    def is_redundant(self) -> bool:
        """Whether nothing would change without a policy, whatever other pods there are."""
        return self.redundant is not None and not self.redundant.unmodelled

    @property
    def blast_radius(self) -> tuple[int, int, int]:
        """What reports are ranked by: pod pairs that change, then ports, then workloads; of both
        bounds in the larger one."""
        return max(
            (
                one.figures.pairs_opened + one.figures.pairs_closed,
                one.figures.ports_opened + one.figures.ports_closed,
                one.workloads,
            )
            for one in self._bounds
        )

    @property
    def _bounds(self) -> tuple[ScenarioReport | Least, ...]:
        return (self,) if self.at_least is None else (self, self.at_least)


def report(outcome: Outcome, unevaluated: tuple[Unevaluated, ...] = ()) -> ScenarioReport:
    """An outcome in the words of the input, which left ``unevaluated`` out."""
    most = _numbers(outcome)
    least = None if outcome.at_least is None else _numbers(outcome.at_least)
    examples = [(one, False) for one in outcome.examples]
    if outcome.at_least is not None:
        known = {_ends(one) for one in outcome.examples}
        examples += [(one, True) for one in outcome.at_least.examples if _ends(one) not in known]
    depends = any(one.is_conditional for one, _ in examples)
    return ScenarioReport(
        name=outcome.name,
        figures=most.figures,
        families=most.families,
        workloads=most.workloads,
        namespaces=most.namespaces,
        outside_opened=most.outside_opened,
        outside_closed=most.outside_closed,
        examples=tuple(_change(one, at_least) for one, at_least in examples),
        milliseconds=round(outcome.seconds * 1e3, 4),
        recompiled=outcome.recompiled,
        breaks=outcome.breaks,
        broken=most.broken,
        error=outcome.error,
        unevaluated=unevaluated,
        at_least=least,
        conditional=least is not None and (depends or least != most),
    )


def _numbers(outcome: Outcome) -> Least:
    by_family = {
        "+".join(f"IPv{family}" for family in one.families): _figures(one) for one in outcome.counts
    }
    figures = list(by_family.values())
    largest = [max(column) for column in zip(*map(msgspec.structs.astuple, figures), strict=True)]
    return Least(
        figures=Figures(*largest),
        families=by_family if len(figures) > 1 else {},
        workloads=outcome.workloads,
        namespaces=outcome.namespaces,
        outside_opened=outcome.outside_opened,
        outside_closed=outcome.outside_closed,
        breaks=outcome.outside_broken or outcome.broken > 0,
        broken=outcome.broken,
    )


def _ends(example: Example) -> tuple[object, ...]:
    ends = str(example.source), str(example.destination)
    return (example.opens, *ends, example.protocol, example.port, example.family)


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
        missing = unmodelled_in(bench.compiled.unevaluated, keys[number][1] or None)
        unmodelled = tuple(f"{one.count} {one.resource}" for one in missing)
        redundant = Redundancy(cover.selects_nothing, names, unmodelled)
        found[number] = msgspec.structs.replace(reports[number], redundant=redundant)
    return found


class Summary(msgspec.Struct, frozen=True):
    """All scenarios of a run."""

    scenarios: int
    changed: int
    redundant: int
    failed: int
    conditional: int = 0


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
    counts = [0, 0, 0, 0, 0]
    for one in reports:
        counts[0] += 1
        counts[1] += one.changes
        counts[2] += one.is_redundant
        counts[3] += bool(one.error)
        counts[4] += one.conditional
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


def _change(example: Example, at_least: bool) -> ChangedConnection:
    """An example of one of the bounds."""
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
        before=_verdict(example.before, at_least),
        after=_verdict(example.after, at_least),
    )


def _end(end: Pod | str) -> tuple[str, str]:
    return (end, "") if isinstance(end, str) else (str(end), str(end.workload))


def _verdict(judged: Judged | None, at_least: bool) -> ConnectionVerdict | None:
    if judged is None:
        return None
    own, other = judged, judged.other or judged
    most, least = (other, own) if at_least else (own, other)
    if most is least:
        return ConnectionVerdict(own.allowed, *_decisions(own, at_least))
    sides = zip(_decisions(most, at_least=False), _decisions(least, at_least=True), strict=True)
    egress, ingress = (between(*side) for side in sides)
    conditions = dict.fromkeys((*egress.conditions, *ingress.conditions))
    return ConnectionVerdict(
        False, egress, ingress, "; ".join(conditions) or "a rule has a condition"
    )


def _decisions(judged: Judged, at_least: bool) -> tuple[Decision, Decision]:
    egress, ingress = (
        by_rule(one, at_least) if isinstance(one, RuleRef) else by_reason(one)
        for one in (judged.egress, judged.ingress)
    )
    return egress, ingress
