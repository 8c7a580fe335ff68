"""Sets of port atoms as text."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.ports import PORT_PROTOCOLS, Protocol

# Where each protocol has its ports in the compiled table, and where those without ports are.
_PROTOCOL_SIZE = 65536
_ICMP = len(PORT_PROTOCOLS) * _PROTOCOL_SIZE


class Ports(msgspec.Struct, frozen=True, gc=False):
    """What a connection may use: the text of the ports of each protocol, or everything."""

    protocols: tuple[tuple[str, str], ...] = ()
    everything: bool = False

    def __bool__(self) -> bool:
        return self.everything or bool(self.protocols)

    def within(self, other: Ports) -> bool:
        """Whether everything here is in ``other``."""
        if other.everything or not self:
            return True
        theirs = dict(other.protocols)
        return not self.everything and all(
            _numbers(ports) <= _numbers(theirs.get(protocol, ""))
            for protocol, ports in self.protocols
        )

    def __str__(self) -> str:
        if self.everything:
            return "all connections"
        return ",".join(f"{protocol} {ports}" for protocol, ports in self.protocols) or "none"


NO_PORTS = Ports()


class PortTexts:
    """Numbers and names sets of port atoms. Number 0 is the empty set.

    ``edges`` (atoms + 1,) is where each atom starts in the compiled port table (see
    ``PortSpace.first``). With ``without_icmp`` ICMP alone is no connection: a CNI that lets it
    through everywhere would otherwise connect everything with everything.
    """

    def __init__(self, edges: NDArray[np.int64], without_icmp: bool) -> None:
        self._edges = edges.tolist()
        # Port 0 is in no rule's range and counts as no port.
        self._counted = np.ones(edges.size - 1, np.bool_)
        zeros = [_PROTOCOL_SIZE * protocol for protocol in PORT_PROTOCOLS]
        self._counted[np.searchsorted(edges, zeros)] = False
        self._shown = self._counted.copy()
        if without_icmp:
            self._shown[np.searchsorted(edges, _ICMP)] = False
        nothing = np.zeros(edges.size - 1, np.bool_)
        self._numbers: dict[bytes, int] = {nothing.tobytes(): 0}
        self._sets: list[NDArray[np.bool_]] = [nothing]
        self._texts: dict[int, Ports] = {0: NO_PORTS}

    def number(self, atoms: NDArray[np.bool_]) -> int:
        """One number for each distinct set (atoms,) of those that count."""
        everything = bool(atoms[self._counted].all())
        shown = atoms & (self._counted if everything else self._shown)
        key = shown.tobytes()
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._sets)
            self._sets.append(shown)
        return found

    def less(self, number: int, other: int) -> int:
        """The number of the ports in one set and not in the other."""
        return self.number(self._sets[number] & ~self._sets[other])

    def ports(self, number: int) -> Ports:
        found = self._texts.get(number)
        if found is None:
            found = self._texts[number] = self._written(self._sets[number])
        return found

    def first(self, number: int) -> tuple[Protocol, int]:
        """A protocol and port of a set that is not empty."""
        return _place(self._edges[int(np.argmax(self._sets[number]))])

    def _written(self, atoms: NDArray[np.bool_]) -> Ports:
        if bool(atoms[self._counted].all()):
            return Ports(everything=True)
        runs: dict[Protocol, list[list[int]]] = {}
        for atom in np.flatnonzero(atoms).tolist():
            protocol, first = _place(self._edges[atom])
            last = first + self._edges[atom + 1] - self._edges[atom] - 1
            of_protocol = runs.setdefault(protocol, [])
            if of_protocol and of_protocol[-1][1] + 1 == first:
                of_protocol[-1][1] = last
            else:
                of_protocol.append([first, last])
        return Ports(
            tuple(
                (
                    protocol.name,
                    ",".join(
                        str(first) if first == last else f"{first}-{last}" for first, last in found
                    )
                    if protocol.has_ports
                    else "all",
                )
                for protocol, found in runs.items()
            )
        )


def _numbers(text: str) -> set[int]:
    """The ports of one protocol, as :class:`Ports` writes them; 0 for one without ports."""
    if text == "all":
        return {0}
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _place(index: int) -> tuple[Protocol, int]:
    """The protocol and port at an index of the compiled port table."""
    if index >= _ICMP:
        return Protocol(Protocol.ICMP + index - _ICMP), 0
    return Protocol(index // _PROTOCOL_SIZE), index % _PROTOCOL_SIZE
