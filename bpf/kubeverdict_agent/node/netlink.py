"""Links and addresses of this node and of its pods' network namespaces, as they come and go.

The kernel numbers the namespaces that a link of ours leads to (IFLA_LINK_NETNSID). By that number
it lists the addresses in them (IFA_TARGET_NETNSID) and sends their changes to a socket that asks
for those of all numbered namespaces (NETLINK_LISTEN_ALL_NSID). So there is no need to find the
files of namespaces, enter them or hold them open, which would keep dead pods alive.

The messages are read here: pyroute2 drops the number that comes with a message, and spells
IFA_TARGET_NETNSID as text. Only the handful of attributes that count are looked at, so a burst of
links costs microseconds each.

Source: rtnetlink(7), netlink(7), linux/if_link.h, linux/if_addr.h. Linux 5.0 or later.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from kubeverdict_agent.errors import DatapathError

# The socket module has no names for these.
_SOL_NETLINK, _LISTEN_ALL_NSID, _STRICT_CHECK = 270, 8, 12
_SO_RCVBUFFORCE = 33
_GROUPS = 0x1 | 0x8 | 0x10 | 0x100  # links, traffic control, IPv4 and IPv6 addresses
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_DELQDISC, _NEWFILTER, _DELFILTER, _GETFILTER = 37, 44, 45, 46
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_DUMP_INTERRUPTED = 0x10
_IFNAME, _LINK, _LINKINFO, _LINK_NETNSID, _INFO_KIND = 3, 5, 18, 37, 1
_TCA_KIND, _TCA_OPTIONS, _TCA_BPF_NAME, _TCA_BPF_ID = 1, 2, 7, 11
_IFA_ADDRESS, _IFA_LOCAL, _IFA_TARGET_NETNSID = 1, 2, 10
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_TRAFFIC = struct.Struct("=BxxxiIII")
_ATTRIBUTE = struct.Struct("=HH")
_INT = struct.Struct("=i")
_SCOPE_UNIVERSE = 0
# Links that have one end on the node and the other in a pod; netkit: Linux 6.7.
_PAIRED = (b"veth", b"netkit")
_BUFFER = 8 << 20  # bytes that may wait to be read: thousands of links


class Event(Enum):
    LINK = auto()
    NO_LINK = auto()
    ADDRESS = auto()
    NO_ADDRESS = auto()
    NO_PROGRAM = auto()


@dataclass(frozen=True, slots=True)
class Link:
    """One end of a veth or netkit on the node. ``netns`` numbers the namespace of the other end,
    ``peer`` is its interface index there; None where that end is on the node as well."""

    index: int
    name: str
    peer: int
    netns: int | None


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address of interface ``index`` in the namespace with number ``netns``, or on the node
    where that is None."""

    netns: int | None
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class HookRemoved:
    """Hooks or programs that were taken off a link of the node."""

    index: int


@dataclass(frozen=True, slots=True)
class LinkFilter:
    """A tc filter. ``program`` is the kernel's number of its BPF program, 0 where it has none."""

    handle: int
    name: str
    program: int


Change = tuple[Event, Link | LinkAddress | HookRemoved]


class Lost(Exception):
    """The kernel dropped messages because they were not read in time: list everything anew."""


class Monitor:
    """Reports changes. Belongs to the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = _open()
        try:
            self._socket.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
            with contextlib.suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            self._socket.bind((0, _GROUPS))
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> Iterator[Change]:
        """What happened since the last call; never blocks. Raises :class:`Lost`."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Lost from None
                raise
            netns = -1
            for level, kind, value in ancillary:
                if (level, kind) == (_SOL_NETLINK, _LISTEN_ALL_NSID):
                    (netns,) = _INT.unpack(value)
            for kind, _, body in _messages(data):
                change = _change(kind, body, netns)
                if change is not None:
                    yield change


