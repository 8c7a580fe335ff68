"""The parts of Kubernetes objects that a verdict can depend on, as msgspec decodes them.

Everything optional in the API is optional here and may be null. Label maps and port lists stay
raw: many pods share them, so they are looked up by their bytes and decoded once.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

_EMPTY = Raw(b"null")


class _Part(msgspec.Struct, gc=False, rename="camel"):
    """A part of an object; Kubernetes spells fields in camel case."""


class OwnerReference(_Part):
    api_version: str | None = None
    kind: str | None = None
    name: str | None = None
    controller: bool | None = None


class Metadata(_Part):
    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    labels: Raw = _EMPTY
    creation_timestamp: Raw = _EMPTY
    owner_references: list[OwnerReference] | None = None


class Port(_Part):
    container_port: int | None = None
    name: str | None = None
    protocol: str | None = None


class ContainerManifest(_Part):
    ports: Raw = _EMPTY
    restart_policy: str | None = None


class PodSpec(_Part):
    containers: list[ContainerManifest] | None = None
    init_containers: list[ContainerManifest] | None = None
    host_network: bool | None = None
    node_name: str | None = None
    service_account_name: str | None = None


class PodIP(_Part):
    ip: str | None = None


class PodStatus(_Part):
    phase: str | None = None
    start_time: Raw = _EMPTY
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = msgspec.field(default=None, name="podIPs")


class Head(_Part):
    """What every object has. Typed lists leave kind and apiVersion out of their items."""

    kind: str | None = None
    api_version: str | None = None


class PodManifest(Head):
    metadata: Metadata | None = None
    spec: PodSpec | None = None
    status: PodStatus | None = None


class NamespaceManifest(Head):
    metadata: Metadata | None = None


class NodeAddress(_Part):
    type: str | None = None
    address: str | None = None


class NodeStatus(_Part):
    addresses: list[NodeAddress] | None = None


class NodeManifest(Head):
    metadata: Metadata | None = None
    status: NodeStatus | None = None


class ServicePortManifest(_Part):
    port: int | None = None
    name: str | None = None
    protocol: str | None = None
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(_Part):
    selector: Raw = _EMPTY
    ports: list[ServicePortManifest] | None = None
    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    external_name: str | None = None
    external_traffic_policy: str | None = None
    internal_traffic_policy: str | None = None


class BalancerIngress(_Part):
    ip: str | None = None
    ip_mode: str | None = None


class BalancerStatus(_Part):
    ingress: list[BalancerIngress] | None = None


class ServiceStatus(_Part):
    load_balancer: BalancerStatus | None = None


class ServiceManifest(Head):
    metadata: Metadata | None = None
    spec: ServiceSpec | None = None
    status: ServiceStatus | None = None


class EndpointConditions(_Part):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(_Part):
    kind: str | None = None
    name: str | None = None
    namespace: str | None = None


class EndpointManifest(_Part):
    addresses: list[str] | None = None
    conditions: EndpointConditions | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPortManifest(_Part):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSlice(Head):
    metadata: Metadata | None = None
    address_type: str | None = None
    endpoints: list[EndpointManifest] | None = None
    ports: list[EndpointPortManifest] | None = None


class EndpointAddress(_Part):
    ip: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(_Part):
    addresses: list[EndpointAddress] | None = None
    not_ready_addresses: list[EndpointAddress] | None = None
    ports: list[EndpointPortManifest] | None = None


class EndpointsManifest(Head):
    """What EndpointSlices replaced: the same, with a part of the status of each address."""

    metadata: Metadata | None = None
    subsets: list[EndpointSubset] | None = None


class BackendPort(_Part):
    name: str | None = None
    number: int | None = None


class BackendService(_Part):
    name: str | None = None
    port: BackendPort | None = None


class IngressBackend(_Part):
    """``service`` is None where the backend is a resource of another kind."""

    service: BackendService | None = None


class IngressPath(_Part):
    backend: IngressBackend | None = None


class IngressHttp(_Part):
    paths: list[IngressPath] | None = None


class IngressRule(_Part):
    http: IngressHttp | None = None


class IngressSpec(_Part):
    default_backend: IngressBackend | None = None
    rules: list[IngressRule] | None = None


class IngressManifest(Head):
    metadata: Metadata | None = None
    spec: IngressSpec | None = None


class RouteTarget(_Part):
    kind: str | None = None
    name: str | None = None


class RoutePort(_Part):
    target_port: int | str | None = None


class RouteSpec(_Part):
    to: RouteTarget | None = None
    alternate_backends: list[RouteTarget] | None = None
    port: RoutePort | None = None


class Route(Head):
    """A Route of OpenShift, which is its Ingress."""

    metadata: Metadata | None = None
    spec: RouteSpec | None = None


class Template(_Part):
    metadata: Metadata | None = None
    spec: PodSpec | None = None


class Ordinals(_Part):
    start: int | None = None


class JobSpec(_Part):
    template: Template | None = None


class JobTemplate(_Part):
    spec: JobSpec | None = None


class WorkloadSpec(_Part):
    """Of every workload kind; each sets the fields that it has."""

    replicas: int | None = None
    parallelism: int | None = None
    template: Template | None = None
    ordinals: Ordinals | None = None
    job_template: JobTemplate | None = None


class Workload(Head):
    metadata: Metadata | None = None
    spec: WorkloadSpec | None = None
