"""Calico's policies from documents to verdicts, compared with a plain reading of the documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.profile import PROFILES
from tests.clusters.generated_documents import Object
from tests.manifests.reading import load_text
from tests.oracle_calico import CalicoOracle, Packet
from tests.oracles.calico_policies import engine_says, made_up, probes_of
from tests.oracles.client import EndVerdict, WireAnswer, WireProbe


def plainly(objects: Sequence[Object], asked: Sequence[WireProbe]) -> list[WireAnswer]:
    oracle = CalicoOracle(objects)
    found = []
    for one in asked:
        source, destination = (oracle.end(t, one.family) for t in (one.source, one.destination))
        packet = Packet(source, destination, one.protocol, one.port, one.icmp_type)
        verdicts: list[EndVerdict | None] = []
        for way, end in (("egress", source), ("ingress", destination)):
            if end.pod is None:
                verdicts.append(None)
            else:
                allowed, by = oracle.decides(way, packet)
                verdicts.append(EndVerdict("allow" if allowed else "deny", by))
        found.append(WireAnswer(verdicts[0], verdicts[1]))
    return found


@pytest.mark.parametrize("cni", ["calico", "reference"])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_verdicts_are_those_of_a_plain_reading(cni: str, first: int) -> None:
    decided: Counter[str] = Counter()
    for seed in range(first, first + 50):
        random = Random(seed)
        objects = made_up(random)
        asked = list(probes_of(random, objects, 60))
        ours = engine_says(objects, PROFILES[cni], asked)
        for probe, one, other in zip(asked, ours, plainly(objects, asked), strict=True):
            assert one == other, (seed, probe)
            for end in (one.egress, one.ingress):
                decided[end.by.partition(" ")[0] if end else "no pod"] += 1
    # Tiers, the ends of tiers and profiles decide, and network sets and pods are asked.
    assert {"default", "early", "late", "end", "profile", "no pod"} <= decided.keys()


ADMIN_POLICY = """
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec:
  priority: 1
  subject: {namespaces: {}}
  ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: x}}}]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {team: x}}
---
apiVersion: projectcalico.org/v3
"""


@pytest.mark.parametrize(
    ("cni", "network_set", "said"),
    [
        ("calico", "kind: NetworkSet\nmetadata: {name: feeds, namespace: a}", True),
        ("calico", "kind: NetworkSet\nmetadata: {name: feeds, namespace: b}", False),
        ("calico", "kind: GlobalNetworkSet\nmetadata: {name: feeds}", False),
        ("antrea", "kind: NetworkSet\nmetadata: {name: feeds, namespace: a}", False),
    ],
)
def test_sets_that_calico_takes_for_ends_in_a_namespace(
    cni: str, network_set: str, said: bool
) -> None:
    cluster = load_text(f"{ADMIN_POLICY}{network_set}\nspec: {{nets: [203.0.113.0/24]}}\n").cluster
    compiled = compile_cluster(cluster, PROFILES[cni])
    details = [one.detail for one in compiled.unevaluated if "network set" in one.detail]
    assert details == (
        [
            "Calico takes the addresses in 1 network set (feeds) for ends in namespaces that "
            "AdminNetworkPolicy admin has as peers: that is not taken into account"
        ]
        if said
        else []
    )
