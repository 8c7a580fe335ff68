"""Pods, nodes, services, workloads: what is read of them, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.manifests.objects import MAX_REPLICAS
from kubeverdict.model.cluster import BackendRef, ContainerKind, ContainerPort, Pod, ServicePort
from kubeverdict.model.ports import Protocol
from tests.manifests.reading import load_text, problems_of, told


def pod_text(spec: Any = None, status: Any = None, **metadata: Any) -> str:
    head = {"name": "p", "namespace": "shop", **metadata}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": spec, "status": status}
    )


def pod_of(spec: Any = None, status: Any = None, **metadata: Any) -> Pod:
    (pod,) = load_text(pod_text(spec, status, **metadata)).cluster.pods
    return pod


def test_a_pod_with_everything() -> None:
    pod = pod_of(
        {"nodeName": "n1", "hostNetwork": True, "containers": []},
        {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        },
        labels={"app": "web", "empty": ""},
    )
    assert (str(pod), pod.node, pod.phase, pod.host_network) == ("shop/p", "n1", "Running", True)
    assert pod.addresses == ("10.0.0.1", "fd00::1")
    assert pod.labels == {"app": "web", "empty": ""}
    assert not pod.template


def test_a_pod_with_nothing() -> None:
    pod = pod_of(namespace=None, labels=None, ownerReferences=None)
    assert (str(pod), str(pod.workload)) == ("default/p", "default/p[Pod]")
    assert (pod.addresses, pod.ports, pod.labels, pod.phase) == ((), (), {}, "")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"podIP": "10.0.0.1"}, ("10.0.0.1",)),
        ({"podIP": "10.0.0.1", "podIPs": []}, ("10.0.0.1",)),
        ({"podIP": "10.0.0.1", "podIPs": [{"ip": "fd00::1"}]}, ("fd00::1",)),
        # However it is spelt: by it the pod is found.
        ({"podIP": "FD00:0:0::1"}, ("fd00::1",)),
        ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::0:1"}]}, ("10.0.0.1", "fd00::1")),
        ({"podIP": "", "podIPs": None}, ()),
    ],
)
def test_addresses(status: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert pod_of(status=status).addresses == expected


def test_ports_of_every_kind_of_container() -> None:
    pod = pod_of(
        {
            "containers": [
                {"ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]},
                {"ports": None},
                {"ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}]},
            ],
            "initContainers": [
                {"ports": [{"containerPort": 80, "name": "http"}]},
                {"restartPolicy": "Always", "ports": [{"containerPort": 9, "protocol": "SCTP"}]},
            ],
        }
    )
    assert pod.ports == (
        ContainerPort("http", Protocol.TCP, 80),
        ContainerPort("", Protocol.TCP, 81),
        ContainerPort("dns", Protocol.UDP, 53),
        ContainerPort("http", Protocol.TCP, 80, ContainerKind.INIT),
        ContainerPort("", Protocol.SCTP, 9, ContainerKind.SIDECAR),
    )


def container(**port: Any) -> dict[str, Any]:
    return {"containers": [{"ports": [port]}]}


PORT = "spec.containers[0].ports[0]"
ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"spec": 1}, ["spec: Invalid value: 1: expected an object, got an integer"]),
    (
        {"spec": {"containers": {}}},
        ["spec.containers: Invalid value: expected a list, got an object"],
    ),
    (
        {"spec": {"containers": [{}, "x"]}},
        ['spec.containers[1]: Invalid value: "x": expected an object, got a string'],
    ),
    (
        {"spec": {"hostNetwork": "yes"}},
        ['spec.hostNetwork: Invalid value: "yes": expected a boolean, got a string'],
    ),
    (
        {"spec": {"containers": [{"ports": 80}]}},
        ["spec.containers[0].ports: Invalid value: 80: expected a list, got an integer"],
    ),
    (
        {"spec": container(containerPort="80")},
        [f'{PORT}.containerPort: Invalid value: "80": expected an integer, got a string'],
    ),
    (
        {"spec": container(containerPort=0)},
        [f"{PORT}.containerPort: Invalid value: 0: must be between 1 and 65535, inclusive"],
    ),
    ({"spec": container(name="x")}, [f"{PORT}.containerPort: Required value"]),
    (
        {"spec": container(containerPort=1, protocol="tcp")},
        [f'{PORT}.protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (
        {"labels": {"a": 1, "b": "x", "c": []}},
        [
            "metadata.labels.a: Invalid value: 1: expected a string, got an integer (quote it)",
            "metadata.labels.c: Invalid value: expected a string, got a list",
        ],
    ),
    ({"labels": []}, ["metadata.labels: Invalid value: expected an object, got a list"]),
    ({"name": ""}, ["metadata.name: Required value: name or generateName is required"]),
    (
        {"name": 1},
        ["metadata.name: Invalid value: 1: expected a string, got an integer (quote it)"],
    ),
    ({"status": {"podIP": "10.0.0"}}, [f'status.podIP: Invalid value: "10.0.0": {ADDRESS}']),
    (
        {"status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "x"}]}},
        [
            f'status.podIPs[1].ip: Invalid value: "x": {ADDRESS}',
            "status.podIPs: Invalid value: may specify no more than one IP for each IP family",
        ],
    ),
]


@pytest.mark.parametrize(("change", "expected"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_pods(change: dict[str, Any], expected: list[str]) -> None:
    assert told(problems_of(pod_text(**change))) == expected


def test_duplicate_labels_are_an_error_in_json_too() -> None:
    text = pod_text(labels={"app": "web"}).replace('"app": "web"', '"app": "web", "app": "db"')
    assert told(problems_of(text)) == ["metadata.labels: duplicate key 'app'"]


def test_a_label_that_looks_like_a_key_is_no_duplicate() -> None:
    text = pod_text(labels={"app": "web", "b": ""}).replace('"app": ', '"app" : ')
    assert load_text(text).cluster.pods[0].labels == {"app": "web", "b": ""}


def test_nodes() -> None:
    addresses = [
        {"type": "InternalIP", "address": "192.168.0.1"},
        {"type": "Hostname", "address": "n1"},
        {"type": "ExternalIP", "address": "203.0.113.1"},
        {"type": "ExternalIP", "address": "192.168.0.1"},
    ]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"a": "b"}}}
    text = json.dumps({**node, "status": {"addresses": addresses}})
    (found,) = load_text(text).cluster.nodes
    assert (found.name, found.addresses) == ("n1", ("192.168.0.1", "203.0.113.1"))
    assert found.labels == {"a": "b"}
    wrong = json.dumps({**node, "status": {"addresses": [{"type": "InternalIP", "address": "x"}]}})
    assert told(problems_of(wrong)) == [
        f'status.addresses[0].address: Invalid value: "x": {ADDRESS}'
    ]


def service_text(**spec: Any) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    )


def test_services() -> None:
    ports = [
        {"port": 80, "targetPort": "http", "name": "web"},
        {"port": 53, "protocol": "UDP", "targetPort": 5353, "nodePort": 30053},
        {"port": 443},
    ]
    text = service_text(
        selector={"app": "web"}, ports=ports, clusterIPs=["10.96.0.1", "fd00::1"], type="NodePort"
    )
    (found,) = load_text(text).cluster.services
    assert (str(found), found.type, found.selector) == ("default/s", "NodePort", {"app": "web"})
    assert found.addresses == ("10.96.0.1", "fd00::1")
    assert found.ports == (
        ServicePort(Protocol.TCP, 80, "http", "web"),
        ServicePort(Protocol.UDP, 53, 5353, "", 30053),
        ServicePort(Protocol.TCP, 443, 443),
    )


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"clusterIPs": ["None"]}, {}])
def test_services_without_address_or_selector(spec: dict[str, Any]) -> None:
    (found,) = load_text(service_text(**spec)).cluster.services
    assert (found.addresses, found.selector, found.type) == ((), {}, "ClusterIP")


WRONG_SERVICES: list[tuple[dict[str, Any], str]] = [
    ({"ports": [{}]}, "spec.ports[0].port: Required value"),
    ({"ports": [{"port": 80, "targetPort": 70000}]}, "spec.ports[0].targetPort: Invalid value"),
    ({"ports": [{"port": 80, "targetPort": []}]}, "spec.ports[0].targetPort: Invalid value"),
    ({"ports": [{"port": 80, "protocol": "x"}]}, "spec.ports[0].protocol: Unsupported value"),
    ({"clusterIPs": ["x"]}, 'spec.clusterIPs[0]: Invalid value: "x"'),
    ({"selector": {"a": 1}}, "spec.selector.a: Invalid value: 1"),
]


@pytest.mark.parametrize(("spec", "message"), WRONG_SERVICES)
def test_wrong_services(spec: dict[str, Any], message: str) -> None:
    (found,) = told(problems_of(service_text(**spec)))
    assert found.startswith(message)


WRONG_WORKLOADS: list[tuple[str, str, dict[str, Any], str]] = [
    ("apps/v1", "Deployment", {}, "spec.template: Required value"),
    ("batch/v1", "CronJob", {"jobTemplate": {}}, "spec.jobTemplate.spec.template: Required value"),
    (
        "apps/v1",
        "Deployment",
        {"replicas": -1, "template": {}},
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        "batch/v1",
        "Job",
        {"parallelism": MAX_REPLICAS + 1, "template": {}},
        f"spec.parallelism: Invalid value: {MAX_REPLICAS + 1}: more than {MAX_REPLICAS} pods of "
        "one workload are not supported",
    ),
    (
        "apps/v1",
        "Deployment",
        {"replicas": "3", "template": {}},
        'spec.replicas: Invalid value: "3": expected an integer, got a string',
    ),
    (
        "apps/v1",
        "StatefulSet",
        {"template": {"metadata": {"labels": {"a": 1}}}},
        "spec.template.metadata.labels.a: Invalid value: 1: expected a string, got an integer "
        "(quote it)",
    ),
    (
        "batch/v1",
        "CronJob",
        {"jobTemplate": {"spec": {"template": {"spec": container(containerPort=0)}}}},
        f"spec.jobTemplate.spec.template.{PORT}.containerPort: Invalid value: 0: must be between 1 "
        "and 65535, inclusive",
    ),
]


@pytest.mark.parametrize(("group", "kind", "spec", "message"), WRONG_WORKLOADS)
def test_wrong_workloads(group: str, kind: str, spec: dict[str, Any], message: str) -> None:
    value = {"apiVersion": group, "kind": kind, "metadata": {"name": "w"}, "spec": spec}
    assert told(problems_of(json.dumps(value))) == [message]


def test_ingresses_and_routes_say_what_they_lead_to() -> None:
    loaded = load_text(
        """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: web}
