"""Fields that several formats have in common."""

from __future__ import annotations

from typing import Final

from kubeverdict.model.flows import DIRECTED, Seen
from kubeverdict.model.ports import MAX_PORT, Protocol

# What a line is instead of a connection, as reports say it.
HEADING: Final = "headings"
REPLY: Final = "replies"
NOT_A_FLOW: Final = "lines that are not connections"
NO_PORT: Final = "records without a destination port"
NO_VERDICT: Final = "records without a verdict"
UNDER_WAY: Final = "packets of connections already open"

# More than any log counts in one record; sums of many of them fit into 64 bits.
_MOST = 1 << 40

# By name, and by the number that IP has for it.
_PROTOCOLS: dict[str, Protocol] = {
    **{"tcp": Protocol.TCP, "6": Protocol.TCP, "tcp6": Protocol.TCP},
    **{"udp": Protocol.UDP, "17": Protocol.UDP, "udp6": Protocol.UDP},
    **{"sctp": Protocol.SCTP, "132": Protocol.SCTP, "sctp6": Protocol.SCTP},
    **dict.fromkeys(("icmp", "1", "icmp4", "icmpv4", "icmp6", "icmpv6", "58"), Protocol.ICMP),
}
_SEEN: dict[str, Seen] = {
    **dict.fromkeys(("allow", "allowed", "accept", "accepted", "forwarded", "pass"), Seen.ARRIVED),
    **dict.fromkeys(("audit", "redirected", "allow-related", "allow-stateless"), Seen.ARRIVED),
    **dict.fromkeys(("deny", "denied", "drop", "dropped", "reject", "rejected"), Seen.DENIED),
}


def protocol_of(name: str | int) -> Protocol:
    """The protocol of a name or a number; what has no ports and is not ICMP is OTHER."""
    found = _PROTOCOLS.get(str(name).lower())
    if found is None:
        if name == "":
            raise ValueError("no protocol")
        return Protocol.OTHER
    return found


def seen_of(word: str) -> Seen:
    """What a verdict says; ValueError for a word that is none."""
    found = _SEEN.get(word.lower())
    if found is None:
        raise ValueError(f"{word!r} is not a verdict")
    return found


def port_of(protocol: Protocol, port: int | str | None) -> int | None:
    """The destination port; 0 where the protocol has none, None where it should and has not."""
    if not protocol.has_ports:
        return 0
    if port is None or port == "":
        return None
    number = int(port)
    if not 0 <= number <= MAX_PORT:
        raise ValueError(f"{number} is not a port")
    return number


def source_port_of(protocol: Protocol, port: int | str | None, seen: Seen) -> int:
    """The ``source_port`` of a record of which a log does not say which end began the connection.
    Replies are not denied, so a denied record is the beginning of a connection."""
    if seen is Seen.DENIED or not protocol.has_ports:
        return DIRECTED
    return port_of(protocol, port) or 0


def count_of(count: int | str | None, least: int = 1) -> int:
    """How many connections a record stands for, 1 where it does not say; ValueError for what
    cannot be a count."""
    if count is None or count == "":
        return 1
    number = count if isinstance(count, int) else float(count)
    if not least <= number <= _MOST:
        raise ValueError(f"a count of {count}")
    return max(int(number), 1)
