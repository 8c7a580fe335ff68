"""Services as a node's hooks see them: an address that stands for backends.

The client's packet still carries the address of the Service when it passes its veth; which
backend it will go to is decided later, in the node's own stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import is_

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.incremental.index import changed
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.services import Backend, Client, Frontend, ServiceResolver, Via


@dataclass(frozen=True, slots=True, eq=False)
class Backends:
    """One port of an address: ``place`` is protocol * 65536 + port, ``ends`` (n,) the endpoint ids
    of its backends and ``targets`` (n,) the port on each."""

    place: int
    protocol: int
    ends: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """Addresses of Services, or of nodes with ports of Services, that lead to the same backends
    on the same ports. Each port has a backend at least."""

    addresses: tuple[str, ...]
    ports: tuple[Backends, ...]


class FollowedServices:
    """What stands for backends in one cluster after the other, as pods of ``node`` see it; kept
    while pods change that are no backends. What was returned follows then: the numbers of its ends
    move in place."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._of: tuple[object, ...] = ()
        self._pods: Sequence[Pod] = ()
        self._managed: Sequence[Pod] = ()
        self._made: list[Listed] = []
        self._ends = np.zeros(0, np.int64)  # of all ports, each of which has a part
        self._concerned = _Concerned(Cluster())

    def of(self, compiled: CompiledPolicy) -> list[Listed]:
        """As :func:`listed_services` has them."""
        cluster = compiled.cluster
        made_of = (
            *(cluster.services, cluster.endpoints, cluster.nodes),
            *(compiled.hosts, compiled.addresses, compiled.profile),
        )
        same = len(made_of) == len(self._of) and all(map(is_, made_of, self._of))
        if not same or self._concerns(cluster.pods):
            self._of = ()  # not half a value, should making it fail
            self._make(compiled)
            self._of = made_of
        elif compiled.pods is not self._managed:
            span = changed(self._managed, compiled.pods)
            self._ends[self._ends >= span.before] += span.shift
        self._pods, self._managed = cluster.pods, compiled.pods
        return self._made

    def _concerns(self, pods: Sequence[Pod]) -> bool:
        if pods is self._pods:
            return False
        span = changed(self._pods, pods)
        different = (*self._pods[span.start : span.before], *pods[span.start : span.after])
        return any(map(self._concerned, different))

    def _make(self, compiled: CompiledPolicy) -> None:
        made = listed_services(compiled, self._node)
        parts = [port.ends for one in made for port in one.ports]
        self._ends = np.concatenate([np.zeros(0, np.int64), *parts])
        at = 0
        self._made = []
        for one in made:
            ports = []
            for port in one.ports:
                ports.append(replace(port, ends=self._ends[at : at + port.ends.size]))
                at += port.ends.size
            self._made.append(Listed(one.addresses, tuple(ports)))
        self._concerned = _Concerned(compiled.cluster)


class _Concerned:
    """Whether a pod may be a backend, or lend its address to ports of nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self._selectors: dict[str, list[Mapping[str, str]]] = {}
        for service in cluster.services:
            if service.selector:
                self._selectors.setdefault(service.namespace, []).append(service.selector)
        self._named: set[tuple[str, str]] = set()
        self._addresses: set[str] = set()
        for listed in cluster.endpoints:
            for group in listed.groups:
                self._named.update((listed.namespace, one.pod) for one in group.endpoints)
                self._addresses.update(one.address for one in group.endpoints)

    def __call__(self, pod: Pod) -> bool:
        labels = pod.labels.items()
        return (
            pod.host_network
            or (pod.namespace, pod.name) in self._named
            or not self._addresses.isdisjoint(pod.addresses)
            or any(one.items() <= labels for one in self._selectors.get(pod.namespace, ()))
        )


# The ports of some addresses, and where each leads.
_Found = tuple[tuple[str, ...], list[tuple[Frontend, tuple[Backend, ...]]]]


def listed_services(compiled: CompiledPolicy, node: str) -> list[Listed]:
    """The addresses that stand for backends which policy judges, as pods of ``node`` see them.

    None under a profile that judges egress before translation. Raises UsageError for a Service
    of which the input has two definitions.
    """
    if compiled.profile.service_egress == "cluster-ip" or not compiled.profile.enforces:
        return []
    if not compiled.cluster.services:
        return []
    found = list(_found(ServiceResolver(compiled.cluster), Client(node)))
    ends = _ends(compiled, found)
    return [
        Listed(addresses, ports) for addresses, led in found if (ports := tuple(_ports(led, ends)))
    ]


def _found(resolver: ServiceResolver, client: Client) -> Iterator[_Found]:
    groups: list[tuple[str, ...]] = [(address,) for address, _ in resolver.virtual]
    # Node ports lead to the same backends on every node, in each address family.
    nodes: dict[object, list[str]] = {}
    for address in resolver.shared:
        nodes.setdefault((":" in address, *resolver.holders(address)), []).append(address)
    groups += map(tuple, nodes.values())
    for addresses in groups:
        yield (
            addresses,
            [
                (entry, resolver.choice(entry, client).backends)
                for entry in resolver.entries(addresses[0])
                if entry.via is not Via.PROXY  # the connection goes to the balancer itself
            ],
        )


def _ends(compiled: CompiledPolicy, found: Iterable[_Found]) -> dict[Backend, int]:
    """The endpoint ids of all backends that take part."""
    ends: dict[Backend, int] = {}
    by_address: dict[str, list[Backend]] = {}
    for backend in {one for _, led in found for _, backends in led for one in backends}:
        pod = backend.pod
        if pod is None:
            by_address.setdefault(backend.address, []).append(backend)
        elif (end := compiled.pod_ids.get((pod.namespace, pod.name))) is not None:
            ends[backend] = end
        elif pod.host_network and pod.addresses and parse_address(pod.addresses[0]):
            by_address.setdefault(pod.addresses[0], []).append(backend)
    for text, end in zip(by_address, address_ids(compiled, list(by_address)), strict=True):
        ends |= dict.fromkeys(by_address[text], int(end))
    return ends


def _ports(
    led: Iterable[tuple[Frontend, tuple[Backend, ...]]], ends: dict[Backend, int]
) -> Iterator[Backends]:
    for entry, backends in led:
        known = [(ends[one], one.target) for one in backends if one in ends]
        if known:
            numbers, targets = np.array(known, np.int64).T
            protocol = int(entry.port.protocol)
            yield Backends(protocol * 65536 + entry.front_port, protocol, numbers, targets)
