"""Packets that open connections, and which of them arrived where they should.

Every packet has a source port of its own, or an identifier of its own where it is an echo request:
to connection tracking each is a new connection, and whoever sees it knows which one it is.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from bench.lab.namespaces import entering
from bench.lab.packets import first_packet
from kubeverdict.model.ports import Protocol
from tests.cni_programs.staging import NODE_ADDRESSES
from tests.cni_programs.wires import NODE_MAC, UPLINK
from tests.kubernetes.enclosure import Room

# After the last packet: for those that come, and for those that must not.
_GRACE = 0.05
_ROUNDS = 3
_BUFFER = 1 << 23
# Linux's number, which the standard library does not have.
_SO_RCVBUFFORCE = 33
_ON_NODE = "the node"
_FIRST_PORT, _LAST_PORT = 1024, 65535
_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_ECHO = {4: (1, 8), 6: (58, 128)}
_PROTOCOLS = {Protocol.TCP: 6, Protocol.UDP: 17}

_Key = tuple[bytes, int, int, int]
"""Both addresses, the protocol, and two numbers: ports, or the identifier and 0."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The first of a connection, between two addresses of one family."""

    source: str
    destination: str
    protocol: Protocol
    port: int


class Prober:
    """Sends from, and listens at, every place of a lab: wires of pods, the uplink, the node."""

    def __init__(self, node: Room, outside: Room) -> None:
        self._ports = itertools.cycle(range(_FIRST_PORT, _LAST_PORT + 1))
        self._wires = entering(outside.network, _open_wires)
        self._senders, heard = entering(node.network, _open_node)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wires, selectors.EVENT_READ, None)
        for receiver in heard:
            self._selector.register(receiver, selectors.EVENT_READ, receiver.proto)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        for sender in self._senders.values():
            sender.close()

    def arrived(self, packets: Sequence[Packet], places: Mapping[str, str]) -> list[bool]:
        """Which packets reached their destination. ``places`` has the wires of local pods by
        address; an address that neither they nor the node have is beyond the uplink.

        A packet is sent again, as another connection, before it counts as lost.
        """
        missing = set(range(len(packets)))
        for _ in range(_ROUNDS):
            waiting: dict[tuple[_Key, str], int] = {}
            for count, number in enumerate(sorted(missing), 1):
                packet = packets[number]
                port = next(self._ports)
                at = places.get(packet.destination, UPLINK)
                waiting[_key(packet, port), _seen_at(packet, at)] = number
                self._send(packet, port, places.get(packet.source, UPLINK))
                # Sockets hold a few hundred packets, and answers arrive as well.
                if count % 50 == 0:
                    self._collect(waiting, missing, 0)
            self._collect(waiting, missing, _GRACE)
            if not missing:
                break
        return [number not in missing for number in range(len(packets))]

    def _send(self, packet: Packet, source_port: int, place: str) -> None:
        data = first_packet(
            packet.source, packet.destination, packet.protocol, source_port, packet.port, 1
        )
        version = data[0] >> 4
        if packet.source in NODE_ADDRESSES:
            self._senders[version].sendto(data, (packet.destination, 0))
            return
        header = NODE_MAC + b"\x02\0\0\0\0\xfe" + struct.pack("!H", _ETHER_TYPES[version])
        self._wires.sendto(header + data, (place, 0))

    def _collect(
        self, waiting: Mapping[tuple[_Key, str], int], missing: set[int], patience: float
    ) -> None:
        """Take what has arrived out of ``missing``, until nothing came for ``patience`` s."""
        while ready := self._selector.select(patience):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                for data, sender in _received(key.fileobj):
                    seen = _seen(data, sender, key.data)
                    if seen is not None and seen in waiting:
                        missing.discard(waiting[seen])


def _received(opened: socket.socket) -> Iterator[tuple[bytes, Any]]:
    while True:
        try:
            yield opened.recvfrom(2048)
        except BlockingIOError:
            return


def _key(packet: Packet, source_port: int) -> _Key:
    ends = ip_address(packet.source).packed + ip_address(packet.destination).packed
    if packet.protocol is Protocol.ICMP:
        return ends, _ECHO[_version(packet)][0], source_port, 0
    return ends, _PROTOCOLS[packet.protocol], source_port, packet.port


def _version(packet: Packet) -> int:
    return 6 if ":" in packet.source else 4


def _seen_at(packet: Packet, place: str) -> str:
    return _ON_NODE if packet.destination in NODE_ADDRESSES else place


def _seen(data: bytes, sender: Any, protocol: int | None) -> tuple[_Key, str] | None:
    """What a packet is, and where it was seen. ``protocol`` is that of a socket on the node."""
    if protocol is not None and len(sender) == 4:
        # Such a socket gets no header, and does not tell which of the node's addresses it was.
        source = ip_address(str(sender[0]).partition("%")[0]).packed
        return _read(source + ip_address(NODE_ADDRESSES[1]).packed, protocol, data, _ON_NODE)
    place = _ON_NODE
    if protocol is None:
        place, _ether_type, direction, *_ = sender
        if direction == socket.PACKET_OUTGOING:
            return None
        data = data[14:]
    if len(data) < 28:
        return None
    if data[0] >> 4 == 4:
        return _read(data[12:20], data[9], data[(data[0] & 15) * 4 :], place)
    return _read(data[8:40], data[6], data[40:], place)


def _read(ends: bytes, protocol: int, segment: bytes, place: str) -> tuple[_Key, str] | None:
    if len(segment) < 8:
        return None
    if protocol in _PROTOCOLS.values():
        source_port, port = struct.unpack_from("!HH", segment)
        return (ends, protocol, source_port, port), place
    if (protocol, segment[0]) in _ECHO.values():
        return (ends, protocol, struct.unpack_from("!H", segment, 4)[0], 0), place
    return None


def _open_wires() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    return _ready(opened)


def _open_node() -> tuple[dict[int, socket.socket], list[socket.socket]]:
    """Sockets that send as the node does, and such as hear what comes through its INPUT chain."""
    families = {4: (socket.AF_INET, (6, 17, 1)), 6: (socket.AF_INET6, (6, 17, 58))}
    senders = {
        version: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for version, (family, _) in families.items()
    }
    heard = [
        _ready(socket.socket(family, socket.SOCK_RAW, protocol))
        for family, protocols in families.values()
        for protocol in protocols
    ]
    return senders, heard


def _ready(opened: socket.socket) -> socket.socket:
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    return opened
