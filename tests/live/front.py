"""A way to a real API server on which things go wrong: it forwards what is asked, and may be told
to refuse, to cut connections off, or to keep them open and pass on nothing."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import urllib3

from tests.kubernetes.api import Api

Refusal = tuple[int, dict[str, str]]
"""A status and headers."""


class Front:
    """Between a client and ``api``, on plain HTTP, for as long as the block lasts."""

    def __init__(self, api: Api) -> None:
        self.asked: list[str] = []
        self._api = api
        context = ssl.create_default_context(cafile=str(api.authority))
        self._pool = urllib3.PoolManager(ssl_context=context, maxsize=64)
        self._refuse: list[tuple[Callable[[str], bool], Refusal, int]] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._down = False
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._flowing.set()
        self.down()
        self._server.shutdown()
        self._server.server_close()
        self._pool.clear()

    def kubeconfig(self, folder: Path) -> Path:
        """One that leads through here."""
        config = json.loads(self._api.kubeconfig.read_text())
        where = self._server.server_address
        config["clusters"][0]["cluster"] = {"server": f"http://{where[0]!s}:{where[1]}"}
        path = folder / "through-the-front"
        path.write_text(json.dumps(config))
        return path

    def refuse(self, status: int, times: int = 1, where: str = "", **headers: str) -> None:
        """Answer the next requests, those with ``where`` in them, with a status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self._lock:
            self._refuse.append((lambda path: where in path, (status, named), times))

    def cut(self) -> None:
        """Close all connections."""
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):  # it may have ended by itself
                    one.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Pass on nothing, and keep connections open. New ones work."""
        self._flowing.clear()
        self._flowing = threading.Event()
        self._flowing.set()

    def down(self) -> None:
        """Nobody answers."""
        self._down = True
        self.cut()

    def up(self) -> None:
        self._down = False

    def _refusal(self, path: str) -> Refusal | None:
        with self._lock:
            for at, (concerns, refusal, times) in enumerate(self._refuse):
                if concerns(path):
                    left = (concerns, refusal, times - 1)
                    self._refuse[at : at + 1] = [left] if times > 1 else []
                    return refusal
        return None

    def _forward(self, path: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            "GET",
            self._api.address + path,
            headers=headers,
            preload_content=False,
            decode_content=False,
            retries=False,
            timeout=urllib3.Timeout(connect=5, read=600),
        )

    def _handler(front: Self) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def setup(self) -> None:
                super().setup()
                with front._lock:
                    front._sockets.add(self.connection)

            def finish(self) -> None:
                with front._lock:
                    front._sockets.discard(self.connection)
                with suppress(OSError):  # it may have been cut
                    super().finish()

            def do_GET(self) -> None:
                front.asked.append(self.path)
                if front._down:
                    self.close_connection = True
                    return
                flowing = front._flowing
                refusal = front._refusal(self.path)
                if refusal is not None:
                    self._answer(*refusal)
                    return
                names = ("Authorization", "Accept", "Impersonate-User", "Accept-Encoding")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                try:
                    self._pass_on(front._forward(self.path, headers), flowing)
                except (urllib3.exceptions.HTTPError, OSError):
                    self.close_connection = True

            def _answer(self, status: int, headers: dict[str, str]) -> None:
                body = json.dumps({"kind": "Status", "code": status, "message": "told to"}).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def _pass_on(self, answer: urllib3.BaseHTTPResponse, flowing: threading.Event) -> None:
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Encoding", "Retry-After"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in _pieces(answer):
                    flowing.wait()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

        return Handler


def _pieces(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    for piece in answer.stream(1 << 16, decode_content=False):
        if piece:
            yield piece
