"""Ports as the pods of a node distinguish them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, PortSpace, freeze
from kubeverdict.compile.ports import FIRST_TYPE, place
from kubeverdict.evaluate.local_classes import port_classes
from kubeverdict.model.ports import Protocol
from kubeverdict_agent.errors import DoesNotFit
from kubeverdict_agent.lowering.remembered import Remembered
from kubeverdict_agent.lowering.rows import PROTOCOLS, PlaneView
from kubeverdict_agent.lowering.services import ListedServices


class PortCut(NamedTuple):
    """The atom of each place (places,), and a port atom of the compiled policy for each atom."""

    of_place: NDArray[np.uint16]
    atoms: NDArray[np.int32]
    of_protocol: tuple[NDArray[np.int64], ...]  # for each of PROTOCOLS, its atoms


class PortCutter:
    """Cuts ports as the pods of the node distinguish them; that is found anew only where they
    distinguish others than before."""

    def __init__(self) -> None:
        self._classes = np.zeros(0, np.int32)
        self._own = np.zeros(0, np.int64)
        self._cut: Remembered[PortCut] = Remembered()

    def cut(
        self, compiled: CompiledPolicy, views: Sequence[PlaneView], services: ListedServices
    ) -> PortCut:
        """A port of a Service is an atom of its own: it stands for others."""
        classes = [local_classes for view in views for local_classes in view.near]
        port_class, representative = port_classes(compiled, classes)
        if not np.array_equal(port_class, self._classes):
            self._classes = port_class
        own = np.unique(services.place)
        if not np.array_equal(own, self._own):
            self._own = own
        made_of = compiled.ports, self._classes, self._own
        return self._cut.get(made_of, lambda: _cut_ports(compiled, port_class, representative, own))


def _cut_ports(
    compiled: CompiledPolicy,
    port_class: NDArray[np.int32],
    representative: NDArray[np.int32],
    own: NDArray[np.int64],
) -> PortCut:
    of_place = _without_types(port_class.astype(np.uint16)[compiled.ports.table])
    before = of_place[own]
    atoms = np.concatenate((representative, representative[before]))
    of_place[own] = representative.size + np.arange(own.size)
    made_of = compiled.ports, port_class, own, before
    of_protocol = tuple(_atoms_of(protocol, *made_of) for protocol in range(PROTOCOLS))
    freeze((of_place, atoms, of_protocol))
    return PortCut(of_place, atoms, of_protocol)


def _atoms_of(
    protocol: int,
    ports: PortSpace,
    port_class: NDArray[np.int32],
    own: NDArray[np.int64],
    before: NDArray[np.uint16],
) -> NDArray[np.int64]:
    """The atoms that places of a protocol are in: classes, and ``own`` places that would be in the
    classes ``before``. It is found by atoms of the compiled policy, which are fewer than places."""
    classes = int(port_class.max(initial=-1)) + 1
    mine = np.flatnonzero(ports.first[:-1] >> 16 == protocol)
    sizes = (ports.first[1:] - ports.first[:-1])[mine]
    places = np.bincount(port_class[mine], weights=sizes, minlength=classes)
    here = own >> 16 == protocol
    places -= np.bincount(before[here], minlength=classes)
    return np.concatenate((np.flatnonzero(places > 0), classes + np.flatnonzero(here)))


def _without_types(classes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The classes of places without those of ICMP types, which the datapath does not look at.
    Raises DoesNotFit where rules for the pods of the node distinguish types."""
    types = np.unique(classes[FIRST_TYPE:])
    if types.size > 1:
        raise DoesNotFit(
            "rules for pods of this node name types of ICMP, which the datapath cannot distinguish"
        )
    places = classes[:FIRST_TYPE].copy()
    if types.size:
        places[place(Protocol.ICMP, 0)] = types[0]
    return places
