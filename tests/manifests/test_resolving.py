"""Scenarios resolved: the same as making each change to the whole cluster, one after another."""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kubeverdict.errors import InputError, UsageError
from kubeverdict.manifests.resolving import Resolver
from kubeverdict.manifests.scenarios import Change, Scenario, delete_each, relabel_each
from kubeverdict.model.cluster import UNKNOWN_VALUE, Cluster
from kubeverdict.model.edit import Edit, edited
from tests.clusters.generated import random_cluster
from tests.manifests.plain_change import apply, delete
from tests.manifests.reading import load_text, policy_text
from tests.manifests.test_change import BASE, OTHER, cluster, deployment, live, plain, text


def resolved(base: Cluster, *changes: Change) -> Edit:
    return Resolver(base).edit(Scenario("s", changes))


def after(base: Cluster, *changes: Change) -> Cluster:
    return edited(base, resolved(base, *changes))


def applies(*objects: Any) -> Change:
    return Change("apply", "f.json", 1, text=text(*objects))


def meaning(cluster: Cluster) -> dict[str, Any]:
    """All of a cluster but the order of its objects, on which no verdict depends."""
    found: dict[str, Any] = {
        name: {str(item): msgspec.structs.astuple(item) for item in getattr(cluster, name)}
        for name in ("pods", "nodes", "services", "ingresses")
    }
    spaces = {item.name: (item.labels, item.implied) for item in cluster.namespaces}
    policies = {str(p): (p.pods, p.isolates, len(p.rules)) for p in cluster.policies}
    return found | {"namespaces": spaces, "policies": policies}


def stateful(replicas: int, name: str = "db", **spec: Any) -> dict[str, Any]:
    return {**deployment(name, replicas=replicas, **spec), "kind": "StatefulSet"}


def ingress(name: str, service: str) -> dict[str, Any]:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    head = {"name": name, "namespace": "shop"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": head,
        "spec": {"defaultBackend": backend},
    }


LIVE = cluster(
    *(live(number) for number in (1, 2, 3)),
    deployment("api", labels={"app": "api"}, replicas=3),
    stateful(12),
    json.loads(policy_text({})),
    OTHER,
    json.loads(policy_text({}, namespace="data")),
    plain("Service", "web", namespace="shop"),
    ingress("web", "web"),
    ingress("other", "api"),
    plain("Node", "n1"),
    plain("Node", "n2"),
    plain("Namespace", "shop", labels={"team": "a"}),
    plain("Pod", "lone"),
)
# A step is a change, and the same done to the whole cluster.
STEPS = [
    *(
        (Change("delete", target=target), partial(delete, references=[target]))
        for target in (
            "netpol/shop/web",
            "networkpolicy/data/web",
            "pod/shop/web-5d8f-2",
            "deployment/shop/web",
            "deploy/shop/api",
            "sts/shop/db",
            "ns/shop",
            "namespace/default",
            "svc/shop/web",
            "node/n1",
        )
    ),
    *(
        (applies(*objects), partial(apply, change=load_text(text(*objects))))
        for objects in (
            [json.loads(policy_text({"ingress": [{}]}))],
            [json.loads(policy_text({}, name="third", namespace="new"))],
            [deployment(replicas=2)],
            [deployment(replicas=5)],
            [deployment(labels={"app": "x"})],
            [
                deployment("api", labels={"app": "api2"}, replicas=1),
                plain("Pod", "api-1", namespace="shop"),
            ],
            [deployment("api", replicas=4), deployment("other", replicas=2)],
            [stateful(3), plain("Service", "db", namespace="shop")],
            [live(2, tier="y"), live(9)],
            [plain("Pod", "lone"), plain("Pod", "web-0", namespace="shop")],
            [plain("Namespace", "shop", labels={"team": "b"}), plain("Node", "n3")],
            [plain("Namespace", "empty")],
            [ingress("web", "api"), ingress("new", "web")],
        )
    ),
]


