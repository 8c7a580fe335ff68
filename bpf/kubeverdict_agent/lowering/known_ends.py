"""Who has which address: what of a cluster does not change with its policies.

Of a large cluster nearly everything is pods, and what changes is a policy. So what takes a look at
every pod, node or Service is done once for as long as these stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import atoms_of_ipv4, atoms_of_ipv6
from kubeverdict.compile.compiled import CompiledPolicy, freeze
from kubeverdict.model.addresses import Address, Family, parse_address
from kubeverdict_agent.lowering.remembered import Remembered
from kubeverdict_agent.lowering.services import Listed, listed_services

_AF: dict[Family, int] = {4: AF_INET, 6: AF_INET6}
# Addresses as keys that sort as they do: numbers, or for IPv6 their bytes.
_Keys = NDArray[Any]


class Holders(NamedTuple):
    """The addresses of one family that pods and hosts have, ascending and each once, and who has
    them (endpoint ids)."""

    keys: _Keys
    ends: NDArray[np.int64]


class Singles(NamedTuple):
    """The addresses of one family that tables hold one by one, ascending: ``values`` as
    ``Tables`` has them. ``ends`` (n,) have them, but for those that are in the list of special
    ones: ``special`` (n,) is their place there, -1 for others."""

    values: NDArray[Any]
    ends: NDArray[np.int64]
    special: NDArray[np.int64]


class KnownEnds:
    """The ends of one cluster after the other, as the pods of one node see them."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._holders: dict[Family, Remembered[Holders]] = {4: Remembered(), 6: Remembered()}
        self._singles: dict[Family, Remembered[Singles]] = {4: Remembered(), 6: Remembered()}
        self._specials: dict[Family, list[Address]] = {4: [], 6: []}
        self._own: Remembered[tuple[Address, ...]] = Remembered()
        self._nodes: Remembered[tuple[Address, ...]] = Remembered()
        self._services: Remembered[list[Listed]] = Remembered()
        self._by_address: Remembered[dict[Address, Listed]] = Remembered()

    def own_node(self, compiled: CompiledPolicy, further: Sequence[str]) -> tuple[Address, ...]:
        """The addresses of the node: ``further`` ones and those that the cluster knows."""
        cluster, profile, node = compiled.cluster, compiled.profile, self._node

        def find() -> tuple[Address, ...]:
            usable = slice(None) if profile.dual_stack else slice(1)
            known = {text for one in cluster.nodes if one.name == node for text in one.addresses}
            for pod in cluster.pods if node else ():
                finished = pod.finished and profile.finished_pods_ignored
                if pod.host_network and pod.node == node and not finished:
                    known.update(pod.addresses[usable])
            return _parsed(known.union(further))

        return self._own.get((cluster.nodes, cluster.pods, profile, further), find)

    def nodes(self, compiled: CompiledPolicy) -> tuple[Address, ...]:
        """The addresses of all nodes, and of the pods that use them."""
        cluster = compiled.cluster

        def find() -> tuple[Address, ...]:
            texts = {text for machine in cluster.nodes for text in machine.addresses}
            texts.update(text for pod in cluster.pods if pod.host_network for text in pod.addresses)
            return _parsed(texts)

        return self._nodes.get((cluster.nodes, cluster.pods), find)

    def services(self, compiled: CompiledPolicy) -> list[Listed]:
        """As :func:`listed_services` has them."""
        cluster = compiled.cluster
        made_of = (
            *(cluster.services, cluster.endpoints, cluster.pods, cluster.nodes),
            *(compiled.pods, compiled.hosts, compiled.addresses, compiled.profile),
        )
        return self._services.get(made_of, lambda: listed_services(compiled, self._node))

    def by_address(self, services: list[Listed]) -> dict[Address, Listed]:
        """The Service that each address stands for."""
        return self._by_address.get(
            (services,),
            lambda: {
                address: service
                for service in services
                for text in service.addresses
                if (address := parse_address(text))
            },
        )

    def holders(self, compiled: CompiledPolicy, family: Family) -> Holders:
        """Where pods share an address, the first of those that run has it; a pod has it before a
        host."""
        return self._holders[family].get(
            (compiled.pods, compiled.hosts, compiled.profile), lambda: _holders(compiled, family)
        )

    def ends_of(self, compiled: CompiledPolicy, addresses: Sequence[Address]) -> NDArray[np.int64]:
        """Endpoint ids of addresses (n,): the pod or host that has the address, else the interval
        of address space. They agree with those of ``evaluate.ends.address_ids``."""
        out = np.empty(len(addresses), np.int64)
        of_family = np.fromiter((one.family for one in addresses), np.int64, len(addresses))
        families: tuple[Family, Family] = (4, 6)
        for family in families:
            places = np.flatnonzero(of_family == family)
            if places.size:
                keys = _keys([addresses[place] for place in places.tolist()], family)
                known = self.holders(compiled, family)
                at = np.minimum(np.searchsorted(known.keys, keys), max(known.keys.size - 1, 0))
                found = known.keys[at] == keys if known.keys.size else np.zeros(keys.size, np.bool_)
                atoms_of: Callable[..., NDArray[np.int32]]
                atoms_of = atoms_of_ipv4 if family == 4 else atoms_of_ipv6
                atoms = compiled.first_atom + atoms_of(compiled.addresses, _values(keys, family))
                out[places] = atoms
                out[places[found]] = known.ends[at[found]]
        return out

    def singles(self, compiled: CompiledPolicy, family: Family, special: list[Address]) -> Singles:
        """All addresses that are known one by one: ``special`` ones, and those of pods."""
        known = self.holders(compiled, family)
        if special != self._specials[family]:
            self._specials[family] = special
        of = self._specials[family]
        return self._singles[family].get((known, of), lambda: _singles(known, of, family))


