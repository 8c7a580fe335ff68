"""Packets as bytes, with every field open to being wrong. Checksums are left at zero: the
datapath does not look at them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from kubeverdict.model.ports import Protocol

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
OTHER = 47  # GRE
SYN, ACK, FIN, RST, SYN_ACK = 0x02, 0x10, 0x01, 0x04, 0x12
NUMBER = {Protocol.TCP: TCP, Protocol.UDP: UDP, Protocol.SCTP: SCTP, Protocol.OTHER: OTHER}
_HARDWARE = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"


def ethernet(kind: int, payload: bytes, *, tags: tuple[int, ...] = ()) -> bytes:
    """A frame, with VLAN tags of these types around the payload."""
    header = b"".join(struct.pack("!HH", tag, 7) for tag in tags)
    return _HARDWARE + header + struct.pack("!H", kind) + payload


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    fragment: int = 0,
    ident: int = 1,
    options: bytes = b"",
    length: int | None = None,
) -> bytes:
    """``fragment`` is the field as it is: flags and offset in units of eight bytes."""
    words = (20 + len(options)) // 4 if length is None else length
    total = 20 + len(options) + len(payload)
    ends = ip_address(source).packed + ip_address(destination).packed
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, ident, fragment, 64, protocol, 0)
    return head + ends + options + payload


def ipv6(
    source: str, destination: str, next_header: int, payload: bytes, *, hops: int = 64
) -> bytes:
    ends = ip_address(source).packed + ip_address(destination).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), next_header, hops) + ends + payload


def tcp(source: int, destination: int, flags: int = SYN) -> bytes:
    return struct.pack("!HHIIBBHHH", source, destination, 1, 0, 0x50, flags, 65535, 0, 0)


def udp(source: int, destination: int, data: bytes = b"x" * 18) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(data), 0) + data


def sctp(source: int, destination: int) -> bytes:
    return struct.pack("!HHII", source, destination, 1, 0) + b"\x01\0\0\x14" + b"\0" * 16


def icmp(kind: int, code: int = 0, ident: int = 1, rest: bytes = b"x" * 8) -> bytes:
    return struct.pack("!BBHHH", kind, code, 0, ident, 1) + rest


def packet(
    source: str,
    destination: str,
    protocol: int,
    source_port: int = 40000,
    port: int = 0,
    *,
    flags: int = SYN,
) -> bytes:
    """A frame that opens a connection (or, with other flags, belongs to one)."""
    six = ":" in source
    if protocol in (ICMP, ICMPV6):
        protocol, payload = (ICMPV6, icmp(128)) if six else (ICMP, icmp(8))
    elif protocol == TCP:
        payload = tcp(source_port, port, flags)
    elif protocol == UDP:
        payload = udp(source_port, port)
    elif protocol == SCTP:
        payload = sctp(source_port, port)
    else:
        payload = b"x" * 32
    if six:
        return ethernet(0x86DD, ipv6(source, destination, protocol, payload))
    return ethernet(0x0800, ipv4(source, destination, protocol, payload))


def probe(
    source: str, destination: str, protocol: Protocol, port: int, source_port: int = 40000
) -> bytes:
    """The first packet of what a rule can distinguish."""
    return packet(source, destination, NUMBER.get(protocol, ICMP), source_port, port)
