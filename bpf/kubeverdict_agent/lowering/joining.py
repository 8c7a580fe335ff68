"""A new pod that is like one that is there: it joins the tables in force, without a compilation.

A replica has the labels, the namespace and the ports of another, so no rule distinguishes the two,
unless a block of addresses does. Its address then gets the class of the other's. Compiling a large
cluster takes some tenths of a second, in which peers would not know the new pod; this takes some
tens of microseconds, and the compilation that follows confirms it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from kubeverdict.compile.addresses import atoms_of_ipv4, atoms_of_ipv6
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.addresses import Address, Family, parse_address
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict_agent.lowering.tables import Tables

_HALF = (1 << 64) - 1


class Joining(NamedTuple):
    """An address that is new, and its class of peers."""

    address: Address
    peer_class: int


def newcomers(compiled: CompiledPolicy, cluster: Cluster) -> list[Pod]:
    """The pods of ``cluster`` that ``compiled`` does not know."""
    return [pod for pod in cluster.pods if (pod.namespace, pod.name) not in compiled.pod_ids]


class Joiner:
    """Finds the classes of new pods by those of pods that are like them."""

    def __init__(self, compiled: CompiledPolicy, tables: Tables) -> None:
        self._compiled = compiled
        self._tables = tables
        self._by_namespace: defaultdict[str, list[Pod]] = defaultdict(list)
        self._holders = Counter(text for pod in compiled.pods for text in pod.addresses)
        for pod in compiled.pods:
            self._by_namespace[pod.namespace].append(pod)

    def join(self, pod: Pod) -> list[Joining] | None:
        """The classes of the addresses of a pod on another node; None where no pod is like it, or
        where an address is in use: then only a compilation can decide."""
        if pod.host_network or pod.finished:
            return None
        compiled = self._compiled
        usable = slice(None) if compiled.profile.dual_stack else slice(1)
        own = _by_family(pod.addresses[usable])
        if own is None or any(self._class_of(address) is not None for address in own.values()):
            return None
        for other in self._by_namespace.get(pod.namespace, ()):
            # An address that several pods have is in the tables as the first one's.
            alone = all(self._holders[text] == 1 for text in other.addresses)
            if alone and other.labels == pod.labels and other.ports == pod.ports:
                theirs = _by_family(other.addresses[usable])
                if theirs and theirs.keys() == own.keys():
                    joinings = [self._like(own[family], theirs[family]) for family in own]
                    found = [each for each in joinings if each is not None]
                    if found and len(found) == len(joinings):
                        return found
        return None

    def _like(self, address: Address, other: Address) -> Joining | None:
        """``address`` with the class of ``other``, where no block distinguishes them."""
        peer_class = self._class_of(other)
        if peer_class is None or self._atom(address) != self._atom(other):
            return None
        return Joining(address, peer_class)

    def _atom(self, address: Address) -> int:
        space = self._compiled.addresses
        if address.family == 4:
            return int(atoms_of_ipv4(space, np.array([address.value], np.uint32))[0])
        halves = [(address.value >> 64, address.value & _HALF)]
        return int(atoms_of_ipv6(space, np.array(halves, np.uint64))[0])

    def _class_of(self, address: Address) -> int | None:
        tables = self._tables
        if address.family == 4:
            (found,) = np.nonzero(tables.ipv4 == address.value)
            return int(tables.class4[found[0]]) if found.size else None
        high, low = address.value >> 64, address.value & _HALF
        (found,) = np.nonzero((tables.ipv6[:, 1] == low) & (tables.ipv6[:, 0] == high))
        return int(tables.class6[found[0]]) if found.size else None


def _by_family(texts: tuple[str, ...]) -> dict[Family, Address] | None:
    addresses = [parse_address(text) for text in texts]
    found = {address.family: address for address in addresses if address is not None}
    return found if found and len(found) == len(texts) else None
