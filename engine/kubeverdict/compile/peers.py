"""Stage 3c: peers that are no plain selector or block: nodes, named sets of ends, exclusions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

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
    ends = _ends(base, questions, universe, population)
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


def _ends(base: Base, questions: Questions, universe: Universe, population: Population) -> PeerEnds:
    """Places are the positions of a plane."""
    size, pods, groups = universe.size, len(population.pods), universe.groups
    # The position of each host, of those that have one here, and the number of its node.
    hosts = universe.of_end[pods : pods + len(population.hosts)]
    atoms = universe.of_end[universe.of_end.size - universe.atoms :]
    inside = np.zeros(size, np.bool_)
    inside[: groups.count] = groups.role != HOST_POD
    inside[hosts[hosts >= 0]] = True
    return PeerEnds(
        selected=lambda peer: members(base.sets, base.peers[questions.selectors[question(peer)]]),
        covered=lambda peer: members(base.sets, base.blocks[questions.blocks[peer]]),
        every=at(members(base.sets, ALL), size),
        world=at(atoms[atoms >= 0], size),
        cluster=inside,
        hosts=hosts[hosts >= 0],
        host_node=population.host_node[hosts >= 0],
        node_labels=population.node_labels,
    )


@dataclass(frozen=True, slots=True, eq=False)
class PeerEnds:
    """Which places peers hold, of (places,) in all: those of pods, of hosts and of addresses.

    ``selected`` and ``covered`` look up the places of a selector and of a block that the policies
    ask about; ``every``, ``world`` and ``cluster`` are (places,). ``hosts`` are places of nodes,
    ``host_node`` the number of the node of each.
    """

    selected: Callable[[PodPeer], NDArray[np.integer]]
    covered: Callable[[BlockPeer], NDArray[np.integer]]
    every: NDArray[np.bool_]
    world: NDArray[np.bool_]
    cluster: NDArray[np.bool_]
    hosts: NDArray[np.integer]
    host_node: NDArray[np.integer]
    node_labels: Mapping[int, Mapping[str, str]]

    def of(self, peer: Peer, node: int) -> NDArray[np.bool_]:
        """(places,) the ends of a peer, for subjects on a node (-1: unknown)."""
        if isinstance(peer, ExceptPeer):
            found = self.of(peer.peer, node)
            for part in peer.excluded:
                found &= ~self.of(part, node)
            return found
        if isinstance(peer, PodPeer):
            return self._at(self.selected(peer))
        if isinstance(peer, BlockPeer):
            return self._at(self.covered(peer))
        if isinstance(peer, NodePeer):
            selected = {
                number
                for number in set(self.host_node.tolist())
                if peer.nodes.matches(self.node_labels.get(number, {}))
            }
            return self._at_nodes(selected)
        assert isinstance(peer, NamedPeer)  # of sets of addresses there are blocks only
        match peer.ends:
            case EndSet.ALL:
                return self.every.copy()
            case EndSet.WORLD:
                return self.world.copy()
            case EndSet.CLUSTER:
                return self.cluster.copy()
            case EndSet.NODES:
                return self._at(self.hosts)
            case EndSet.HOST:
                return self._at_nodes({node} - {-1})
            case EndSet.REMOTE_NODE:
                return self._at_nodes(set(self.host_node.tolist()) - ({node} - {-1}))

    def _at_nodes(self, nodes: Iterable[int]) -> NDArray[np.bool_]:
        return self._at(self.hosts[np.isin(self.host_node, list(nodes))])

    def _at(self, places: NDArray[np.integer]) -> NDArray[np.bool_]:
        return at(places, self.every.size)


def at(places: NDArray[np.integer], size: int) -> NDArray[np.bool_]:
    """(size,) true at ``places``."""
    found = np.zeros(size, np.bool_)
    found[places] = True
    return found
