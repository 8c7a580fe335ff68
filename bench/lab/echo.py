"""A server that answers with what it is sent, over TCP and UDP and both address families."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable

Open = Callable[[int, int], socket.socket]
"""Makes a socket of a family and a type."""


class Echo:
    """Echoes on ``port`` until it is closed. ``open_socket`` decides the namespace."""

    def __init__(self, open_socket: Open, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        try:
            self._tcp = self._bound(open_socket, socket.SOCK_STREAM, port)
            self._tcp.listen(1024)
            self._udp = self._bound(open_socket, socket.SOCK_DGRAM, port)
        except BaseException:
            self._close_all()
            raise
        self._thread = threading.Thread(target=self._run, name=f"echo {port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join()

    def _bound(self, open_socket: Open, kind: int, port: int) -> socket.socket:
        bound = open_socket(socket.AF_INET6, kind)
        self._selector.register(bound, selectors.EVENT_READ)
        bound.setblocking(False)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("::", port))
        return bound

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    self._close_all()
                    return
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    self._answer(key.fileobj)

    def _answer(self, readable: socket.socket) -> None:
        if readable is self._tcp:
            connection, _ = readable.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ)
        elif readable is self._udp:
            data, sender = readable.recvfrom(65536)
            readable.sendto(data, sender)
        else:
            data = b""
            with contextlib.suppress(ConnectionError):
                data = readable.recv(65536)
            if data:
                readable.send(data)
            else:
                self._selector.unregister(readable)
                readable.close()

    def _close_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._stop.close()
