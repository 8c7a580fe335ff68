"""What a new policy asks, as sets of identities: those are split where a set cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import freeze
from kubeverdict.compile.incremental.addresses import atoms_at, atoms_in, cut_atoms, with_edges
from kubeverdict.compile.incremental.other_peers import Inside, other_peers
from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.incremental.selecting import Finder
from kubeverdict.compile.incremental.state import CannotEdit, EditableState
from kubeverdict.compile.lowering import Questions
from kubeverdict.compile.rules import ANY_NODE, Base
from kubeverdict.compile.sets import chosen, from_positions, join
from kubeverdict.model.policy import BlockPeer
from kubeverdict.model.ports import NamedPort

_NONE = np.zeros(0, np.int64)


def cut_space(state: EditableState, blocks: Sequence[BlockPeer]) -> None:
    """Cut external addresses where new blocks begin and end."""
    space = state.compiled.addresses
    finer, part_of = with_edges(space, blocks)
    if finer.atoms == space.atoms:
        return
    freeze(finer)
    state.compiled = replace(state.compiled, addresses=finer)
    for plane in state.planes:
        cut_atoms(plane, part_of)


class Asking:
    """Answers the questions of one new policy in one plane."""

    def __init__(self, state: EditableState, plane: EditablePlane, questions: Questions) -> None:
        self._state = state
        self._plane = plane
        self._questions = questions

    def base(self) -> Base:
        """Every distinct selector, block and named port of the policy as a set of identities,
        numbered as the stages of compilation do it."""
        plane, questions = self._plane, self._questions
        profile = self._state.compiled.profile
        state = self._state
        finder = Finder(
            *(state.namespaces, state.spaces, state.labels_of, state.relabelled),
            *(state.label_sets, state.port_sets),
        )
        blocks = self._blocks(list(questions.blocks))  # first: it may make positions
        found = finder.selected(plane, questions.selectors)
        written_only = profile.hostnetwork_peers == "with-pod-selector"
        subjects = [(self._pods(places), _NONE) for places in found]
        peers = [
            (self._pods(places), _NONE if written_only and not written else self._hosts(places))
            for places, (_, _, written) in zip(found, questions.selectors, strict=True)
        ]
        holders: list[Inside] = []
        named: dict[NamedPort, list[tuple[int, int]]] = {}
        first = 2 + 2 * len(found) + len(blocks)
        for port in sorted(questions.named):
            for number, places in finder.resolving(plane, port).items():
                named.setdefault(port, []).append((number, first + len(holders)))
                holders.append((self._pods(places), _NONE))
        others = other_peers(state, plane, questions, peers, blocks)
        several = [*subjects, *peers, *blocks, *holders, *others]
        for positions, ends in several:
            plane.split(positions, ends)
        plane.settle()
        identities = [
            np.unique(
                np.concatenate((plane.positions.identity[positions], plane.identity[ends]))
            ).astype(np.int64)
            for positions, ends in several
        ]
        count = len(found)
        return Base(
            sets=join(chosen(plane.sets, np.array([0, 1])), from_positions(identities)),
            words=plane.words,
            subjects=range(2, 2 + count),
            peers=range(2 + count, 2 + 2 * count),
            blocks=range(2 + 2 * count, 2 + 2 * count + len(blocks)),
            named=named,
            others=[{ANY_NODE: first + len(holders) + place} for place in range(len(others))],
        )

    def _pods(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions among ``places`` that pods are at."""
        return places[self._plane.positions.identity[places] >= 0]

    def _hosts(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The endpoint ids of the hostNetwork pods among ``places``."""
        host = self._plane.positions.host[places]
        ends = np.unique(host[host >= 0].astype(np.int64)) + self._plane.position_of.size
        return ends[self._plane.identity[ends] >= 0]

    def _blocks(self, blocks: list[BlockPeer]) -> list[Inside]:
        """What is inside each block: positions of pods, and endpoint ids of addresses."""
        if not blocks:
            return []
        plane, state = self._plane, self._state
        profile = state.compiled.profile
        atoms = atoms_in(state.compiled.addresses, blocks)
        host_atoms = self._host_atoms()
        inside: list[NDArray[np.int64]] = []
        for several in atoms:
            ends = several + plane.first_atom
            if plane.apart and profile.ipblock_matches_nodes and host_atoms.size:
                hosts = np.flatnonzero(np.isin(host_atoms, several)) + plane.position_of.size
                ends = np.concatenate((hosts, ends))
            inside.append(ends[plane.identity[ends] >= 0])
        for ends in inside:
            plane.split(_NONE, ends)
        if not plane.apart and host_atoms.size:
            self._move_hosts(host_atoms)
        if profile.ipblock_matches_pods:
            self._locate_pods(np.unique(np.concatenate(atoms)))
        outside = plane.positions.outside
        there = (outside >= 0) & (plane.positions.identity >= 0)
        return [
            (np.flatnonzero(there & np.isin(outside, plane.identity[ends])), ends)
            for ends in inside
        ]

    def _host_atoms(self) -> NDArray[np.int64]:
        """(hosts,) the atom that the address of each is in."""
        space = self._state.compiled.addresses
        return np.array(
            [atoms_at(space, host.family, [host.value])[0] for host in self._state.hosts], np.int64
        )

    def _move_hosts(self, atoms: NDArray[np.int64]) -> None:
        """Hosts are what their addresses are."""
        plane = self._plane
        first = plane.position_of.size
        identity = plane.identity.copy()
        own = identity[first : first + atoms.size]
        identity[first : first + atoms.size] = np.where(
            own >= 0, identity[plane.first_atom + atoms], own
        )
        plane.identity = identity

    def _locate_pods(self, covered: NDArray[np.int64]) -> None:
        """Tell pods in the atoms ``covered`` from others at their positions."""
        plane, state = self._plane, self._state
        is_covered = np.zeros(plane.atoms, np.bool_)
        is_covered[covered] = True
        for family in plane.families:
            has = state.has[family] & (plane.position_of >= 0)
            atom = atoms_at(
                state.compiled.addresses, family, state.ipv4 if family == 4 else state.ipv6
            )
            pods = np.flatnonzero(has & is_covered[atom])
            if pods.size and len(plane.families) > 1:
                raise CannotEdit("an address block distinguishes the families of pods")
            self._move(pods, plane.identity[plane.first_atom + atom[pods]])

    def _move(self, pods: NDArray[np.int64], outside: NDArray[np.int32]) -> None:
        """Put pods to positions of their own where not all of their position have the same
        addresses."""
        plane = self._plane
        positions = plane.positions
        keys = plane.position_of[pods].astype(np.int64) << 32 | outside
        distinct, group, count = np.unique(keys, return_inverse=True, return_counts=True)
        position, identity = distinct >> 32, distinct & 0xFFFFFFFF
        whole = count == positions.pods[position]
        moved = positions.outside.copy()
        moved[position[whole]] = identity[whole]
        positions.outside = moved
        position_of = plane.position_of.copy()
        for number in np.flatnonzero(~whole & (positions.outside[position] != identity)).tolist():
            old = int(position[number])
            new = positions.append(
                int(positions.namespace[old]),
                int(positions.labels[old]),
                int(positions.ports[old]),
                int(identity[number]),
                int(positions.identity[old]),
                int(count[number]),
            )
            fewer = positions.pods.copy()
            fewer[old] -= count[number]
            positions.pods = fewer
            position_of[pods[group == number]] = new
        plane.position_of = position_of
        # One that gave all of its pods away is none any more.
        positions.identity = positions.identity.copy()
        positions.identity[position[positions.pods[position] == 0]] = -1