def _parsed(texts: Iterable[str]) -> tuple[Address, ...]:
    return tuple(sorted({address for text in texts if (address := parse_address(text))}))


def _holders(compiled: CompiledPolicy, family: Family) -> Holders:
    usable = slice(None) if compiled.profile.dual_stack else slice(1)
    colon = family == 6
    running: list[tuple[str, int]] = []
    others: list[tuple[str, int]] = []
    for end, pod in enumerate(compiled.pods):
        for text in pod.addresses[usable]:
            if (":" in text) == colon:
                (running if pod.phase == "Running" else others).append((text, end))
    hosts = enumerate(compiled.hosts, start=compiled.first_host)
    others += [(text, end) for end, text in hosts if (":" in text) == colon]
    both = running + others
    packed = b"".join([inet_pton(_AF[family], text) for text, _ in both])
    keys, first = np.unique(_from_bytes(packed, family), return_index=True)
    ends = np.fromiter((end for _, end in both), np.int64, len(both))
    made = Holders(keys, ends[first])
    freeze(made)
    return made


def _singles(known: Holders, special: Sequence[Address], family: Family) -> Singles:
    keys = np.concatenate((_keys(special, family), known.keys))
    distinct, first = np.unique(keys, return_index=True)  # a special one before others
    count = len(special)
    ends = np.append(np.full(count, -1), known.ends)[first]
    made = Singles(_values(distinct, family), ends, np.where(first < count, first, -1))
    freeze(made)
    return made


def _keys(addresses: Sequence[Address], family: Family) -> _Keys:
    size = 4 if family == 4 else 16
    return _from_bytes(b"".join([one.value.to_bytes(size, "big") for one in addresses]), family)


def _from_bytes(packed: bytes, family: Family) -> _Keys:
    if family == 4:
        return np.frombuffer(packed, ">u4").astype(np.uint32)
    return np.frombuffer(packed, "S16")


def _values(keys: _Keys, family: Family) -> NDArray[Any]:
    """Addresses as numbers: (n,) uint32, or (n, 2) uint64."""
    return keys if family == 4 else keys.view(">u8").astype(np.uint64).reshape(-1, 2)
