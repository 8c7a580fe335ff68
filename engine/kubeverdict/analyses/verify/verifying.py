"""Assertions judged on a compiled cluster."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import msgspec

from kubeverdict.analyses.decisions import Decision
from kubeverdict.analyses.verify.cases import CaseMaker, ProvesNothing
from kubeverdict.analyses.verify.doubts import Doubts, condition_of
from kubeverdict.analyses.verify.judging import Case, Judge
from kubeverdict.analyses.verify.listing import FailureLister
from kubeverdict.analyses.verify.new_pods import NewPodJudge
from kubeverdict.analyses.verify.report import Result, Verification, Violation
from kubeverdict.analyses.verify.service_ends import CannotAsk, ServiceEnds
from kubeverdict.analyses.verify.values import TooManyError
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import Problem
from kubeverdict.model.assertions import Assertion, Assertions, Claim

# Pairs of identities, and of workloads, that are listed of one case of an assertion; all pod
# pairs are counted.
MOST = 1000
# Possible violations of one assertion whose conditions are looked up.
_EXPLAINED = 5
_TOO_MANY = (
    "policies distinguish too many kinds of new pods at these ends to look at each ({}): narrow "
    "them, or verify this one without --any"
)


def verify(
    compiled: CompiledPolicy, assertions: Assertions, *, anyone: bool = False
) -> Verification:
    """Judge the assertions for the pods that exist, and with ``anyone`` also for any pod that
    could be created in the namespaces that exist.

    A pod and itself are no connection, and what a pod's own node may do whatever the rules say
    is not judged. What a conditional rule may violate or not is not known.
    """
    most = _verify(compiled, assertions, anyone)
    if not compiled.least:
        return most
    least = _verify(compiled.least[0], assertions, anyone)
    results = tuple(
        _between(compiled, *both) for both in zip(most.results, least.results, strict=True)
    )
    return msgspec.structs.replace(most, results=results)


def _between(compiled: CompiledPolicy, most: Result, least: Result) -> Result:
    """A result from those of both bounds: what is violated in both of them is violated."""
    certain, possible = (most, least) if most.claim == Claim.ALLOW.value else (least, most)
    if certain.error or certain.violations or not (possible.violations or possible.error):
        return certain
    if possible.error:
        return possible
    found: dict[str, None] = {}
    for violation in possible.violations[:_EXPLAINED]:
        condition = violation.condition
        if violation.new_source is None and violation.new_destination is None:
            condition = condition_of(compiled, violation.sample)
        found[condition] = None
    conditions = "; ".join(filter(None, found)) or "that of a rule"
    depends = f"it depends on a condition: {conditions}"
    return msgspec.structs.replace(certain, doubts=(*certain.doubts, depends))


def _verify(compiled: CompiledPolicy, assertions: Assertions, anyone: bool) -> Verification:
    maker = CaseMaker(compiled, assertions.assertions)
    service_ends = ServiceEnds(compiled)
    asked: list[list[Assertion]] = []
    cases: list[Case] = []
    parts: list[slice] = []
    problems: dict[int, Problem] = {}
    for number, assertion in enumerate(assertions.assertions):
        first = len(cases)
        asked.append([])
        try:
            asked[number] = service_ends.through(assertion, partial(maker.pods, assertion.source))
            for one in asked[number]:
                cases += maker.cases(one)
        except (CannotAsk, ProvesNothing) as error:
            problems[number] = error.problem
            asked[number] = []
            del cases[first:]
        parts.append(slice(first, len(cases)))
    judge = Judge(compiled, cases, MOST)
    failures = judge.failures()
    lister = FailureLister(compiled, judge, MOST)
    further = NewPodJudge(compiled, maker, assertions.pod_ranges) if anyone else None
    doubtful = Doubts(compiled)
    results = []
    for number, assertion in enumerate(assertions.assertions):
        violations: list[Violation] = []
        found = failures[parts[number]]
        pairs = sum(failure.pairs for failure in found)
        for case, failure in zip(cases[parts[number]], found, strict=True):
            violations += lister.violations(case, failure)
            apart = lister.apart(case)
            violations += apart
            pairs += sum(one.pairs for one in apart)
        problem = problems.get(number)
        if problem is None and not any(map(judge.is_about_something, cases[parts[number]])):
            problem = _vacuous(assertion)
        more = any(failure.more for failure in found)
        if further is not None and problem is None:
            try:
                for part in asked[number]:
                    by_new_pods, unfinished = further.violations(part)
                    violations += _not_known(by_new_pods, violations)
                    more |= unfinished
            except TooManyError as error:
                origin = assertion.origin
                problem = Problem(origin.file, origin.line, "", _TOO_MANY.format(error))
        results.append(
            _result(
                assertion,
                problem,
                tuple(violations),
                pairs,
                more,
                doubtful.about(assertion.claim, cases[parts[number]]),
            )
        )
    notes = service_ends.notes
    if further is not None:
        notes = (*notes, *_notes(compiled, further))
    return Verification(compiled.profile.name, anyone, tuple(results), notes, compiled.unevaluated)


def _notes(compiled: CompiledPolicy, further: NewPodJudge) -> tuple[str, ...]:
    """What is taken for granted about new pods, where that is not what the text says."""
    found = []
    if not further.has_addresses:
        found.append(
            "no pod of the input has an address: a new pod has none, and no ipBlock matches it "
            "(podRanges says where pods are)"
        )
    profile = compiled.profile
    if profile.resolves_names_early:
        found.append(
            f"{profile.title} takes some numbers for the name of a port from all pods that a "
            "policy is about: for new pods, from those that exist"
        )
    return tuple(found)


def _vacuous(assertion: Assertion) -> Problem | None:
    if assertion.may_be_empty or assertion.claim not in (Claim.ALLOW, Claim.DENY):
        return None
    message = "the ends have no address family in common: nothing is claimed"
    return Problem(assertion.origin.file, assertion.origin.line, "", message)


def _not_known(by_new_pods: Iterable[Violation], known: Iterable[Violation]) -> list[Violation]:
    """The violations by new pods that are not like one between pods that exist."""
    seen = {_likeness(one) for one in known}
    return [one for one in by_new_pods if _likeness(one) not in seen]


def _likeness(one: Violation) -> tuple[object, ...]:
    """The namespaces or addresses at both ends, and what decides."""
    ends = [name.partition("/")[0] for name in one.sample[:2]]
    return (*ends, *(_decider(decision) for decision in (one.egress, one.ingress)))


def _decider(decision: Decision) -> tuple[object, ...]:
    if decision.rule is None:
        return (decision.reason,)
    rule = decision.rule
    return (rule.policy.kind, rule.policy.name, rule.field, rule.file, rule.line)


def _result(
    assertion: Assertion,
    problem: Problem | None,
    violations: tuple[Violation, ...],
    pairs: int,
    more: bool,
    doubts: tuple[str, ...],
) -> Result:
    origin = assertion.origin
    return Result(
        name=assertion.name,
        claim=assertion.claim.value,
        file=origin.file,
        line=origin.line,
        description=assertion.description,
        error=": ".join(part for part in (problem.field, problem.message) if part)
        if problem
        else "",
        error_line=problem.line if problem else 0,
        violations=violations,
        pairs=pairs,
        more=more,
        doubts=doubts,
    )
