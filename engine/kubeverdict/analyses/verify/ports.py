"""The ports of assertions, in addition to the port atoms of a compiled cluster.

An assertion may ask about a port in the middle of an atom. Atoms are therefore cut once more, by
what assertions ask, and these *slices* are what reports name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.port_text import PortTexts
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.ports import atoms_at, port_list
from kubeverdict.model.assertions import PortName
from kubeverdict.model.cluster import SERVING, Pod
from kubeverdict.model.ports import MAX_PORT, PORT_PROTOCOLS, PortRange, Protocol

# Places of the compiled port table, from the first to one past the last.
Ranges = tuple[tuple[int, int], ...]


def places(ranges: Iterable[PortRange]) -> Ranges:
    return port_list(ranges)


def every_port(compiled: CompiledPolicy) -> Ranges:
    """Every port of every protocol. ICMP is left out where the CNI lets it through anyway: no
    policy decides about it."""
    ranges = [PortRange(protocol, 1, MAX_PORT) for protocol in PORT_PROTOCOLS]
    ranges += [PortRange(protocol, 0, 0) for protocol in (Protocol.ICMP, Protocol.OTHER)]
    if compiled.profile.icmp == "always":
        del ranges[-2]
    return places(ranges)


class NamedPorts:
    """Which pods have a port of a name, and what numbers it stands for there."""

    def __init__(self, pods: Sequence[Pod]) -> None:
        self._pods = pods
        self._known: dict[PortName, dict[PortRange, NDArray[np.bool_]]] = {}

    def holders(self, name: PortName) -> dict[PortRange, NDArray[np.bool_]]:
        """The pods (pods,) by the port that the name stands for on them."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = {}
            for number, pod in enumerate(self._pods):
                for port in pod.ports:
                    if (
                        port.name == name.name
                        and port.container in SERVING
                        and name.protocol in (None, port.protocol)
                    ):
                        one = PortRange(port.protocol, port.number, port.number)
                        if one not in found:
                            found[one] = np.zeros(len(self._pods), np.bool_)
                        found[one][number] = True
        return found


class Slices:
    """The port atoms of a cluster, cut by the ranges that are asked about."""

    def __init__(self, compiled: CompiledPolicy, asked: Iterable[Ranges]) -> None:
        atoms = compiled.ports.first
        cuts = {edge for ranges in asked for bounds in ranges for edge in bounds}
        end = int(atoms[-1])
        inside = sorted(cut for cut in cuts if cut <= end)
        self._edges = np.union1d(atoms, np.array(inside, np.int64))
        self._atom = atoms_at(compiled.ports, self._edges[:-1])
        self._atoms = atoms.size - 1
        # What the CNI lets through anyway has been left out of what is asked.
        self.texts = PortTexts(self._edges, without_icmp=False)

    def within(self, ranges: Ranges) -> NDArray[np.bool_]:
        """(slices,) the slices of ranges that were asked about."""
        found = np.zeros(self._edges.size - 1, np.bool_)
        for first, stop in ranges:
            found[slice(*np.searchsorted(self._edges, [first, stop]))] = True
        return found

    def atoms(self, slices: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(atoms,) the atoms that have a part in some slices."""
        found = np.zeros(self._atoms, np.bool_)
        found[self._atom[slices]] = True
        return found

    def of_atoms(self, atoms: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(slices,) the slices of some atoms."""
        return atoms[self._atom]
