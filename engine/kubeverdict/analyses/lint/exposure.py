"""Pods that are meant to be reached from outside: by Services and by Ingress objects."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.lint.facts import Facts, allowing, workload_names
from kubeverdict.analyses.lint.finding import Hit, listed
from kubeverdict.analyses.wellknown import INGRESS_CONTROLLERS, NAME_KEYS
from kubeverdict.compile.compiled import Reason
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.cluster import Ingress, Pod, Service, ServicePort
from kubeverdict.model.policy import Action, BlockPeer, Direction, Policy
from kubeverdict.model.ports import Protocol

_OUTSIDE_TYPES = ("LoadBalancer", "NodePort")


class Backend(msgspec.Struct, frozen=True, eq=False):
    """One port of a Service and the kinds of pods behind it, each with the port it listens on."""

    service: Service
    port: ServicePort
    targets: tuple[tuple[int, int], ...]


class Exposure:
    """What Services and Ingress objects expose. ``is_known`` tells whether the input has any."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.is_known = bool(facts.cluster.services)

    @cached_property
    def outside(self) -> list[Backend]:
        """The ports of LoadBalancer and NodePort Services."""
        services = [one for one in self._facts.cluster.services if one.type in _OUTSIDE_TYPES]
        return [backend for service in services for backend in self._backends(service)]

    @cached_property
    def routed(self) -> list[tuple[Ingress, Backend]]:
        """The backends of Ingress objects."""
        services = {(one.namespace, one.name): one for one in self._facts.cluster.services}
        found = []
        for ingress in self._facts.cluster.ingresses:
            for name, port in ingress.backends:
                service = services.get((ingress.namespace, name))
                for backend in self._backends(service) if service else ():
                    if port in (0, backend.port.port, backend.port.name, backend.port.target):
                        found.append((ingress, backend))
        return found

    def _backends(self, service: Service) -> Iterator[Backend]:
        if not service.selector:
            return
        kinds = [
            number
            for number, kind in self._facts.kinds_in(service.namespace)
            if service.selector.items() <= kind.labels.items()
        ]
        for port in service.ports:
            targets = [
                (kind, target) for kind in kinds if (target := self._target(port, kind)) is not None
            ]
            if targets:
                yield Backend(service, port, tuple(targets))

    def _target(self, port: ServicePort, kind: int) -> int | None:
        if isinstance(port.target, int):
            return port.target
        declared = self._facts.kinds[kind].ports
        wanted = (port.target, port.protocol)
        return next((one.number for one in declared if (one.name, one.protocol) == wanted), None)

    @cached_property
    def _exposed(self) -> set[int]:
        backends = [*self.outside, *(backend for _, backend in self.routed)]
        return {kind for backend in backends for kind, _ in backend.targets}

    def is_exposed(self, kind: int) -> bool:
        return kind in self._exposed

    def exposes(self, policy: Policy) -> bool:
        """Whether a policy selects pods that are exposed."""
        return not self._exposed.isdisjoint(self._facts.subjects(policy).tolist())


def check(facts: Facts) -> Iterator[Hit]:
    exposure = Exposure(facts)
    isolated = facts.isolating[Direction.INGRESS]
    for backend in exposure.outside:
        for kind, target in backend.targets:
            if kind in isolated:
                yield from _from_outside(facts, backend, kind, target)
    controllers = _controllers(facts, exposure)
    said: set[tuple[str, str, int]] = set()
    for ingress, backend in exposure.routed:
        for kind, target in backend.targets:
            key = (str(ingress), str(backend.service), kind)
            if kind in isolated and key not in said:
                said.add(key)
                yield from _from_controller(facts, ingress, backend, kind, target, controllers)


# --- LoadBalancer and NodePort ---------------------------------------------------------------


def _from_outside(facts: Facts, backend: Backend, kind: int, target: int) -> Iterator[Hit]:
    sample = _sample(facts, kind)
    if sample is None:
        return
    service, port = backend.service, backend.port
    policies = facts.isolating[Direction.INGRESS][kind]
    policy = _nearest(policies, port.protocol, target)
    clients = _outside_let_in(facts, sample, port.protocol, target)
    nodes = _nodes_let_in(facts, sample, port.protocol, target)
    local = service.external_traffic == "Local"
    where = f"{port.protocol.name} {target} of {listed(facts.workloads([kind]))}"
    through = f"{service.type} Service {service}"
    objects = (f"Service {service}", *facts.workloads([kind])[:3])
    seen = (
        "under externalTrafficPolicy Local clients come with their own address"
        if local
        else "under externalTrafficPolicy Cluster clients come with the address of a node"
    )
    if not clients and (local or nodes is not True):
        message = f"nobody outside reaches {where} through {through}; {seen}"
        yield Hit("service-unreachable", message, policy, objects=objects)
    elif not local and nodes is False:
        message = f"{through} leads to {where}: {seen}, and the policies let clients in by theirs"
        yield Hit("service-source", message, policy, objects=objects)


