"""What generated clusters are worth: they must reach everything that a verdict can depend on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product

import pytest
from msgspec.structs import replace

from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Action
from kubeverdict.model.ports import PORT_PROTOCOLS
from kubeverdict.model.profile import REFERENCE, Profile
from tests.clusters.generated import (
    NOT_OF_FLOWS,
    OF_ADMIN_POLICIES,
    OF_CLUSTER_POLICIES,
    OF_DENIALS,
    SINGLE_KNOB_PROFILES,
    random_cluster,
    random_probes,
)
from tests.oracle import Oracle, OracleVerdict, Reason

CLUSTERS = [random_cluster(seed, pods=10, policies=8, tiers=seed % 2 == 1) for seed in range(100)]


def verdicts(cluster: Cluster, profile: Profile, seed: int) -> Iterator[OracleVerdict]:
    """Verdicts on flows of a cluster between ends that the reference knows too."""
    oracle, reference = Oracle(cluster, profile), Oracle(cluster)
    both = [pod for pod in reference.managed if pod in oracle.managed]
    for probe in random_probes(cluster, both, 100, seed):
        yield oracle.judge(
            probe.source, probe.destination, probe.protocol, probe.port, probe.family
        )


def test_a_seed_makes_the_same_cluster_every_time() -> None:
    one, other = random_cluster(7), random_cluster(7)
    assert [str(pod) for pod in one.pods] == [str(pod) for pod in other.pods]
    assert [pod.labels for pod in one.pods] == [pod.labels for pod in other.pods]
    assert [policy.name for policy in one.policies] == [policy.name for policy in other.policies]


@pytest.mark.parametrize(
    "profile",
    [
        each
        for each in SINGLE_KNOB_PROFILES
        if not each.name.startswith(
            (*NOT_OF_FLOWS, *OF_ADMIN_POLICIES, *OF_CLUSTER_POLICIES, *OF_DENIALS)
        )
    ],
    ids=lambda profile: profile.name,
)
def test_every_knob_changes_a_verdict_somewhere(profile: Profile) -> None:
    assert any(
        turned != reference
        for seed, cluster in enumerate(CLUSTERS)
        for turned, reference in zip(
            verdicts(cluster, profile, seed), verdicts(cluster, REFERENCE, seed), strict=True
        )
    )


def test_rules_deny_what_comes_from_the_own_node() -> None:
    """Few probes begin at a node whose pod they go to: here all do."""
    changed = 0
    for seed in range(100):
        cluster = random_cluster(seed, pods=10, policies=16, tiers=True)
        deniable = Oracle(cluster, replace(REFERENCE, own_node_deniable=True))
        reference = Oracle(cluster)
        addresses = {node.name: node.addresses for node in cluster.nodes}
        for pod in reference.managed:
            for address, protocol in product(addresses.get(pod.node, ()), PORT_PROTOCOLS):
                asked = (address, pod, protocol, 80)
                changed += deniable.judge(*asked) != reference.judge(*asked)
    assert changed > 1


def test_every_way_to_decide_occurs() -> None:
    deciders = [
        decider
        for seed, cluster in enumerate(CLUSTERS)
        for verdict in verdicts(cluster, REFERENCE, seed)
        for decider in (verdict.egress, verdict.ingress)
    ]
    reasons = {decider for decider in deciders if isinstance(decider, Reason)}
    rules = [decider for decider in deciders if not isinstance(decider, Reason)]
    assert reasons == set(Reason) - {Reason.ALWAYS_ICMP}
    assert {rule.action for _, rule in rules} == {Action.ALLOW, Action.DENY}
    # Rules of any place decide, not only the first of a policy.
    assert {rule.index for _, rule in rules} == {0, 1}


def test_every_tier_default_and_direction_is_generated() -> None:
    policies = list(chain.from_iterable(cluster.policies for cluster in CLUSTERS))
    assert len({policy.tier for policy in policies}) == 7
    assert len({policy.tier.layer for policy in policies}) == 2
    assert len({policy.isolates for policy in policies}) == 4
    assert any(policy.namespace is None for policy in policies)
