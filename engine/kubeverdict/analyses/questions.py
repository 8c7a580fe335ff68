"""The port of a question, and the flows that a question stands for."""

from __future__ import annotations

import msgspec

from kubeverdict.analyses.ends import Party
from kubeverdict.analyses.spelling import closest
from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import container_ports
from kubeverdict.model.ports import MAX_PORT, PORT_PROTOCOLS, Protocol, icmp_match, icmp_port

_ICMP_VERSIONS: dict[str, Family] = {"icmp": 4, "icmp6": 6, "icmpv6": 6}


class PortQuestion(msgspec.Struct, frozen=True):
    """What ``--port`` asks: a number, or the name of a port where ``name`` is not empty.

    ``protocol`` is None where none was said: TCP for a number, whatever the port has for a name.
    Of ICMP ``number`` is the type and code that were asked about, see
    :func:`~kubeverdict.model.ports.icmp_port`, or 0.
    """

    text: str
    number: int = 0
    name: str = ""
    protocol: Protocol | None = None


class Flow(msgspec.Struct, frozen=True, eq=False):
    """One connection to judge. ``family`` is None where it makes no difference.

    ``through`` says which port of a Service led here.
    """

    source: Party
    destination: Party
    protocol: Protocol
    port: int
    family: Family | None = None
    through: str = ""

    @property
    def port_text(self) -> str:
        if self.protocol.has_ports:
            return f"{self.protocol.name} {self.port}"
        if self.protocol is Protocol.ICMP and self.port:
            return str(icmp_match(self.port))
        return self.protocol.name


def parse_port(text: str) -> PortQuestion:
    """``8080/TCP``, ``53/udp``, ``8080``, ``http``, ``http/TCP``, ``icmp``, or ``icmp:8``,
    ``icmp:3/4`` and ``icmp6:128`` for a type of ICMP and of ICMPv6, with its code."""
    version, colon, types = text.lower().partition(":")
    if colon and version in _ICMP_VERSIONS:
        return PortQuestion(text, _icmp_number(version, types, text), protocol=Protocol.ICMP)
    port, slash, protocol_text = text.partition("/")
    if text.lower() == "icmp":
        return PortQuestion(text, protocol=Protocol.ICMP)
    protocol = None
    if slash:
        protocol = _protocol(protocol_text, text)
    if port.isascii() and port.isdigit():
        number = int(port) if len(port) <= 5 else MAX_PORT + 1
        if not 1 <= number <= MAX_PORT:
            raise UsageError(f"--port {text}: a port is between 1 and {MAX_PORT}")
        return PortQuestion(text, number, protocol=protocol or Protocol.TCP)
    if not port:
        raise UsageError(f"--port {text}: use PORT, PORT/PROTOCOL, icmp or icmp:TYPE")
    return PortQuestion(text, name=port, protocol=protocol)


def _icmp_number(version: str, types: str, text: str) -> int:
    kind, slash, code = types.partition("/")
    parts = (kind, code) if slash else (kind,)
    if not all(part.isascii() and part.isdigit() and int(part[:4]) < 256 for part in parts):
        raise UsageError(f"--port {text}: use icmp:TYPE or icmp:TYPE/CODE, each from 0 to 255")
    return icmp_port(_ICMP_VERSIONS[version], *map(int, parts))


def resolve_port(question: PortQuestion, destination: Party) -> list[tuple[Protocol, int]]:
    """The protocol and number that the question means at this destination.

    A name is looked up among the ports of the pod's containers; it may stand for one port in
    each protocol. Raises :class:`UsageError` where it stands for none.
    """
    if not question.name:
        assert question.protocol is not None
        return [(question.protocol, question.number)]
    if destination.pod is None:
        raise UsageError(f"--port {question.text}: {destination.name} is an address, use a number")
    found = container_ports(destination.pod, question.name, question.protocol)
    if not found:
        names = {port.name for port in destination.pod.ports if port.name}
        guess = closest(question.name, names)
        hint = (
            f" ({guess})" if guess else f"; its ports are {', '.join(sorted(names)) or 'unnamed'}"
        )
        raise UsageError(
            f"--port {question.text}: {destination.name} has no port named {question.name}{hint}"
        )
    return found


def _protocol(name: str, text: str) -> Protocol:
    for protocol in PORT_PROTOCOLS:
        if protocol.name == name.upper():
            return protocol
    raise UsageError(f"--port {text}: the protocol is TCP, UDP or SCTP, not {name or 'empty'}")
