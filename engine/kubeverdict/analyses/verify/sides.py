"""From the ends of assertions to pods and addresses, each end once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.ends import split_name
from kubeverdict.analyses.verify.spans import Span, Spans, common, complement, of_block, union
from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.model.addresses import Family, parse_address
from kubeverdict.model.assertions import EndSpec, WorkloadName
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import PodPeer
from kubeverdict.model.selectors import PARTIAL, Operator, Requirement, Selector


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Who is at one end: ``pods`` (pods,) of the compiled cluster, and addresses of nodes and of
    what is outside."""

    pods: NDArray[np.bool_]
    addresses: Spans = ()

    def __bool__(self) -> bool:
        return bool(self.addresses) or bool(self.pods.any())

    def others(self) -> Side:
        """Everybody else."""
        return Side(~self.pods, complement(self.addresses))


def is_workload(pod: Pod, kind: str, name: WorkloadName) -> bool:
    """Whether a pod belongs to the workload of that name and kind, or is the pod called so."""
    if pod.namespace != name.namespace:
        return False
    if pod.name == name.name and kind in ("", "pod"):
        return True
    return pod.workload.name == name.name and kind in ("", pod.workload.kind.lower())


class Sides:
    """Finds the sides of one compiled cluster; equal ends are found once.

    ``keys`` are the label keys that any end asks about.
    """

    def __init__(self, compiled: CompiledPolicy, keys: Iterable[str]) -> None:
        self._pods = compiled.pods
        self._namespaces = compiled.cluster.namespaces
        self._known: dict[EndSpec, Side] = {}
        self._peers: dict[PodPeer, NDArray[np.bool_]] = {}
        self._names_of: dict[Selector, set[str]] = {}
        # Pods on the network of their node are addresses, where policies do not select them.
        self._on_hosts = [
            pod
            for pod, _ in compiled.excluded
            if pod.host_network and pod.addresses and not pod.finished
        ]
        self._by_label: dict[str, dict[str, list[int]]] = {key: {} for key in keys}
        self._by_namespace: dict[str, list[int]] = {}
        self._by_name: dict[tuple[str, str], list[int]] = {}
        wanted = tuple(self._by_label.items())
        for number, pod in enumerate(compiled.pods):
            self._by_namespace.setdefault(pod.namespace, []).append(number)
            self._by_name.setdefault((pod.namespace, pod.workload.name), []).append(number)
            if pod.name != pod.workload.name:
                self._by_name.setdefault((pod.namespace, pod.name), []).append(number)
            for key, values in wanted:
                value = pod.labels.get(key)
                if value is not None:
                    values.setdefault(value, []).append(number)

    def of(self, end: EndSpec) -> Side:
        """The side that an end stands for."""
        side = self._known.get(end)
        if side is None:
            side = self._known[end] = self._found(end)
        return side

    def _found(self, end: EndSpec) -> Side:
        pods = np.zeros(len(self._pods), np.bool_)
        addresses: list[Span] = []
        for part in end.parts:
            if isinstance(part, WorkloadName):
                kind, *named = split_name(str(part))
                numbers = self._by_name.get((named[0], named[1]), ())
                pods[[n for n in numbers if is_workload(self._pods[n], kind, part)]] = True
                on_hosts = [pod for pod in self._on_hosts if is_workload(pod, kind, part)]
            elif isinstance(part, PodPeer):
                pods |= self.selected(part)
                on_hosts = [pod for pod in self._on_hosts if self._selects(part, pod)]
            else:
                addresses += of_block(part)
                on_hosts = []
            for pod in on_hosts:
                found = (parse_address(text) for text in pod.addresses)
                addresses += [(one.family, one.value, one.value) for one in found if one]
        return Side(pods, union(addresses))

    def _selects(self, peer: PodPeer, pod: Pod) -> bool:
        if peer.pods is not None and not peer.pods.matches(pod.labels):
            return False
        return pod.namespace in self._names(peer)

    def _names(self, peer: PodPeer) -> set[str]:
        if peer.namespace is not None:
            return {peer.namespace}
        found = self._names_of.get(peer.namespaces)
        if found is None:
            matching = (one for one in self._namespaces if peer.namespaces.matches(one.labels))
            found = self._names_of[peer.namespaces] = {one.name for one in matching}
        return found

    def selected(self, peer: PodPeer) -> NDArray[np.bool_]:
        """(pods,) those that a peer selects."""
        found = self._peers.get(peer)
        if found is None:
            names = self._names(peer)
            everywhere = names >= self._by_namespace.keys()
            found = self._peers[peer] = np.full(len(self._pods), everywhere)
            for name in names if not everywhere else ():
                found[self._by_namespace.get(name, [])] = True
            if peer.pods is not None:
                found &= self._selecting(peer.pods)
        return found

    def _selecting(self, selector: Selector) -> NDArray[np.bool_]:
        found = np.ones(len(self._pods), np.bool_)
        for requirement in selector.requirements:
            found &= self._meeting(requirement)
        for clause in selector.clauses:
            parts = [self._selecting(part) for part in clause.parts]
            found &= np.logical_or.reduce(parts) != clause.negated
        return found

    def _meeting(self, requirement: Requirement) -> NDArray[np.bool_]:
        values = self._by_label[requirement.key]
        found = np.zeros(len(self._pods), np.bool_)
        if requirement.operator in PARTIAL:
            wanted = [one for one in values if requirement.matches({requirement.key: one})]
        else:
            wanted = list(requirement.values or values)
        for value in wanted:
            found[values.get(value, [])] = True
        negative = requirement.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST)
        return ~found if negative else found


