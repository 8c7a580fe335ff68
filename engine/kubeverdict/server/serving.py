"""Listening on the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from kubeverdict.errors import UsageError
from kubeverdict.server.app import application
from kubeverdict.server.guard import PageAccess
from kubeverdict.server.typing_socket import MOST_MESSAGE
from kubeverdict.server.workspace import Workspace

HOST = "127.0.0.1"
_MOST_AT_ONCE = 100  # connections and questions under way


class _Server(uvicorn.Server):
    """Leaves signals to the command line, which ends the process in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(workspace: Workspace, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until the process ends. ``port`` 0 takes any that is free. ``ready`` is
    called with the address to open, when it can be. Raises UsageError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise UsageError(f"--port {port}: cannot listen on it: {error.strerror}") from None
    with listening:
        listening.listen()
        chosen: int = listening.getsockname()[1]
        access = PageAccess(chosen)
        config = uvicorn.Config(
            application(workspace, access),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=False,
            limit_concurrency=_MOST_AT_ONCE,
            ws_max_size=MOST_MESSAGE,
            ws_per_message_deflate=False,
        )
        ready(f"http://{HOST}:{chosen}/#token={access.token}")
        _Server(config).run(sockets=[listening])
