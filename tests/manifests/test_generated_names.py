"""``metadata.generateName``: objects whose name the API server will make up."""

from __future__ import annotations

import pytest

from tests.manifests.reading import load_text, problems_of, told

POD = """
apiVersion: v1
kind: Pod
metadata: {generateName: worker-, namespace: a, labels: {app: worker}}
spec: {containers: [{name: c}]}
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {generateName: deny-, namespace: a}
spec: {podSelector: {}}
"""


def workload(kind: str, group: str, name: str = "") -> str:
    template = "template: {metadata: {labels: {app: w}}, spec: {containers: [{name: c}]}}"
    if kind == "CronJob":
        template = f"jobTemplate: {{spec: {{{template}}}}}"
    named = f"name: {name}, " if name else ""
    return f"""
apiVersion: {group}
kind: {kind}
metadata: {{{named}generateName: w-, namespace: a}}
spec: {{{template}}}
"""


def test_a_pod_is_named_by_what_is_known_of_its_name() -> None:
    (pod,) = load_text(POD).cluster.pods
    assert (pod.namespace, pod.name, str(pod.workload)) == ("a", "worker-*", "a/worker-*[Pod]")


def test_a_name_that_is_there_is_the_name() -> None:
    (pod,) = load_text(POD.replace("{generateName", "{name: w, generateName")).cluster.pods
    assert pod.name == "w"
    policy = POLICY.replace("{generateName", "{name: w, generateName")
    assert [policy.name for policy in load_text(policy).cluster.policies] == ["w"]


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        *[(kind, "apps/v1") for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")],
        ("Job", "batch/v1"),
        ("CronJob", "batch/v1"),
        ("ReplicationController", "v1"),
    ],
)
def test_every_kind_of_workload(kind: str, group: str) -> None:
    (pod,) = load_text(workload(kind, group)).cluster.pods
    assert str(pod.workload) == f"a/w-*[{kind}]"


def test_namespaces_nodes_services_and_ingresses() -> None:
    text = "\n---\n".join(
        f"{{apiVersion: {version}, kind: {kind}, metadata: {{generateName: x-}}}}"
        for kind, version in (
            ("Namespace", "v1"),
            ("Node", "v1"),
            ("Service", "v1"),
            ("Ingress", "networking.k8s.io/v1"),
        )
    )
    cluster = load_text(text).cluster
    assert [node.name for node in cluster.nodes] == ["x-*"]
    assert [service.name for service in cluster.services] == ["x-*"]
    assert [ingress.name for ingress in cluster.ingresses] == ["x-*"]
    assert "x-*" in {namespace.name for namespace in cluster.namespaces}


def test_objects_of_one_generate_name_are_as_many_objects() -> None:
    loaded = load_text("---".join([POD, POD, POD, POLICY, POLICY]))
    assert [pod.name for pod in loaded.cluster.pods] == ["worker-*", "worker-*-2", "worker-*-3"]
    assert [policy.name for policy in loaded.cluster.policies] == ["deny-*", "deny-*-2"]
    assert not loaded.warnings
    jobs = load_text("---".join([workload("Job", "batch/v1")] * 2)).cluster.pods
    assert [str(pod.workload) for pod in jobs] == ["a/w-*[Job]", "a/w-*-2[Job]"]


def test_a_generate_name_is_checked_as_the_api_server_does() -> None:
    assert not load_text(POLICY.replace("deny-", "deny")).warnings
    (problem,) = problems_of(POLICY.replace("deny-", "Deny_"))
    assert problem.field == "metadata.generateName"
    assert problem.message.startswith('Invalid value: "Deny_": a lowercase RFC 1123 subdomain')
    problems = problems_of(POLICY.replace("deny-", "7"))
    expected = "metadata.generateName: Invalid value: 7: expected a string, got an integer"
    assert told(problems) == [f"{expected} (quote it)"]
