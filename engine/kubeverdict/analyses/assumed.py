"""A compiled cluster in which the conditions of rules are settled: each is taken to hold, or not.

Two rules with the same condition are taken to count together. Conditions are taken to be
independent of each other, so among all ways to settle them may be some that cannot happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.policy import Policy, Rule

Assumed = dict[str, bool]
"""Whether each condition holds, by its text."""


def conditions_of(sides: Sequence[CompiledPolicy]) -> list[str]:
    """The conditions of all rules in force, sorted."""
    policies = (policy for side in sides for policy in side.policies)
    return sorted({rule.condition for one in policies for rule in one.rules} - {""})


def settled(conditions: Sequence[str]) -> Iterator[Assumed]:
    """Every way to settle some conditions: 2 ** len(conditions) of them."""
    for values in product((True, False), repeat=len(conditions)):
        yield dict(zip(conditions, values, strict=True))


def assumed(side: CompiledPolicy, holds: Assumed) -> CompiledPolicy:
    """The same cluster with rules whose condition holds without it, and without those whose does
    not. What a CNI makes conditional by itself still is: the result then has bounds."""
    policies = tuple(_policy(policy, holds) for policy in side.cluster.policies)
    cluster = replace(side.cluster, policies=policies)
    return compile_cluster(cluster, side.profile, static=side.static)


def text_of(holds: Assumed) -> str:
    """The conditions that hold, and those that do not."""
    parts = [
        f"{word} {'; '.join(texts)}"
        for word, texts in (
            ("with", [one for one, value in holds.items() if value]),
            ("without", [one for one, value in holds.items() if not value]),
        )
        if texts
    ]
    return " and ".join(parts)


def _policy(policy: Policy, holds: Assumed) -> Policy:
    if not any(rule.condition for rule in (*policy.rules, *policy.unlisted_rules)):
        return policy
    return replace(
        policy,
        rules=tuple(_rules(policy.rules, holds)),
        unlisted_rules=tuple(_rules(policy.unlisted_rules, holds)),
    )


def _rules(rules: Sequence[Rule], holds: Assumed) -> Iterator[Rule]:
    for rule in rules:
        if not rule.condition:
            yield rule
        elif holds[rule.condition]:
            yield replace(rule, condition="")
