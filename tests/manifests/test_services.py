"""Services, EndpointSlices and Endpoints objects: what is read of them and what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.manifests import apply, delete
from kubeverdict.manifests.resolving import Resolver
from kubeverdict.manifests.scenarios import Change, Scenario
from kubeverdict.model.cluster import BalancerAddress, Cluster, Service
from kubeverdict.model.edit import edited
from kubeverdict.model.endpoints import Endpoint, EndpointGroup, EndpointList, EndpointPort
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.services import Frontend, ServiceResolver
from tests.manifests.reading import load_text, problems_of, told

SERVICE_NAME = "kubernetes.io/service-name"


def service_text(spec: Any = None, status: Any = None, name: str = "web") -> str:
    head = {"name": name, "namespace": "shop"}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": spec, "status": status}
    )


def service_of(spec: Any = None, status: Any = None) -> Service:
    (service,) = load_text(service_text(spec, status)).cluster.services
    return service


def slice_text(name: str = "web-1", **fields: Any) -> str:
    labels = {SERVICE_NAME: "web", "endpointslice.kubernetes.io/managed-by": "me"}
    head = {"name": name, "namespace": "shop", "labels": labels}
    value = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": head}
    return json.dumps({**value, "addressType": "IPv4", **fields})


def list_of(text: str) -> EndpointList:
    (found,) = load_text(text).cluster.endpoints
    return found


def test_the_addresses_of_a_service() -> None:
    service = service_of(
        {
            "type": "LoadBalancer",
            "clusterIP": "10.96.0.1",
            "externalIPs": ["198.51.100.1"],
            "internalTrafficPolicy": "Local",
            "externalTrafficPolicy": "Local",
        },
        {
            "loadBalancer": {
                "ingress": [
                    {"ip": "203.0.113.1", "ipMode": "VIP"},
                    {"ip": "203.0.113.2", "ipMode": "Proxy"},
                    {"hostname": "lb.example.com"},
                ]
            }
        },
    )
    assert (service.addresses, service.external_ips) == (("10.96.0.1",), ("198.51.100.1",))
    assert service.balancers == (
        BalancerAddress("203.0.113.1"),
        BalancerAddress("203.0.113.2", proxied=True),
    )
    assert (service.internal_traffic, service.external_traffic) == ("Local", "Local")


def test_services_without_addresses() -> None:
    assert service_of({"clusterIP": "None"}).headless
    assert not service_of({}).headless
    name = service_of({"type": "ExternalName", "externalName": "db.example.com"})
    assert name.external_name == "db.example.com"


def test_a_slice_with_everything() -> None:
    found = list_of(
        slice_text(
            endpoints=[
                {
                    "addresses": ["10.0.0.1", "10.0.0.9"],
                    "nodeName": "n1",
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-0"},
                },
                {
                    "addresses": ["10.0.0.2"],
                    "conditions": {"ready": False, "serving": True, "terminating": True},
                    "targetRef": {"kind": "Node", "name": "web-0"},
                },
                {"addresses": ["10.0.0.3"], "conditions": {"ready": None}},
            ],
            ports=[
                {"name": "http", "port": 8080},
                {"name": "none"},
                {"port": 53, "protocol": "UDP"},
            ],
        )
    )
    assert (found.kind, str(found), found.service) == ("EndpointSlice", "shop/web-1", "web")
    assert found.manager == "me"
    ports = (EndpointPort(Protocol.TCP, 8080, "http"), EndpointPort(Protocol.UDP, 53))
    assert found.groups == (
        EndpointGroup(
            (
                Endpoint("10.0.0.1", "web-0", "n1"),
                Endpoint("10.0.0.2", ready=False, terminating=True),
                Endpoint("10.0.0.3"),
            ),
            ports,
        ),
    )


def test_names_of_hosts_have_no_meaning_in_a_slice() -> None:
    found = list_of(slice_text(addressType="FQDN", endpoints=[{"addresses": ["a.example.com"]}]))
    assert found.groups == ()


def test_an_endpoints_object_is_of_the_service_of_its_name() -> None:
    text = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "web", "namespace": "shop"},
            "subsets": [
                {
                    "addresses": [{"ip": "10.0.0.1", "nodeName": "n1"}],
                    "notReadyAddresses": [{"ip": "10.0.0.2"}],
                    "ports": [{"port": 80}],
                },
                {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"name": "b", "port": 81}]},
            ],
        }
    )
    found = list_of(text)
    assert (found.kind, found.service, found.manager) == ("Endpoints", "web", "")
    first, second = found.groups
    assert first.endpoints == (
        Endpoint("10.0.0.1", node="n1"),
        Endpoint("10.0.0.2", ready=False),
    )
    assert second.ports == (EndpointPort(Protocol.TCP, 81, "b"),)


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        (service_text({"externalIPs": ["x"]}), "spec.externalIPs[0]", "must be a valid IP"),
        (
            service_text(None, {"loadBalancer": {"ingress": [{"ip": "x"}]}}),
            "status.loadBalancer.ingress[0].ip",
            "must be a valid IP",
        ),
        (slice_text(addressType="IPv5"), "addressType", "supported values"),
        (
            slice_text(endpoints=[{}, {"addresses": ["x"]}]),
            "endpoints[1].addresses[0]",
            "must be a valid IP",
        ),
        (slice_text(ports=[{"port": 0}]), "ports[0].port", "between 1 and 65535"),
        (slice_text(ports=[{"port": 1, "protocol": "tcp"}]), "ports[0].protocol", "supported"),
        (slice_text(endpoints={}), "endpoints", "expected a list"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(text: str, where: str, message: str) -> None:
    (problem,) = problems_of(text)
    assert problem.field == where and message in problem.message


def test_they_are_no_longer_left_out() -> None:
    loaded = load_text(slice_text())
    assert not loaded.ignored and told(loaded.warnings) == []


def both_ways(base: Cluster, text: str) -> list[Cluster]:
    """A manifest applied as ``whatif`` does and as a scenario does."""
    change = Change("apply", "f.json", 1, text=text)
    edit = Resolver(base).edit(Scenario("s", (change,)))
    return [apply(base, load_text(text)), edited(base, edit)]


def test_a_service_keeps_what_the_cluster_gave_it() -> None:
    port = {"port": 80, "targetPort": 8080}
    spec = {"type": "NodePort", "clusterIP": "10.96.0.1", "ports": [{**port, "nodePort": 30080}]}
    base = load_text(service_text(spec)).cluster
    for after in both_ways(base, service_text({"type": "NodePort", "ports": [port]})):
        (service,) = after.services
        assert service.addresses == ("10.96.0.1",) and service.ports[0].node_port == 30080
    for after in both_ways(base, service_text({"clusterIP": "None", "ports": [port]})):
        (service,) = after.services
        assert (service.addresses, service.headless, service.ports[0].node_port) == ((), True, 0)


def test_slices_are_changed_with_the_rest() -> None:
    base = load_text(f"{service_text()}\n---\n{slice_text()}").cluster
    new = slice_text(endpoints=[{"addresses": ["10.0.0.7"]}])
    for after in both_ways(base, new):
        assert after.endpoints[0].groups[0].endpoints == (Endpoint("10.0.0.7"),)
    # The endpoints of a Service go with it.
    gone = Resolver(base).edit(Scenario("s", (Change("delete", target="service/shop/web"),)))
    for after in (edited(base, gone), delete(base, ["service/shop/web"])):
        assert not after.services and not after.endpoints
    for after in (delete(base, ["namespace/shop"]),):
        assert not after.endpoints


def test_a_service_defined_twice_is_a_warning_until_somebody_asks_for_it() -> None:
    one, other = (service_text({"ports": [{"port": port}]}) for port in (80, 81))
    loaded = load_text(f"{one}\n---\n{other}\n")
    (warning,) = loaded.warnings
    assert (warning.subject, warning.line) == ("Service shop/web", 2)
    assert "defined twice with different content, first at <stdin>:1" in warning.message
    (service,) = loaded.cluster.services
    assert service.ports[0].port == 80 and service.also == "<stdin>:1 and <stdin>:2"
    with pytest.raises(UsageError, match="web is defined twice with different content"):
        ServiceResolver(loaded.cluster).backends(Frontend(service, service.ports[0]))
    # A change says which is meant.
    for after in both_ways(loaded.cluster, other):
        assert not after.services[0].also


def test_policies_that_are_judged_on_a_service_need_to_know_it() -> None:
    spec = {"clusterIP": "10.96.0.1", "selector": {"app": "web"}}
    one, other = (service_text({**spec, "ports": [{"port": port}]}) for port in (80, 81))
    cluster = load_text(f"{one}\n---\n{other}\n").cluster
    compile_cluster(cluster, REFERENCE)
    with pytest.raises(UsageError, match="judges egress on it"):
        compile_cluster(cluster, PROFILES["aws-vpc-cni"])
