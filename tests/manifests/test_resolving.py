"""Scenarios resolved: the same clusters as applying and deleting gives."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import kubeverdict
from kubeverdict.errors import InputError, KubeverdictError
from kubeverdict.manifests import apply, delete, load
from kubeverdict.manifests.loading import load_text
from kubeverdict.manifests.resolving import Resolver
from kubeverdict.manifests.scenarios import Change, Scenario
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.edit import Edit, edited

SHOP = Path(kubeverdict.__file__).parent / "examples" / "shop"


@pytest.fixture(scope="module")
def shop() -> Cluster:
    return load([str(SHOP)]).cluster


def after(cluster: Cluster, *changes: Change) -> Cluster:
    return edited(cluster, Resolver(cluster).edit(Scenario("s", changes)))


def parts(cluster: Cluster) -> list[object]:
    """Everything in a cluster, whatever its order. Policies know their place only by identity."""
    policies = sorted((str(p), p.pods, len(p.rules)) for p in cluster.policies)
    objects = (cluster.namespaces, cluster.pods, cluster.nodes, cluster.services)
    return [policies, *(sorted(map(repr, each)) for each in objects)]


def deployment(name: str, replicas: int | None, **labels: str) -> str:
    spec: dict[str, object] = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": []}},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return msgspec.json.encode(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": spec,
        }
    ).decode()


@pytest.mark.parametrize(
    "text",
    [
        deployment("frontend", 5, app="other"),
        deployment("frontend", 1, app="frontend"),
        deployment("frontend", None, app="new"),
        deployment("fresh", 3, app="fresh"),
        '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "data", "labels": {}}}',
        '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "quite-new"}}',
        '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "shop"}}',
        (SHOP.parent / "shop-change" / "orders-db.yaml").read_text(),
        (SHOP / "shop" / "policies.yaml").read_text(),
    ],
)
def test_apply(shop: Cluster, text: str) -> None:
    expected = apply(shop, load_text("change", text.encode()))
    assert parts(after(shop, Change("apply", "change", 1, text=text))) == parts(expected)


@pytest.mark.parametrize(
    "target",
    [
        "networkpolicy/shop/frontend",
        "netpol/data/default-deny",
        "deployment/shop/frontend",
        "statefulset/data/orders-db",
        "namespace/data",
        "service/data/orders-db",
    ],
)
def test_delete(shop: Cluster, target: str) -> None:
    expected = delete(shop, [target])
    found = after(shop, Change("delete", target=target))
    if target.startswith("namespace"):
        # What others say about it is implied again where something names it; here nothing does.
        assert all(one.name != "data" for one in found.namespaces)
    assert parts(found) == parts(expected)


def labels_of(cluster: Cluster, workload: str) -> list[dict[str, str]]:
    return [dict(pod.labels) for pod in pods_of(cluster, workload)]


def pods_of(cluster: Cluster, workload: str) -> list[Pod]:
    return [pod for pod in cluster.pods if pod.workload.name == workload]


def test_label(shop: Cluster) -> None:
    change = Change("label", target="deploy/shop/frontend", set={"x": "y"}, remove=("app",))
    for labels in labels_of(after(shop, change), "frontend"):
        assert labels["x"] == "y" and "app" not in labels
    found = after(shop, Change("label", target="ns/data", set={"x": "y"}))
    (data,) = (one for one in found.namespaces if one.name == "data")
    assert data.labels["x"] == "y" and data.labels["kubernetes.io/metadata.name"] == "data"


@pytest.mark.parametrize("replicas", [0, 1, 2, 7])
def test_scale(shop: Cluster, replicas: int) -> None:
    found = after(shop, Change("scale", target="deploy/shop/frontend", replicas=replicas))
    pods = pods_of(found, "frontend")
    assert len(pods) == replicas == len({pod.name for pod in pods})
    old = {id(pod) for pod in shop.pods}
    kept = min(replicas, len(pods_of(shop, "frontend")))
    assert sum(id(pod) in old for pod in pods) == kept


def test_later_changes_see_earlier_ones(shop: Cluster) -> None:
    found = after(
        shop,
        Change("apply", "change", 1, text=deployment("fresh", 2, app="fresh")),
        Change("label", target="deployment/shop/fresh", set={"x": "y"}),
        Change("scale", target="deployment/shop/fresh", replicas=3),
        Change("delete", target="networkpolicy/shop/frontend"),
    )
    assert [labels["x"] for labels in labels_of(found, "fresh")] == ["y"] * 3
    with pytest.raises(KubeverdictError, match="does not exist"):
        after(
            shop,
            Change("delete", target="networkpolicy/shop/frontend"),
            Change("delete", target="networkpolicy/shop/frontend"),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("delete", "f", 3, "deploy/shop/frontnd"), "f:3: cannot delete"),
        (Change("label", "f", 3, "svc/data/orders-db", set={"a": "b"}), "only pods"),
        (Change("scale", "f", 3, "pod/shop/frontend-0", replicas=1), "only workloads"),
        (Change("scale", "f", 3, "deploy/shop/none", replicas=1), "does not exist"),
    ],
)
def test_what_cannot_be_done(shop: Cluster, change: Change, message: str) -> None:
    with pytest.raises(KubeverdictError) as caught:
        after(shop, change)
    assert message in str(caught.value)


def test_a_manifest_that_is_wrong_says_where(shop: Cluster) -> None:
    text = '{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {}}'
    with pytest.raises(InputError, match=r"change:7: .*metadata.name"):
        after(shop, Change("apply", "change", 7, text=text))


def test_a_policy_needs_no_look_at_pods(shop: Cluster) -> None:
    resolver = Resolver(shop)
    change = Change("delete", target="networkpolicy/shop/frontend")
    edit = resolver.edit(Scenario("s", (change,)))
    assert edit == Edit("s", policies_out=(("NetworkPolicy", "shop", "frontend"),))
    assert not {"pods", "pods_of"} & vars(resolver).keys()


def test_the_profile(shop: Cluster) -> None:
    assert Resolver(shop).edit(Scenario("s", (Change("cni", target="weave"),))).profile == "weave"
