"""What a Service leads to: its backends and their target ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.analyses.ends import Party, pod_party
from kubeverdict.analyses.questions import PortQuestion, container_ports
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import Service, ServicePort

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy


class Backend(msgspec.Struct, frozen=True):
    """One pod behind one port of a Service, and the port it listens on."""

    service: Service
    service_port: ServicePort
    party: Party
    port: int

    @property
    def through(self) -> str:
        """The Service port as a user wrote it: ``http 80/TCP`` or ``80/TCP``."""
        port = self.service_port
        name = f"{port.name} " if port.name else ""
        return f"{name}{port.port}/{port.protocol.name}"


def backends(
    compiled: CompiledPolicy, service: Service, question: PortQuestion | None
) -> list[Backend]:
    """The pods behind ``service`` on the ports that ``question`` names (None: all of them).

    A pod that lacks the named target port is no backend, as in an EndpointSlice. Raises
    :class:`UsageError` where there is nothing to judge.
    """
    if service.type == "ExternalName":
        raise UsageError(f"svc/{service} is a name for something outside the cluster")
    if not service.selector:
        raise UsageError(
            f"svc/{service} has no selector, so the input does not tell where it leads: "
            "ask about an address"
        )
    found = [
        Backend(service, port, party, number)
        for port in _asked(service, question)
        for party in _selected(compiled, service)
        for number in _targets(port, party)
    ]
    if not found:
        labels = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
        raise UsageError(f"svc/{service} has no backend: no pod with {labels} serves its port")
    return found


def _asked(service: Service, question: PortQuestion | None) -> list[ServicePort]:
    ports = [port for port in service.ports if question is None or _names(question, port)]
    if not ports:
        asked = f" {question.text}" if question else ""
        known = ", ".join(
            f"{port.port}/{port.protocol.name}" + (f" ({port.name})" if port.name else "")
            for port in service.ports
        )
        raise UsageError(f"svc/{service} has no port{asked}; it has {known or 'none at all'}")
    return ports


def _names(question: PortQuestion, port: ServicePort) -> bool:
    if question.protocol not in (None, port.protocol):
        return False
    return port.name == question.name if question.name else port.port == question.number


def _selected(compiled: CompiledPolicy, service: Service) -> Iterator[Party]:
    wanted = service.selector.items()
    for pod in compiled.cluster.pods:
        if pod.namespace == service.namespace and wanted <= pod.labels.items() and not pod.finished:
            party = pod_party(compiled, pod)
            if party.managed or party.addresses:
                yield party


def _targets(port: ServicePort, party: Party) -> list[int]:
    if isinstance(port.target, int):
        return [port.target]
    assert party.pod is not None
    named = container_ports(party.pod, port.target, port.protocol)
    return [number for _, number in named[:1]]
