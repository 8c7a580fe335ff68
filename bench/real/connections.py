"""OpenConnections that are open for a while, over which a byte goes to and fro now and then."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import NamedTuple, Self

from bench.lab import LabPod
from bench.traffic import TCP_PORT

_PERIOD = 0.05  # seconds between two bytes
_ECHO = b"e"
_SECONDS_TO_CONNECT = 10.0


class KeptConnections(NamedTuple):
    """Of ``opened`` connections how many ``broke``, and the longest wait for an answer of one, in
    seconds."""

    opened: int
    broke: int
    longest: float


class OpenConnections:
    """``count`` connections from a pod to the traffic server at ``address``, in use for as long as
    the block lasts."""

    def __init__(self, client: LabPod, address: str, count: int) -> None:
        self._sockets = []
        for _ in range(count):
            opened = client.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._sockets.append(opened)
            opened.settimeout(_SECONDS_TO_CONNECT)
            opened.connect((address, TCP_PORT))
            opened.setblocking(False)
        self._broken: set[socket.socket] = set()
        self._longest = 0.0
        self._asked: dict[socket.socket, float] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.finish()

    def finish(self) -> KeptConnections:
        """Close them; what became of them."""
        self._ending.set()
        self._thread.join()
        now = time.monotonic()
        waiting = max((now - asked for asked in self._asked.values()), default=0.0)
        for opened in self._sockets:
            opened.close()
        self._asked.clear()
        self._longest = max(self._longest, waiting)
        return KeptConnections(len(self._sockets), len(self._broken), self._longest)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for opened in self._sockets:
                selector.register(opened, selectors.EVENT_READ)
            due = time.monotonic()
            while not self._ending.is_set():
                if time.monotonic() >= due:
                    due += _PERIOD
                    self._ask()
                for key, _ in selector.select(max(due - time.monotonic(), 0)):
                    assert isinstance(key.fileobj, socket.socket)
                    if not self._answered(key.fileobj):
                        selector.unregister(key.fileobj)

    def _ask(self) -> None:
        for opened in self._sockets:
            if opened not in self._broken and opened not in self._asked:
                with contextlib.suppress(OSError):
                    opened.send(_ECHO)
                    self._asked[opened] = time.monotonic()

    def _answered(self, opened: socket.socket) -> bool:
        """Take an answer; whether the connection is still there."""
        data = b""
        with contextlib.suppress(OSError):
            data = opened.recv(64)
        asked = self._asked.pop(opened, None)
        if asked is not None:
            self._longest = max(self._longest, time.monotonic() - asked)
        if not data:
            self._broken.add(opened)
        return bool(data)
