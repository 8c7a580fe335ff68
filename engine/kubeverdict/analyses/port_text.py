"""Sets of port atoms as text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.ports import FIRST_TYPE
from kubeverdict.model.ports import PORT_PROTOCOLS, Protocol

# Where each protocol has its ports in the compiled table, and where those without ports are.
_PROTOCOL_SIZE = 65536
_ICMP = len(PORT_PROTOCOLS) * _PROTOCOL_SIZE
# Both versions of ICMP, where rules name types: 256 types of 256 codes each.
_VERSIONS = ("ICMPv4", "ICMPv6")
_CODES = 256
_EVERY_TYPE = f"0-{_CODES - 1}"


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
        if "ICMP" in theirs:
            theirs |= dict.fromkeys(_VERSIONS, _EVERY_TYPE)
        return not self.everything and all(
            _members(protocol, ports) <= _members(protocol, theirs.get(protocol, ""))
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
        self.edges = edges
        self._edges = edges.tolist()
        # Port 0 is in no rule's range and counts as no port.
        self._counted = np.ones(edges.size - 1, np.bool_)
        zeros = [_PROTOCOL_SIZE * protocol for protocol in PORT_PROTOCOLS]
        self._counted[np.searchsorted(edges, zeros)] = False
        if self._edges[-1] > FIRST_TYPE:
            # Every packet has one of the types, whether it is known or not.
            self._counted[np.searchsorted(edges, _ICMP)] = False
            self._counted[edges[:-1] >= FIRST_TYPE + len(_VERSIONS) * _CODES**2] = False
        self._shown = self._counted.copy()
        if without_icmp:
            self._shown[np.searchsorted(edges, _ICMP)] = False
            self._shown[edges[:-1] >= FIRST_TYPE] = False
        nothing = np.zeros(edges.size - 1, np.bool_)
        self._numbers: dict[bytes, int] = {nothing.tobytes(): 0}
        self._sets: list[NDArray[np.bool_]] = [nothing]
        self._texts: dict[int, Ports] = {0: NO_PORTS}

    @property
    def shown(self) -> NDArray[np.bool_]:
        """(atoms,) those that make a connection."""
        return self._shown

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
        """A protocol and port of a set that is not empty; of ICMP the port is its type and code,
        see :func:`~kubeverdict.model.ports.icmp_port`."""
        return _place(self._edges[int(np.argmax(self._sets[number]))])

    def places(self, number: int) -> list[tuple[Protocol, int]]:
        """As :meth:`first`, of every atom of a set."""
        return [_place(self._edges[atom]) for atom in np.flatnonzero(self._sets[number]).tolist()]

    def part(self, number: int, chosen: Sequence[bool]) -> int:
        """The number of some of :meth:`places`; ``chosen`` says of each whether it is one."""
        atoms = self._sets[number].copy()
        atoms[atoms] = chosen
        return self.number(atoms)

    def _written(self, atoms: NDArray[np.bool_]) -> Ports:
        if bool(atoms[self._counted].all()):
            return Ports(everything=True)
        runs: dict[str, list[list[int]]] = {}
        for atom in np.flatnonzero(atoms).tolist():
            name, first = _named(self._edges[atom])
            last = first + self._edges[atom + 1] - self._edges[atom] - 1
            of_protocol = runs.setdefault(name, [])
            if of_protocol and of_protocol[-1][1] + 1 == first:
                of_protocol[-1][1] = last
            else:
                of_protocol.append([first, last])
        found = {name: _text(name, spans) for name, spans in runs.items()}
        if all(found.get(version) == _EVERY_TYPE for version in _VERSIONS):
            found = {name: text for name, text in found.items() if name not in _VERSIONS}
            found["ICMP"] = "all"
        return Ports(tuple(found.items()))


def _text(name: str, spans: list[list[int]]) -> str:
    if name in _VERSIONS:
        return ",".join(part for first, last in spans for part in _types(first, last))
    if not Protocol[name].has_ports:
        return "all"
    return ",".join(_span(first, last) for first, last in spans)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _types(first: int, last: int) -> list[str]:
    """Types from one with a code to another: ``8`` for every code of it, ``3/4`` for one."""
    (low, begin), (high, end) = divmod(first, _CODES), divmod(last, _CODES)
    if low == high and (begin, end) != (0, _CODES - 1):
        return [f"{low}/{_span(begin, end)}"]
    found = []
    if begin > 0:
        found.append(f"{low}/{_span(begin, _CODES - 1)}")
        low += 1
    whole = high if end == _CODES - 1 else high - 1
    if low <= whole:
        found.append(_span(low, whole))
    if whole < high:
        found.append(f"{high}/{_span(0, end)}")
    return found


def _members(name: str, text: str) -> set[int]:
    """The ports of one protocol, as :class:`Ports` writes them, or its types and codes in one
    number; 0 for one without ports."""
    if text == "all":
        return {0}
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        of_type, slash, codes = part.partition("/")
        first, _, last = (codes if slash else of_type).partition("-")
        low, high = int(first), int(last or first)
        if slash:
            low, high = int(of_type) * _CODES + low, int(of_type) * _CODES + high
        elif name in _VERSIONS:
            low, high = low * _CODES, high * _CODES + _CODES - 1
        found.update(range(low, high + 1))
    return found


def _named(index: int) -> tuple[str, int]:
    """The protocol at an index of the compiled port table, and the port or type and code."""
    if index >= FIRST_TYPE:
        version, number = divmod(index - FIRST_TYPE, _CODES * _CODES)
        return _VERSIONS[version], number
    protocol, port = _place(index)
    return protocol.name, port


def _place(index: int) -> tuple[Protocol, int]:
    """The protocol and port at an index of the compiled port table."""
    if index >= FIRST_TYPE:
        return Protocol.ICMP, index - FIRST_TYPE + 1
    if index >= _ICMP:
        return Protocol(Protocol.ICMP + index - _ICMP), 0
    return Protocol(index // _PROTOCOL_SIZE), index % _PROTOCOL_SIZE