class Map:
    """Which identities of a plane have a part in a side, and what each stands for there."""

    def __init__(self, compiled: CompiledPolicy, plane: Plane) -> None:
        self._compiled = compiled
        self.plane = plane
        identity = plane.ends.identity
        self.of_pod = identity[: len(compiled.pods)]
        self._order = np.argsort(self.of_pod, kind="stable")
        self._sorted = self.of_pod[self._order]
        bounds = [compiled.addresses.interval(n) for n in range(compiled.addresses.atoms)]
        # Atoms first, then hosts, which may be distinguished from the addresses around them.
        self._weights: dict[Side, NDArray[np.int64]] = {}
        self._samples: dict[tuple[int, Side], list[int]] = {}
        self._overlaps: dict[Spans, list[tuple[int, Spans]]] = {}
        self._places = {
            family: [
                (first, last, n) for n, (own, first, last) in enumerate(bounds) if own == family
            ]
            for family in plane.families
        }
        self._hosts = sorted(
            (address.family, address.value, compiled.first_host + n)
            for n, text in enumerate(compiled.hosts)
            if (address := parse_address(text)) is not None and address.family in plane.families
        )

    def mask(self, side: Side) -> NDArray[np.bool_]:
        """(plane.size,) the identities that have a part in a side."""
        found = np.zeros(self.plane.size + 1, np.bool_)
        found[self.of_pod[side.pods]] = True
        for end, _ in self._ends(side.addresses):
            found[self.plane.ends.identity[end]] = True
        return found[:-1]  # the last one collects what is not in this plane

    def has(self, side: Side) -> bool:
        """Whether any end of a side has an address of this plane's families."""
        if any(family in self.plane.families for family, _, _ in side.addresses):
            return True
        return bool((self.of_pod[side.pods] >= 0).any())

    def weights(self, side: Side) -> NDArray[np.int64]:
        """(plane.pods,) the pods of a side in each identity."""
        found = self._weights.get(side)
        if found is None:
            own = self.of_pod[side.pods]
            found = np.bincount(own[own >= 0], minlength=self.plane.pods)
            self._weights[side] = found
        return found

    def ends(self, identity: int, side: Side) -> Sequence[int]:
        """Endpoint ids of an identity at a side: two of them at most, one where it is outside."""
        found = self._samples.get((identity, side))
        if found is None:
            if identity < self.plane.pods:
                found = self.pods(identity, side)[:2].tolist()
            else:
                # An interval rather than a node in it: a node may do more with its own pods.
                found = [max(end for end, _ in self.addresses(identity, side))]
            self._samples[identity, side] = found
        return found

    def pods(self, identity: int, side: Side) -> NDArray[np.int64]:
        """The pods of an identity that are at a side."""
        first, stop = np.searchsorted(self._sorted, [identity, identity + 1])
        own = self._order[first:stop]
        return own[side.pods[own]]

    def addresses(self, identity: int, side: Side) -> list[tuple[int, Spans]]:
        """Endpoint ids of an identity outside, with what each has in common with a side."""
        return [
            (end, spans)
            for end, spans in self._ends(side.addresses)
            if self.plane.ends.identity[end] == identity
        ]

    def _ends(self, spans: Spans) -> list[tuple[int, Spans]]:
        """Endpoint ids that overlap ``spans``, each with the overlap."""
        known = self._overlaps.get(spans)
        if known is not None:
            return known
        found: dict[int, list[Span]] = {}
        for family, first, last in spans:
            places = self._places.get(family, [])
            begin = bisect_right(places, first, key=lambda place: place[0]) - 1
            stop = bisect_left(places, last + 1, key=lambda place: place[0])
            for low, high, atom in places[max(begin, 0) : stop]:
                end = self._compiled.first_atom + atom
                own = (family, max(low, first), min(high, last))
                for part in self._without_hosts(own, end):
                    found.setdefault(end, []).append(part)
            for _, value, host in self._hosts_in(family, first, last):
                found.setdefault(host, []).append((family, value, value))
        known = self._overlaps[spans] = [(end, tuple(each)) for end, each in found.items()]
        return known

    def _hosts_in(self, family: Family, first: int, last: int) -> list[tuple[Family, int, int]]:
        begin = bisect_left(self._hosts, (family, first))
        return self._hosts[begin : bisect_left(self._hosts, (family, last + 1))]

    def _without_hosts(self, span: Span, atom: int) -> Spans:
        """The part of an interval of addresses in which no host is that rules tell from it."""
        identity = self.plane.ends.identity
        apart = [
            (family, value, value)
            for family, value, host in self._hosts_in(*span)
            if identity[host] != identity[atom]
        ]
        return common((span,), complement(union(apart))) if apart else (span,)
