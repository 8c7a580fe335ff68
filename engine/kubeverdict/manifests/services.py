"""Services, EndpointSlices and Endpoints objects: decoded documents to records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from kubeverdict.manifests import schema
from kubeverdict.manifests.checked import check_address, port_number, protocol_of
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import unsupported
from kubeverdict.model.cluster import BalancerAddress, Service, ServicePort
from kubeverdict.model.endpoints import Endpoint, EndpointGroup, EndpointList, EndpointPort
from kubeverdict.model.sources import FieldPath

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"

_FAMILIES = ("IPv4", "IPv6", "FQDN")
_NO_CONDITIONS = schema.EndpointConditions()


class Located(msgspec.Struct, gc=False):
    """Where an object is, once its metadata has been read."""

    namespace: str
    name: str


def read_service(
    place: DocumentPlace,
    at: Located,
    service: schema.ServiceManifest,
    selector: Mapping[str, str],
    labels: Mapping[str, str],
) -> Service:
    spec = service.spec or schema.ServiceSpec()
    found = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
    addresses = tuple(text for text in found if text and text != "None")
    for text in addresses:
        check_address(place, text, ("spec", "clusterIPs", found.index(text)))
    external = spec.external_ips or []
    for index, text in enumerate(external):
        check_address(place, text, ("spec", "externalIPs", index))
    return Service(
        at.namespace,
        at.name,
        selector,
        tuple(_service_ports(place, spec.ports or ())),
        spec.type or "ClusterIP",
        addresses,
        spec.external_traffic_policy or "Cluster",
        spec.internal_traffic_policy or "Cluster",
        tuple(external),
        tuple(_balancers(place, service.status)),
        spec.external_name or "",
        headless="None" in found,
        labels=labels,
    )


def _service_ports(
    place: DocumentPlace, ports: Iterable[schema.ServicePortManifest]
) -> Iterator[ServicePort]:
    for index, port in enumerate(ports):
        path: FieldPath = ("spec", "ports", index)
        protocol = protocol_of(place, port.protocol, (*path, "protocol"))
        number = port_number(place, port.port, (*path, "port"))
        target = port.target_port or number
        if isinstance(target, int) and target:
            port_number(place, target, (*path, "targetPort"))
        yield ServicePort(protocol, number, target, port.name or "", port.node_port or 0)


def _balancers(
    place: DocumentPlace, status: schema.ServiceStatus | None
) -> Iterator[BalancerAddress]:
    """The addresses; a balancer that is known by a name has none."""
    balancer = status.load_balancer if status else None
    for index, entry in enumerate((balancer.ingress if balancer else None) or ()):
        if entry.ip:
            check_address(place, entry.ip, ("status", "loadBalancer", "ingress", index, "ip"))
            yield BalancerAddress(entry.ip, entry.ip_mode == "Proxy")


def read_slice(
    place: DocumentPlace, at: Located, slice_: schema.EndpointSlice, labels: Mapping[str, str]
) -> EndpointList:
    if slice_.address_type not in _FAMILIES:
        place.error(("addressType",), unsupported(slice_.address_type or "", _FAMILIES))
    groups: tuple[EndpointGroup, ...] = ()
    if slice_.address_type != "FQDN":  # names have no meaning here, and nodes skip them
        endpoints = tuple(_slice_endpoints(place, at.namespace, slice_.endpoints or ()))
        groups = (EndpointGroup(endpoints, _ports(place, slice_.ports or (), ("ports",))),)
    service, manager = labels.get(SERVICE_NAME, ""), labels.get(MANAGED_BY, "")
    return EndpointList("EndpointSlice", at.namespace, at.name, service, groups, manager)


def _slice_endpoints(
    place: DocumentPlace, namespace: str, endpoints: Sequence[schema.EndpointManifest]
) -> Iterator[Endpoint]:
    for index, entry in enumerate(endpoints):
        if not entry.addresses:
            continue
        # The others get no connections.
        text = entry.addresses[0]
        check_address(place, text, ("endpoints", index, "addresses", 0))
        conditions = entry.conditions or _NO_CONDITIONS
        yield Endpoint(
            text,
            _pod(entry.target_ref, namespace),
            entry.node_name or "",
            conditions.ready is not False,
            conditions.serving is not False,
            conditions.terminating is True,
        )


def read_endpoints(
    place: DocumentPlace, at: Located, endpoints: schema.EndpointsManifest
) -> EndpointList:
    groups = []
    for number, subset in enumerate(endpoints.subsets or ()):
        path: FieldPath = ("subsets", number)
        found = [
            Endpoint(
                entry.ip or "", _pod(entry.target_ref, at.namespace), entry.node_name or "", ready
            )
            for ready, field, entries in (
                (True, "addresses", subset.addresses),
                (False, "notReadyAddresses", subset.not_ready_addresses),
            )
            for entry in _checked(place, entries or (), (*path, field))
        ]
        groups.append(
            EndpointGroup(tuple(found), _ports(place, subset.ports or (), (*path, "ports")))
        )
    # An Endpoints object is of the Service that has its name.
    return EndpointList("Endpoints", at.namespace, at.name, at.name, tuple(groups))


def _checked(
    place: DocumentPlace, entries: Sequence[schema.EndpointAddress], path: FieldPath
) -> Sequence[schema.EndpointAddress]:
    for index, entry in enumerate(entries):
        check_address(place, entry.ip or "", (*path, index, "ip"))
    return entries


def _pod(reference: schema.ObjectReference | None, namespace: str) -> str:
    if reference is None or reference.kind != "Pod":
        return ""
    return (reference.name or "") if reference.namespace in (None, "", namespace) else ""


def _ports(
    place: DocumentPlace, ports: Sequence[schema.EndpointPortManifest], path: FieldPath
) -> tuple[EndpointPort, ...]:
    """Ports with a number: those without one have a meaning outside of Services only."""
    return tuple(
        EndpointPort(
            protocol_of(place, port.protocol, (*path, index, "protocol")),
            port_number(place, port.port, (*path, index, "port")),
            port.name or "",
        )
        for index, port in enumerate(ports)
        if port.port is not None
    )
