"""Where a connection to an address goes, told the long way: no index, no cache, no sharing.

It walks over every object of the cluster for each question and shares no code with
:mod:`kubeverdict.services`.
"""

from __future__ import annotations

from ipaddress import ip_address

from kubeverdict.model.cluster import Cluster, ContainerKind, Pod, Service, ServicePort
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.ports import Protocol

End = tuple[str, int]
"""The name of a pod (NAMESPACE/NAME) or an address, and the port there."""


def same(one: str, other: str) -> bool:
    return ip_address(one) == ip_address(other)


def node_with(cluster: Cluster, address: str) -> str | None:
    """The node that has an address; None where the address is not one of the host network."""
    for node in cluster.nodes:
        if any(same(address, text) for text in node.addresses):
            return node.name
    for pod in cluster.pods:
        finished = pod.phase in ("Succeeded", "Failed")
        if pod.host_network and not finished and any(same(address, t) for t in pod.addresses):
            return pod.node
    return None


def ways(service: Service, address: str) -> list[str]:
    found = ["cluster" for text in service.addresses if same(text, address)]
    found += ["external" for text in service.external_ips if same(text, address)]
    found += ["external" for one in service.balancers if same(one.address, address)]
    return found


def service_at(
    cluster: Cluster, address: str, protocol: Protocol, number: int
) -> tuple[Service, ServicePort, str] | str:
    """The Service behind an address and port, or a word: ``plain`` or ``no port``."""
    claimed = False
    for service in cluster.services:
        for way in ways(service, address):
            claimed = True
            for port in service.ports:
                if port.port == number and port.protocol == protocol:
                    return service, port, way
    host = node_with(cluster, address)
    if host is None:
        return "no port" if claimed else "plain"
    for service in cluster.services:
        for port in service.ports:
            if port.node_port == number and port.protocol == protocol:
                return service, port, "node"
    return "plain"


def named_port(pod: Pod, name: str, protocol: Protocol) -> int | None:
    for kind in (ContainerKind.CONTAINER, ContainerKind.SIDECAR):
        for port in pod.ports:
            if port.container is kind and (port.name, port.protocol) == (name, protocol):
                return port.number
    return None


def slices_of(cluster: Cluster, service: Service) -> list[EndpointList]:
    own = [
        one
        for one in cluster.endpoints
        if one.namespace == service.namespace and one.service == service.name
    ]
    if any(one.kind == "EndpointSlice" for one in own):
        return [one for one in own if one.kind == "EndpointSlice"]
    return own


def pod_of(cluster: Cluster, namespace: str, name: str, address: str) -> Pod | None:
    for pod in cluster.pods:
        named = (pod.namespace, pod.name) == (namespace, name)
        if named and (not pod.addresses or address in pod.addresses):
            return pod
    owners = [
        pod
        for pod in cluster.pods
        if not pod.host_network
        and pod.phase not in ("Succeeded", "Failed")
        and any(same(address, text) for text in pod.addresses)
    ]
    running = [pod for pod in owners if pod.phase == "Running"]
    best = running or owners
    return best[0] if best else None


def rank(endpoint: object) -> int:
    ready, serving, terminating = (
        getattr(endpoint, word) for word in ("ready", "serving", "terminating")
    )
    return 2 if ready else 1 if serving and terminating else 0


def all_backends(
    cluster: Cluster, service: Service, port: ServicePort
) -> dict[End, tuple[int, str, tuple[str, ...]]]:
    """Each end with how ready it is, its node and its addresses."""
    found: dict[End, tuple[int, str, tuple[str, ...]]] = {}

    def add(end: End, readiness: int, node: str, addresses: tuple[str, ...]) -> None:
        if end not in found or found[end][0] < readiness:
            found[end] = (readiness, node, addresses)

    lists = slices_of(cluster, service)
    pods = [
        pod
        for pod in cluster.pods
        if service.selector
        and service.type != "ExternalName"
        and pod.namespace == service.namespace
        and all(pod.labels.get(key) == value for key, value in service.selector.items())
        and pod.phase not in ("Succeeded", "Failed")
    ]
    controlled = [
        one
        for one in lists
        if one.kind == "Endpoints" or one.manager == "endpointslice-controller.k8s.io"
    ]
    for pod in pods:
        target = port.target
        if isinstance(target, str):
            number = named_port(pod, target, port.protocol)
            if number is None:
                continue
            target = number
        said = [
            rank(endpoint)
            for one in controlled
            for group in one.groups
            for endpoint in group.endpoints
            if endpoint.pod == pod.name
        ]
        add((str(pod), target), max(said) if said else 2, pod.node, pod.addresses)
    for one in lists:
        if pods and one in controlled:
            continue
        for group in one.groups:
            for listed in group.ports:
                if listed.name != port.name or listed.protocol != port.protocol:
                    continue
                for endpoint in group.endpoints:
                    pod_ = pod_of(cluster, one.namespace, endpoint.pod, endpoint.address)
                    if pod_ is None:
                        text = str(ip_address(endpoint.address))
                        node = endpoint.node or node_with(cluster, text) or ""
                        add((text, listed.number), rank(endpoint), node, (text,))
                    elif pod_.phase not in ("Succeeded", "Failed"):
                        node = pod_.node or endpoint.node
                        end = (str(pod_), listed.number)
                        add(end, rank(endpoint), node, pod_.addresses)
    return found


def where(
    cluster: Cluster,
    address: str,
    protocol: Protocol,
    number: int,
    node: str,
    inside: bool,
) -> object:
    """The ends that a connection may get to; or ``plain``, ``no port`` or ``dropped``."""
    at = service_at(cluster, address, protocol, number)
    if isinstance(at, str):
        return at
    service, port, way = at
    version = ip_address(address).version
    kept = {
        end: told
        for end, told in all_backends(cluster, service, port).items()
        if not told[2] or any(ip_address(text).version == version for text in told[2])
    }
    best = max((told[0] for told in kept.values()), default=0)
    kept = {end: told for end, told in kept.items() if told[0] == best}
    only = None
    if way == "cluster":
        if service.internal_traffic == "Local" and not service.headless:
            only = node
    elif service.external_traffic == "Local" and not inside:
        only = node_with(cluster, address) or ""
    if only and kept:
        here = {end for end, told in kept.items() if told[1] in ("", only)}
        return here or "dropped"
    return set(kept)
