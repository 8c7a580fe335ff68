"""Peers of new policies that are no plain selector or block, and which of them a new pod is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.incremental.state import EditableState
from kubeverdict.compile.lowering import OtherPeer, Questions, question
from kubeverdict.compile.peers import PeerEnds, at
from kubeverdict.compile.rules import ANY_NODE
from kubeverdict.model.policy import (
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
    PodPeer,
)

Inside = tuple[NDArray[np.int64], NDArray[np.int64]]
"""What a set holds: positions of pods, and endpoint ids of addresses."""


def other_peers(
    state: EditableState,
    plane: EditablePlane,
    questions: Questions,
    peers: Sequence[Inside],
    blocks: Sequence[Inside],
) -> list[Inside]:
    """What the others among the peers of ``questions`` hold, from the ``peers`` and ``blocks`` of
    the same policy."""
    if not questions.others:
        return []
    # Places: the positions, then the endpoint ids.
    positions = plane.positions.identity.size
    there = np.concatenate((plane.positions.identity, plane.identity)) >= 0
    first_host, first_atom = positions + plane.position_of.size, positions + plane.first_atom
    hosts = np.arange(first_host, first_atom)
    in_plane = there[hosts]

    def known(first: int, end: int) -> NDArray[np.bool_]:
        return at(np.arange(first, end), there.size) & there

    def places(inside: Inside) -> NDArray[np.int64]:
        return np.concatenate((inside[0], inside[1] + positions))

    pods = known(0, positions)
    addresses = known(first_host, there.size)
    world = known(first_atom, there.size)
    ends = PeerEnds(
        selected=lambda peer: places(peers[questions.selectors[question(peer)]]),
        covered=lambda peer: places(blocks[questions.blocks[peer]]),
        every=pods | addresses,
        world=world,
        cluster=pods | (addresses & ~world),
        hosts=hosts[in_plane],
        host_node=np.array(state.host_node, np.int64)[in_plane],
        node_labels=state.node_labels,
    )
    found = [np.flatnonzero(ends.of(peer, ANY_NODE)) for peer in questions.others]
    return [(one[one < positions], one[one >= positions] - positions) for one in found]


_WITH_PODS = (EndSet.ALL, EndSet.CLUSTER)


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
