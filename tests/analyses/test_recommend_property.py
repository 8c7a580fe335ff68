"""On generated clusters and traffic: what is recommended never blocks what it was made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.analyses.finished import with_finished
from kubeverdict.analyses.judged_traffic import judged
from kubeverdict.analyses.recommend import DraftOptions, Recommendation, recommend
from kubeverdict.analyses.recommend.permits import Alone
from kubeverdict.analyses.recommend.proof import Proof, prove
from kubeverdict.analyses.replay import replay
from kubeverdict.analyses.traffic import LogReading, Traffic, collect
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import Problem
from kubeverdict.manifests import Loaded, apply
from kubeverdict.manifests.loading import load_text
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.policy import Policy
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.render.policies import policies as written
from tests.clusters.generated import Probe, clusters, probes, random_cluster, random_probes
from tests.clusters.records import pod, xy_cluster
from tests.oracle import Oracle


class Lines:
    """What a reader of logs would hand over."""

    def __init__(self, records: Iterable[FlowRecord]) -> None:
        self.records = list(records)
        self.lines = len(self.records)
        self.skipped: Counter[str] = Counter()
        self.malformed: list[Problem] = []


def end_of(end: Pod | str) -> FlowEnd:
    if isinstance(end, Pod):
        return FlowEnd(end.namespace, end.name)
    return FlowEnd(address=end)


def records(asked: Iterable[Probe]) -> list[FlowRecord]:
    return [
        FlowRecord(
            end_of(one.source), end_of(one.destination), one.protocol, one.port, Seen.ARRIVED
        )
        for one in asked
    ]


def traffic_of(cluster: Cluster, asked: Iterable[Probe]) -> tuple[Traffic, LogReading]:
    reading = LogReading()
    (traffic,) = collect([Lines(records(asked))], cluster, reading, None)
    return traffic, reading


def read_back(found: Recommendation) -> tuple[Policy, ...]:
    if not found.policies:
        return ()
    loaded = load_text("recommended.yaml", written(found.policies).encode())
    assert not loaded.warnings
    return tuple(loaded.cluster.policies)


def recommended(
    cluster: Cluster,
    profile: Profile,
    traffic: Traffic,
    reading: LogReading,
    baselines: Sequence[str] = (),
) -> tuple[Recommendation, Proof, Cluster]:
    names = tuple(sorted({pod.namespace for pod in cluster.pods}))
    options = DraftOptions(names, 4, tuple(baselines))
    found = recommend(cluster, profile, False, traffic, reading, options)
    read = read_back(found)
    after = apply(cluster, Loaded(Cluster(policies=read)))
    alone = Alone.of(cluster, read, profile, False)
    first, second = (compile_cluster(one, profile) for one in (cluster, after))
    return found, prove(first, second, alone, traffic), after


def managed(cluster: Cluster, profile: Profile) -> list[Pod]:
    return list(compile_cluster(cluster, profile).pods)


def check(cluster: Cluster, profile: Profile, asked: list[Probe]) -> None:
    cluster = with_finished(cluster)
    if not profile.ipblock_matches_nodes:
        # No policy of this API lets a node in there, other than one that lets in everything.
        hosts = {text for node in cluster.nodes for text in node.addresses}
        hosts |= {text for pod in cluster.pods if pod.host_network for text in pod.addresses}
        numbers = {ip_address(text) for text in hosts}
        asked = [
            one
            for one in asked
            if not any(
                (ip_address(end) in numbers) if isinstance(end, str) else end.host_network
                for end in (one.source, one.destination)
            )
        ]
    traffic, reading = traffic_of(cluster, asked)
    found, proof, after = recommended(cluster, profile, traffic, reading)
    blocked = [(g.source, g.destination, g.port) for g in proof.blocked_groups]
    still = [(g.source, g.destination, g.port) for g in proof.still_denied_groups]
    assert blocked == []
    # Every namespace got policies, so what others deny is allowed again.
    assert still == []
    assert proof.selects_nothing == ()
    assert 0 <= proof.seen <= proof.permitted
    report = replay([traffic], compile_cluster(after, profile), LogReading())
    assert report.breaking.records == 0
    for draft in found.policies:
        assert draft.ingress or draft.egress, "a policy without a rule"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("profile", ["reference", "calico", "cilium", "weave", "aws-vpc-cni"])
def test_nothing_is_blocked_on_large_clusters(seed: int, profile: str) -> None:
    cluster = random_cluster(seed, pods=60, policies=10 * (seed % 2))
    asked = random_probes(cluster, managed(cluster, PROFILES[profile]), 400, seed)
    check(cluster, PROFILES[profile], asked)


def test_pods_that_connect_over_different_families() -> None:
    """What rules permit is counted over both families, as what was seen is."""
    old, both, new = (
        pod("x/v4", "", "10.0.0.1"),
        pod("x/dual", "", "10.0.0.2", "fd00::2"),
        pod("x/v6", "", "fd00::1"),
    )
    pairs = [(new, both), (both, new), (both, old)]
    asked = [Probe(source, end, Protocol.TCP, 80, None) for source, end in pairs]
    check(xy_cluster((old, both, new)), REFERENCE, asked)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nothing_is_blocked_on_small_clusters(data: st.DataObject) -> None:
    cluster = data.draw(clusters())
    asked = data.draw(probes(cluster, managed(cluster, REFERENCE)))
    check(cluster, REFERENCE, asked)


@pytest.mark.parametrize("seed", range(4))
def test_the_oracle_says_so_too(seed: int) -> None:
    """Of connections with a pod at each end, or one at one end."""
    cluster = with_finished(random_cluster(seed, pods=40, policies=0))
    asked = random_probes(cluster, managed(cluster, REFERENCE), 150, seed)
    traffic, reading = traffic_of(cluster, asked)
    _, _, after = recommended(cluster, REFERENCE, traffic, reading)
    oracle = Oracle(after)
    pods = {(pod.namespace, pod.name): pod for pod in after.pods}
    part = judged(compile_cluster(after), traffic)
    asked_again = 0
    for row in range(len(part.traffic)):
        source, destination = (
            part.traffic.ends[number]
            for number in (int(part.traffic.source[row]), int(part.traffic.destination[row]))
        )
        ends = [
            pods[one.pod.namespace, one.pod.name] if one.pod else one.address
            for one in (source, destination)
        ]
        verdict = oracle.judge(
            ends[0],
            ends[1],
            Protocol(int(part.traffic.protocol[row])),
            int(part.traffic.port[row]),
        )
        assert verdict.allowed, (source.name, destination.name)
        asked_again += 1
    assert asked_again > 20
