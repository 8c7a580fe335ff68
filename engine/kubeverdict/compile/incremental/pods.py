"""Pods that come, go and change their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.incremental import set_edits
from kubeverdict.compile.incremental.addresses import atoms_at
from kubeverdict.compile.incremental.other_peers import holds_pod
from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.incremental.selecting import SetNumbers
from kubeverdict.compile.incremental.state import CannotEdit, EditableState
from kubeverdict.compile.lowering import question
from kubeverdict.compile.population import Population, populate
from kubeverdict.compile.sets import ALL
from kubeverdict.kernels.flows import HOST, IPV4, IPV6
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.ports import NamedPort

Value = TypeVar("Value", bound=np.generic)


class Newcomer(NamedTuple):
    """A pod that policies manage, as the stages of compilation see it."""

    pod: Pod
    alone: Population  # it, and nothing else
    labels: int
    ports: int


class Entering:
    """Puts pods into the planes of a state, and takes them out."""

    def __init__(self, state: EditableState) -> None:
        self._state = state

    def append(self, pod: Newcomer) -> bool:
        """A new pod, behind the others; whether it has brought rules into force."""
        state, alone = self._state, pod.alone
        state.ipv4 = np.concatenate((state.ipv4, alone.ipv4))
        state.ipv6 = np.concatenate((state.ipv6, alone.ipv6))
        state.has[4] = np.concatenate((state.has[4], alone.has_ipv4))
        state.has[6] = np.concatenate((state.has[6], alone.has_ipv6))
        changed = False
        for number, plane in enumerate(state.planes):
            count = plane.position_of.size
            position, new = self._position(number, plane, pod)
            changed |= new
            plane.position_of = np.append(plane.position_of, np.int32(position))
            identity = plane.positions.identity[position] if position >= 0 else -1
            plane.identity = np.insert(plane.identity, count, identity)
            plane.node = np.insert(plane.node, count, self._node(pod.pod))
            plane.about = np.insert(plane.about, count, _about(pod))
        return changed

    def replace(self, place: int, pod: Newcomer) -> bool:
        """The pod at ``place`` as ``pod`` is now; whether rules came into force or went."""
        state, alone = self._state, pod.alone
        state.ipv4 = _with(state.ipv4, place, alone.ipv4[0])
        state.ipv6 = _with(state.ipv6, place, alone.ipv6[0])
        state.has[4] = _with(state.has[4], place, alone.has_ipv4[0])
        state.has[6] = _with(state.has[6], place, alone.has_ipv6[0])
        changed = False
        for number, plane in enumerate(state.planes):
            # First in, then out: most often the position is the same, and stays.
            position, new = self._position(number, plane, pod)
            gone = self._leave(plane, int(plane.position_of[place]))
            changed |= new or gone
            plane.position_of = _with(plane.position_of, place, position)
            identity = plane.positions.identity[position] if position >= 0 else -1
            plane.identity = _with(plane.identity, place, identity)
            plane.node = _with(plane.node, place, self._node(pod.pod))
            plane.about = _with(plane.about, place, _about(pod))
        return changed

    def remove(self, place: int) -> bool:
        """Take out the pod at ``place``; whether rules went out of force."""
        state = self._state
        state.ipv4 = np.delete(state.ipv4, place)
        state.ipv6 = np.delete(state.ipv6, place, axis=0)
        for family, has in state.has.items():
            state.has[family] = np.delete(has, place)
        changed = False
        for plane in state.planes:
            changed |= self._leave(plane, int(plane.position_of[place]))
            plane.position_of = np.delete(plane.position_of, place)
            plane.identity = np.delete(plane.identity, place)
            plane.node = np.delete(plane.node, place)
            plane.about = np.delete(plane.about, place)
        return changed

    def relabel(self, namespace: str, labels: Mapping[str, str], pods: Sequence[Pod]) -> bool:
        """Give a namespace other labels; whether rules came into force or went. ``pods`` are all
        that are managed."""
        state = self._state
        before = state.name_namespace(namespace, labels)
        changed = False
        for number, plane in enumerate(state.planes):
            positions = plane.positions
            here = positions.namespace == before
            if (here & (positions.host >= 0)).any():
                raise CannotEdit("a namespace with pods on the network of their node")
            for position in np.flatnonzero(here & (positions.identity >= 0)).tolist():
                changed |= self._move(number, plane, position, pods)
        return changed

    def _move(self, number: int, plane: EditablePlane, position: int, pods: Sequence[Pod]) -> bool:
        """Move the pods of a position to where they belong now; whether that is a new one."""
        state = self._state
        places = np.flatnonzero(plane.position_of == position)
        pod, profile = pods[int(places[0])], state.compiled.profile
        alone = populate(Cluster(pods=(pod,)), profile, state.compiled.static)
        one = Newcomer(pod, alone, state.labels(pod), state.ports(pod))
        new, changed = self._position(number, plane, one)
        identity = int(plane.positions.identity[new])
        more = places.size - 1  # than the first, which is counted
        plane.positions.pods = _plus(plane.positions.pods, new, more)
        plane.weight = _plus(plane.weight, identity, more)
        old = int(plane.positions.identity[position])
        plane.weight = _plus(plane.weight, old, -more)
        plane.positions.pods = _plus(plane.positions.pods, position, -more)
        changed |= self._leave(plane, position)
        plane.position_of = _with(plane.position_of, places, new)
        plane.identity = _with(plane.identity, places, identity)
        return changed

    def _node(self, pod: Pod) -> int:
        nodes = self._state.nodes
        return nodes.setdefault(pod.node, len(nodes)) if pod.node else -1

    def _position(self, number: int, plane: EditablePlane, pod: Newcomer) -> tuple[int, bool]:
        """The position of a pod in a plane, which counts it, and whether it is a new one."""
        if not pod.alone.has(plane.families[0])[0]:
            return -1, False
        state = self._state
        outside, blocks = self._outside(plane, pod)
        namespace = state.namespaces[pod.pod.namespace]
        position = plane.place(namespace, pod.labels, pod.ports, outside)
        new = position < 0
        if new:
            found = self._memberships(number, pod, blocks)
            identity = plane.new_pod_identity()
            outside = self._outside(plane, pod)[0]  # it may have moved to make room
            plane.sets = set_edits.with_member(
                plane.sets, np.array(sorted(found | {ALL}), np.int64), identity
            )
            position = plane.positions.append(
                namespace, pod.labels, pod.ports, outside, identity, 0
            )
        identity = int(plane.positions.identity[position])
        plane.positions.pods = _plus(plane.positions.pods, position, 1)
        plane.weight = _plus(plane.weight, identity, 1)
        return position, new

    def _leave(self, plane: EditablePlane, position: int) -> bool:
        """Count a pod out; whether it was the last that its identity had."""
        if position < 0:
            return False
        identity = int(plane.positions.identity[position])
        plane.weight = _plus(plane.weight, identity, -1)
        plane.positions.pods = _plus(plane.positions.pods, position, -1)
        if plane.positions.pods[position]:
            return False
        plane.positions.identity = _with(plane.positions.identity, position, -1)
        if plane.weight[identity]:
            return False
        plane.sets = set_edits.without_member(plane.sets, identity)
        return True

    def _outside(self, plane: EditablePlane, pod: Newcomer) -> tuple[int, set[int]]:
        """The identity of the addresses that blocks may find a pod by, or -1; and the sets that
        hold it."""
        state = self._state
        found, holding = -1, set[int]()
        if not state.compiled.profile.ipblock_matches_pods:
            return found, holding
        blocks = {
            number
            for asked in state.asked
            for numbering in asked.numbering
            for several in numbering.blocks.values()
            for number in several
        }
        for family in plane.families:
            values = pod.alone.ipv4 if family == 4 else pod.alone.ipv6
            if not (pod.alone.has_ipv4 if family == 4 else pod.alone.has_ipv6)[0]:
                continue
            atom = int(atoms_at(state.compiled.addresses, family, values)[0])
            identity = int(plane.identity[plane.first_atom + atom])
            inside = blocks.intersection(set_edits.holding(plane.sets, identity).tolist())
            if inside and len(plane.families) > 1:
                raise CannotEdit("an address block distinguishes the families of pods")
            if inside:
                found, holding = identity, inside
        return found, holding

    def _memberships(self, number: int, pod: Newcomer, blocks: set[int]) -> set[int]:
        """The sets of a plane that hold a pod."""
        state = self._state
        namespace = pod.pod.namespace
        named = [
            (NamedPort(protocol, name), number)
            for name, protocol, number in state.port_sets[pod.ports]
        ]
        found: set[int] = set()
        for asked in state.asked:
            numbering = asked.numbering[number]
            mine: set[int] = set()
            for place in asked.selecting(namespace, state.labels_of[namespace], pod.pod.labels):
                mine.add(numbering.subjects[place])
                mine.add(numbering.peers[place])
            for port, resolved in named:
                for known in numbering.named.get(port, ()):
                    if resolved not in known:
                        raise CannotEdit(f"a pod gives the port {port} a number of its own")
                    mine.add(known[resolved])
            for several in numbering.blocks.values():
                mine |= blocks.intersection(several)
            if numbering.others:
                mine |= self._in_others(numbering, pod, blocks)
            found |= mine | numbering.unions_of(mine)
        return found

    def _in_others(self, numbering: SetNumbers, pod: Newcomer, blocks: set[int]) -> set[int]:
        """The sets of other peers that hold a pod."""
        labels = self._state.labels_of[pod.pod.namespace]

        def selects(peer: PodPeer) -> bool:
            where, pods, _ = question(peer)
            here = where == pod.pod.namespace if isinstance(where, str) else where.matches(labels)
            return here and pods.matches(pod.pod.labels)

        def covers(peer: BlockPeer) -> bool:
            return not blocks.isdisjoint(numbering.blocks[peer])

        return {number for peer, number in numbering.others if holds_pod(peer, selects, covers)}


def _about(pod: Newcomer) -> np.uint8:
    alone = pod.alone
    about = alone.has(4)[0] * IPV4 + alone.has(6)[0] * IPV6 + pod.pod.host_network * HOST
    return np.uint8(about)


def _plus(values: NDArray[np.int64], place: int, number: int) -> NDArray[np.int64]:
    changed = values.copy()
    changed[place] += number
    return changed


def _with(values: NDArray[Value], place: int | NDArray[np.int64], value: Any) -> NDArray[Value]:
    changed = values.copy()
    changed[place] = value
    return changed