@pytest.mark.parametrize("seed", range(300))
def test_changes_come_to_the_same_as_one_after_another(seed: int) -> None:
    choose = Random(seed)
    changes: list[Change] = []
    expected = LIVE
    for change, make in choose.sample(STEPS, choose.randint(1, 4)):
        try:
            expected = make(expected)
        except UsageError as error:  # an earlier change took it away
            with pytest.raises(UsageError) as caught:
                resolved(LIVE, *changes, change)
            assert str(caught.value) == str(error)
            return
        changes.append(change)
    assert meaning(after(LIVE, *changes)) == meaning(expected)


@pytest.mark.parametrize("seed", range(5))
def test_generated_policies(seed: int) -> None:
    base = random_cluster(seed, pods=60, policies=30)
    resolver = Resolver(base)
    for scenario in delete_each(base):
        target = scenario.changes[0].target
        assert meaning(edited(base, resolver.edit(scenario))) == meaning(delete(base, [target]))


def test_changes_of_policies_do_not_walk_the_pods() -> None:
    class Pods(tuple[Any, ...]):
        def __iter__(self) -> Any:
            raise AssertionError("the pods are walked")

    base = replace(BASE, pods=Pods(BASE.pods))
    opened = Change("apply", "f", 1, text=policy_text({"ingress": [{}]}))
    edit = resolved(base, Change("delete", target="netpol/shop/web"), opened)
    assert [len(policy.rules) for policy in edit.policies_in] == [1]
    assert not edit.pods_in and not edit.pods_out


# --- labels ------------------------------------------------------------------------------------


def labels(cluster: Cluster) -> dict[str, dict[str, str]]:
    return {str(pod): dict(pod.labels) for pod in cluster.pods}


def test_labels_of_a_workload() -> None:
    change = Change("label", target="deployment/shop/web", set={"tier": "x"}, remove=("app",))
    found = labels(after(BASE, change))
    assert found["shop/web-5d8f-1"] == {"pod-template-hash": "5d8f", "tier": "x"}
    assert found["shop/web-5d8f-2"] == found["shop/web-5d8f-1"]
    assert found["default/lone"] == labels(BASE)["default/lone"]


def test_labels_of_a_pod_and_of_a_namespace() -> None:
    pod = Change("label", target="po/default/lone", set={"a": "b"})
    space = Change("label", target="ns/default", set={"team": "x"})
    found = after(BASE, pod, space)
    assert labels(found)["default/lone"] == {"a": "b"}
    default = next(item for item in found.namespaces if item.name == "default")
    assert default.labels == {"kubernetes.io/metadata.name": "default", "team": "x"}
    assert not default.implied


def test_labels_are_set_on_what_earlier_changes_left() -> None:
    changes = [
        applies(deployment("new", labels={"app": "n"})),
        Change("label", target="deployment/shop/new", set={"a": "1"}),
        Change("label", target="pod/shop/new-0", set={"b": "2"}, remove=("app",)),
    ]
    assert labels(after(BASE, *changes))["shop/new-0"] == {
        "a": "1",
        "b": "2",
        "pod-template-hash": UNKNOWN_VALUE,
    }


def test_every_workload_can_be_relabelled_whoever_owns_it() -> None:
    pod = live(1)
    pod["metadata"]["ownerReferences"] = [{"kind": "Rollout", "name": "r", "controller": True}]
    base = cluster(pod, live(2), plain("Pod", "lone"))
    resolver = Resolver(base)
    edits = [resolver.edit(scenario) for scenario in relabel_each(base, "tier=x")]
    assert [[pod.name for pod in edit.pods_in] for edit in edits] == [
        ["web-5d8f-1"],
        ["web-5d8f-2"],
        ["lone"],
    ]


# --- scale -------------------------------------------------------------------------------------


def names(cluster: Cluster) -> list[str]:
    return [pod.name for pod in cluster.pods]


@pytest.mark.parametrize("replicas", [0, 1, 3, 5])
def test_templates_are_scaled_as_their_manifest_would_do_it(replicas: int) -> None:
    base = cluster(deployment(replicas=3), plain("Pod", "lone"))
    scaled = after(base, Change("scale", target="deploy/shop/web", replicas=replicas))
    applied = apply(base, load_text(text(deployment(replicas=replicas))))
    assert meaning(scaled) == meaning(applied)


