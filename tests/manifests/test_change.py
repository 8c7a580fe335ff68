"""Changes: objects applied to a cluster and deleted from it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.errors import UsageError
from kubeverdict.manifests import apply, delete
from kubeverdict.model.cluster import UNKNOWN_VALUE, Cluster
from tests.manifests.reading import load_text, policy_text

OWNER = [{"kind": "ReplicaSet", "name": "web-5d8f", "controller": True}]


def live(number: int, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-5d8f-{number}",
            "namespace": "shop",
            "labels": {"app": "web", "pod-template-hash": "5d8f", **labels},
            "ownerReferences": OWNER,
        },
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "podIP": f"10.0.0.{number}"},
    }


def deployment(name: str = "web", labels: Any = None, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": labels or {"app": "web", "tier": "front"}},
        "spec": {"containers": [{"ports": [{"containerPort": 8080}]}]},
    }
    head = {"name": name, "namespace": "shop"}
    spec = {"template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": spec}


def plain(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **more}}


def text(*objects: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def cluster(*objects: Any) -> Cluster:
    return load_text(text(*objects)).cluster


def applied(base: Cluster, *objects: Any) -> Cluster:
    return apply(base, load_text(text(*objects)))


POLICY = json.loads(policy_text({"policyTypes": ["Ingress"]}))
OTHER = json.loads(policy_text({}, name="other"))
BASE = cluster(
    live(1),
    live(2),
    POLICY,
    plain("Service", "web", namespace="shop"),
    plain("Node", "n1"),
    plain("Namespace", "shop", labels={"team": "a"}),
    plain("Pod", "lone"),
)


def pod_names(cluster: Cluster) -> list[str]:
    return [str(pod) for pod in cluster.pods]


def test_a_policy_is_replaced_by_name() -> None:
    opened = json.loads(policy_text({"ingress": [{}]}))
    after = applied(BASE, opened, OTHER)
    assert [(str(p), len(p.rules)) for p in after.policies] == [("shop/web", 1), ("shop/other", 0)]
    assert [len(p.rules) for p in BASE.policies] == [0]
    assert (after.pods, after.nodes, after.services) == (BASE.pods, BASE.nodes, BASE.services)


def test_new_objects_bring_their_namespaces() -> None:
    away = json.loads(policy_text({}, namespace="away"))
    after = applied(BASE, away, plain("Service", "s", namespace="more"), plain("Node", "n2"))
    found = [(n.name, n.implied) for n in after.namespaces]
    assert found == [("shop", False), ("default", True), ("away", True), ("more", True)]
    assert [n.name for n in after.nodes] == ["n1", "n2"]
    assert len(after.services) == 2


def test_a_namespace_gets_its_labels() -> None:
    after = applied(BASE, plain("Namespace", "shop", labels={"team": "b"}), plain("Namespace", "x"))
    assert [(n.name, n.labels.get("team")) for n in after.namespaces] == [
        ("shop", "b"),
        ("default", None),
        ("x", None),
    ]


def test_a_namespace_that_a_change_only_implies_keeps_its_labels() -> None:
    (shop, _) = applied(BASE, OTHER).namespaces
    assert shop.labels["team"] == "a" and not shop.implied


def test_pods_of_a_changed_workload_keep_their_place() -> None:
    after = applied(BASE, deployment(replicas=2))
    assert pod_names(after) == pod_names(BASE)
    for old, new in zip(BASE.pods[:2], after.pods[:2], strict=True):
        assert (new.addresses, new.node, new.phase) == (old.addresses, "n1", "Running")
        assert new.labels == {"app": "web", "tier": "front", "pod-template-hash": "5d8f"}
        assert [port.number for port in new.ports] == [8080]
        assert not new.template and new.workload == old.workload
    assert after.pods[2] is BASE.pods[2]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"replicas": 0}, ["default/lone"]),
        ({"replicas": 1}, ["shop/web-5d8f-1", "default/lone"]),
        ({}, ["shop/web-5d8f-1", "shop/web-5d8f-2", "default/lone"]),
        ({"replicas": 3}, ["shop/web-5d8f-1", "shop/web-5d8f-2", "default/lone", "shop/web-2"]),
    ],
)
def test_a_workload_is_scaled_as_it_says(spec: dict[str, Any], expected: list[str]) -> None:
    assert pod_names(applied(BASE, deployment(**spec))) == expected


def test_templates_replace_templates() -> None:
    base = cluster(deployment(replicas=3))
    after = applied(base, deployment(labels={"app": "new"}, replicas=2))
    assert pod_names(after) == ["shop/web-0", "shop/web-1"]
    labels = {"app": "new", "pod-template-hash": UNKNOWN_VALUE}
    assert all(pod.template and pod.labels == labels for pod in after.pods)


def test_a_new_workload_is_added_beside_pods_of_its_name() -> None:
    base = cluster(plain("Pod", "web-0", namespace="shop"))
    assert pod_names(applied(base, deployment())) == ["shop/web-0", "shop/web-0-1"]


def test_a_pod_without_status_keeps_what_the_cluster_gave_it() -> None:
    manifest = live(1, tier="x")
    del manifest["status"], manifest["spec"], manifest["metadata"]["ownerReferences"]
    (first, *_) = applied(BASE, manifest).pods
    assert first.labels == {"app": "web", "pod-template-hash": "5d8f", "tier": "x"}
    assert (first.addresses, first.node, first.phase) == (("10.0.0.1",), "n1", "Running")
    assert str(first.workload) == "shop/web[Deployment]"


def test_a_pod_with_status_replaces_it_whole() -> None:
    changed = live(1)
    changed["status"]["podIP"] = "10.9.9.9"
    changed["spec"] = {}
    after = applied(BASE, changed, live(3))
    assert [pod.addresses for pod in after.pods] == [
        ("10.9.9.9",),
        ("10.0.0.2",),
        (),
        ("10.0.0.3",),
    ]
    assert after.pods[0].node == ""


def test_applying_a_cluster_to_itself_changes_nothing() -> None:
    objects = [live(1), live(2), POLICY, deployment(replicas=9), plain("Namespace", "shop")]
    base = cluster(*objects)
    after = applied(base, *objects)
    assert pod_names(after) == pod_names(base)
    assert [pod.addresses for pod in after.pods] == [pod.addresses for pod in base.pods]
    assert list(map(str, after.policies)) == list(map(str, base.policies))


@pytest.mark.parametrize("kind", ["networkpolicy", "NetworkPolicy", "networkpolicies", "netpol"])
def test_a_policy_is_deleted(kind: str) -> None:
    after = delete(BASE, [f"{kind}/shop/web"])
    assert not after.policies
    assert after.namespaces == BASE.namespaces


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("pod/shop/web-5d8f-1", ["shop/web-5d8f-2", "default/lone"]),
        ("po/default/lone", ["shop/web-5d8f-1", "shop/web-5d8f-2"]),
        ("deployment/shop/web", ["default/lone"]),
        ("deploy/shop/web", ["default/lone"]),
        ("ns/shop", ["default/lone"]),
        ("namespaces/default", ["shop/web-5d8f-1", "shop/web-5d8f-2"]),
    ],
)
def test_pods_are_deleted(reference: str, expected: list[str]) -> None:
    assert pod_names(delete(BASE, [reference])) == expected


def test_a_namespace_is_deleted_with_all_that_is_in_it() -> None:
    after = delete(BASE, ["namespace/shop"])
    assert [n.name for n in after.namespaces] == ["default"]
    assert not after.policies and not after.services and len(after.nodes) == 1


def test_services_and_nodes_are_deleted() -> None:
    after = delete(BASE, ["svc/shop/web", "node/n1"])
    assert not after.services and not after.nodes
    assert len(after.pods) == 3


WRONG = [
    ("netpol/shop/wbe", "it does not exist, did you mean networkpolicy/shop/web?"),
    ("deployment/shop/wep", "it does not exist, did you mean deployment/shop/web?"),
    ("networkpolicy/shpo/web", "it does not exist, did you mean networkpolicy/shop/web?"),
    ("pod/shop/lone", "it does not exist, did you mean pod/default/lone?"),
    ("namespace/shopp", "it does not exist, did you mean namespace/shop?"),
    ("job/shop/web", "it does not exist: there is none of its kind"),
    ("deploymnt/shop/web", "unknown kind 'deploymnt', did you mean deployment?"),
    ("xyz/shop/web", "unknown kind 'xyz': networkpolicy, "),
    ("networkpolicy/web", "write it as networkpolicy/NAMESPACE/NAME"),
    ("namespace/a/b", "write it as namespace/NAME"),
    ("web", "unknown kind 'web'"),
]


@pytest.mark.parametrize(("reference", "message"), WRONG)
def test_a_reference_to_nothing_names_what_is_near(reference: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        delete(BASE, [reference])
    assert str(caught.value).startswith(f"cannot delete {reference!r}: {message}")


def test_the_same_cannot_be_deleted_twice() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        delete(BASE, ["netpol/shop/web", "netpol/shop/web"])
