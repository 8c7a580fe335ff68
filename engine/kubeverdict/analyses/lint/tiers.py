"""Tiers that policies are in: ones that are not there, the last one, priorities that are shared,
and a baseline that is not asked, or asked too early."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from msgspec.structs import replace

from kubeverdict.analyses.effects import connection
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, inside
from kubeverdict.analyses.whatif import whatif
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    POLICY_LAYER,
    Action,
    Direction,
    Policy,
)
from kubeverdict.model.profile import ADMIN_KINDS, CLUSTER_KIND, PRIORITY_KINDS

# Each order of policies that share a priority has to be compiled.
_MOST_ORDERS = 32


def check(facts: Facts) -> Iterator[Hit]:
    policies = [one for one in facts.compiled.policies if one.tier.layer == POLICY_LAYER]
    last = max((policy.tier for policy in policies), default=None)
    for policy in policies:
        tier = policy.tier
        if policy.tier_kind and tier.order == float("inf"):
            kind = policy.tier_kind.partition(".")[0]
            message = f"the input has no {kind} {tier.name}"
            where = inside(policy.source, "spec", "tier")
            yield Hit("tier-missing", message, policy, where, key=tier.name)
        if tier != last or tier.default is not Action.DENY:
            continue
        for rule in policy.rules:
            if rule.action is Action.PASS and not rule.condition:
                message = f"no tier comes behind {tier.name}: what this passes on is allowed"
                yield Hit("pass-in-last-tier", message, policy, rule.source)
    yield from _shared_priorities(facts)
    yield from _baseline(facts)


# --- priorities that several policies have -----------------------------------------------------


def _shared_priorities(facts: Facts) -> Iterator[Hit]:
    """Of policies of one priority those that change a verdict where they come before the others.
    Which of them comes first the API leaves to each CNI."""
    if facts.profile.cluster_ties == "by-index":
        return
    tried = 0
    ordered = [one for one in facts.in_force if one.kind in PRIORITY_KINDS]
    for _, sharing in groupby(ordered, key=lambda one: (one.tier, one.order)):
        group = list(sharing)
        for place, policy in enumerate(group):
            before = [one for one in group[:place] if _may_differ(facts, one, policy)]
            if not before or tried == _MOST_ORDERS:
                continue
            tried += 1
            yield from _if_first(facts, policy, before)


def _may_differ(facts: Facts, one: Policy, other: Policy) -> bool:
    shared = set(facts.subjects(one).tolist()) & set(facts.subjects(other).tolist())
    return bool(shared) and any(
        first.direction is second.direction and first.action is not second.action
        for first in one.rules
        for second in other.rules
    )


def _if_first(facts: Facts, policy: Policy, before: list[Policy]) -> Iterator[Hit]:
    """What is different where a policy comes before all others of its priority."""
    compiled = facts.compiled
    # Priorities are whole numbers.
    policies = [
        replace(one, order=one.order - 0.5) if _is(one, policy) else one
        for one in compiled.cluster.policies
    ]
    cluster = replace(compiled.cluster, policies=tuple(policies))
    other = compile_cluster(cluster, compiled.profile, static=compiled.static)
    change = whatif(compiled, other)
    for effects, now, then in (
        (change.opened, "denied", "allowed"),
        (change.closed, "allowed", "denied"),
    ):
        if effects:
            names = " and ".join(f"{one.kind} {one}" for one in before)
            message = (
                f"has the same priority ({policy.order:g}) as {names}: "
                f"{connection(effects[0])} is {now} in the order of names, and {then} where this "
                "one comes first"
            )
            where = inside(policy.source, "spec", "priority")
            yield Hit("order-tie", message, policy, where)
            return


def _is(one: Policy, other: Policy) -> bool:
    return (one.kind, one.namespace, one.name) == (other.kind, other.namespace, other.name)


# --- the baseline and isolation -----------------------------------------------------------------


def _baseline(facts: Facts) -> Iterator[Hit]:
    """A baseline behind isolation that decides nothing for any pod, or one before it that opens
    pods which are isolated."""
    early = facts.profile.cluster_baseline == "before-isolation"
    passing = any(
        rule.action is Action.PASS
        for one in facts.in_force
        if one.tier == NETWORK_POLICY_TIER
        for rule in one.rules
    )
    for policy in facts.in_force:
        opens = early and policy.kind == CLUSTER_KIND
        late = policy.tier > NETWORK_POLICY_TIER and policy.kind in (*ADMIN_KINDS, CLUSTER_KIND)
        if not late or (passing and not opens):
            continue
        subjects = facts.subjects(policy).tolist()
        for direction in Direction:
            rules = [one for one in policy.rules if one.direction is direction]
            isolated = [kind for kind in subjects if _is_isolated(facts, direction, kind)]
            word = direction.word
            if opens:
                allowing = [one for one in rules if one.action is Action.ALLOW]
                if allowing and isolated:
                    message = (
                        f"allows {word} that {facts.workloads(isolated)[0]} is isolated from: "
                        f"{facts.profile.title} asks the baseline before isolation denies"
                    )
                    yield Hit("baseline-opens", message, policy, allowing[0].source, key=word)
            elif rules and subjects and len(isolated) == len(subjects):
                message = (
                    f"is never asked about {word}: other policies isolate all the pods that it is "
                    "about"
                )
                yield Hit("baseline-unreached", message, policy, rules[0].source, key=word)


def _is_isolated(facts: Facts, direction: Direction, kind: int) -> bool:
    return any(one.tier == NETWORK_POLICY_TIER for one in facts.isolating[direction].get(kind, ()))
