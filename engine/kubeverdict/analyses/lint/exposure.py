"""Pods that are meant to be reached from outside: by Services, routes and the API server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import msgspec
import numpy as np

from kubeverdict.analyses.lint.facts import Facts, workload_names
from kubeverdict.analyses.lint.finding import Hit, listed
from kubeverdict.analyses.lint.reach import (
    anyone_outside,
    blamed,
    let_in,
    nodes_let_in,
    outside_let_in,
    sample,
)
from kubeverdict.analyses.wellknown import INGRESS_CONTROLLERS, NAME_KEYS
from kubeverdict.evaluate.flows import judge
from kubeverdict.model import cluster
from kubeverdict.model.cluster import ApiServerCalls, Call, Ingress, Pod, Service, ServicePort
from kubeverdict.model.policy import Direction, Policy
from kubeverdict.services import Frontend

_OUTSIDE_TYPES = ("LoadBalancer", "NodePort")
# What the pods of a Gateway are labelled with; the second is that of Envoy Gateway.
_GATEWAY_LABELS = (
    "gateway.networking.k8s.io/gateway-name",
    "gateway.envoyproxy.io/owning-gateway-name",
)


class ExposedPort(msgspec.Struct, frozen=True, eq=False):
    """One port of a Service and the kinds of pods behind it, each with the port it listens on."""

    service: Service
    port: ServicePort
    targets: tuple[tuple[int, int], ...]


class Exposure:
    """What Services and Ingress objects expose. ``is_known`` says whether the input has any."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.is_known = bool(facts.cluster.services)

    @cached_property
    def outside(self) -> list[ExposedPort]:
        """The ports of LoadBalancer and NodePort Services, and of those with external IPs."""
        services = [
            one
            for one in self._facts.cluster.services
            if one.type in _OUTSIDE_TYPES or one.external_ips
        ]
        return [backend for service in services for backend in self._backends(service)]

    @cached_property
    def routed(self) -> list[tuple[Ingress, ExposedPort]]:
        """The backends of Ingress objects and routes."""
        return [
            (ingress, backend)
            for ingress in self._facts.cluster.ingresses
            for named in ingress.backends
            for backend in self._named(named)
        ]

    @cached_property
    def called(self) -> list[tuple[ApiServerCalls, Call, ExposedPort]]:
        """The backends that the API server calls."""
        return [
            (caller, call, backend)
            for caller in self._facts.cluster.api_server_calls
            for call in caller.calls
            for backend in self._named(call.backend)
        ]

    @cached_property
    def gateways(self) -> dict[tuple[str, str], list[int]]:
        """The kinds of pods of each Gateway that the input names."""
        named = {key for ingress in self._facts.cluster.ingresses for key in ingress.gateways}
        found: dict[tuple[str, str], list[int]] = {}
        for number, kind in enumerate(self._facts.kinds) if named else ():
            for label in _GATEWAY_LABELS:
                key = (kind.namespace, kind.labels.get(label, ""))
                if key in named:
                    found.setdefault(key, []).append(number)
        return found

    @cached_property
    def controllers(self) -> list[int]:
        """The kinds of pods that look like ingress controllers."""
        return [
            number
            for number, kind in enumerate(self._facts.kinds)
            if any(kind.labels.get(key) in INGRESS_CONTROLLERS for key in NAME_KEYS)
        ]

    def _named(self, named: cluster.BackendRef) -> Iterator[ExposedPort]:
        """What is behind the port of a Service that an object names."""
        service = self._facts.resolver.named(named.namespace, named.service)
        for backend in self._backends(service) if service else ():
            port = backend.port
            if named.port in (0, port.port, port.name, port.target):
                yield backend

    def _backends(self, service: Service) -> Iterator[ExposedPort]:
        """The ports with pods behind them, whether labels select these or endpoints name them."""
        if service.also:
            return  # where it leads is not known, and loading has said so
        for port in service.ports:
            targets = {
                (self._facts.kind_of(backend.pod), backend.target): None
                for backend in self._facts.resolver.backends(Frontend(service, port))
                if backend.pod is not None
            }
            if targets:
                yield ExposedPort(service, port, tuple(targets))

    @cached_property
    def _exposed(self) -> set[int]:
        backends = [*self.outside, *(backend for _, backend in self.routed)]
        backends += [backend for *_, backend in self.called]
        found = {kind for backend in backends for kind, _ in backend.targets}
        return found.union(*self.gateways.values())

    def is_exposed(self, kind: int) -> bool:
        return kind in self._exposed

    def exposes(self, policy: Policy) -> bool:
        """Whether a policy selects pods that are exposed."""
        return not self._exposed.isdisjoint(self._facts.subjects(policy).tolist())


