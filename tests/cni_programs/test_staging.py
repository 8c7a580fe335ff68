"""What of generated clusters the lab puts together: enough, and nothing that it cannot have."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import REFERENCE
from tests.clusters.objects import objects
from tests.cni_programs.comparison import packet_of
from tests.cni_programs.staging import (
    NODE,
    NODE_ADDRESSES,
    local_pods,
    staged_cluster,
    staged_probes,
)

CLUSTERS = [staged_cluster(seed) for seed in range(40)]


def test_a_cluster_can_be_put_together() -> None:
    for cluster in CLUSTERS:
        assert [node.addresses for node in cluster.nodes if node.name == NODE] == [NODE_ADDRESSES]
        for pod in local_pods(cluster):
            assert set(pod.addresses).isdisjoint(NODE_ADDRESSES)
        taken = Counter(
            text for pod in cluster.pods if not pod.host_network for text in pod.addresses
        )
        assert not [text for text, times in taken.items() if times > 1]
        assert b"SCTP" not in repr(list(objects(cluster))).encode()


def test_names_of_two_clusters_are_different() -> None:
    names = Counter(pod.name for cluster in CLUSTERS for pod in cluster.pods)
    names += Counter(policy.name for cluster in CLUSTERS for policy in cluster.policies)
    assert names and set(names.values()) == {1}


def test_probes_are_of_every_kind() -> None:
    seen: Counter[object] = Counter()
    for seed, cluster in enumerate(CLUSTERS):
        here = {text for pod in local_pods(cluster) for text in pod.addresses}
        for packet in map(packet_of, staged_probes(cluster, REFERENCE, 100, seed)):
            ends = (packet.source in here, packet.destination in here)
            assert any(ends)
            seen[ends] += 1
            seen[packet.protocol] += 1
            seen[ip_address(packet.source).version] += 1
            seen["from the node"] += packet.source in NODE_ADDRESSES
            seen["to the node"] += packet.destination in NODE_ADDRESSES
    assert seen.keys() >= {Protocol.TCP, Protocol.UDP, Protocol.ICMP, 4, 6, (True, True)}
    assert min(seen.values()) > 50, seen
