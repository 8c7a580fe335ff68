"""Services as the pods of one node see them: addresses that stand for other ends.

The client's packet still carries the address of the Service when it passes its veth; which
backend it will go to is decided later, in the node's own stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.cluster import Cluster
from kubeverdict.services import Backend, Client, Frontend, ServiceResolver, Via


@dataclass(frozen=True, eq=False)
class ListedServices:
    """Addresses of Services, or of nodes with ports of Services, in groups that lead to the same
    backends on the same ports. Each group has a port at least, and each port a backend.

    Ports are in order of their groups, ends in order of their ports. A place is protocol * 65536
    + port. ``namespaces`` are those of the Services of each group.
    """

    addresses: tuple[tuple[Address, ...], ...]  # by group
    namespaces: tuple[frozenset[str], ...]  # by group
    group: NDArray[np.int64]  # (ports,) the group of each
    place: NDArray[np.int64]  # (ports,)
    port: NDArray[np.int64]  # (ends,) the port of each
    ends: NDArray[np.int64]  # (ends,) endpoint ids of backends
    targets: NDArray[np.int64]  # (ends,) the place on each

    @classmethod
    def of(cls, groups: Iterable[ServiceGroup]) -> ListedServices:
        addresses: list[tuple[Address, ...]] = []
        namespaces: list[frozenset[str]] = []
        group: list[int] = []
        place: list[int] = []
        port: list[int] = []
        ends: list[int] = []
        targets: list[int] = []
        for one in groups:
            for at, backends in one.ports:
                for end, target in backends:
                    port.append(len(place))
                    ends.append(end)
                    targets.append(target)
                group.append(len(addresses))
                place.append(at)
            addresses.append(one.addresses)
            namespaces.append(one.namespaces)
        columns = [np.array(each, np.int64) for each in (group, place, port, ends, targets)]
        return cls(tuple(addresses), tuple(namespaces), *columns)

    @cached_property
    def by_address(self) -> dict[Address, int]:
        """The group of each address."""
        return {one: number for number, several in enumerate(self.addresses) for one in several}

    def moved(self, behind: int, by: int) -> ListedServices:
        """The same where the endpoint ids from ``behind`` on have others, ``by`` more."""
        ends = self.ends + by * (self.ends >= behind)
        made = ListedServices(
            *(self.addresses, self.namespaces, self.group, self.place),
            *(self.port, ends, self.targets),
        )
        made.__dict__["by_address"] = self.by_address
        return made

    def without(self, gone: Sequence[int]) -> ListedServices:
        """The other groups."""
        kept = np.ones(len(self.addresses), np.bool_)
        kept[list(gone)] = False
        ports = kept[self.group]
        ends = ports[self.port]
        return ListedServices(
            tuple(one for one, stays in zip(self.addresses, kept.tolist(), strict=True) if stays),
            tuple(one for one, stays in zip(self.namespaces, kept.tolist(), strict=True) if stays),
            (np.cumsum(kept) - 1)[self.group[ports]],
            self.place[ports],
            (np.cumsum(ports) - 1)[self.port[ends]],
            self.ends[ends],
            self.targets[ends],
        )

    def joined(self, other: ListedServices) -> ListedServices:
        return ListedServices(
            self.addresses + other.addresses,
            self.namespaces + other.namespaces,
            np.concatenate((self.group, other.group + len(self.addresses))),
            np.concatenate((self.place, other.place)),
            np.concatenate((self.port, other.port + self.place.size)),
            np.concatenate((self.ends, other.ends)),
            np.concatenate((self.targets, other.targets)),
        )


@dataclass(frozen=True, slots=True)
class ServiceGroup:
    """Addresses that lead to the same backends: for each port its place, and of each backend the
    endpoint id and the place there."""

    addresses: tuple[Address, ...]
    namespaces: frozenset[str]
    ports: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


NO_SERVICES = ListedServices.of(())

# The ports of some addresses, where each leads, and the namespaces of the Services.
_Found = tuple[tuple[str, ...], frozenset[str], list[tuple[Frontend, tuple[Backend, ...]]]]


def listed_services(compiled: CompiledPolicy, cluster: Cluster, node: str) -> ListedServices:
    """The addresses that stand for backends which policy judges, as pods of ``node`` see them:
    those of the Services of ``cluster``, which is a part of that of ``compiled``.

    None under a profile that judges egress before translation. Raises UsageError for a Service
    of which the input has two definitions.
    """
    if compiled.profile.service_egress == "cluster-ip" or not compiled.profile.enforces:
        return NO_SERVICES
    if not cluster.services:
        return NO_SERVICES
    found = list(_found(ServiceResolver(cluster), Client(node)))
    ends = _ends(compiled, found)
    made = []
    for texts, namespaces, led in found:
        ports = tuple(_ports(led, ends))
        addresses = tuple(one for text in texts if (one := parse_address(text)))
        if ports and addresses:
            made.append(ServiceGroup(addresses, namespaces, ports))
    return ListedServices.of(made)


def _found(resolver: ServiceResolver, client: Client) -> Iterator[_Found]:
    groups: list[tuple[str, ...]] = [(address,) for address, _ in resolver.virtual]
    # Node ports lead to the same backends on every node, in each address family.
    nodes: dict[object, list[str]] = {}
    for address in resolver.shared:
        nodes.setdefault((":" in address, *resolver.holders(address)), []).append(address)
    groups += map(tuple, nodes.values())
    for addresses in groups:
        entries = [
            entry
            for entry in resolver.entries(addresses[0])
            if entry.via is not Via.PROXY  # the connection goes to the balancer itself
        ]
        yield (
            addresses,
            frozenset(entry.service.namespace for entry in entries),
            [(entry, resolver.choice(entry, client).backends) for entry in entries],
        )


def _ends(compiled: CompiledPolicy, found: Iterable[_Found]) -> dict[Backend, int]:
    """The endpoint ids of all backends that take part."""
    ends: dict[Backend, int] = {}
    by_address: dict[str, list[Backend]] = {}
    for backend in {one for _, _, led in found for _, backends in led for one in backends}:
        pod = backend.pod
        if pod is None:
            by_address.setdefault(backend.address, []).append(backend)
        elif (end := compiled.pod_ids.get((pod.namespace, pod.name))) is not None:
            ends[backend] = end
        elif pod.host_network and pod.addresses and parse_address(pod.addresses[0]):
            by_address.setdefault(pod.addresses[0], []).append(backend)
    if not by_address:
        return ends
    for text, end in zip(by_address, address_ids(compiled, list(by_address)), strict=True):
        ends |= dict.fromkeys(by_address[text], int(end))
    return ends


def _ports(
    led: Iterable[tuple[Frontend, tuple[Backend, ...]]], ends: dict[Backend, int]
) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    for entry, backends in led:
        first = int(entry.port.protocol) * 65536
        known = tuple((ends[one], first + one.target) for one in backends if one in ends)
        if known:
            yield first + entry.front_port, known