spec:
  defaultBackend: {service: {name: front, port: {number: 80}}}
  rules:
    - http:
        paths:
          - {path: /a, backend: {service: {name: api, port: {name: http}}}}
          - {path: /b, backend: {service: {name: api, port: {name: http}}}}
          - {path: /c, backend: {resource: {kind: Bucket, name: pictures}}}
    - host: nothing.example
---
apiVersion: route.openshift.io/v1
kind: Route
metadata: {name: shop, namespace: web}
spec:
  to: {kind: Service, name: front}
  alternateBackends: [{kind: Service, name: back}]
  port: {targetPort: 8080}
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old, namespace: web}
"""
    )
    one, other = loaded.cluster.ingresses
    assert (str(one), one.kind) == ("web/shop", "Ingress")
    assert one.backends == (BackendRef("web", "front", 80), BackendRef("web", "api", "http"))
    assert (str(other), other.kind) == ("web/shop", "Route")
    assert other.backends == (BackendRef("web", "front", 8080), BackendRef("web", "back", 8080))
    # No verdict depends on one of another version, so it is no reason to stop.
    assert loaded.ignored == {"Ingress.extensions": 1}


def test_a_load_tells_where_objects_came_from() -> None:
    loaded = load_text(
        """
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
"""
    )
    assert list(loaded.origins) == [("Namespace", "", "shop"), ("Service", "shop", "web")]
    assert loaded.origins["Namespace", "", "shop"].line_of(("metadata", "name")) == 5
    assert loaded.origins.get(("Pod", "shop", "web")) is None
    assert len(loaded.origins) == 2


def test_what_clients_of_a_service_look_like() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {%s}\n"
    for spec, expected in (("", "Cluster"), ("externalTrafficPolicy: Local", "Local")):
        (service,) = load_text(text % spec).cluster.services
        assert service.external_traffic == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "kind: Pod, apiVersion: v1, metadata: {name: web, namespace: y}",
            "Pod ?/web: metadata.namespace: Invalid value: true: expected a string, got a boolean",
        ),
        (
            "kind: Pod, apiVersion: v1, metadata: {name: on, namespace: shop}",
            "Pod shop/?: metadata.name: Invalid value: true: expected a string, got a boolean",
        ),
        (
            "kind: Node, apiVersion: v1, metadata: {name: 7}",
            "Node ?: metadata.name: Invalid value: 7: expected a string, got an integer",
        ),
        (
            "kind: Deployment, apiVersion: apps/v1, metadata: {generateName: web-, namespace: 0x1}",
            "Deployment ?/web-*: metadata.namespace: Invalid value: 1: expected a string, got an"
            " integer",
        ),
        (
            "kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, "
            "metadata: {name: web, namespace: no}",
            "NetworkPolicy ?/web: metadata.namespace: Invalid value: false: expected a string, got"
            " a boolean",
        ),
    ],
)
def test_words_that_yaml_does_not_take_for_text_are_named(text: str, expected: str) -> None:
    (problem,) = problems_of(f"{{{text}}}")
    assert str(problem) == f"<stdin>:1: {expected} (quote it)"
