"""Workloads: which one a pod belongs to, and the pods that templates stand for."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from kubeverdict.model.cluster import UNKNOWN_VALUE, Pod
from tests.manifests.reading import load_text

GROUPS = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1"}


def owned(kind: str, name: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"kind": "Other", "name": "x"},
        {"kind": kind, "name": name, "controller": True, **more},
    ]


def pod(name: str = "p", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}}


def workload(kind: str, name: str = "web", owner: Any = None, **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"ports": [{"containerPort": 80}]}]},
    }
    head = {"name": name, "namespace": "shop"} | ({"ownerReferences": owner} if owner else {})
    inner = {"template": template}
    body = {"jobTemplate": {"spec": inner}} if kind == "CronJob" else inner
    group = GROUPS.get(kind, "apps/v1")
    return {"apiVersion": group, "kind": kind, "metadata": head, "spec": {**body, **spec}}


def node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def pods(*objects: dict[str, Any]) -> list[Pod]:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    return list(load_text(text).cluster.pods)


def names(*objects: dict[str, Any]) -> list[str]:
    return [pod.name for pod in pods(*objects)]


HASH = {"pod-template-hash": "5d8f"}
OWNERS: list[tuple[list[dict[str, Any]], str]] = [
    ([pod()], "default/p[Pod]"),
    ([pod(ownerReferences=owned("Node", "n1"))], "default/p[Pod]"),
    ([pod(ownerReferences=owned("Job", "j", controller=False))], "default/p[Pod]"),
    ([pod(ownerReferences=owned("ReplicaSet", "web-5d8f"))], "default/web-5d8f[ReplicaSet]"),
    (
        [pod(ownerReferences=owned("ReplicaSet", "web-5d8f"), labels=HASH)],
        "default/web[Deployment]",
    ),
    ([pod(ownerReferences=owned("ReplicaSet", "web-x"), labels=HASH)], "default/web-x[ReplicaSet]"),
    ([pod(ownerReferences=owned("ReplicaSet", "-5d8f"), labels=HASH)], "default/-5d8f[ReplicaSet]"),
    ([pod(ownerReferences=owned("StatefulSet", "db"))], "default/db[StatefulSet]"),
    ([pod(ownerReferences=owned("Rollout", "r"))], "default/r[Rollout]"),
    ([pod(ownerReferences=owned("Job", "j"))], "default/j[Job]"),
    (
        [
            pod(namespace="shop", ownerReferences=owned("Job", "j")),
            workload("Job", "j", owned("CronJob", "c")),
        ],
        "shop/c[CronJob]",
    ),
    (
        [
            pod(namespace="shop", ownerReferences=owned("ReplicaSet", "r-5d8f"), labels=HASH),
            workload("ReplicaSet", "r-5d8f", owned("Rollout", "r")),
        ],
        "shop/r[Rollout]",
    ),
    (
        [
            pod(namespace="other", ownerReferences=owned("Job", "j")),
            workload("Job", "j", owned("CronJob", "c"), parallelism=0),
        ],
        "other/j[Job]",
    ),
]


@pytest.mark.parametrize(("objects", "expected"), OWNERS, ids=lambda value: str(value)[-40:])
def test_the_workload_of_a_pod(objects: list[dict[str, Any]], expected: str) -> None:
    for order in (objects, objects[::-1]):
        (found,) = pods(*order)
        assert str(found.workload) == expected


def test_owners_that_own_each_other_end() -> None:
    loop = [workload("Job", "a", owned("Job", "b")), workload("Job", "b", owned("Job", "a"))]
    (found,) = pods(pod(namespace="shop", ownerReferences=owned("Job", "a")), *loop)
    assert found.workload.kind == "Job"
    own = workload("Job", "a", owned("Job", "a"))
    assert len(pods(own)) == 1


COUNTS: list[tuple[dict[str, Any], list[str]]] = [
    (workload("Deployment"), ["web-0"]),
    (workload("Deployment", replicas=None), ["web-0"]),
    (workload("Deployment", replicas=3), ["web-0", "web-1", "web-2"]),
    (workload("Deployment", replicas=0), []),
    (workload("ReplicaSet", replicas=2), ["web-0", "web-1"]),
    (workload("ReplicationController", replicas=2), ["web-0", "web-1"]),
    (workload("StatefulSet", replicas=2), ["web-0", "web-1"]),
    (workload("StatefulSet", replicas=2, ordinals={"start": 5}), ["web-5", "web-6"]),
    (workload("DaemonSet"), ["web-0"]),
    (workload("Job"), ["web-0"]),
    (workload("Job", parallelism=2, completions=9), ["web-0", "web-1"]),
    (workload("CronJob"), ["web-0"]),
]


@pytest.mark.parametrize(("value", "expected"), COUNTS, ids=lambda value: str(value)[-60:])
def test_a_template_stands_for_its_pods(value: dict[str, Any], expected: list[str]) -> None:
    found = pods(value)
    assert [pod.name for pod in found] == expected
    for pod in found:
        assert str(pod.workload) == f"shop/web[{value['kind']}]"
        assert pod.template and not pod.addresses and not pod.phase
        assert pod.labels["app"] == "web"
        assert [port.number for port in pod.ports] == [80]


def test_no_replicas_is_told() -> None:
    (warning,) = load_text(json.dumps(workload("Deployment", replicas=0))).warnings
    assert (warning.field, warning.message) == ("spec.replicas", "is 0: stands for no pods")


def test_labels_that_a_controller_adds() -> None:
    (_, second) = pods(workload("StatefulSet", replicas=2))
    assert second.labels == {
        "app": "web",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": UNKNOWN_VALUE,
        "statefulset.kubernetes.io/pod-name": "web-1",
    }
    (job,) = pods(workload("Job"))
    assert job.labels == {
        "app": "web",
        "batch.kubernetes.io/controller-uid": UNKNOWN_VALUE,
        "batch.kubernetes.io/job-name": "web",
        "controller-uid": UNKNOWN_VALUE,
        "job-name": "web",
    }


def test_a_daemon_set_has_a_pod_on_every_node() -> None:
    found = pods(workload("DaemonSet"), node("n1"), node("n2"))
    assert [(pod.name, pod.node) for pod in found] == [("web-n1", "n1"), ("web-n2", "n2")]


def test_a_template_is_silent_where_its_pods_are_known() -> None:
    deployment = workload("Deployment", replicas=5)
    replica_set = workload("ReplicaSet", "web-5d8f", owned("Deployment", "web"), replicas=5)
    real = pod(namespace="shop", ownerReferences=owned("ReplicaSet", "web-5d8f"), labels=HASH)
    assert names(deployment, real) == ["p"]
    assert names(deployment, replica_set, real) == ["p"]
    assert names(replica_set, real) == ["p"]
    cron = workload("CronJob", "c")
    job = workload("Job", "j", owned("CronJob", "c"))
    assert names(cron, job, pod(namespace="shop", ownerReferences=owned("Job", "j"))) == ["p"]


def test_a_workload_that_is_owned_leaves_its_pods_to_its_owner() -> None:
    old = workload("ReplicaSet", "web-1", owned("Deployment", "web"), replicas=2)
    assert names(workload("Deployment", replicas=1), old) == ["web-0"]
    (first, _) = pods(old)
    assert str(first.workload) == "shop/web[Deployment]"


def test_a_pod_of_another_namespace_is_not_its_own() -> None:
    real = pod(namespace="other", ownerReferences=owned("StatefulSet", "web"))
    assert names(workload("StatefulSet"), real) == ["p", "web-0"]


def test_workloads_that_look_alike_have_the_pods_that_are_called_after_them() -> None:
    """In whatever order they are read. Each pod is of a workload that is not in the input."""
    like = {"metadata": {"labels": {"app": "web"}}, "spec": {}}
    workloads = [
        workload(kind, name, replicas=1, template=like)
        for kind, name in (("StatefulSet", "web"), ("Deployment", "web-api"), ("Deployment", "z"))
    ]
    real = [
        {
            **pod(f"p{at}", namespace="shop", labels={"app": "web"}, ownerReferences=owners),
            "status": {"phase": "Running"},
        }
        for at, owners in enumerate(
            (owned("Runner", "web-5d8f"), owned("Runner", "web-api-5d8f"), owned("Runner", "gone"))
        )
    ]
    for order in permutations(workloads):
        found = {one.name: one.workload.name for one in pods(*order, *real)}
        assert found == {"p0": "web", "p1": "web-api", "p2": "z"}


def test_names_do_not_collide() -> None:
    found = names(workload("Deployment"), workload("StatefulSet"), pod("web-0", namespace="shop"))
    assert found == ["web-0", "web-deployment-0", "web-statefulset-0"]


def test_many_replicas_share_what_they_have() -> None:
    found = pods(workload("Deployment", replicas=100_000))
    assert len(found) == 100_000
    assert found[0].labels is found[-1].labels
    assert found[0].ports is found[-1].ports
