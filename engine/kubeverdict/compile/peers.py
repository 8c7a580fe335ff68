"""Stage 3c: peers that are no plain selector or block: nodes, named sets of ends, exclusions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.lowering import Questions, is_about_own_node, question
from kubeverdict.compile.population import Population
from kubeverdict.compile.rules import ANY_NODE, Base
from kubeverdict.compile.sets import ALL, from_positions, join, members
from kubeverdict.compile.universe import HOST_POD, POD, Universe
from kubeverdict.model.policy import (
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
)


def with_others(
    base: Base, questions: Questions, universe: Universe, population: Population
) -> Base:
    """``base`` with a set for each peer that is evaluated from its others; where one is about the
    node of the subject, for each node that pods run on."""
    if not questions.others:
        return base
    ends = _Ends(base, questions, universe, population)
    nodes = np.unique(universe.groups.node[universe.groups.role == POD]).tolist()
    first = base.sets.start.size - 1
    made: list[NDArray[np.int64]] = []

    def number(inside: NDArray[np.bool_]) -> int:
        made.append(np.flatnonzero(inside))
        return first + len(made) - 1

    others = [
        {node: number(ends.of(peer, node)) for node in nodes}
        if is_about_own_node(peer)
        else {ANY_NODE: number(ends.of(peer, ANY_NODE))}
        for peer in questions.others
    ]
    on_node: dict[int, int] = {}
    if questions.tells_own_node:
        groups = universe.groups
        for node in nodes:
            inside = np.zeros(universe.size, np.bool_)
            inside[: groups.count] = (groups.role == POD) & (groups.node == node)
            on_node[node] = number(inside)
    sets = join(base.sets, from_positions(made))
    return replace(base, sets=sets, others=others, on_node=on_node)


class _Ends:
    """The positions (size,) of a plane that peers hold."""

    def __init__(
        self, base: Base, questions: Questions, universe: Universe, population: Population
    ) -> None:
        self._base = base
        self._questions = questions
        self._size = universe.size
        self._labels = population.node_labels
        pods, groups = len(population.pods), universe.groups
        # The position of each host, of those that have one here, and the number of its node.
        hosts = universe.of_end[pods : pods + len(population.hosts)]
        self._hosts = hosts[hosts >= 0]
        self._host_node = population.host_node[hosts >= 0]
        atoms = universe.of_end[universe.of_end.size - universe.atoms :]
        self._world = self._at(atoms[atoms >= 0])
        self._inside = np.zeros(self._size, np.bool_)
        self._inside[: groups.count] = groups.role != HOST_POD
        self._inside[self._hosts] = True

    def of(self, peer: Peer, node: int) -> NDArray[np.bool_]:
        """The ends of a peer, for subjects on a node (-1: unknown)."""
        if isinstance(peer, ExceptPeer):
            found = self.of(peer.peer, node)
            for part in peer.excluded:
                found &= ~self.of(part, node)
            return found
        if isinstance(peer, PodPeer):
            return self._set(self._base.peers[self._questions.selectors[question(peer)]])
        if isinstance(peer, BlockPeer):
            return self._set(self._base.blocks[self._questions.blocks[peer]])
        if isinstance(peer, NodePeer):
            selected = {
                number
                for number in set(self._host_node.tolist())
                if peer.nodes.matches(self._labels.get(number, {}))
            }
            return self._at_nodes(selected)
        assert isinstance(peer, NamedPeer)  # of sets of addresses there are blocks only
        match peer.ends:
            case EndSet.ALL:
                return self._set(ALL)
            case EndSet.WORLD:
                return self._world.copy()
            case EndSet.CLUSTER:
                return self._inside.copy()
            case EndSet.NODES:
                return self._at(self._hosts)
            case EndSet.HOST:
                return self._at_nodes({node} - {-1})
            case EndSet.REMOTE_NODE:
                return self._at_nodes(set(self._host_node.tolist()) - ({node} - {-1}))

    def _set(self, which: int) -> NDArray[np.bool_]:
        return self._at(members(self._base.sets, which))

    def _at_nodes(self, nodes: Iterable[int]) -> NDArray[np.bool_]:
        return self._at(self._hosts[np.isin(self._host_node, list(nodes))])

    def _at(self, positions: NDArray[np.integer]) -> NDArray[np.bool_]:
        found = np.zeros(self._size, np.bool_)
        found[positions] = True
        return found
