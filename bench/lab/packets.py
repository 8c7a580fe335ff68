"""IP packets that open a connection, made by hand: what a raw socket sends as a probe."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from kubeverdict.model.ports import Protocol

NUMBERS = {
    Protocol.TCP: socket.IPPROTO_TCP,
    Protocol.UDP: socket.IPPROTO_UDP,
    Protocol.SCTP: socket.IPPROTO_SCTP,
    Protocol.ICMP: socket.IPPROTO_ICMP,
    Protocol.OTHER: 253,  # RFC 3692: for experiments
}
"""Protocol numbers of IPv4."""
_ICMPV6 = socket.IPPROTO_ICMPV6


def first_packet(
    source: str, destination: str, protocol: Protocol, source_port: int, port: int, number: int
) -> bytes:
    """The first packet of a connection: SYN, datagram, INIT, echo request, or anything else.

    ``number`` (1 to 65535) becomes its IP identification, or the flow label of IPv6, by which a
    receiver knows it again. The identifier of an echo request is the source port. Checksums are
    right, because connection tracking looks.
    """
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    payload = _PAYLOADS[protocol](addresses, source_port, port)
    if family == socket.AF_INET6:
        kind = _ICMPV6 if protocol is Protocol.ICMP else NUMBERS[protocol]
        return struct.pack("!IHBB", 6 << 28 | number, len(payload), kind, 64) + addresses + payload
    header = struct.pack(
        "!BBHHHBBH", 0x45, 0, 20 + len(payload), number, 0, 64, NUMBERS[protocol], 0
    )
    checked = struct.pack("!H", checksum(header + addresses))
    return header[:10] + checked + addresses + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo_header(addresses: bytes, protocol: int, length: int) -> bytes:
    """What the checksum of a segment covers beside it (RFC 9293, RFC 8200)."""
    if len(addresses) == 8:
        return addresses + struct.pack("!BBH", 0, protocol, length)
    return addresses + struct.pack("!II", length, protocol)


def _tcp(addresses: bytes, source_port: int, port: int) -> bytes:
    header = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 0x02, 64240, 0, 0)
    pseudo = _pseudo_header(addresses, socket.IPPROTO_TCP, len(header))
    return header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]


def _udp(addresses: bytes, source_port: int, port: int) -> bytes:
    header, data = struct.pack("!HHHH", source_port, port, 8 + 5, 0), b"probe"
    pseudo = _pseudo_header(addresses, socket.IPPROTO_UDP, len(header + data))
    # Zero would say that there is none.
    return header[:6] + struct.pack("!H", checksum(pseudo + header + data) or 0xFFFF) + data


def _sctp(addresses: bytes, source_port: int, port: int) -> bytes:
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    header = struct.pack("!HHII", source_port, port, 0, 0)
    return header[:8] + struct.pack("<I", _crc32c(header + init)) + init


def _icmp(addresses: bytes, source_port: int, port: int) -> bytes:
    if len(addresses) == 8:
        message, covered = struct.pack("!BBHHH", 8, 0, 0, source_port, 1), b""
    else:
        message = struct.pack("!BBHHH", 128, 0, 0, source_port, 1)
        covered = _pseudo_header(addresses, _ICMPV6, len(message))
    return message[:2] + struct.pack("!H", checksum(covered + message)) + message[4:]


def _other(addresses: bytes, source_port: int, port: int) -> bytes:
    return b"probe"


def _crc32c(data: bytes) -> int:
    """The CRC of SCTP (RFC 4960, appendix B)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return ~crc & 0xFFFFFFFF


_PAYLOADS: dict[Protocol, Callable[[bytes, int, int], bytes]] = {
    Protocol.TCP: _tcp,
    Protocol.UDP: _udp,
    Protocol.SCTP: _sctp,
    Protocol.ICMP: _icmp,
    Protocol.OTHER: _other,
}
