"""The backends of Services, from pods and from lists of endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cached_property

import msgspec

from kubeverdict.model.addresses import Family, parse_address
from kubeverdict.model.cluster import Cluster, Pod, Service, ServicePort, container_ports
from kubeverdict.model.endpoints import SLICE_CONTROLLER, Endpoint, EndpointList

Key = tuple[str, str]
"""Namespace and name."""


class Readiness(IntEnum):
    """Those that are more ready get all connections."""

    NOT_READY = 0
    DRAINING = 1  # about to end, and still serving
    READY = 2


class Backend(msgspec.Struct, frozen=True, eq=False):
    """One end behind a port of a Service: a pod, or an address that is no pod of the input.

    ``target`` is the port there.
    """

    target: int
    pod: Pod | None = None
    address: str = ""
    node: str = ""
    readiness: Readiness = Readiness.READY

    @property
    def key(self) -> tuple[str, str, int]:
        """Equal for backends that are the same."""
        if self.pod is not None:
            return self.pod.namespace, self.pod.name, self.target
        return "", self.address, self.target

    @property
    def families(self) -> set[Family]:
        """Those of its addresses; none for a pod that has none yet."""
        texts = self.pod.addresses if self.pod is not None else (self.address,)
        return {address.family for text in texts if (address := parse_address(text))}


def target_port(port: ServicePort, pod: Pod) -> int | None:
    """The port of a pod behind a port of a Service; None for a pod that lacks the name, which is
    no backend then. Kubernetes itself looks names up here, whatever a network plug-in does with
    those in policies."""
    if isinstance(port.target, int):
        return port.target
    named = container_ports(pod, port.target, port.protocol)
    return named[0][1] if named else None


class BackendFinder:
    """Finds the backends of the Services of one cluster. What is looked up is found once."""

    def __init__(self, cluster: Cluster, node_of: Callable[[str], str]) -> None:
        """``node_of`` returns the name of the node that has an address, empty where none has."""
        self._cluster = cluster
        self._node_of = node_of
        self._labels: dict[str, dict[tuple[str, str], list[Pod]]] = {}
        self._selected: dict[int, list[Pod]] = {}
        self._found: dict[tuple[int, ServicePort], tuple[Backend, ...]] = {}

    def of(self, service: Service, port: ServicePort) -> tuple[Backend, ...]:
        """All backends of a port, ready or not, each once."""
        key = (id(service), port)
        found = self._found.get(key)
        if found is None:
            distinct: dict[object, Backend] = {}
            for backend in self._backends(service, port):
                known = distinct.get(backend.key)
                # For a moment an endpoint may be in two slices.
                if known is None or backend.readiness > known.readiness:
                    distinct[backend.key] = backend
            found = self._found[key] = tuple(distinct.values())
        return found

    def selected(self, service: Service) -> Sequence[Pod]:
        """The pods that the selector of a Service selects, without those that have finished."""
        found = self._selected.get(id(service))
        if found is None:
            found = self._selected[id(service)] = list(self._select(service))
        return found

    def lists(self, service: Service) -> Sequence[EndpointList]:
        """The slices of a Service, or else its Endpoints object."""
        found = self._lists.get((service.namespace, service.name), ())
        slices = [one for one in found if one.kind == "EndpointSlice"]
        return slices or found

    def _backends(self, service: Service, port: ServicePort) -> Iterator[Backend]:
        lists = self.lists(service)
        pods = self.selected(service)
        if pods:
            # What controllers list follows from the pods.
            derived = [one for one in lists if _is_derived(one)]
            lists = [one for one in lists if not _is_derived(one)]
            readiness = _readiness_by_pod(derived)
            targets: dict[int, int | None] = {}  # pods of a workload share their lists of ports
            for pod in pods:
                if id(pod.ports) not in targets:
                    targets[id(pod.ports)] = target_port(port, pod)
                target = targets[id(pod.ports)]
                if target is not None:
                    ready = readiness.get(pod.name, Readiness.READY)
                    yield Backend(target, pod, node=pod.node, readiness=ready)
        for one in lists:
            for group in one.groups:
                for listed in group.ports:
                    if (listed.name, listed.protocol) == (port.name, port.protocol):
                        for endpoint in group.endpoints:
                            backend = self._listed(one.namespace, endpoint, listed.number)
                            if backend is not None:
                                yield backend

    def _listed(self, namespace: str, endpoint: Endpoint, target: int) -> Backend | None:
        pod = self._pod(namespace, endpoint)
        if pod is not None:
            if pod.finished:
                return None
            node = pod.node or endpoint.node
            return Backend(target, pod, node=node, readiness=_readiness(endpoint))
        address = parse_address(endpoint.address)
        if address is None:  # a cluster that was not read from files
            return None
        text = str(address)
        node = endpoint.node or self._node_of(text)
        return Backend(target, address=text, node=node, readiness=_readiness(endpoint))

    def _pod(self, namespace: str, endpoint: Endpoint) -> Pod | None:
        if endpoint.pod:
            pod = self._pods.get((namespace, endpoint.pod))
            if pod is not None and (not pod.addresses or endpoint.address in pod.addresses):
                return pod
        address = parse_address(endpoint.address)
        return self._by_address.get(str(address)) if address else None

    def _select(self, service: Service) -> Iterator[Pod]:
        items = service.selector.items()
        if not items or service.type == "ExternalName":
            return
        labels = self._labels.get(service.namespace)
        if labels is None:
            labels = self._labels[service.namespace] = _by_label(
                self._by_namespace.get(service.namespace, ())
            )
        for pod in min((labels.get(item, []) for item in items), key=len):
            if items <= pod.labels.items() and not pod.finished:
                yield pod

    @cached_property
    def _by_namespace(self) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = {}
        for pod in self._cluster.pods:
            found.setdefault(pod.namespace, []).append(pod)
        return found

    @cached_property
    def _pods(self) -> dict[Key, Pod]:
        return {(pod.namespace, pod.name): pod for pod in self._cluster.pods}

    @cached_property
    def _by_address(self) -> dict[str, Pod]:
        """Pods with an address of their own; a running one has it where several do."""
        found: dict[str, Pod] = {}
        for pod in self._cluster.pods:
            if not pod.host_network and not pod.finished:
                for text in pod.addresses:
                    address = str(parse_address(text) or "")
                    known = found.get(address)
                    if known is None or (pod.phase == "Running" and known.phase != "Running"):
                        found[address] = pod
        return found

    @cached_property
    def _lists(self) -> dict[Key, list[EndpointList]]:
        found: dict[Key, list[EndpointList]] = {}
        for one in self._cluster.endpoints:
            if one.service:
                found.setdefault((one.namespace, one.service), []).append(one)
        return found


def usable(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    """Those that get connections: the most ready ones. Where none is ready at all each may be."""
    every = tuple(backends)
    best = max((one.readiness for one in every), default=Readiness.READY)
    return tuple(one for one in every if one.readiness is best)


def _is_derived(one: EndpointList) -> bool:
    return one.kind == "Endpoints" or one.manager == SLICE_CONTROLLER


def _readiness(endpoint: Endpoint) -> Readiness:
    if endpoint.ready:
        return Readiness.READY
    draining = endpoint.serving and endpoint.terminating
    return Readiness.DRAINING if draining else Readiness.NOT_READY


def _readiness_by_pod(lists: Iterable[EndpointList]) -> dict[str, Readiness]:
    """How ready each pod is that lists name, by its name."""
    readiness: dict[str, Readiness] = {}
    for one in lists:
        for group in one.groups:
            for endpoint in group.endpoints:
                if endpoint.pod:
                    known = readiness.get(endpoint.pod, Readiness.NOT_READY)
                    readiness[endpoint.pod] = max(known, _readiness(endpoint))
    return readiness


def _by_label(pods: Iterable[Pod]) -> dict[tuple[str, str], list[Pod]]:
    found: dict[tuple[str, str], list[Pod]] = {}
    for pod in pods:
        for item in pod.labels.items():
            found.setdefault(item, []).append(pod)
    return found
