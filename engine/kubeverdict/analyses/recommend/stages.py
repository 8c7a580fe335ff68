"""The cluster with other NetworkPolicies than it has: what these change, and what they cannot."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import (
    NETWORK_POLICY,
    NETWORK_POLICY_ORDER,
    NETWORK_POLICY_TIER,
    Action,
    Direction,
    Policy,
    Rule,
)
from kubeverdict.model.profile import Profile
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.model.sources import FieldPath, Source


class _Nowhere:
    file = "every namespace"

    def line_of(self, path: FieldPath) -> int:
        return 0


def isolated(cluster: Cluster, profile: Profile, static: bool) -> CompiledPolicy:
    """The cluster with nothing but a policy in each namespace that isolates all of it."""
    policies = _everywhere(cluster, ())
    return compile_cluster(replace(cluster, policies=policies), profile, static=static)


def opened(cluster: Cluster, profile: Profile, static: bool) -> CompiledPolicy | None:
    """The cluster where NetworkPolicies allow everything: what is denied all the same, none of
    them lets through. None where there are no other policies, and nothing is denied."""
    if not has_others(cluster):
        return None
    source = Source(_Nowhere())
    rules = tuple(Rule(one, 0, Action.ALLOW, None, None, source) for one in Direction)
    return compile_cluster(
        with_network_policies(cluster, _everywhere(cluster, rules)), profile, static=static
    )


def is_network_policy(policy: Policy) -> bool:
    """Whether it is one of those that are recommended, and no policy of another API or tier."""
    return policy.kind == NETWORK_POLICY and policy.tier == NETWORK_POLICY_TIER


def has_others(cluster: Cluster) -> bool:
    """Whether a cluster has other policies than NetworkPolicies."""
    return not all(map(is_network_policy, cluster.policies))


def with_network_policies(cluster: Cluster, policies: Iterable[Policy]) -> Cluster:
    """The cluster with other NetworkPolicies than it has. All other policies stay."""
    others = (one for one in cluster.policies if not is_network_policy(one))
    return replace(cluster, policies=(*others, *policies))


def _everywhere(cluster: Cluster, rules: tuple[Rule, ...]) -> tuple[Policy, ...]:
    return tuple(
        Policy(
            kind=NETWORK_POLICY,
            namespace=name,
            name="everything",
            tier=NETWORK_POLICY_TIER,
            pods=EVERYTHING,
            isolates=tuple(Direction),
            rules=rules,
            source=Source(_Nowhere()),
            order=NETWORK_POLICY_ORDER,
            tiebreak=f"{name}/knp.default.everything",
        )
        for name in sorted({pod.namespace for pod in cluster.pods})
    )
