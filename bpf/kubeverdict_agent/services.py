"""Services as a node's hooks see them: an address that stands for backends.

The client's packet still carries the address of the Service when it passes its veth; which
backend it will go to is decided later, in the node's own stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.ends import address_ids, pod_id
from kubeverdict.services import Backend, Client, Entry, ServiceResolver, Via


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
    """An address of Services, or of a node with ports of Services, with at least one backend."""

    address: str
    ports: tuple[Backends, ...]


def listed_services(compiled: CompiledPolicy, node: str) -> list[Listed]:
    """The addresses that stand for backends which policy judges, as pods of ``node`` see them.

    None under a profile that judges egress before translation.
    """
    if compiled.profile.service_egress == "cluster-ip" or not compiled.profile.enforces:
        return []
    if not compiled.cluster.services:
        return []
    maker = _Maker(compiled, node)
    resolver = maker.resolver
    addresses = [*(address for address, _ in resolver.virtual), *resolver.shared]
    listed = (Listed(address, tuple(maker.ports(address))) for address in addresses)
    return [one for one in listed if one.ports]


class _Maker:
    def __init__(self, compiled: CompiledPolicy, node: str) -> None:
        self._compiled = compiled
        self._client = Client(node)
        self.resolver = ServiceResolver(compiled.cluster)
        # Node ports lead to the same backends on every node.
        self._known: dict[tuple[Backend, ...], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def ports(self, address: str) -> Iterator[Backends]:
        for entry in self.resolver.entries(address):
            if entry.via is Via.PROXY:
                continue  # left as it is: the balancer is what the connection goes to
            ends, targets = self._backends(entry)
            if ends.size:
                protocol = int(entry.port.protocol)
                yield Backends(protocol * 65536 + entry.front_port, protocol, ends, targets)

    def _backends(self, entry: Entry) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        backends = self.resolver.choice(entry, self._client).backends
        if backends not in self._known:
            found = [
                (end, backend.target)
                for backend in backends
                if (end := self._end(backend)) is not None
            ]
            ends, targets = np.array(found, np.int64).reshape(-1, 2).T
            self._known[backends] = ends, targets
        return self._known[backends]

    def _end(self, backend: Backend) -> int | None:
        """The endpoint id, None for a pod that takes no part."""
        try:
            if backend.pod is not None:
                return pod_id(self._compiled, backend.pod)
            return int(address_ids(self._compiled, [backend.address])[0])
        except UsageError:
            return None
