"""The kernel against the oracle: the programs judge packets, the oracle reads the policies.

Every pod of a generated cluster is local in turn, on each node, under each CNI profile; its peers
are every address in use and those at the edges of blocks. What passes and what does not is
compared, and for a part of the probes the rule that decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np
import pytest

from bench.lab import bpffs
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiled import Reason as Decided
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, Profile
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import Local, as_enforced, lower
from tests.agent.packets import probe
from tests.agent.programs import Bench, needs_root
from tests.clusters.generated import ends, random_cluster, services, without_icmp_types
from tests.oracle import Decider, Oracle, Reason, decides_to_allow

pytestmark = needs_root

NODES = ("node-1", "node-2", "node-3", "")
ELSEWHERE = "elsewhere"  # the node of pods that name none
# A pod that reaches itself is not seen by the hook as such, and without an address there is no
# packet.
NOT_SEEN = {Reason.SELF, Reason.NO_ADDRESS}
CLUSTERS, CHUNK, SERVICES = 240, 20, 6


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with bpffs() as folder:
        datapath = NodeDatapath.open(folder / "kernel-agrees", flows=1024)
        datapath.set_stateless(True)
        datapath.set_encapsulation(allowed=True)  # the oracle reads policies alone
        yield Bench(datapath)
        datapath.close()


def locals_of(compiled: CompiledPolicy, node: str) -> list[tuple[Local, Pod]]:
    return [
        (Local(slot, pod.namespace, pod.name, Mode.ENFORCE), pod)
        for slot, pod in enumerate(compiled.pods)
        if pod.node == node and pod.addresses
    ]


def questions(
    cluster: Cluster, pod: Pod, random: Random
) -> Iterator[tuple[str, str, Protocol, int]]:
    """The pod's own address, the peer's, protocol and port."""
    asked = services(cluster)
    for peer in ends(cluster, ()):
        assert isinstance(peer, str)
        for own in pod.addresses:
            if (":" in own) == (":" in peer):
                for protocol, port in random.sample(asked, min(SERVICES, len(asked))):
                    yield own, peer, protocol, port


def compare(bench: Bench, cluster: Cluster, profile: Profile, seed: int) -> tuple[int, list[str]]:
    """How many packets were judged, and what was judged otherwise than by the oracle."""
    compiled, oracle = compile_cluster(cluster, profile), Oracle(cluster, profile)
    random = Random(seed)
    count, wrong = 0, []
    for node in NODES:
        known = locals_of(compiled, node)
        bench.datapath.publish(lower(compiled, node or ELSEWHERE, [local for local, _ in known]))
        for local, pod in known:
            bench.bind(local.slot)
            for own, peer, protocol, port in questions(cluster, pod, random):
                family: Family = 6 if ":" in own else 4
                out = oracle.judge(pod, peer, protocol, port, family).egress
                into = oracle.judge(peer, pod, protocol, port, family).ingress
                for direction, decider in ((Direction.EGRESS, out), (Direction.INGRESS, into)):
                    if decider in NOT_SEEN:
                        continue
                    count += 1
                    passed = (
                        bench.leaves(probe(own, peer, protocol, port))
                        if direction is Direction.EGRESS
                        else bench.arrives(probe(peer, own, protocol, port))
                    )
                    if passed is not decides_to_allow(decider):
                        wrong.append(
                            f"seed {seed}, {profile.name}: {direction.word} of {pod} on {node}, "
                            f"{peer} {protocol.name} {port}: kernel {passed}, oracle {decider}"
                        )
    return count, wrong


@pytest.mark.parametrize("first", range(0, CLUSTERS, CHUNK))
def test_every_verdict_is_the_oracles(bench: Bench, first: int) -> None:
    judged = 0
    profiles = list(map(as_enforced, PROFILES.values()))
    for seed in range(first, first + CHUNK):
        cluster = without_icmp_types(random_cluster(seed, pods=10, policies=8, tiers=seed % 3 == 0))
        count, wrong = compare(bench, cluster, profiles[seed % len(profiles)], seed)
        assert not wrong, "\n".join([f"{len(wrong)} of {count}", *wrong[:9]])
        judged += count
    assert judged > CHUNK * 500


def decided_by(rules: Sequence[int], compiled: CompiledPolicy, decision: int) -> Decider:
    """A decision number in the oracle's words."""
    rule = int(rules[decision & layout.DECISION_RULE])
    if rule < 0:
        return Reason[Decided(rule).name]
    found = compiled.rules[rule]
    return found.policy, found.rule


@pytest.mark.parametrize("seed", range(8))
def test_every_decision_names_the_oracles_rule(bench: Bench, seed: int) -> None:
    """Read from the table of denials, and from the connection where it is allowed."""
    cluster = without_icmp_types(
        random_cluster(1000 + seed, pods=8, policies=8, tiers=seed % 2 == 0)
    )
    compiled, oracle = compile_cluster(cluster), Oracle(cluster)
    random = Random(seed)
    compared = 0
    bench.datapath.set_stateless(False)
    family: Family
    for number, node in enumerate(NODES):
        known = locals_of(compiled, node)
        tables = lower(compiled, node or ELSEWHERE, [local for local, _ in known])
        bench.datapath.publish(tables)
        for local, pod in known:
            endpoint = 1 + local.slot + 100 * (number + len(NODES) * seed)
            bench.bind(local.slot, endpoint)
            for own, peer, protocol, port in questions(cluster, pod, random):
                family = 6 if ":" in own else 4
                decider = oracle.judge(pod, peer, protocol, port, family).egress
                if decider in NOT_SEEN or protocol in (Protocol.ICMP, Protocol.OTHER):
                    continue
                bench.datapath.totals(drain=True)
                passed = bench.leaves(probe(own, peer, protocol, port, 1024 + compared % 60000))
                decision = newest_decision(
                    bench.datapath, endpoint, passed, 1024 + compared % 60000
                )
                assert decided_by(tables.rules.tolist(), compiled, decision) == decider
                compared += 1
                if compared % 40 == 0:  # one look at the connections of an endpoint is slow
                    break
    bench.datapath.set_stateless(True)
    assert compared > 20


def newest_decision(datapath: NodeDatapath, endpoint: int, passed: bool, port: int) -> int:
    if not passed:
        keys, _ = datapath.totals()
        (decision,) = keys["decision"][keys["endpoint"] == endpoint].tolist()
        return int(decision)
    found = [
        int(values["decision"][match])
        for _, keys, values in datapath.flows()
        for match in np.flatnonzero((keys["owner"] >> 8 == endpoint) & (keys["local_port"] == port))
    ]
    return found[-1]
