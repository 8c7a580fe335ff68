"""Many connections at once, by real sockets.

Whoever is expected to get through has all the time of a slow machine; the others are given what
those took and a little more. So an answer that should not come is seen, and nothing depends on
how fast the machine is.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.lab import LabPod

PATIENCE = 60.0
_GRACE = 0.25  # seconds after the last expected answer
_RETRY = 1.0  # of datagrams, which nobody else repeats
_SCTP = 132
_INIT = 1


@dataclass(frozen=True)
class Try:
    """One connection; ``protocol`` is tcp, udp or sctp."""

    source: LabPod
    destination: LabPod
    address: str
    port: int
    protocol: str


class _Attempt:
    """One try on its way: done when the destination's answer is there."""

    def __init__(self, what: Try) -> None:
        self.what = what
        self.tag = os.urandom(8)
        family = socket.AF_INET6 if ":" in what.address else socket.AF_INET
        kind = socket.SOCK_STREAM if what.protocol == "tcp" else socket.SOCK_DGRAM
        self.socket = what.source.socket(family, kind)
        self.socket.setblocking(False)
        self.socket.connect_ex((what.address, what.port))
        self.sent_at = 0.0

    def write(self) -> None:
        self.sent_at = time.monotonic()
        with contextlib.suppress(OSError):
            self.socket.send(self.tag)

    def read(self) -> bool:
        with contextlib.suppress(OSError):
            return self.socket.recv(64) == self.tag
        return False


def reached(tries: Iterable[Try], expected: Iterable[Try]) -> set[Try]:
    """The tries that got an answer. Returns when all of ``expected`` did, and a little later."""
    tries = list(tries)
    plain = [one for one in tries if one.protocol != "sctp"]
    found = _reached_by_sockets(plain, set(expected) & set(plain))
    chunks = [one for one in tries if one.protocol == "sctp"]
    return found | _reached_by_chunks(chunks, set(expected) & set(chunks))


def _reached_by_sockets(tries: Sequence[Try], expected: set[Try]) -> set[Try]:
    if not tries:
        return set()
    found: set[Try] = set()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        attempts = []
        for one in tries:
            attempt = _Attempt(one)
            stack.callback(attempt.socket.close)
            attempts.append(attempt)
            write = selectors.EVENT_WRITE if one.protocol == "tcp" else 0
            selector.register(attempt.socket, selectors.EVENT_READ | write, attempt)
        end = time.monotonic() + PATIENCE
        grace: float | None = None
        while time.monotonic() < (end if grace is None else grace):
            for attempt in attempts:
                lacks = attempt.what.protocol == "udp" and attempt.what not in found
                if lacks and time.monotonic() - attempt.sent_at > _RETRY:
                    attempt.write()
            for key, events in selector.select(0.05):
                attempt = key.data
                if events & selectors.EVENT_WRITE:
                    selector.modify(attempt.socket, selectors.EVENT_READ, attempt)
                    attempt.write()
                if events & selectors.EVENT_READ and attempt.read():
                    found.add(attempt.what)
            if grace is None and expected <= found:
                grace = time.monotonic() + _GRACE
    return found


def _reached_by_chunks(tries: Sequence[Try], expected: set[Try]) -> set[Try]:
    """SCTP by raw sockets, which kernels without SCTP have too: an INIT that arrives."""
    if not tries:
        return set()
    found: set[Try] = set()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        families = {socket.AF_INET6 if ":" in one.address else socket.AF_INET for one in tries}
        ends: dict[tuple[LabPod, int], socket.socket] = {}
        for pod in {pod for one in tries for pod in (one.source, one.destination)}:
            for family in families:
                end = pod.socket(family, socket.SOCK_RAW, _SCTP)
                stack.callback(end.close)
                end.setblocking(False)
                ends[pod, family] = end
                selector.register(end, selectors.EVENT_READ, pod)
        tags = {os.urandom(4): one for one in tries}
        end_at = time.monotonic() + PATIENCE
        grace: float | None = None
        sent_at = 0.0
        while time.monotonic() < (end_at if grace is None else grace):
            if time.monotonic() - sent_at > _RETRY:
                sent_at = time.monotonic()
                for tag, one in tags.items():
                    family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
                    ends[one.source, family].sendto(_init(one.port, tag), (one.address, 0))
            for key, _ in selector.select(0.05):
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(BlockingIOError):
                    data = key.fileobj.recv(4096)
                    at = 20 if key.fileobj.family == socket.AF_INET else 0
                    arrived = tags.get(data[at + 16 : at + 20])
                    if arrived is not None and arrived.destination is key.data:
                        found.add(arrived)
            if grace is None and expected <= found:
                grace = time.monotonic() + _GRACE
    return found


def _init(port: int, tag: bytes) -> bytes:
    """An SCTP packet with an INIT chunk whose initiate tag is ``tag``."""
    source_port = 20_000 + int.from_bytes(tag, "big") % 40_000
    chunk = struct.pack("!BBH4sIHHI", _INIT, 0, 20, tag, 65536, 1, 1, 1)
    # Nobody looks at the checksum on the way, and no SCTP stack receives it.
    return struct.pack("!HHII", source_port, port, 0, 0) + chunk
