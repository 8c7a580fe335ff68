"""Services in questions: what a name or an address of one leads to, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.analyses.ends import Party, address_party, find_service, pod_party
from kubeverdict.analyses.questions import PortQuestion
from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Service, ServicePort
from kubeverdict.model.ports import Protocol
from kubeverdict.services import Backend, Client, Frontend, ServiceResolver, Via

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy


class AskedPorts(msgspec.Struct, frozen=True, eq=False):
    """The ports of a Service that a question is about. ``via`` is empty for a name."""

    service: Service
    entries: tuple[Frontend, ...]
    notes: tuple[str, ...] = ()
    via: str = ""


def find_entries(
    compiled: CompiledPolicy, resolver: ServiceResolver, text: str, question: PortQuestion | None
) -> AskedPorts | None:
    """What ``text`` and a port (None: all of them) ask of a Service: ``svc/NS/NAME``, its name in
    DNS, or an address of it. None where they ask for something else.

    Raises :class:`UsageError` for a Service or port that does not exist, before any policy is
    asked.
    """
    address = parse_address(text)
    if address is not None:
        return _at_address(resolver, str(address), question)
    service = find_service(compiled, text)
    if service is None:
        return None
    followed, why = resolver.followed(service)
    if followed is None:
        raise UsageError(f"svc/{service} is {why}")
    notes = []
    if followed is not service:
        notes.append(f"svc/{service} is another name for svc/{followed}")
    entries = tuple(_by_name(followed, question))
    if not entries:
        raise _no_port(f"svc/{followed}", question, followed.ports)
    for entry in entries:
        if entry.direct and entry.direct != entry.port.target:
            notes.append(
                f"svc/{followed} is headless: nothing translates ports, so port {entry.direct} of "
                f"its pods is asked about (it names {entry.port.target})"
            )
    return AskedPorts(followed, entries, tuple(notes))


def _by_name(service: Service, question: PortQuestion | None) -> Iterator[Frontend]:
    """The ports that a question is about. Behind the name of a headless Service are its pods, on
    whatever port a client asks them."""
    named = [port for port in service.ports if question is None or _asks_for(question, port)]
    direct = question.number if question is not None and service.headless else 0
    if direct and not named:
        assert question is not None and question.protocol is not None  # it has a number
        known = (port for port in service.ports if port.target == direct)
        plain = ServicePort(question.protocol, direct, direct)
        named = [next((one for one in known if one.protocol is plain.protocol), plain)]
    yield from (Frontend(service, port, direct=direct) for port in named)


def _asks_for(question: PortQuestion, port: ServicePort) -> bool:
    if question.protocol not in (None, port.protocol):
        return False
    return port.name == question.name if question.name else port.port == question.number


def _at_address(
    resolver: ServiceResolver, address: str, question: PortQuestion | None
) -> AskedPorts | None:
    if question is not None and not question.name:
        protocol = question.protocol or Protocol.TCP
        entry = resolver.entry(address, protocol, question.number)
        entries: tuple[Frontend, ...] = (entry,) if entry is not None else ()
    else:
        entries = tuple(
            entry
            for entry in resolver.entries(address)
            if question is None or _asks_for(question, entry.port)
        )
    if not resolver.is_virtual(address):
        if not entries or question is None:
            return None
    elif not entries:
        (holder, via), *_ = resolver.holders(address)
        raise _no_port(f"svc/{holder}, which {address} is the {via} of,", question, holder.ports)
    elif question is None:
        entries = tuple(one for one in entries if one.service is entries[0].service)
    first = entries[0]
    return AskedPorts(first.service, entries, (_at(first),), first.via.value)


def _no_port(
    name: str, question: PortQuestion | None, ports: tuple[ServicePort, ...]
) -> UsageError:
    asked = f" {question.text}" if question else ""
    return UsageError(f"{name} has no port{asked}; it has {known_ports(ports)}")


def known_ports(ports: Iterable[ServicePort]) -> str:
    """The ports of a Service as text: ``80/TCP (http), 443/TCP``."""
    known = (
        f"{port.port}/{port.protocol.name}" + (f" ({port.name})" if port.name else "")
        for port in ports
    )
    return ", ".join(known) or "none at all"


def _at(entry: Frontend) -> str:
    where = f"{entry.address}:{entry.front_port}" if entry.via is Via.NODE_PORT else entry.address
    return f"{where} is the {entry.via} of svc/{entry.service}: judged at its backends"


def remarks(entry: Frontend, client: Client, unsure: bool = False) -> Iterator[str]:
    """What is not known of the connections of a client by way of an entry, a sentence each."""
    service = entry.service
    if unsure:
        yield (
            f"svc/{service} sends a client to backends on its own node only (internalTrafficPolicy "
            "Local), and the input does not say on which node all of them are"
            if entry.via.is_internal
            else f"svc/{service} only uses backends on the node that a client from outside "
            "arrives at (externalTrafficPolicy Local), which is not known"
        )
    if entry.via is Via.PROXY:
        yield (
            f"the load balancer at {entry.address} opens connections of its own (ipMode Proxy): "
            "egress rules see its address, and ingress rules the balancer or a node rather than "
            "the source that is named here"
        )
    elif not entry.via.is_internal:
        if service.external_traffic != "Local":
            yield (
                f"behind the {entry.via} of svc/{service} a node may replace the source address by "
                "its own (externalTrafficPolicy Cluster): ingress rules may see the node"
            )
        elif client.inside:
            yield (
                f"svc/{service} serves clients inside the cluster as under externalTrafficPolicy "
                "Cluster; which source address ingress rules then see depends on the network"
            )
    if entry.via is Via.NODE_PORT:
        yield (
            "a node port is translated on the node that has the address: egress rules on another "
            f"node may see {entry.address}:{entry.front_port} itself"
        )


def parties(compiled: CompiledPolicy, backends: tuple[Backend, ...]) -> list[tuple[Backend, Party]]:
    """The backends that take part, as ends of connections."""
    found = []
    for backend in backends:
        if backend.pod is not None:
            party = pod_party(compiled, backend.pod)
            if party.managed or party.addresses:
                found.append((backend, party))
            continue
        found.append((backend, address_party(backend.address)))
    return found


def no_backend(resolver: ServiceResolver, service: Service) -> UsageError:
    return UsageError(f"svc/{service} has no backend: {resolver.why_none(service)}")
