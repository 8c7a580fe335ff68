"""Where the ports of Services lead to, for all at once, as classes of peers and atoms of ports."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.policy import Direction
from kubeverdict_agent.lowering.rows import PlaneView
from kubeverdict_agent.lowering.services import ListedServices

# Constants of SplitMix64 (Steele and others, 2014), once for each of two hashes.
_STEPS = ((0xBF58476D1CE4E5B9, 0x94D049BB133111EB), (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53))


class Reached:
    """What Services lead to in one plane. ``ports`` (places,) are atoms."""

    def __init__(
        self, services: ListedServices, view: PlaneView, ports: NDArray[np.uint16]
    ) -> None:
        identity = view.plane.ends.identity[services.ends]
        there = identity >= 0
        peer = view.near[Direction.EGRESS].peer_of[identity[there]].astype(np.int64) + 1
        atom = ports[services.targets[there]].astype(np.int64)
        # Each pair that a port leads to once, in order of ports, peers and atoms.
        most = int(peer.max(initial=0)) + 1
        packed = np.unique((services.port[there] * most + peer) << 16 | atom)
        self._atom = packed & 0xFFFF
        self._port, peer = np.divmod(packed >> 16, most)
        self._peer = peer - 1
        self._front = ports[services.place].astype(np.int64)
        self._services = services

    @cached_property
    def alike(self) -> list[int]:
        """By group a number that is equal for groups whose ports lead to the same."""
        services = self._services
        hashes = []
        for steps in _STEPS:  # 128 bits: two groups are not alike by chance
            of_port = np.zeros(services.place.size, np.uint64)
            np.add.at(of_port, self._port, _mixed(self._peer << 16 | self._atom, steps))
            of_group = np.zeros(len(services.addresses), np.uint64)
            both = _mixed(of_port ^ _mixed(self._front, steps), steps)
            np.add.at(of_group, services.group, both)
            hashes.append(of_group)
        whole = np.stack(hashes, axis=1).view("V16").ravel()
        numbers: list[int] = np.unique(whole, return_inverse=True)[1].ravel().tolist()
        return numbers

    def of(self, group: int) -> dict[int, NDArray[np.int64]]:
        """By atom of a port of the Service, the distinct classes of peers (of egress) and atoms
        (n, 2) that it leads to."""
        first, last = np.searchsorted(self._services.group, (group, group + 1)).tolist()
        found = {}
        for port in range(first, last):
            begin, end = np.searchsorted(self._port, (port, port + 1)).tolist()
            pairs = (self._peer[begin:end], self._atom[begin:end])
            found[int(self._front[port])] = np.column_stack(pairs)
        return found


def _mixed(
    values: NDArray[np.int64] | NDArray[np.uint64], steps: tuple[int, int]
) -> NDArray[np.uint64]:
    mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, step in zip((30, 27), steps, strict=True):
        mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(step)
    made: NDArray[np.uint64] = mixed ^ mixed >> np.uint64(31)
    return made
