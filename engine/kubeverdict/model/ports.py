"""Protocols and ports."""

from __future__ import annotations

from enum import IntEnum

import msgspec

MAX_PORT = 65535


class Protocol(IntEnum):
    """What a rule can tell apart. The numbers index the compiled port table.

    A rule with ports names TCP, UDP or SCTP. ICMP (both versions) and OTHER match rules without
    ports only; ICMP is apart from OTHER because some CNIs always let it through.
    """

    TCP = 0
    UDP = 1
    SCTP = 2
    ICMP = 3
    OTHER = 4

    @property
    def has_ports(self) -> bool:
        return self <= Protocol.SCTP


PORT_PROTOCOLS = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)


class PortRange(msgspec.Struct, frozen=True, order=True, gc=False, tag=True):
    """Ports ``first`` to ``last``, both included, of one protocol."""

    protocol: Protocol
    first: int = 1
    last: int = MAX_PORT

    def __str__(self) -> str:
        if (self.first, self.last) == (1, MAX_PORT):
            return f"{self.protocol.name} any port"
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol.name} {ports}"


class NamedPort(msgspec.Struct, frozen=True, order=True, gc=False, tag=True):
    """A port that the destination pod resolves: a container port of this name and protocol."""

    protocol: Protocol
    name: str

    def __str__(self) -> str:
        return f"{self.protocol.name} {self.name}"


PortMatch = PortRange | NamedPort