def check(facts: Facts) -> Iterator[Hit]:
    exposure = Exposure(facts)
    isolated = facts.denying[Direction.INGRESS]
    for backend in exposure.outside:
        for kind, target in backend.targets:
            if kind in isolated:
                yield from _from_outside(facts, backend, kind, target)
    said: set[tuple[str, str, int]] = set()
    for ingress, backend in exposure.routed:
        for kind, target in backend.targets:
            key = (str(ingress), str(backend.service), kind)
            if kind in isolated and key not in said:
                said.add(key)
                controllers = _controllers(facts, exposure, ingress)
                yield from _from_controller(facts, ingress, backend, kind, target, controllers)


# --- LoadBalancer and NodePort ---------------------------------------------------------------


def _from_outside(facts: Facts, backend: ExposedPort, kind: int, target: int) -> Iterator[Hit]:
    pod = sample(facts, kind)
    if pod is None:
        return
    service, port = backend.service, backend.port
    policy = blamed(facts, kind, anyone_outside(facts), pod, port.protocol, target)
    clients = outside_let_in(facts, pod, port.protocol, target)
    nodes = nodes_let_in(facts, pod, port.protocol, target)
    local = service.external_traffic == "Local"
    where = f"{port.protocol.name} {target} of {listed(facts.workloads([kind]))}"
    key = f"{service} {where}"
    through = f"{service.type} Service {service}"
    if service.external_ips:
        through += f" at {listed(service.external_ips)}"
    objects = (f"Service {service}", *facts.workloads([kind])[:3])
    seen = (
        "under externalTrafficPolicy Local clients come with their own address"
        if local
        else "under externalTrafficPolicy Cluster clients come with the address of a node"
    )
    if not clients and (local or nodes is not True):
        message = f"no client outside reaches {where} through {through}; {seen}"
        yield Hit("service-unreachable", message, policy, objects=objects, key=key)
    elif not local and nodes is False:
        message = f"{through} leads to {where}: {seen}, and the policies let clients in by theirs"
        yield Hit("service-source", message, policy, objects=objects, key=key)


# --- Ingress and routes ----------------------------------------------------------------------


def _controllers(facts: Facts, exposure: Exposure, ingress: Ingress) -> list[Pod]:
    """Pods that serve an Ingress or a route, one for each kind: those of its Gateways, else those
    that look like ingress controllers by their labels."""
    own = [kind for key in ingress.gateways for kind in exposure.gateways.get(key, ())]
    pods = [pod for kind in own or exposure.controllers for pod in facts.pods([kind])[:1]]
    return [pod for pod in pods if not pod.finished]


def _from_controller(
    facts: Facts,
    ingress: Ingress,
    backend: ExposedPort,
    kind: int,
    target: int,
    controllers: list[Pod],
) -> Iterator[Hit]:
    pod = sample(facts, kind)
    if pod is None:
        return
    ids = facts.compiled.pod_ids
    port = backend.port
    to_which = f", to which {ingress.kind} {ingress} routes"
    known = [ids[name] for pod in controllers if (name := (pod.namespace, pod.name)) in ids]
    where = f"{port.protocol.name} {target} of {listed(facts.workloads([kind]))}"
    if known:
        sources = np.array(known, np.int64)
        columns = (np.full(len(known), value) for value in (pod, port.protocol, target))
        if judge(facts.compiled, sources, *columns).allowed.any():
            return
        who = listed(workload_names(controllers))
        message = f"{who} cannot reach {where}{to_which}"
    else:
        # Whoever the controller is, it is not a pod of the same namespace alone.
        others = np.array(
            [
                number
                for number, pod in enumerate(facts.compiled.pods)
                if pod.namespace != backend.service.namespace
            ],
            np.int64,
        )
        atoms = np.arange(facts.compiled.addresses.atoms) + facts.compiled.first_atom
        sources = np.concatenate((others, atoms))
        if let_in(facts, sources, pod, port.protocol, target).any():
            return
        message = f"no client outside the namespace reaches {where}{to_which}"
    policy = blamed(facts, kind, sources, pod, port.protocol, target)
    objects = (
        f"{ingress.kind} {ingress}",
        f"Service {backend.service}",
        *facts.workloads([kind])[:3],
    )
    key = " ".join((*objects[:2], where))
    yield Hit("ingress-unreachable", message, policy, objects=objects, key=key)
