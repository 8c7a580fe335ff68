"""What comes from the node that a pod runs on, where rules may deny it, as the oracle has it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.model.cluster import Pod
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.clusters.generated import Probe, random_cluster
from tests.conformance.answers import ask_engine
from tests.oracle import Oracle


@pytest.mark.parametrize(
    "profile", [replace(REFERENCE, own_node_deniable=True), PROFILES["cilium"]], ids=str
)
def test_the_own_node_is_judged_as_the_oracle_does(profile: Profile) -> None:
    denied = 0
    for seed in range(1, 160, 2):
        cluster = random_cluster(seed, pods=10, policies=8, tiers=True)
        oracle = Oracle(cluster, profile)
        addresses = {node.name: node.addresses for node in cluster.nodes}
        asked = [
            Probe(address, pod, protocol, port, None)
            for pod in oracle.managed
            for address in addresses.get(pod.node, ())
            for protocol, port in ((Protocol.TCP, 80), (Protocol.UDP, 81))
        ]
        for probe, answer in zip(asked, ask_engine(cluster, asked, profile), strict=True):
            assert isinstance(probe.destination, Pod)
            expected = oracle.judge(
                probe.source, probe.destination, probe.protocol, probe.port, probe.family
            )
            assert answer.allowed is expected.allowed, probe
            denied += not expected.allowed
    assert denied
