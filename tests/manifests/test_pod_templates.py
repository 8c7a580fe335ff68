"""Pods of workload kinds that Kubernetes does not have itself."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from kubeverdict.manifests import Loaded
from kubeverdict.manifests.pod_templates import TEMPLATES
from kubeverdict.model.cluster import UNKNOWN_VALUE
from kubeverdict.model.unevaluated import Gap
from tests.manifests.reading import load_text, problems_of, told

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80}]}]},
}
LWS = "leaderworkerset.sigs.k8s.io"


def made(group: str, kind: str, name: str = "w", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "x", **fields.pop("metadata", {})}
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, **fields}


def loaded(*objects: dict[str, Any]) -> Loaded:
    return load_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


KNOWN = [
    ("apps.openshift.io", "DeploymentConfig", {"replicas": 2, "template": TEMPLATE}, 2),
    ("argoproj.io", "Rollout", {"replicas": 3, "template": TEMPLATE}, 3),
    ("argoproj.io", "Experiment", {"templates": [{"name": "a", "template": TEMPLATE}]}, 1),
    ("apps.kruise.io", "CloneSet", {"template": TEMPLATE}, 1),
    ("apps.kruise.io", "StatefulSet", {"replicas": 2, "template": TEMPLATE}, 2),
    ("apps.kruise.io", "DaemonSet", {"template": TEMPLATE}, 1),
    ("apps.kruise.io", "BroadcastJob", {"template": TEMPLATE}, 1),
    (
        "apps.kruise.io",
        "AdvancedCronJob",
        {"template": {"jobTemplate": {"spec": {"template": TEMPLATE}}}},
        1,
    ),
    (
        "apps.kruise.io",
        "UnitedDeployment",
        {"replicas": 2, "template": {"cloneSetTemplate": {"spec": {"template": TEMPLATE}}}},
        2,
    ),
    ("serving.knative.dev", "Service", {"template": TEMPLATE}, 1),
    ("serving.knative.dev", "Configuration", {"template": TEMPLATE}, 1),
    (
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        {
            "replicas": 2,
            "leaderWorkerTemplate": {
                "size": 3,
                "leaderTemplate": TEMPLATE,
                "workerTemplate": TEMPLATE,
            },
        },
        6,
    ),
    (
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        {"leaderWorkerTemplate": {"size": 3, "workerTemplate": TEMPLATE}},
        3,
    ),
    (
        "jobset.x-k8s.io",
        "JobSet",
        {
            "replicatedJobs": [
                {
                    "name": "a",
                    "replicas": 2,
                    "template": {"spec": {"parallelism": 3, "template": TEMPLATE}},
                },
                {"name": "b", "template": {"spec": {"template": TEMPLATE}}},
            ]
        },
        7,
    ),
    ("batch.volcano.sh", "Job", {"tasks": [{"replicas": 2, "name": "t", "template": TEMPLATE}]}, 2),
    (
        "batch.volcano.sh",
        "CronJob",
        {"jobTemplate": {"spec": {"tasks": [{"name": "t", "template": TEMPLATE}]}}},
        1,
    ),
    (
        "ray.io",
        "RayCluster",
        {
            "headGroupSpec": {"template": TEMPLATE},
            "workerGroupSpecs": [{"groupName": "gpu", "replicas": 2, "template": TEMPLATE}],
        },
        3,
    ),
    ("ray.io", "RayJob", {"rayClusterSpec": {"headGroupSpec": {"template": TEMPLATE}}}, 1),
    ("ray.io", "RayService", {"rayClusterConfig": {"headGroupSpec": {"template": TEMPLATE}}}, 1),
    (
        "kubeflow.org",
        "PyTorchJob",
        {"pytorchReplicaSpecs": {"Worker": {"replicas": 4, "template": TEMPLATE}}},
        4,
    ),
    ("kubeflow.org", "TFJob", {"tfReplicaSpecs": {"PS": {"template": TEMPLATE}}}, 1),
    ("kubeflow.org", "MPIJob", {"mpiReplicaSpecs": {"Launcher": {"template": TEMPLATE}}}, 1),
    ("kubevirt.io", "VirtualMachine", {"template": TEMPLATE}, 1),
    ("kubevirt.io", "VirtualMachineInstanceReplicaSet", {"replicas": 2, "template": TEMPLATE}, 2),
]


@pytest.mark.parametrize(("group", "kind", "spec", "count"), KNOWN)
def test_pods_of_known_kinds(group: str, kind: str, spec: dict[str, Any], count: int) -> None:
    found = loaded(made(group, kind, spec=spec))
    pods = found.cluster.pods
    assert len({pod.name for pod in pods}) == len(pods) == count
    own = {"StatefulSet", "DaemonSet", "Service", "Job", "CronJob"}
    name = f"{kind}.{group}" if kind in own else kind
    for pod in pods:
        assert str(pod.workload) == f"x/w[{name}]"
        assert (pod.template, pod.labels["app"], pod.ports[0].name) == (True, "web", "http")
    assert not found.cluster.unevaluated and not found.warnings


def test_every_kind_of_the_table_is_tried() -> None:
    tried = {(group, kind) for group, kind, _, _ in KNOWN}
    whole = {
        ("kubevirt.io", "VirtualMachineInstance"),
        ("serving.knative.dev", "Revision"),
    }
    assert tried | whole == set(TEMPLATES)


@pytest.mark.parametrize(
    "resource",
    [("kubevirt.io", "VirtualMachineInstance"), ("serving.knative.dev", "Revision")],
)
def test_kinds_that_are_a_template_themselves(resource: tuple[str, str]) -> None:
    value = made(*resource, spec=TEMPLATE["spec"], metadata=TEMPLATE["metadata"])
    (pod,) = loaded(value).cluster.pods
    assert pod.labels["app"] == "web"


LABELS = [
    (
        "argoproj.io",
        "Rollout",
        {"template": TEMPLATE},
        {"rollouts-pod-template-hash": UNKNOWN_VALUE},
    ),
    (
        "apps.openshift.io",
        "DeploymentConfig",
        {"template": TEMPLATE},
        {"deploymentconfig": "w", "deployment": UNKNOWN_VALUE},
    ),
    (
        "kubevirt.io",
        "VirtualMachine",
        {"template": TEMPLATE},
        {
            "kubevirt.io": "virt-launcher",
            "kubevirt.io/created-by": UNKNOWN_VALUE,
            "vm.kubevirt.io/name": "w",
            "vmi.kubevirt.io/id": UNKNOWN_VALUE,
        },
    ),
    (
        "batch.volcano.sh",
        "Job",
        {"tasks": [{"name": "t", "template": TEMPLATE}]},
        {
            "volcano.sh/job-name": "w",
            "volcano.sh/job-namespace": "x",
            "volcano.sh/task-spec": "t",
            "volcano.sh/task-index": UNKNOWN_VALUE,
            "volcano.sh/queue-name": UNKNOWN_VALUE,
        },
    ),
    (
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        {"leaderWorkerTemplate": {"leaderTemplate": TEMPLATE}},
        {
            f"{LWS}/name": "w",
            f"{LWS}/worker-index": "0",
            f"{LWS}/group-index": UNKNOWN_VALUE,
            f"{LWS}/group-key": UNKNOWN_VALUE,
            f"{LWS}/template-revision-hash": UNKNOWN_VALUE,
        },
    ),
]


@pytest.mark.parametrize(("group", "kind", "spec", "labels"), LABELS)
def test_labels_that_controllers_add(
    group: str, kind: str, spec: dict[str, Any], labels: dict[str, str]
) -> None:
    (pod,) = loaded(made(group, kind, spec=spec)).cluster.pods
    assert pod.labels == {"app": "web", **labels}


def test_the_label_of_a_template_is_not_lost_to_one_that_is_unknown() -> None:
    service = made("serving.knative.dev", "Service", spec={"template": TEMPLATE})
    bare = {"spec": TEMPLATE["spec"]}
    other = made("serving.knative.dev", "Service", "v", spec={"template": bare})
    labels = [pod.labels["app"] for pod in loaded(service, other).cluster.pods]
    assert labels == ["web", UNKNOWN_VALUE]


def test_the_proxy_beside_a_knative_container_listens_too() -> None:
    (pod,) = loaded(
        made("serving.knative.dev", "Service", spec={"template": TEMPLATE})
    ).cluster.pods
    assert {8012, 8013, 8112} <= {port.number for port in pod.ports}


def test_host_network_and_node_are_read_as_from_a_pod() -> None:
    template = {"spec": {**TEMPLATE["spec"], "hostNetwork": True, "nodeName": "n1"}}
    (pod,) = loaded(made("argoproj.io", "Rollout", spec={"template": template})).cluster.pods
    assert (pod.host_network, pod.node) == (True, "n1")


def test_a_rollout_may_take_the_template_of_a_deployment() -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    rollout = made("argoproj.io", "Rollout", spec={"replicas": 2, "workloadRef": reference})
    deployment = made("apps", "Deployment", "d", spec={"replicas": 1, "template": TEMPLATE})
    pods = loaded(rollout, deployment).cluster.pods
    assert [(pod.name, str(pod.workload)) for pod in pods] == [
        ("w-0", "x/w[Rollout]"),
        ("w-1", "x/w[Rollout]"),
    ]
    assert pods[0].labels["app"] == "web" and pods[0].ports[0].number == 80
    alone = loaded(rollout).cluster
    assert not alone.pods
    (gap,) = alone.unevaluated
    assert (gap.resource, gap.gap, gap.names) == ("Rollout.argoproj.io", Gap.PODS, ("x/w",))


def test_an_unknown_kind_with_a_template_is_read_and_marked() -> None:
    spec = {
        "size": 3,
        "web": {"replicas": 2, "template": TEMPLATE},
        "jobs": [{"podTemplate": TEMPLATE}],
        "values": {"spec": {"containers": {"not": "a list"}}},
    }
    found = loaded(made("acme.org", "Shop", spec=spec)).cluster
    assert [pod.name for pod in found.pods] == ["w-web-0", "w-web-1", "w-jobs-0-podtemplate-0"]
    assert {str(pod.workload) for pod in found.pods} == {"x/w[Shop]"}
    (gap,) = found.unevaluated
    assert (gap.resource, gap.gap, gap.count) == ("Shop.acme.org", Gap.GENERIC, 1)


def test_one_template_has_as_many_pods_as_the_object_says() -> None:
    spec = {"replicas": 3, "podTemplate": TEMPLATE}
    assert len(loaded(made("acme.org", "Shop", spec=spec)).cluster.pods) == 3


def test_an_unknown_kind_without_a_template_may_make_pods() -> None:
    (gap,) = loaded(made("acme.org", "Shop", spec={"containers": 3})).cluster.unevaluated
    assert (gap.gap, gap.namespaces) == (Gap.NOT_READ, ("x",))


def test_a_custom_resource_definition_is_no_template() -> None:
    schema = {"properties": {"spec": {"containers": [{"name": "c"}]}}}
    definition = made("apiextensions.k8s.io", "CustomResourceDefinition", spec=schema)
    found = loaded(definition)
    assert not found.cluster.pods and not found.cluster.unevaluated


def test_errors_name_the_field_in_the_object() -> None:
    template = {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 0}]}]}}
    value = made("argoproj.io", "Rollout", spec={"template": template})
    (problem,) = problems_of(json.dumps(value))
    assert problem.field == "spec.template.spec.containers[0].ports[0].containerPort"
    value["spec"]["template"] = {"metadata": {"labels": {"a": 1}}}
    assert told(problems_of(json.dumps(value))) == [
        "spec.template.metadata.labels.a: Invalid value: 1: expected a string, got an integer "
        "(quote it)"
    ]


# --- pods that live ------------------------------------------------------------------------------


def live(name: str, labels: dict[str, str], owner: tuple[str, str, str] | None = None) -> Any:
    metadata: dict[str, Any] = {"labels": labels}
    if owner is not None:
        version, kind, of = owner
        metadata["ownerReferences"] = [
            {"apiVersion": version, "kind": kind, "name": of, "controller": True}
        ]
    pod = made("", "Pod", name, metadata=metadata, status={"phase": "Running", "podIP": "10.0.0.1"})
    return {**pod, "apiVersion": "v1"}


HASH = {"app": "web", "rollouts-pod-template-hash": "5d8f"}


@pytest.mark.parametrize(
    "pod",
    [
        live("w-5d8f-a", HASH, ("apps/v1", "ReplicaSet", "w-5d8f")),
        live("w-a", {"app": "web", "more": "x"}, ("apps/v1", "ReplicaSet", "w-other")),
        live("w-a", {"app": "web"}),
        live("w-a", {}, ("argoproj.io/v1alpha1", "Rollout", "w")),
    ],
)
def test_a_workload_whose_pods_live_does_not_count_twice(pod: dict[str, Any]) -> None:
    rollout = made("argoproj.io", "Rollout", spec={"replicas": 2, "template": TEMPLATE})
    (found,) = loaded(pod, rollout).cluster.pods
    assert (found.name, str(found.workload)) == (pod["metadata"]["name"], "x/w[Rollout]")


def test_pods_of_others_leave_a_template_alone() -> None:
    rollout = made("argoproj.io", "Rollout", spec={"template": TEMPLATE})
    twin = made("apps", "Deployment", "d", spec={"template": TEMPLATE})
    pods = [
        live("d-a", {"app": "web"}, ("apps/v1", "Deployment", "d")),
        live("w-b", {"app": "other"}, ("apps/v1", "ReplicaSet", "w-x")),
        live("debug", {"app": "web"}),
    ]
    found = Counter(str(pod.workload) for pod in loaded(*pods, rollout, twin).cluster.pods)
    assert found == {
        "x/d[Deployment]": 1,
        "x/w-x[ReplicaSet]": 1,
        "x/debug[Pod]": 1,
        "x/w[Rollout]": 1,
    }


def test_kinds_of_one_name_are_kept_apart() -> None:
    kruise = made("apps.kruise.io", "StatefulSet", spec={"template": TEMPLATE})
    plain = made("apps", "StatefulSet", spec={"template": TEMPLATE})
    pod = live("w-0", {"app": "web"}, ("apps.kruise.io/v1beta1", "StatefulSet", "w"))
    found = [str(pod.workload) for pod in loaded(kruise, plain, pod).cluster.pods]
    assert found == ["x/w[StatefulSet.apps.kruise.io]", "x/w[StatefulSet]"]


def test_what_makes_pods_is_no_gap_where_they_are_in_the_input() -> None:
    prometheus = made("monitoring.coreos.com", "Prometheus", "k8s")
    owner = [{"kind": "Prometheus", "name": "k8s", "controller": True}]
    metadata = {"ownerReferences": owner}
    of_it = made("apps", "StatefulSet", "p", metadata=metadata, spec={"template": TEMPLATE})
    (gap,) = loaded(prometheus).cluster.unevaluated
    assert (gap.gap, gap.names, gap.namespaces) == (Gap.PODS, ("x/k8s",), ("x",))
    assert not loaded(prometheus, of_it).cluster.unevaluated
    (gap,) = loaded(prometheus, live("other", {})).cluster.unevaluated
    assert gap.namespaces == ()  # all pods of the namespace are there
