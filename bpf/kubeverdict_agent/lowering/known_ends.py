"""Who has which address: what of a cluster does not change with its policies.

Of a large cluster nearly everything is pods, and what changes is a policy. So what takes a look at
every pod, node or Service is done once for as long as these stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import atoms_of_ipv4, atoms_of_ipv6
from kubeverdict.compile.compiled import CompiledPolicy, freeze
from kubeverdict.model.addresses import Address, Family, parse_address
from kubeverdict_agent.lowering.following_services import FollowedServices
from kubeverdict_agent.lowering.holders import (
    FollowedHolders,
    FollowedHostPods,
    Holders,
    keys_of,
    values_of,
)
from kubeverdict_agent.lowering.remembered import Remembered
from kubeverdict_agent.lowering.services import ListedServices


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
        self._holders: dict[Family, FollowedHolders] = {
            4: FollowedHolders(4),
            6: FollowedHolders(6),
        }
        self._singles: dict[Family, Remembered[Singles]] = {4: Remembered(), 6: Remembered()}
        self._specials: dict[Family, list[Address]] = {4: [], 6: []}
        self._own: Remembered[tuple[Address, ...]] = Remembered()
        self._nodes: Remembered[tuple[Address, ...]] = Remembered()
        self._host_pods = FollowedHostPods()
        self._services = FollowedServices(node, self._host_pods)

    def own_node(self, compiled: CompiledPolicy, further: Sequence[str]) -> tuple[Address, ...]:
        """The addresses of the node: ``further`` ones and those that the cluster knows."""
        cluster, profile, node = compiled.cluster, compiled.profile, self._node
        pods = self._host_pods.of(cluster.pods)

        def find() -> tuple[Address, ...]:
            usable = slice(None) if profile.dual_stack else slice(1)
            known = {text for one in cluster.nodes if one.name == node for text in one.addresses}
            for pod in pods if node else ():
                finished = pod.finished and profile.finished_pods_ignored
                if pod.node == node and not finished:
                    known.update(pod.addresses[usable])
            return _parsed(known.union(further))

        return self._own.get((cluster.nodes, pods, profile, further), find)

    def nodes(self, compiled: CompiledPolicy) -> tuple[Address, ...]:
        """The addresses of all nodes, and of the pods that use them."""
        nodes, pods = compiled.cluster.nodes, self._host_pods.of(compiled.cluster.pods)

        def find() -> tuple[Address, ...]:
            texts = {text for machine in nodes for text in machine.addresses}
            return _parsed(texts.union(text for pod in pods for text in pod.addresses))

        return self._nodes.get((nodes, pods), find)

    def services(self, compiled: CompiledPolicy) -> ListedServices:
        """As :meth:`FollowedServices.of` has them."""
        return self._services.of(compiled)

    def holders(self, compiled: CompiledPolicy, family: Family) -> Holders:
        """As :meth:`FollowedHolders.of` has them."""
        return self._holders[family].of(compiled)

    def ends_of(self, compiled: CompiledPolicy, addresses: Sequence[Address]) -> NDArray[np.int64]:
        """Endpoint ids of addresses (n,): the pod or host that has the address, else the interval
        of address space. They agree with those of ``evaluate.ends.address_ids``."""
        out = np.empty(len(addresses), np.int64)
        of_family = np.fromiter((one.family for one in addresses), np.int64, len(addresses))
        families: tuple[Family, Family] = (4, 6)
        for family in families:
            places = np.flatnonzero(of_family == family)
            if places.size:
                keys = keys_of([addresses[place] for place in places.tolist()], family)
                known = self.holders(compiled, family)
                at = np.minimum(np.searchsorted(known.keys, keys), max(known.keys.size - 1, 0))
                found = known.keys[at] == keys if known.keys.size else np.zeros(keys.size, np.bool_)
                atoms_of: Callable[..., NDArray[np.int32]]
                atoms_of = atoms_of_ipv4 if family == 4 else atoms_of_ipv6
                atoms = compiled.first_atom + atoms_of(compiled.addresses, values_of(keys, family))
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


def _singles(known: Holders, special: Sequence[Address], family: Family) -> Singles:
    keys = np.concatenate((keys_of(special, family), known.keys))
    distinct, first = np.unique(keys, return_index=True)  # a special one before others
    count = len(special)
    ends = np.append(np.full(count, -1), known.ends)[first]
    made = Singles(values_of(distinct, family), ends, np.where(first < count, first, -1))
    freeze(made)
    return made