@pytest.mark.parametrize("replicas", [2, 11, 14])
def test_a_stateful_set_is_scaled_from_its_last_pod(replicas: int) -> None:
    scaled = after(LIVE, Change("scale", target="sts/shop/db", replicas=replicas))
    applied = apply(LIVE, load_text(text(stateful(replicas))))
    assert meaning(scaled) == meaning(applied)
    (listed,) = [pod for pod in scaled.pods if pod.name == f"db-{replicas - 1}"]
    assert listed.labels["apps.kubernetes.io/pod-index"] == str(replicas - 1)


def test_pods_of_a_stateful_set_come_in_any_order() -> None:
    pods = [pod for pod in cluster(stateful(12)).pods]
    base = Cluster(pods=tuple(sorted(pods, key=lambda pod: pod.name)))
    scaled = after(base, Change("scale", target="sts/shop/db", replicas=10))
    assert sorted(names(scaled)) == [f"db-{number}" for number in range(10)]


def test_new_pods_are_like_the_last_and_have_nothing_from_the_cluster() -> None:
    taken = plain("Pod", "web-2", namespace="shop")
    base = cluster(live(1), live(2), taken)
    scaled = after(base, Change("scale", target="deployment/shop/web", replicas=4))
    assert names(scaled) == ["web-5d8f-1", "web-5d8f-2", "web-2", "web-3", "web-4"]
    new = scaled.pods[-1]
    assert (new.addresses, new.node, new.phase, new.template) == ((), "", "", True)
    assert new.labels == base.pods[1].labels and new.workload == base.pods[1].workload


@pytest.mark.parametrize("kind", ["netpol/shop/web", "pod/default/lone", "ns/shop", "node/n1"])
def test_what_has_no_replicas(kind: str) -> None:
    with pytest.raises(UsageError, match=f"cannot scale '{kind}': a [A-Z].* has no replicas"):
        resolved(BASE, Change("scale", target=kind, replicas=2))


@pytest.mark.parametrize("kind", ["netpol/shop/web", "svc/shop/web", "node/n1"])
def test_what_has_no_labels_that_count(kind: str) -> None:
    with pytest.raises(UsageError, match=f"cannot label '{kind}': only pods, workloads and"):
        resolved(BASE, Change("label", target=kind, set={"a": "b"}))


# --- what is wrong -----------------------------------------------------------------------------


def test_a_target_that_does_not_exist_names_what_is_near() -> None:
    with pytest.raises(UsageError) as caught:
        resolved(BASE, Change("label", "s.yaml", 7, "deployment/shop/wep", set={"a": "b"}))
    assert str(caught.value) == (
        "s.yaml:7: cannot label 'deployment/shop/wep': it does not exist, "
        "did you mean deployment/shop/web?"
    )


def test_what_an_earlier_change_added_can_be_named_and_what_it_removed_cannot() -> None:
    added = applies(deployment("new"), OTHER, plain("Namespace", "x"))
    for target in ("deploy/shop/new", "netpol/shop/other", "ns/x", "pod/shop/new-0"):
        found = resolved(BASE, added, Change("delete", target=target))
        assert isinstance(found, Edit)
        with pytest.raises(UsageError, match="does not exist"):
            resolved(BASE, added, *[Change("delete", target=target)] * 2)


def test_every_mistake_in_a_manifest_is_told() -> None:
    wrong = json.loads(policy_text({"ingress": 3, "egress": 4}))
    with pytest.raises(InputError) as caught:
        resolved(BASE, applies(wrong))
    assert len(caught.value.problems) == 2


def test_warnings_about_manifests_are_kept() -> None:
    misspelt = json.loads(policy_text({"ingres": []}))
    edit, warnings = Resolver(BASE).resolve(Scenario("s", (applies(misspelt),)))
    assert len(edit.policies_in) == 1
    assert [warning.field for warning in warnings] == ["spec.ingres"]


def test_a_scenario_that_could_not_be_read_says_so() -> None:
    with pytest.raises(UsageError, match=r"^s\.yaml:3: broken$"):
        Resolver(BASE).edit(Scenario("s", error="s.yaml:3: broken"))


def test_a_profile_alone_is_a_change() -> None:
    edit = resolved(BASE, Change("cni", target="calico"))
    assert edit == Edit("s", profile="calico")
