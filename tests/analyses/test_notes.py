from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.notes import notes
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Direction, EndSet, ExceptPeer, NamedPeer, NodePeer, Peer
from kubeverdict.model.profile import PROFILES
from tests.clusters.records import allow, cluster, pod, policy, tcp

DENY = policy("shop/deny", ingress=[])
WEB = pod("shop/web", "app=web", "10.0.0.1")


def said(made: Cluster, cni: str = "reference") -> tuple[str, ...]:
    return notes(compile_cluster(made, PROFILES[cni]))


def test_an_ordinary_cluster_needs_no_notes() -> None:
    assert said(cluster([WEB], [DENY])) == ()


def test_the_cni_and_what_is_not_known_of_it() -> None:
    assert said(cluster([WEB]), "calico") == (
        "judged as Calico does (--cni calico)",
        "connections that are open while a policy changes are kept",
    )
    assert said(cluster([WEB]), "kube-router") == (
        "judged as kube-router does (--cni kube-router)",
        "kube-router rejects what it denies, where others drop it",
        "connections that are open while a policy changes are kept",
        "not verified for kube-router, so as in the reference profile: hairpin",
    )
    assert "connections that are open while a policy changes are judged again" in said(
        cluster([WEB]), "ovn-kubernetes"
    )


def test_what_the_cni_leaves_out() -> None:
    named = policy("shop/named", ingress=[(None, [tcp("http")])])
    assert "Weave Net refuses NetworkPolicy shop/named: it has a named port" in said(
        cluster([WEB], [named]), "weave"
    )
    assert any(
        "enforces no network policy" in one for one in said(cluster([WEB], [DENY]), "flannel")
    )


def test_pods_that_are_left_out_are_counted_by_reason_and_named() -> None:
    finished = [pod(f"shop/job-{n}", "", f"10.0.1.{n}", phase="Succeeded") for n in range(7)]
    waiting = pod("shop/waiting", phase="Pending")
    found = said(cluster([WEB, *finished, waiting]))
    assert found[0].startswith("7 pods left out, finished (Succeeded): shop/job-0, ")
    assert found[0].endswith("shop/job-4 and 2 more")
    assert found[1].startswith("1 pod left out, no address yet (Pending)")


def test_namespaces_without_an_object() -> None:
    made = cluster([WEB], [DENY])
    implied = replace(made, namespaces=tuple(replace(one, implied=True) for one in made.namespaces))
    assert said(implied) == (
        "no Namespace object in the input, so only the name is known of: shop",
    )
    # Without policies there is nothing that their labels could change.
    assert said(replace(implied, policies=())) == ()


@pytest.mark.parametrize(
    "peer", [NodePeer(), ExceptPeer(NamedPeer(EndSet.ALL), (NodePeer(),))], ids=("plain", "except")
)
def test_peers_by_node_without_a_node(peer: Peer) -> None:
    rule = allow(Direction.INGRESS, (peer,))
    by_node = replace(DENY, kind="AdminNetworkPolicy", rules=(rule,))
    told = "no Node object in the input: nothing matches a peer by node"
    assert told in said(cluster([WEB], [by_node]))
