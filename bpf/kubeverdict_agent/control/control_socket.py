"""How commands talk to the agent: a unix socket that only its owner may use.

A request is one JSON object on a line, ``{"verb": "status", ...}``. The answer is one JSON object
on a line, or, for verbs that follow something, one after the other until the client closes the
connection. What is wrong with a request is answered with ``{"error": "…"}`` and ends its
connection, nothing else.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kubeverdict.errors import KubeverdictError, UsageError

Handler = Callable[[dict[str, Any]], "object | Iterator[object]"]

SOCKET = "agent.sock"
_LONGEST = 1 << 16  # bytes of a request
_PATIENCE = 10.0  # seconds for a request to come in and for an answer to go out
_CONNECTIONS = 32
_CREDENTIALS = struct.Struct("=3i")


class ControlSocket:
    """Answers with what ``handlers`` return, by verb; each connection in a thread of its own."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._path = path
        self._free = threading.Semaphore(_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of an agent that was killed; this one holds the lock
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind()
            self._listener.listen(_CONNECTIONS)
        except OSError as error:
            self._listener.close()
            raise UsageError(f"{path}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _bind(self) -> None:
        # No other user may connect, not even between making the socket and restricting it.
        before = os.umask(0o177)
        try:
            self._listener.bind(str(self._path))
        finally:
            os.umask(before)

    def _run(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(_PATIENCE)
                with contextlib.suppress(OSError):
                    for answer in self._answers(connection):
                        connection.sendall(msgspec.json.encode(answer) + b"\n")
        finally:
            with self._lock:
                self._open.discard(connection)
            self._free.release()

    def _answers(self, connection: socket.socket) -> Iterator[object]:
        try:
            request = _request(connection)
            if _user_of(connection) not in (0, os.geteuid()):
                raise UsageError("only root and the user of the agent may ask")
            handler = self._handlers.get(request.pop("verb", ""))
            if handler is None:
                raise UsageError(f"no such verb; there are {', '.join(sorted(self._handlers))}")
            answer = handler(request)
            if isinstance(answer, Iterator):
                yield from answer
            else:
                yield answer
        except KubeverdictError as error:
            yield {"error": str(error)}
        except (OSError, GeneratorExit):
            raise
        except Exception as error:
            yield {"error": f"{type(error).__name__}: {error}"}


def _user_of(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user


def _request(connection: socket.socket) -> dict[str, Any]:
    data = b""
    end = time.monotonic() + _PATIENCE
    while b"\n" not in data:
        if len(data) > _LONGEST:
            raise UsageError("the request is too long")
        if time.monotonic() > end:
            raise UsageError("the request takes too long")
        part = connection.recv(4096)
        if not part:
            raise UsageError("the request ends before its line does")
        data += part
    try:
        return msgspec.json.decode(data.partition(b"\n")[0], type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(f"the request is not understood: {error}") from None


def ask(state: Path, verb: str, **fields: object) -> Any:
    """The agent's answer. Raises UsageError where no agent runs, and with its complaint."""
    return next(follow(state, verb, patience=60.0, **fields))


def follow(
    state: Path, verb: str, patience: float | None = None, **fields: object
) -> Iterator[Any]:
    """The agent's answers, one after the other. Raises as :func:`ask`."""
    path = state / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode({"verb": verb, **fields}) + b"\n")
        except OSError as error:
            raise UsageError(f"no agent answers at {path}: {error.strerror or error}") from None
        with connection.makefile("rb") as lines:
            try:
                line = lines.readline()
                if not line:
                    raise UsageError(f"the agent at {path} closed the connection")
                while line:
                    if not line.endswith(b"\n"):
                        raise UsageError(
                            f"the agent at {path} closed the connection within an answer"
                        )
                    answer = msgspec.json.decode(line)
                    if isinstance(answer, dict) and set(answer) == {"error"}:
                        raise UsageError(str(answer["error"]))
                    yield answer
                    line = lines.readline()
            except OSError as error:
                message = f"the agent at {path} does not answer: {error.strerror or error}"
                raise UsageError(message) from None
            except msgspec.DecodeError as error:
                raise UsageError(f"what answers at {path} is not an agent: {error}") from None
