"""A server as a user starts it, and a client that is what a browser is to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.cli.running import INTERRUPTIBLE, command


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A running server. ``cookie`` is what its page got for the token."""

    process: subprocess.Popen[str]
    address: str
    cookie: str = field(default="", init=False)

    @property
    def origin(self) -> str:
        return self.address.partition("/#")[0]

    @property
    def host(self) -> str:
        return self.origin.removeprefix("http://")

    @property
    def port(self) -> int:
        return int(self.host.partition(":")[2])

    @property
    def token(self) -> str:
        return self.address.partition("#token=")[2]

    def ask(
        self,
        path: str,
        question: object = None,
        *,
        method: str = "",
        body: bytes | None = None,
        **headers: str | None,
    ) -> Reply:
        """Ask as the page does; ``headers`` replace those that it sends, None leaves one out."""
        sent: dict[str, str | None] = {
            "host": self.host,
            "origin": self.origin,
            "cookie": self.cookie or None,
            "content-type": "application/json",
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if question is not None:
            body = json.dumps(question).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(
                method or ("GET" if body is None else "POST"),
                path,
                skip_host=True,
                skip_accept_encoding=True,
            )
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response: HTTPResponse = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def log_in(self) -> None:
        reply = self.ask("/api/session", {"token": self.token})
        assert reply.status == 204, reply.body
        self.cookie = reply.headers["set-cookie"].partition(";")[0]

    def typing(self, **headers: str) -> ClientConnection:
        """The socket of an editor."""
        origin = Origin(headers.pop("origin", self.origin))
        return connect(
            f"ws://{self.host}/api/draft",
            sock=socket.create_connection(("127.0.0.1", self.port)),
            origin=origin,
            additional_headers={"cookie": self.cookie, **headers},
        )


@contextmanager
def served(*arguments: object, **environment: str) -> Iterator[Served]:
    """A server of what the arguments name, with its page logged in."""
    process = subprocess.Popen(
        [*INTERRUPTIBLE, *command(), "serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.stderr.read()
        found = Served(process, address)
        found.log_in()
        yield found
        assert process.poll() is None, "the server ended by itself"
    finally:
        process.terminate()
        process.communicate(timeout=10)
