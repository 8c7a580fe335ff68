"""Protocols and ports."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

MAX_PORT = 65535


class Protocol(IntEnum):
    """What a rule can distinguish. The numbers index the compiled port table.

    A rule of NetworkPolicy with ports names TCP, UDP or SCTP. ICMP (both versions) and OTHER match
    its rules without ports only; other APIs name ICMP and its types.
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

    def covers(self, port: int) -> bool:
        """Whether a port of the protocol is covered; of ICMP every type is."""
        return not self.protocol.has_ports or self.first <= port <= self.last

    def __str__(self) -> str:
        if not self.protocol.has_ports:
            return self.protocol.name
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


class IcmpMatch(msgspec.Struct, frozen=True, order=True, gc=False, tag=True):
    """ICMP of one version (4, or 6 for ICMPv6): of every type, or of one with every code or one.

    ICMP of both versions and any type is ``PortRange(Protocol.ICMP, 0, 0)``.
    """

    version: Literal[4, 6]
    icmp_type: int | None = None
    code: int | None = None

    @property
    def protocol(self) -> Protocol:
        return Protocol.ICMP

    def covers(self, port: int) -> bool:
        """Whether a type and code, as :func:`icmp_port` has them, are covered."""
        version, number = divmod(port - 1, 1 << 16)
        return (
            port > 0
            and version == (self.version == 6)
            and self.icmp_type in (None, number >> 8)
            and self.code in (None, number & 255)
        ) or (port == 0 and self.icmp_type is None)

    def __str__(self) -> str:
        name = "ICMP" if self.version == 4 else "ICMPv6"
        if self.icmp_type is None:
            return name
        return f"{name} type {self.icmp_type}{'' if self.code is None else f' code {self.code}'}"


def icmp_port(version: Literal[4, 6], type: int, code: int = 0) -> int:
    """The type and code of an ICMP packet in the place of a port, 1 to 131072. Port 0 of ICMP is a
    packet whose type is not known: no rule for a type matches it."""
    return 1 + ((version == 6) << 16 | type << 8 | code)


def icmp_match(port: int) -> IcmpMatch:
    """The type and code that :func:`icmp_port` put in one number."""
    version, number = divmod(port - 1, 1 << 16)
    return IcmpMatch(6 if version else 4, number >> 8, number & 255)


PortMatch = PortRange | NamedPort | IcmpMatch
