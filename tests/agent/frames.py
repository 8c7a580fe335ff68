"""Frames made by hand on a real wire: what a pod with raw sockets sends, and what arrives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from bench.lab import LabPod
from bench.lab.packets import checksum
from tests.agent.packets import TCP

_ALL = 3  # ETH_P_ALL
_RECEIVE_BUFFER = 33  # SO_RCVBUFFORCE
_HARDWARE_ADDRESS = 0x8927  # SIOCGIFHWADDR
_LARGEST = 1 << 19
# How large segments may be that a link is given, and that it makes of what it receives:
# IFLA_GSO_MAX_SIZE, GRO_MAX_SIZE, GSO_IPV4_MAX_SIZE, GRO_IPV4_MAX_SIZE.
_SEGMENT_SIZES = (41, 58, 63, 64)
_NEW_LINK, _REQUEST_ACK = 16, 5
NODE = bytes.fromhex("ee" * 6)  # the node's end of every wire of a routed lab


def hardware(pod: LabPod, link: str = "eth0") -> bytes:
    """The address of a pod's end of its wire."""
    with pod.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _HARDWARE_ADDRESS, struct.pack("256s", link.encode()))
    return answer[18:24]


def send(pod: LabPod, frame: bytes, count: int = 1, *, to: bytes = NODE) -> None:
    """Put a frame on the pod's wire, with the addresses of its ends, and checksums where the
    receiver looks at them (IPv4, TCP over IPv4)."""
    send_each(pod, [frame] * count, to=to)


def send_each(pod: LabPod, frames: Sequence[bytes], *, to: bytes = NODE) -> None:
    """The same with many."""
    ends = to + hardware(pod)
    with pod.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        for frame in frames:
            wire.send(ends + _sealed(frame[12:]))


def _sealed(frame: bytes) -> bytes:
    """From the type on."""
    if frame[:2] != b"\x08\x00":
        return frame
    length = (frame[2] & 0xF) * 4
    head, body = bytearray(frame[2 : 2 + length]), bytearray(frame[2 + length :])
    head[10:12] = struct.pack("!H", checksum(bytes(head[:10]) + b"\0\0" + bytes(head[12:])))
    if head[9] == TCP and not struct.unpack_from("!H", head, 6)[0] & 0x3FFF:
        pseudo = bytes(head[12:20]) + struct.pack("!BBH", 0, TCP, len(body))
        body[16:18] = struct.pack("!H", checksum(pseudo + bytes(body)))
    return frame[:2] + bytes(head) + bytes(body)


class Arrivals:
    """Frames that arrived at a pod since this was made."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    def count(self, wanted: Callable[[bytes], bool], seconds: float = 0.5) -> int:
        """How many of those that arrive within ``seconds`` are ``wanted``."""
        end, found = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            if select.select([self._wire], [], [], left)[0]:
                frame, source = self._wire.recvfrom(_LARGEST)
                found += source[2] != socket.PACKET_OUTGOING and wanted(frame)
        return found

    def largest(self) -> int:
        """Bytes of the largest that has arrived and was kept."""
        largest = 0
        while select.select([self._wire], [], [], 0)[0]:
            largest = max(largest, len(self._wire.recv(_LARGEST)))
        return largest


@contextlib.contextmanager
def arrivals(pod: LabPod) -> Iterator[Arrivals]:
    with pod.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER, 1 << 28)
        wire.bind(("eth0", _ALL))
        yield Arrivals(wire)


def enlarge_segments(link: str, size: int) -> None:
    """Let TCP hand a link of this namespace segments of up to ``size`` bytes (BIG TCP, Linux 6.3),
    for which neither ``ip`` of Debian 12 nor pyroute2 has words."""
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(link), 0, 0)
    body += b"".join(struct.pack("=HHI", 8, kind, size) for kind in _SEGMENT_SIZES)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), _NEW_LINK, _REQUEST_ACK, 1, 0) + body)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))
