"""What is found where rules are conditional: only what holds whatever their conditions come to.

The facts of a cluster are those of what is allowed at most: what a finding says to be denied is
denied in any case. What a finding says to be open need not be. Such a finding is looked for among
what is allowed at least too, and told of where it is found there, or where it is about a rule that
has a condition, with the condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from kubeverdict.analyses.lint import breadth, coverage, exposure
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit

# Rules whose findings say that something is open, and where they are looked for.
OPEN = (
    "ingress-from-everywhere",
    "egress-to-everywhere",
    "metadata-open",
    "block-in-cluster",
    "no-default-deny-ingress",
    "no-default-deny-egress",
    "pod-unselected",
    "service-source",
)
_LOOKED_FOR = (breadth.check, coverage.unguarded, exposure.check)
# Those that say what becomes of what a rule allows.
_OF_RULES = (*OPEN, "egress-one-sided", "ingress-one-sided")


def certain(facts: Facts, hits: Iterable[Hit]) -> Iterator[Hit]:
    """Those of ``hits``, found in what is allowed at most, that hold in any case; and those about
    conditional rules, with the condition."""
    least = Facts(facts.compiled.bound(at_least=True), facts.others)
    found = {_key(hit): hit for check in _LOOKED_FOR for hit in check(least) if hit.rule in OPEN}
    for hit in hits:
        told: Hit | None = hit
        condition = _condition(hit) if hit.rule in _OF_RULES else ""
        if hit.rule in OPEN:
            told = found.get(_key(hit), hit if condition else None)
        if told is not None and condition:
            told = replace(told, message=f"{told.message} (a rule with a condition: {condition})")
        if told is not None:
            yield told


def _key(hit: Hit) -> tuple[object, ...]:
    where = hit.source and hit.source.path
    return hit.rule, id(hit.policy), where, hit.place, hit.key


def _condition(hit: Hit) -> str:
    """That of the rule that a finding is about."""
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
