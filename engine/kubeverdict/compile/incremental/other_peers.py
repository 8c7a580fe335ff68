"""Peers of new policies that are no plain selector or block, and which of them a new pod is in.

The same as :mod:`kubeverdict.compile.peers`, over the positions and ends of a plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.incremental.state import EditableState
from kubeverdict.compile.lowering import OtherPeer, Questions, question
from kubeverdict.model.policy import (
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
)

Inside = tuple[NDArray[np.int64], NDArray[np.int64]]
"""What a set holds: positions of pods, and endpoint ids of addresses."""


class OtherPeers:
    """Evaluates them from the ``peers`` and ``blocks`` of the same policy."""

    def __init__(
        self,
        state: EditableState,
        plane: EditablePlane,
        questions: Questions,
        peers: Sequence[Inside],
        blocks: Sequence[Inside],
    ) -> None:
        self._state = state
        self._plane = plane
        self._questions = questions
        self._peers = peers
        self._blocks = blocks

    def all(self) -> list[Inside]:
        found = [self._of(peer) for peer in self._questions.others]
        return [(np.flatnonzero(pods), np.flatnonzero(ends)) for pods, ends in found]

    def _of(self, peer: Peer) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether each position (positions,) and each end (ends,) is in a peer."""
        if isinstance(peer, ExceptPeer):
            pods, ends = self._of(peer.peer)
            for part in peer.excluded:
                without = self._of(part)
                pods, ends = pods & ~without[0], ends & ~without[1]
            return pods, ends
        plane = self._plane
        pods = np.zeros(plane.positions.identity.size, np.bool_)
        ends = np.zeros(plane.identity.size, np.bool_)
        if isinstance(peer, PodPeer | BlockPeer):
            inside = (
                self._peers[self._questions.selectors[question(peer)]]
                if isinstance(peer, PodPeer)
                else self._blocks[self._questions.blocks[peer]]
            )
            pods[inside[0]] = True
            ends[inside[1]] = True
            return pods, ends
        hosts = slice(plane.position_of.size, plane.first_atom)
        if isinstance(peer, NodePeer):
            labels = self._state.node_labels
            ends[hosts] = [peer.nodes.matches(labels.get(n, {})) for n in self._state.host_node]
        elif isinstance(peer, NamedPeer):
            pods[:] = peer.ends in _WITH_PODS
            ends[hosts] = peer.ends in _WITH_NODES
            ends[plane.first_atom :] = peer.ends in _WITH_WORLD
        return pods & (plane.positions.identity >= 0), ends & (plane.identity >= 0)


_WITH_PODS = (EndSet.ALL, EndSet.CLUSTER)
_WITH_NODES = (EndSet.ALL, EndSet.CLUSTER, EndSet.NODES)
_WITH_WORLD = (EndSet.ALL, EndSet.WORLD)


def holds_pod(
    peer: OtherPeer | Peer,
    selects: Callable[[PodPeer], bool],
    covers: Callable[[BlockPeer], bool],
) -> bool:
    """Whether a pod on the network of the cluster is in a peer."""
    if isinstance(peer, ExceptPeer):
        return holds_pod(peer.peer, selects, covers) and not any(
            holds_pod(part, selects, covers) for part in peer.excluded
        )
    if isinstance(peer, PodPeer):
        return selects(peer)
    if isinstance(peer, BlockPeer):
        return covers(peer)
    return isinstance(peer, NamedPeer) and peer.ends in _WITH_PODS
