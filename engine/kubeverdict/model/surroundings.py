"""What policies find in the cluster beside documents that are made for them: what is behind a
Service, and where the API servers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubeverdict.model.addresses import BITS, Block, parse_address
from kubeverdict.model.endpoints import EndpointList
from kubeverdict.model.policy import (
    BackendPeer,
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
    ServicePeer,
)
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange
from kubeverdict.model.selectors import Operator, Requirement, Selector

if TYPE_CHECKING:
    from kubeverdict.model.cluster import Node, Service, ServicePort

_API_SERVER = ("default", "kubernetes")


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Objects of a cluster that policies may be about without naming their pods or addresses."""

    services: Sequence[Service] = ()
    endpoints: Sequence[EndpointList] = ()
    nodes: Sequence[Node] = ()


NO_SURROUNDINGS = Surroundings()


def behind_service(around: Surroundings, peer: ServicePeer) -> Iterator[Peer]:
    """Who is behind the Services of a peer: the pods that its selector selects, or the addresses
    outside that are listed for it."""
    for service in around.services:
        if peer.namespace not in (None, service.namespace):
            continue
        if not (
            peer.labels.matches(service.labels) if peer.name is None else peer.name == service.name
        ):
            continue
        if service.selector:
            yield PodPeer(_exactly(service.selector), service.namespace)
        else:
            for text in _listed(around, service.namespace, service.name):
                address = parse_address(text)
                if address is not None:
                    block = Block(address.family, address.value, BITS[address.family])
                    yield ExceptPeer(BlockPeer(block), (NamedPeer(EndSet.CLUSTER),))


Backing = tuple[tuple[Peer, ...], tuple[PortMatch, ...]]
"""Some endpoints of a Service, and the ports on which each of them serves it."""


def backends(around: Surroundings, peer: BackendPeer) -> list[Backing]:
    """The endpoints of a Service: those that are listed for it, ready or not; where none are, the
    pods that it selects."""
    listed: list[Backing] = [
        (
            tuple(
                BlockPeer(Block(one.family, one.value, BITS[one.family]))
                for one in map(parse_address, (end.address for end in group.endpoints))
                if one is not None
            ),
            tuple(PortRange(port.protocol, port.number, port.number) for port in group.ports),
        )
        for one in around.endpoints
        if (one.namespace, one.service) == (peer.namespace, peer.name)
        for group in one.groups
    ]
    if listed:
        return listed
    for service in around.services:
        if (service.namespace, service.name) == (peer.namespace, peer.name) and service.selector:
            pods = PodPeer(_exactly(service.selector), service.namespace)
            return [((pods,), tuple(map(_target, service.ports)))]
    return []


def _target(port: ServicePort) -> PortMatch:
    if isinstance(port.target, str):
        return NamedPort(port.protocol, port.target)
    return PortRange(port.protocol, port.target, port.target)


def is_unknown(around: Surroundings, peer: ServicePeer) -> bool:
    """Whether there may be Services that a peer means and the input does not hold: it holds none
    where they would be."""
    return not any(peer.namespace in (None, service.namespace) for service in around.services)


def api_servers(around: Surroundings) -> tuple[Peer, ...] | None:
    """The nodes and the addresses outside where the API servers are; None where that is not
    known."""
    texts = list(dict.fromkeys(_listed(around, *_API_SERVER)))
    if not texts or not around.nodes:
        return None
    found: list[Peer] = []
    for text in texts:
        nodes = [node for node in around.nodes if text in node.addresses]
        address = parse_address(text)
        if address is None:
            return None
        if not nodes:
            block = Block(address.family, address.value, BITS[address.family])
            found.append(ExceptPeer(BlockPeer(block), (NamedPeer(EndSet.CLUSTER),)))
        for node in nodes:
            labels = _exactly(node.labels)
            if any(other is not node and labels.matches(other.labels) for other in around.nodes):
                return None  # no label tells it from another one
            found.append(NodePeer(labels))
    return tuple(found)


def _exactly(labels: Mapping[str, str]) -> Selector:
    return Selector.of(Requirement(key, Operator.IN, (value,)) for key, value in labels.items())


def _listed(around: Surroundings, namespace: str, service: str) -> Iterator[str]:
    """The addresses that are listed for a Service, in slices or else in an Endpoints object."""
    own = [one for one in around.endpoints if (one.namespace, one.service) == (namespace, service)]
    slices = [one for one in own if one.kind == "EndpointSlice"]
    for one in slices or own:
        for group in one.groups:
            yield from (endpoint.address for endpoint in group.endpoints)
