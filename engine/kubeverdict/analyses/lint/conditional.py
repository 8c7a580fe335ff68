"""Findings where rules are conditional: only those that hold whether or not the conditions do.

The facts of a cluster are those of what is allowed at most: what a finding says to be denied is
denied in any case. What a finding says to be open need not be. Such a finding is looked for again
in what is allowed at least. It is reported where it is found there too; or, with the condition,
where it is about a rule that has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from kubeverdict.analyses.lint import breadth, coverage, exposure
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit

# Rules whose findings say that something is open, and the check that looks for each.
_CHECKS = {
    "ingress-from-everywhere": breadth.check,
    "egress-to-everywhere": breadth.check,
    "metadata-open": breadth.check,
    "block-in-cluster": breadth.check,
    "no-default-deny-ingress": coverage.unguarded,
    "no-default-deny-egress": coverage.unguarded,
    "pod-unselected": coverage.unguarded,
    "service-source": exposure.check,
}
OPEN = tuple(_CHECKS)
# Rules whose findings are about what a policy rule allows.
_OF_RULES = (*OPEN, "egress-one-sided", "ingress-one-sided")


def certain(facts: Facts, hits: Iterable[Hit]) -> Iterator[Hit]:
    """Those of ``hits``, found in what is allowed at most, that hold in any case; and those about
    conditional rules, with the condition."""
    least = Facts(facts.compiled.bound(at_least=True), facts.others)
    checks = dict.fromkeys(_CHECKS.values())
    found = {_key(hit): hit for check in checks for hit in check(least) if hit.rule in OPEN}
    for hit in hits:
        shown: Hit | None = hit
        condition = _condition(hit) if hit.rule in _OF_RULES else ""
        if hit.rule in OPEN:
            shown = found.get(_key(hit), hit if condition else None)
        if shown is not None and condition:
            shown = replace(
                shown, message=f"{shown.message} (a rule with a condition: {condition})"
            )
        if shown is not None:
            yield shown


def _key(hit: Hit) -> tuple[object, ...]:
    where = hit.source and hit.source.path
    return hit.rule, id(hit.policy), where, hit.place, hit.key


def _condition(hit: Hit) -> str:
    """The condition of the rule that a finding is about."""
    path = hit.source.path if hit.source is not None else ()
    rules = hit.policy.rules if hit.policy is not None else ()
    return next(
        (
            rule.condition
            for rule in rules
            if rule.source.path and path[: len(rule.source.path)] == rule.source.path
        ),
        "",
    )