def _sample(facts: Facts, kind: int) -> int | None:
    """A managed pod of a kind, as an endpoint id."""
    ids = facts.compiled.pod_ids
    keys = ((pod.namespace, pod.name) for pod in facts.pods([kind]))
    return next((ids[key] for key in keys if key in ids), None)


def _outside_let_in(facts: Facts, pod: int, protocol: Protocol, port: int) -> bool:
    """Whether any address that is no pod's and no node's reaches a pod."""
    compiled = facts.compiled
    atoms = np.arange(compiled.addresses.atoms) + compiled.first_atom
    return bool(_let_in(facts, atoms, pod, protocol, port).any())


def _nodes_let_in(facts: Facts, pod: int, protocol: Protocol, port: int) -> bool | None:
    """Whether every node but the pod's own reaches a pod. Where nodes are not in the input:
    None, unless everybody is let in or only ranges that cannot be all nodes are."""
    compiled = facts.compiled
    if compiled.hosts:
        hosts = np.arange(len(compiled.hosts)) + compiled.first_host
        let_in = _let_in(facts, hosts, pod, protocol, port)
        return bool(let_in.all()) if let_in.size else None
    kept = compiled.pods[pod]
    policies = [
        policy
        for policy in facts.policies
        if policy.namespace == kept.namespace and policy.pods.matches(kept.labels)
    ]
    blocks = [
        peer
        for policy in policies
        for rule in allowing(policy)
        if rule.direction is Direction.INGRESS
        for peer in ((None,) if rule.peers is None else rule.peers)
        if peer is None or isinstance(peer, BlockPeer)
    ]
    if not blocks:
        return None
    return any(peer is None or peer.block.prefix <= 8 for peer in blocks)


def _let_in(
    facts: Facts, sources: NDArray[np.int64], pod: int, protocol: Protocol, port: int
) -> NDArray[np.bool_]:
    """Which sources the policies of a pod let in; those without an address of its family are left
    out. What their own policies say is not asked: the sources stand for others."""
    rules = facts.compiled.rules
    columns = (np.full(sources.size, value) for value in (pod, protocol, port))
    decided = judge(facts.compiled, sources, *columns).ingress
    decided = decided[decided != Reason.NO_ADDRESS]
    denied = [number for number, ref in enumerate(rules) if ref.rule.action is not Action.ALLOW]
    let_in: NDArray[np.bool_] = decided != Reason.NO_RULE_MATCHES
    return let_in & ~np.isin(decided, denied)


def _nearest(policies: list[Policy], protocol: Protocol, port: int) -> Policy:
    """The policy that was most likely written for a port: one with rules for ingress."""
    return max(policies, key=lambda one: any(r.direction is Direction.INGRESS for r in one.rules))


# --- Ingress ---------------------------------------------------------------------------------


def _controllers(facts: Facts, exposure: Exposure) -> list[Pod]:
    """Pods that look like ingress controllers: by their labels, one for each kind."""
    found = []
    for number, kind in enumerate(facts.kinds):
        names = {kind.labels.get(key) for key in NAME_KEYS}
        if not names.isdisjoint(INGRESS_CONTROLLERS):
            found += facts.pods([number])[:1]
    return [pod for pod in found if not pod.finished]


def _from_controller(
    facts: Facts,
    ingress: Ingress,
    backend: Backend,
    kind: int,
    target: int,
    controllers: list[Pod],
) -> Iterator[Hit]:
    sample = _sample(facts, kind)
    if sample is None:
        return
    ids = facts.compiled.pod_ids
    port = backend.port
    to_which = f", to which {ingress.kind} {ingress} routes"
    known = [ids[key] for pod in controllers if (key := (pod.namespace, pod.name)) in ids]
    where = f"{port.protocol.name} {target} of {listed(facts.workloads([kind]))}"
    if known:
        columns = (np.full(len(known), value) for value in (sample, port.protocol, target))
        if judge(facts.compiled, known, *columns).allowed.any():
            return
        who = listed(workload_names(controllers))
        message = f"{who} cannot reach {where}{to_which}"
    else:
        # Whoever the controller is, it is not a pod of the same namespace alone.
        others = np.array(
            [
                number
                for number, pod in enumerate(facts.compiled.pods)
                if pod.namespace != ingress.namespace
            ],
            np.int64,
        )
        atoms = np.arange(facts.compiled.addresses.atoms) + facts.compiled.first_atom
        anyone = np.concatenate((others, atoms))
        if _let_in(facts, anyone, sample, port.protocol, target).any():
            return
        message = f"nobody outside the namespace reaches {where}{to_which}"
    policy = _nearest(facts.isolating[Direction.INGRESS][kind], port.protocol, target)
    objects = (
        f"{ingress.kind} {ingress}",
        f"Service {backend.service}",
        *facts.workloads([kind])[:3],
    )
    yield Hit("ingress-unreachable", message, policy, objects=objects)
