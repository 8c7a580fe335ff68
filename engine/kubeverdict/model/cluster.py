"""What a cluster is, as far as a network policy can see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from kubeverdict.model.defaults import METADATA_NAME as METADATA_NAME
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import Policy
from kubeverdict.model.ports import Protocol
from kubeverdict.model.references import NO_REFERENCES, References
from kubeverdict.model.unevaluated import Unevaluated

UNKNOWN_VALUE = "<unknown>"
"""In the place of a label's value that a controller writes when the pod runs. No selector can name
it, as no label can have it: the label exists, and its value is not known."""

SERVICE_ACCOUNT = "service account"
"""Among the labels of a pod, the name of its service account, where that is another one than
``DEFAULT_ACCOUNT``. No label can be called so."""
DEFAULT_ACCOUNT = "default"

# What kubectl takes for workloads that Kubernetes does not have itself.
SHORT_NAMES = {
    "dc": "deploymentconfig",
    "ksvc": "service.serving.knative.dev",
    "lws": "leaderworkerset",
    "ro": "rollout",
    "vcjob": "job.batch.volcano.sh",
    "vm": "virtualmachine",
    "vmi": "virtualmachineinstance",
}

# What a controller writes on its pods besides the labels of the template.
CONTROLLER_LABELS = frozenset(
    {
        "apps.kruise.io/cloneset-instance-id",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/job-name",
        "controller-revision-hash",
        "controller-uid",
        "job-name",
        "pod-template-generation",
        "pod-template-hash",
        "rollouts-pod-template-hash",
        "statefulset.kubernetes.io/pod-name",
    }
)


class ContainerKind(StrEnum):
    """Which list of the pod a container port is from; CNIs read different lists for names."""

    CONTAINER = "container"
    SIDECAR = "sidecar"  # an init container with restartPolicy Always
    INIT = "init"


class ContainerPort(msgspec.Struct, frozen=True, gc=False):
    """A declared container port. ``name`` is empty where it has none."""

    name: str
    protocol: Protocol
    number: int
    container: ContainerKind = ContainerKind.CONTAINER


# A Service resolves a name to a container port; init containers that end have no endpoint.
SERVING = (ContainerKind.CONTAINER, ContainerKind.SIDECAR)


class WorkloadRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """The workload a pod belongs to; a bare pod is its own, of kind Pod."""

    namespace: str
    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}[{self.kind}]"


class Pod(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A pod, or one that a workload template stands for (``template`` is then true).

    ``addresses`` are those of ``status.podIPs`` in canonical spelling, at most one a family, the
    primary first; a template has none. ``phase`` is empty where the pod has no status yet.
    ``started`` is when it was created, in seconds since 1970, 0 where it is not known: before that
    its address may have been another pod's.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    workload: WorkloadRef
    addresses: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    node: str = ""
    phase: str = ""
    host_network: bool = False
    template: bool = False
    started: int = 0

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def container_ports(pod: Pod, name: str, protocol: Protocol | None) -> list[tuple[Protocol, int]]:
    """Ports of that name on the containers that serve, in the order of the pod's spec."""
    found = (
        (port.protocol, port.number)
        for port in pod.ports
        if port.name == name and port.container in SERVING and protocol in (None, port.protocol)
    )
    return list(dict.fromkeys(found))


class Namespace(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A namespace. ``labels`` always has ``kubernetes.io/metadata.name``.

    ``implied`` is true where the input named it without holding the object, so that its other
    labels are unknown.
    """

    name: str
    labels: Mapping[str, str]
    implied: bool = False


class Node(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A node and the texts of its IP addresses (internal and external)."""

    name: str
    addresses: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    """A port of a Service. ``target`` is a number or the name of a container port."""

    protocol: Protocol
    port: int
    target: int | str
    name: str = ""
    node_port: int = 0


class BalancerAddress(msgspec.Struct, frozen=True, gc=False):
    """An address of a load balancer. ``proxied`` (ipMode Proxy): the balancer opens connections
    of its own, so that nodes do not translate the address."""

    address: str
    proxied: bool = False


class Service(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A Service. An empty ``selector`` means that its endpoints are not selected by labels.

    ``also`` names both places where the input defines it with different content, of which this
    is the first; empty as a rule.
    """

    namespace: str
    name: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...] = ()
    type: str = "ClusterIP"
    addresses: tuple[str, ...] = ()  # cluster IPs; none for a headless Service
    external_traffic: str = "Cluster"  # externalTrafficPolicy
    internal_traffic: str = "Cluster"  # internalTrafficPolicy
    external_ips: tuple[str, ...] = ()
    balancers: tuple[BalancerAddress, ...] = ()
    external_name: str = ""
    headless: bool = False
    also: str = ""
    labels: Mapping[str, str] = {}

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class BackendRef(msgspec.Struct, frozen=True, gc=False):
    """A port of a Service that something leads to: a number or a name, 0 for every port; a Route
    of OpenShift may name the target port."""

    namespace: str
    service: str
    port: int | str = 0


class Ingress(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An Ingress, a Route of OpenShift or of the Gateway API (HTTPRoute, ...): what it routes to.
    ``gateways`` are the namespaces and names of the Gateways that serve it; a Gateway is served
    by itself and routes nowhere. No verdict depends on it; it says that pods are meant to be
    reached."""

    namespace: str
    name: str
    backends: tuple[BackendRef, ...] = ()
    kind: str = "Ingress"
    gateways: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Call(msgspec.Struct, frozen=True, gc=False):
    """A Service that the API server calls. ``name`` is that of the webhook, empty where the object
    makes one call only; ``required``: what it is asked about fails where it does not answer."""

    name: str
    backend: BackendRef
    required: bool = True


class ApiServerCalls(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An object that makes the API server call Services: a webhook configuration, an aggregated
    API, or a custom resource with a conversion webhook. No verdict depends on it."""

    kind: str
    name: str
    calls: tuple[Call, ...] = ()

    def __str__(self) -> str:
        return self.name


class Cluster(msgspec.Struct, frozen=True, eq=False):
    """Everything a verdict depends on. Namespaces cover those of every pod and policy.

    ``policies`` take nothing from other documents any more: what they were made of, where they
    did, is in ``references``.

    ``unevaluated`` is what else the input holds that could change a verdict: every answer names it.
    """

    namespaces: Sequence[Namespace] = ()
    pods: Sequence[Pod] = ()
    policies: Sequence[Policy] = ()
    nodes: Sequence[Node] = ()
    services: Sequence[Service] = ()
    ingresses: Sequence[Ingress] = ()
    unevaluated: tuple[Unevaluated, ...] = ()
    endpoints: Sequence[EndpointList] = ()
    api_server_calls: Sequence[ApiServerCalls] = ()
    references: References = NO_REFERENCES
