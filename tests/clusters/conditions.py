"""Conditional rules in made-up clusters, and what their conditions may come to."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Action, Rule
from tests.clusters.policies import Choose

CONDITIONS = ("for GET /api only", "if x/a is in the mesh")


def with_conditions(cluster: Cluster, seed: int) -> Cluster:
    """The cluster with a condition on every third of its rules or so."""
    choose = Random(seed).choice
    return _changed(
        cluster,
        lambda rule: replace(rule, condition=choose(CONDITIONS)) if choose((1, 0, 0)) else rule,
    )


def settled(cluster: Cluster, choose: Choose) -> Cluster:
    """Every condition comes to be met, or not."""

    def change(rule: Rule) -> Rule | None:
        if not rule.condition:
            return rule
        return replace(rule, condition="") if choose((True, False)) else None

    return _changed(cluster, change)


def bound(cluster: Cluster, at_least: bool) -> Cluster:
    """The cluster in which as little as possible is allowed, or as much as possible."""

    def change(rule: Rule) -> Rule | None:
        if not rule.condition:
            return rule
        if rule.action is Action.PASS:
            return replace(rule, condition="", action=Action.DENY if at_least else Action.ALLOW)
        return replace(rule, condition="") if (rule.action is Action.DENY) == at_least else None

    return _changed(cluster, change)


def _changed(cluster: Cluster, change: Callable[[Rule], Rule | None]) -> Cluster:
    policies = tuple(
        replace(one, rules=tuple(rule for rule in map(change, one.rules) if rule is not None))
        for one in cluster.policies
    )
    return replace(cluster, policies=policies)
