"""The HTTP server of the metrics and of the readiness probe, for whom any local user is a stranger.

prometheus_client's own has a thread and a descriptor for each connection, for as long as its client
likes: a thousand idle ones leave the agent no descriptor for a new link. Here connections are few,
and each has some seconds in all.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

_CONNECTIONS = 8
_PATIENCE = 10.0  # seconds from a connection being accepted to the end of its answer


class _Quiet(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged."""


class ScrapeServer(ThreadingMixIn, WSGIServer):
    """Serves what ``registry`` collects, and on ``/ready`` what ``unready`` says: why not, or
    nothing. Raises OSError where it cannot listen."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, registry: Any, unready: Callable[[], str]) -> None:
        from prometheus_client import make_wsgi_app

        metrics = make_wsgi_app(registry)

        def application(environ: dict[str, Any], start: Any) -> Any:
            if environ.get("PATH_INFO") != "/ready":
                return metrics(environ, start)
            why = unready()
            start("503 Service Unavailable" if why else "200 OK", [("Content-Type", "text/plain")])
            return [f"{why or 'ready'}\n".encode()]

        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.Semaphore(_CONNECTIONS)
        super().__init__((host, port), _Quiet)
        self.set_app(application)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A client that sends a byte now and then never lets a time-out of the socket pass.
        end = threading.Timer(_PATIENCE, _cut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or asks for something strange, is none of our business."""


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
