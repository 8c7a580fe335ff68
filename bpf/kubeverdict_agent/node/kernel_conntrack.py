"""Connections that the kernel tracks in this network namespace, read over ctnetlink.

They tell which end sent the first packet, for connections that are older than the agent. Where
nothing tracks connections there are none.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kubeverdict_agent.datapath.layout import PodDirection

_NETFILTER = 12  # the netlink family
_GET = 1 << 8 | 1  # of the subsystem for connection tracking
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_ORIGINAL, _REPLY, _STATUS, _DETAILS = 1, 2, 3, 4
_TYPE = 0x3FFF  # of an attribute; the bits above are flags
_SEEN_REPLY = 2
_TCP, _UDP, _SCTP = 6, 17, 132
_TCP_LIVES = range(1, 7)  # SYN_SENT to LAST_ACK

# Source, destination, protocol and both ports.
_Tuple = tuple[bytes, bytes, int, int, int]


class Older(NamedTuple):
    """A connection as the pod with one of its addresses sees it. Addresses are packed, ``origin``
    is the direction of its first packet."""

    remote: bytes
    local_port: int
    remote_port: int
    protocol: int
    origin: PodDirection
    replied: bool


def older_connections() -> Mapping[bytes, list[Older]]:
    """All that live, by local address (packed). Raises OSError."""
    found: defaultdict[bytes, list[Older]] = defaultdict(list)
    for original, reply, replied in _tracked():
        # Address translation is between the two: the client sees one, the server the other.
        source, destination, protocol, source_port, port = original
        found[source].append(
            Older(destination, source_port, port, protocol, PodDirection.EGRESS, replied)
        )
        source, destination, protocol, source_port, port = reply
        found[source].append(
            Older(destination, source_port, port, protocol, PodDirection.INGRESS, replied)
        )
    return found


def try_out() -> None:
    """Read the first one. Raises OSError."""
    next(_tracked(), None)


def _tracked() -> Iterator[tuple[_Tuple, _Tuple, bool]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as netlink:
        netlink.settimeout(10.0)
        netlink.send(struct.pack("=IHHIIBBH", 20, _GET, _REQUEST_DUMP, 1, 0, 0, 0, 0))
        while True:
            data = memoryview(netlink.recv(1 << 20))
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (error,) = struct.unpack_from("=i", data, 16)
                    raise OSError(-error, os.strerror(-error))
                if (one := _connection(data[20:length])) is not None:
                    yield one
                data = data[(length + 3) & ~3 :]


def _connection(message: memoryview) -> tuple[_Tuple, _Tuple, bool] | None:
    parts = _attributes(message)
    original, reply = _tuple(parts[_ORIGINAL]), _tuple(parts[_REPLY])
    if original is None or reply is None:
        return None
    if original[2] == _TCP and _DETAILS in parts:
        state = _attributes(_attributes(parts[_DETAILS]).get(1, memoryview(b""))).get(1)
        if state is not None and state[0] not in _TCP_LIVES:
            return None
    (status,) = struct.unpack("!I", parts.get(_STATUS, b"\0" * 4))
    return original, reply, bool(status & _SEEN_REPLY)


def _tuple(data: memoryview) -> _Tuple | None:
    parts = _attributes(data)
    addresses, transport = _attributes(parts[1]), _attributes(parts[2])
    protocol = transport[1][0]
    if protocol not in (_TCP, _UDP, _SCTP):
        return None
    first = 1 if 1 in addresses else 3  # of IPv4, of IPv6
    source_port, port = (int.from_bytes(transport[which], "big") for which in (2, 3))
    return bytes(addresses[first]), bytes(addresses[first + 1]), protocol, source_port, port


def _attributes(data: memoryview) -> dict[int, memoryview]:
    found: dict[int, memoryview] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & _TYPE] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found
