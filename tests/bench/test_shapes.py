"""The shapes are what their descriptions say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

import pytest

from bench.shapes import SHAPES
from bench.workloads import cluster
from kubeverdict.model.cluster import METADATA_NAME, Cluster, Pod
from kubeverdict.model.policy import BlockPeer, Direction, Peer, PodPeer, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import Operator, Selector


def rules(made: Cluster) -> Iterator[Rule]:
    for policy in made.policies:
        yield from policy.rules


def peers(made: Cluster) -> Iterator[Peer]:
    for rule in rules(made):
        yield from rule.peers or ()


def selectors(made: Cluster) -> Iterator[Selector]:
    for policy in made.policies:
        yield policy.pods
    for peer in peers(made):
        if isinstance(peer, PodPeer):
            yield peer.namespaces
            if peer.pods is not None:
                yield peer.pods


def pods_by_namespace(made: Cluster) -> dict[str, list[Pod]]:
    homes = defaultdict(list)
    for pod in made.pods:
        homes[pod.namespace].append(pod)
    return homes


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_cluster_is_well_formed(shape: str) -> None:
    made = cluster(shape, 1000)
    namespaces = [namespace.name for namespace in made.namespaces]
    assert len(made.pods) == 1000
    assert len(set(namespaces)) == len(namespaces)
    assert len({(pod.namespace, pod.name) for pod in made.pods}) == 1000
    assert len({pod.addresses for pod in made.pods}) == 1000
    assert len({(policy.namespace, policy.name) for policy in made.policies}) == len(made.policies)
    assert {pod.namespace for pod in made.pods} <= set(namespaces)
    assert {policy.namespace for policy in made.policies} <= set(namespaces)
    assert {pod.node for pod in made.pods} <= {node.name for node in made.nodes}
    assert all(space.labels[METADATA_NAME] == space.name for space in made.namespaces)
    for policy in made.policies:
        assert {rule.direction for rule in policy.rules} <= set(policy.isolates)
        for peer in (peer for rule in policy.rules for peer in rule.peers or ()):
            assert isinstance(peer, BlockPeer | PodPeer)
            assert isinstance(peer, BlockPeer) or peer.namespace in (None, policy.namespace)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_selectors_are_canonical(shape: str) -> None:
    for selector in selectors(cluster(shape, 500)):
        assert selector == Selector.of(selector.requirements)
        for requirement in selector.requirements:
            assert requirement.values == tuple(sorted(set(requirement.values)))


@pytest.mark.parametrize(
    ("shape", "pods", "namespaces", "policies"),
    [
        ("mixed", 10_000, 200, 1_000),
        ("observed", 5_413, 604, 13_678),
        ("antrea", 1_000, 250, 750),
        ("kube-burner", 2_400, 240, 4_800),
        ("dense", 20_000, 20, 2_000),
    ],
)
def test_published_sizes(shape: str, pods: int, namespaces: int, policies: int) -> None:
    made = cluster(shape, pods)
    assert len(made.pods) == pods
    assert len(made.namespaces) == namespaces
    assert len(made.policies) == policies


@pytest.mark.parametrize("shape", ["mixed", "observed", "dense"])
def test_the_number_of_policies_can_be_chosen(shape: str) -> None:
    assert len(cluster(shape, 1000, 37).policies) == 37


@pytest.mark.parametrize("shape", ["antrea", "kube-burner"])
def test_shapes_that_fix_the_number_of_policies_say_so(shape: str) -> None:
    with pytest.raises(ValueError, match="policies a namespace"):
        cluster(shape, 1000, 37)


def test_mixed_uses_every_feature() -> None:
    made = cluster("mixed", 5000)
    operators = {r.operator for selector in selectors(made) for r in selector.requirements}
    assert operators >= {Operator.IN, Operator.NOT_IN, Operator.EXISTS}
    ports = [port for rule in rules(made) for port in rule.ports or ()]
    assert {port.protocol for port in ports} >= {Protocol.TCP, Protocol.UDP}
    assert any(isinstance(port, NamedPort) for port in ports)
    assert any(isinstance(port, PortRange) and port.first < port.last for port in ports)
    assert any(rule.ports is None for rule in rules(made))
    blocks = [peer for peer in peers(made) if isinstance(peer, BlockPeer)]
    assert {peer.block.family for peer in blocks} == {4, 6}
    assert any(peer.excepts for peer in blocks)
    reached = [peer for peer in peers(made) if isinstance(peer, PodPeer)]
    assert any(peer.namespace is None and peer.pods is None for peer in reached)
    assert any(peer.namespace is None and peer.pods is not None for peer in reached)
    assert any(peer.namespace is not None for peer in reached)
    isolations = {policy.isolates for policy in made.policies}
    assert isolations == {
        (Direction.INGRESS,),
        (Direction.EGRESS,),
        (Direction.INGRESS, Direction.EGRESS),
    }
    assert {pod.workload.kind for pod in made.pods} == {"Deployment", "StatefulSet"}
    # One name of a port stands for several numbers, so names must be resolved for each pod.
    numbers = {port.number for pod in made.pods for port in pod.ports if port.name == "http"}
    assert len(numbers) == 3
    hashes = {pod.labels.get("pod-template-hash") for pod in made.pods}
    assert len(hashes) > 300


def test_observed_has_the_published_medians() -> None:
    made = cluster("observed", 5413)
    homes = pods_by_namespace(made)
    subjects = [
        sum(policy.pods.matches(pod.labels) for pod in homes[policy.namespace or ""])
        for policy in made.policies
    ]
    assert median(subjects) == 6
    local = [
        sum(peer.pods.matches(pod.labels) for pod in homes[peer.namespace])
        for peer in peers(made)
        if isinstance(peer, PodPeer) and peer.namespace and peer.pods
    ]
    assert median(local) == 2
    broad = [p for p in peers(made) if isinstance(p, PodPeer) and p.namespace is None]
    assert 50 <= len(broad) <= 90
    share = sum(
        len(homes[namespace.name])
        for namespace in made.namespaces
        if broad[0].namespaces.matches(namespace.labels)
    ) / len(made.pods)
    assert 0.55 <= share <= 0.75


def test_every_dense_pod_is_unlike_the_others() -> None:
    made = cluster("dense", 2000)
    labels = {frozenset((key, v) for key, v in pod.labels.items()) for pod in made.pods}
    without_names = {frozenset(key for key in pod.labels if key != "uid") for pod in made.pods}
    assert len(labels) == len(without_names) == 2000
    for peer in list(peers(made))[:20]:
        assert isinstance(peer, PodPeer) and peer.pods
        # A label that is asked for and forbidden at once selects nobody; that is one in 32.
        if len({r.key for r in peer.pods.requirements}) == 2:
            assert 400 < sum(peer.pods.matches(pod.labels) for pod in made.pods) < 600


def test_kube_burner_has_five_of_everything() -> None:
    made = cluster("kube-burner", 500)
    policy = made.policies[0]
    blocks = [p for r in policy.rules for p in r.peers or () if isinstance(p, BlockPeer)]
    assert len(blocks) == 5
    ports = policy.rules[0].ports or ()
    assert sum(isinstance(p, PortRange) and p.first == p.last for p in ports) == 5
    assert sum(isinstance(p, PortRange) and p.first < p.last for p in ports) == 5
    namespace_selectors = {
        peer.namespaces for peer in peers(made) if isinstance(peer, PodPeer) and peer.pods
    }
    assert len(namespace_selectors) > 0.9 * len(made.policies)
