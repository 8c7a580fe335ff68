"""From an address and a port to the Service behind them, and from there to its backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import msgspec

from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import Family, parse_address
from kubeverdict.model.cluster import Cluster, Pod, Service, ServicePort
from kubeverdict.model.ports import Protocol
from kubeverdict.services.backends import Backend, BackendFinder, Key, usable
from kubeverdict.services.names import is_of_cluster, service_name


class Via(StrEnum):
    """What a client connects to when it connects to a Service."""

    NAME = "name"
    CLUSTER_IP = "cluster IP"
    EXTERNAL_IP = "external IP"
    BALANCER = "load balancer address"
    PROXY = "load balancer address (ipMode Proxy)"
    NODE_PORT = "node port"

    @property
    def is_internal(self) -> bool:
        return self in (Via.NAME, Via.CLUSTER_IP)


class Holder(NamedTuple):
    """A Service that has an address, and what the address is to it."""

    service: Service
    via: Via


class Frontend(msgspec.Struct, frozen=True):
    """A port of a Service, and how a client gets there. ``address`` is empty for a name.

    ``direct`` is the port that a client connects to at the pods of a headless Service, where
    nothing translates it; 0 for whatever the Service says.
    """

    service: Service
    port: ServicePort
    via: Via = Via.NAME
    address: str = ""
    direct: int = 0

    @property
    def front_port(self) -> int:
        """The port that the client connects to."""
        return self.port.node_port if self.via is Via.NODE_PORT else self.port.port

    @property
    def through(self) -> str:
        """The port as a user wrote it: ``http 80/TCP`` or ``80/TCP``."""
        name = f"{self.port.name} " if self.port.name else ""
        return f"{name}{self.port.port}/{self.port.protocol.name}"

    @property
    def family(self) -> Family | None:
        """The address family of the connection, where the addresses determine it."""
        texts = (self.address,) if self.address else self.service.addresses
        found = {address.family for text in texts if (address := parse_address(text))}
        return found.pop() if len(found) == 1 else None


class Client(msgspec.Struct, frozen=True):
    """Who connects: ``node`` is empty where it is not known, ``inside`` says whether it is a pod
    or node of the cluster."""

    node: str = ""
    inside: bool = True


class Choice(NamedTuple):
    """The backends that a client may get to. ``dropped``: there are backends, but none for this
    client, and its node drops the connection whatever policies say. ``unsure``: some of them it
    only gets to from certain nodes, and the input does not tell where it or they are."""

    backends: tuple[Backend, ...]
    dropped: bool = False
    unsure: bool = False


class ServiceResolver:
    """Answers for one cluster. Indexes are made when first needed, and once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._finder = BackendFinder(cluster, self.node_of)
        self._choices: dict[tuple[int, ServicePort, str, int], tuple[Backend, ...]] = {}

    # --- addresses ---------------------------------------------------------------------------

    def entry(self, address: str, protocol: Protocol, port: int) -> Frontend | None:
        """The port of a Service that a connection to ``port`` of ``address`` (in its canonical
        spelling) is one to; None where no Service has it there."""
        for service, via in self._holders.get(address, ()):
            for one in service.ports:
                if (one.protocol, one.port) == (protocol, port):
                    return Frontend(service, one, via, address)
        if address in self._hosts:
            found = self._node_ports.get((protocol, port))
            if found is not None:
                return Frontend(*found, Via.NODE_PORT, address)
        return None

    def holders(self, address: str) -> Sequence[Holder]:
        """The Services that have an address as one of their own."""
        return self._holders.get(address, ())

    def is_virtual(self, address: str) -> bool:
        """Whether an address is that of Services alone, so that nothing answers on other ports."""
        return address in self._holders and address not in self._hosts

    @property
    def virtual(self) -> Iterator[tuple[str, Sequence[Holder]]]:
        """Every address that nodes translate and that is that of Services alone, with these."""
        for address, holders in self._holders.items():
            translated = any(via is not Via.PROXY for _, via in holders)
            if translated and address not in self._hosts:
                yield address, holders

    @property
    def shared(self) -> Iterator[str]:
        """Every address of the host network on which some port may be one of a Service."""
        for address in self._hosts:
            if self._node_ports or address in self._holders:
                yield address

    def entries(self, address: str) -> Iterator[Frontend]:
        """Every port of a Service that an address has; of two on one port the first."""
        seen = set()
        for service, via in self._holders.get(address, ()):
            for port in service.ports:
                if (port.protocol, port.port) not in seen:
                    seen.add((port.protocol, port.port))
                    yield Frontend(service, port, via, address)
        if address in self._hosts:
            for place, (service, port) in self._node_ports.items():
                if place not in seen:
                    yield Frontend(service, port, Via.NODE_PORT, address)

    def node_of(self, address: str) -> str:
        """The name of the node that has an address, empty where none has."""
        return self._hosts.get(address, "")

    # --- Services ----------------------------------------------------------------------------

    def named(self, namespace: str, name: str) -> Service | None:
        return self._services.get((namespace, name))

    def followed(self, service: Service) -> tuple[Service | None, str]:
        """The Service that an ExternalName stands for in the end, itself for others; None with
        the reason where it is none of the input."""
        seen = [service]
        while service.type == "ExternalName":
            target = service_name(service.external_name)
            known = self._services.get(target) if target else None
            if known is None:
                name = service.external_name or "something"
                if target and is_of_cluster(service.external_name):
                    return None, f"a name for svc/{'/'.join(target)}, which is not in the input"
                return None, f"a name for {name} outside the cluster: ask about its address"
            if known in seen:
                circle = " → ".join(f"svc/{one}" for one in (*seen, known))
                return None, f"a name that leads in a circle: {circle}"
            seen.append(known)
            service = known
        return service, ""

    def backends(self, entry: Frontend) -> tuple[Backend, ...]:
        """The backends that get connections, wherever the client is. Raises UsageError for a
        Service of which the input has two definitions."""
        if entry.service.also:
            raise UsageError(
                f"svc/{entry.service} is defined twice with different content "
                f"({entry.service.also}): which one is meant is not known"
            )
        key = (id(entry.service), entry.port, entry.address, entry.direct)
        found = self._choices.get(key)
        if found is None:
            every = self._finder.of(entry.service, entry.port)
            family = entry.family
            if family is not None:
                every = tuple(one for one in every if family in (one.families or {family}))
            if entry.direct:
                every = tuple(msgspec.structs.replace(one, target=entry.direct) for one in every)
            found = self._choices[key] = usable(every)
        return found

    def choice(self, entry: Frontend, client: Client) -> Choice:
        """The backends that a client may get to. Raises as ``backends``."""
        backends = self.backends(entry)
        node = self._only_on(entry, client)
        if node is None or not backends:
            return Choice(backends)
        unsure = not node or any(not one.node for one in backends)
        here = tuple(one for one in backends if not node or one.node in ("", node))
        return Choice(here, not here, unsure and bool(here))

    def why_none(self, service: Service) -> str:
        """Why a Service has no backend, for messages."""
        if self._finder.lists(service):
            return "no endpoint of it serves this port"
        if service.selector:
            labels = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
            return f"no pod with {labels} serves its port"
        return (
            "it has no selector, and the input has no EndpointSlice of it: add what "
            f"`kubectl get endpointslices -n {service.namespace} -l "
            f"kubernetes.io/service-name={service.name} -o yaml` prints"
        )

    def is_known(self, service: Service) -> bool:
        """Whether the input tells where a Service leads."""
        return bool(service.selector or self._finder.lists(service))

    def selected(self, service: Service) -> Sequence[Pod]:
        """The pods that the selector of a Service selects, without those that have finished."""
        return self._finder.selected(service)

    # --- indexes -----------------------------------------------------------------------------

    def _only_on(self, entry: Frontend, client: Client) -> str | None:
        """The node to whose backends a client is limited, empty where it is not known; None
        where it makes no difference."""
        service = entry.service
        if entry.via.is_internal:
            if service.internal_traffic != "Local" or service.headless:
                return None
            return client.node
        if service.external_traffic != "Local" or client.inside:
            # Clients of the cluster are served as under Cluster.
            return None
        return self.node_of(entry.address)

    @cached_property
    def _services(self) -> Mapping[Key, Service]:
        return {(one.namespace, one.name): one for one in self._cluster.services}

    @cached_property
    def _holders(self) -> dict[str, list[Holder]]:
        found: dict[str, list[Holder]] = {}
        for service in self._cluster.services:
            for text, via in _addresses(service):
                address = parse_address(text)
                if address is not None:
                    found.setdefault(str(address), []).append(Holder(service, via))
        return found

    @cached_property
    def _hosts(self) -> dict[str, str]:
        """The addresses of nodes, and of pods on their network, with the names of the nodes."""
        found: dict[str, str] = {}
        for node in self._cluster.nodes:
            for text in node.addresses:
                found.setdefault(str(parse_address(text) or text), node.name)
        for pod in self._cluster.pods:
            if pod.host_network and not pod.finished:
                for text in pod.addresses:
                    found.setdefault(str(parse_address(text) or text), pod.node)
        return found

    @cached_property
    def _node_ports(self) -> dict[tuple[Protocol, int], tuple[Service, ServicePort]]:
        found: dict[tuple[Protocol, int], tuple[Service, ServicePort]] = {}
        for service in self._cluster.services:
            for port in service.ports:
                if port.node_port:
                    found.setdefault((port.protocol, port.node_port), (service, port))
        return found


def _addresses(service: Service) -> Iterator[tuple[str, Via]]:
    yield from ((text, Via.CLUSTER_IP) for text in service.addresses)
    yield from ((text, Via.EXTERNAL_IP) for text in service.external_ips)
    for balancer in service.balancers:
        yield balancer.address, Via.PROXY if balancer.proxied else Via.BALANCER
