"""Tiers that policies are in: ones that are not there, and the last one."""

from __future__ import annotations

from collections.abc import Iterator

from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, inside
from kubeverdict.model.policy import POLICY_LAYER, Action


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
            if rule.action is Action.PASS:
                message = f"no tier comes behind {tier.name}: what this passes on is allowed"
                yield Hit("pass-in-last-tier", message, policy, rule.source)