class Lister:
    """Lists links and addresses. Belongs to the namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = _open()
        self._sequence = itertools.count(1)
        try:
            # Without it the kernel ignores the number of a namespace and lists ours.
            self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
            self._socket.settimeout(30)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def links(self) -> list[Link]:
        """The veths and netkits of the node."""
        request = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return [
            found
            for kind, body in self._dump(_GETLINK, request)
            if (found := _link(body)) is not None and kind == _NEWLINK
        ]

    def addresses(self, netns: int | None) -> list[LinkAddress]:
        """The addresses of all interfaces in a namespace; none where it is gone."""
        request = _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        if netns is not None:
            request += _ATTRIBUTE.pack(8, _IFA_TARGET_NETNSID) + _INT.pack(netns)
        try:
            return [
                found
                for kind, body in self._dump(_GETADDR, request)
                if kind == _NEWADDR and (found := _address(body, netns)) is not None
            ]
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENODEV):
                return []
            raise

    def filters(self, index: int, parent: int) -> list[LinkFilter]:
        """The filters on a hook of a link, as they run; none where it has no hooks."""
        request = _TRAFFIC.pack(socket.AF_UNSPEC, index, 0, parent, 0)
        try:
            return [
                found
                for kind, body in self._dump(_GETFILTER, request)
                if kind == _NEWFILTER and (found := _filter(body, index)) is not None
            ]
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENODEV, errno.ENXIO):
                return []
            raise

    def _dump(self, kind: int, request: bytes) -> list[tuple[int, bytes]]:
        for _ in range(10):
            parts, whole = self._dump_once(kind, request)
            if whole:
                break
            # Something changed meanwhile; the monitor reports that, but not what was skipped.
        return parts

    def _dump_once(self, kind: int, request: bytes) -> tuple[list[tuple[int, bytes]], bool]:
        number = next(self._sequence)
        length = _HEADER.size + len(request)
        self._socket.send(_HEADER.pack(length, kind, _REQUEST | _DUMP, number, 0) + request)
        parts: list[tuple[int, bytes]] = []
        whole = True
        while True:
            data = self._socket.recv(1 << 18)
            for found, flags, body in _messages(data, number):
                whole &= not flags & _DUMP_INTERRUPTED
                if found in (_ERROR, _DONE):
                    status = _INT.unpack_from(body)[0] if len(body) >= _INT.size else 0
                    if status < 0:
                        raise OSError(-status, "netlink dump")
                    return parts, whole
                parts.append((found, body))


def _open() -> socket.socket:
    try:
        return socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
    except OSError as error:
        raise DatapathError(f"no netlink socket can be had: {error.strerror}") from error


def _messages(data: bytes, number: int | None = None) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message; of those that answer request ``number``, if given."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        if number is None or sequence == number:
            yield kind, flags, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(body: bytes, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _change(kind: int, body: bytes, netns: int) -> Change | None:
    if kind in (_NEWLINK, _DELLINK):
        # Links inside pods come along; it is ours that count.
        link = _link(body) if netns < 0 else None
        if link is None:
            return None
        return (Event.LINK if kind == _NEWLINK else Event.NO_LINK), link
    if kind in (_NEWADDR, _DELADDR):
        address = _address(body, netns if netns >= 0 else None)
        if address is None:
            return None
        return (Event.ADDRESS if kind == _NEWADDR else Event.NO_ADDRESS), address
    if kind in (_DELQDISC, _DELFILTER) and netns < 0:
        _, index, _, _, _ = _TRAFFIC.unpack_from(body)
        return Event.NO_PROGRAM, HookRemoved(index)
    return None


def _link(body: bytes) -> Link | None:
    family, _, index, _, _ = _IFINFO.unpack_from(body)
    if family != socket.AF_UNSPEC:
        return None  # a bridge's view of its port
    attributes = _attributes(body, _IFINFO.size)
    kind = _attributes(attributes.get(_LINKINFO, b""), 0).get(_INFO_KIND, b"")
    if kind.rstrip(b"\0") not in _PAIRED:
        return None
    name = attributes.get(_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    peer = attributes.get(_LINK)
    netns = attributes.get(_LINK_NETNSID)
    return Link(
        index,
        name,
        _INT.unpack(peer)[0] if peer else 0,
        _INT.unpack(netns)[0] if netns else None,
    )


def _filter(body: bytes, wanted: int) -> LinkFilter | None:
    _, index, handle, _, _ = _TRAFFIC.unpack_from(body)
    if index != wanted or not handle:
        return None  # the head of a list of filters
    attributes = _attributes(body, _TRAFFIC.size)
    name, program = b"", 0
    if attributes.get(_TCA_KIND, b"").rstrip(b"\0") == b"bpf":
        options = _attributes(attributes.get(_TCA_OPTIONS, b""), 0)
        name = options.get(_TCA_BPF_NAME, b"").rstrip(b"\0")
        program = _INT.unpack(options.get(_TCA_BPF_ID, b"\0" * 4))[0]
    return LinkFilter(handle, name.decode(errors="replace"), program)


def _address(body: bytes, netns: int | None) -> LinkAddress | None:
    family, _, _, scope, index = _IFADDR.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6) or scope != _SCOPE_UNIVERSE:
        return None
    attributes = _attributes(body, _IFADDR.size)
    # Of a point-to-point address IFA_ADDRESS is the other end's.
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    return LinkAddress(netns, index, socket.inet_ntop(family, packed)) if packed else None
