"""Assertions judged on a compiled cluster."""

from __future__ import annotations

from kubeverdict.analyses.verify.cases import CaseMaker, ProvesNothing
from kubeverdict.analyses.verify.judging import Case, Judge
from kubeverdict.analyses.verify.listing import Lister
from kubeverdict.analyses.verify.report import Result, Verification, Violation
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import Problem
from kubeverdict.model.assertions import Assertion, Assertions

# Pairs of identities that are listed for one case of an assertion; all pod pairs are counted.
MOST = 1000


def verify(
    compiled: CompiledPolicy, assertions: Assertions, *, anyone: bool = False
) -> Verification:
    """Judge the assertions for the pods that exist, and with ``anyone`` also for any pod that
    could be created in the namespaces that exist.

    A pod and itself are no connection, and what a pod's own node may do whatever the rules say
    is not judged.
    """
    maker = CaseMaker(compiled, assertions.assertions)
    cases: list[Case] = []
    parts: list[slice] = []
    problems: dict[int, Problem] = {}
    for number, assertion in enumerate(assertions.assertions):
        first = len(cases)
        try:
            cases += maker.cases(assertion)
        except ProvesNothing as error:
            problems[number] = error.problem
        parts.append(slice(first, len(cases)))
    judge = Judge(compiled, cases, MOST)
    failures = judge.failures()
    lister = Lister(compiled, judge)
    results = []
    for number, assertion in enumerate(assertions.assertions):
        violations: list[Violation] = []
        found = failures[parts[number]]
        for case, failure in zip(cases[parts[number]], found, strict=True):
            violations += lister.violations(case, failure)
        problem = problems.get(number)
        results.append(
            _result(
                assertion,
                problem,
                tuple(violations),
                sum(failure.pairs for failure in found),
                any(failure.more for failure in found),
            )
        )
    return Verification(compiled.profile.name, anyone, tuple(results))


def _result(
    assertion: Assertion,
    problem: Problem | None,
    violations: tuple[Violation, ...],
    pairs: int,
    more: bool,
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
    )
