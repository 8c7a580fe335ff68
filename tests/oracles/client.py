"""Asking the policy code of a real CNI, which runs as a program beside the tests.

The program reads one JSON request a line and writes one JSON response a line: the objects of a
cluster and probes go in, a verdict for each end of each probe comes out. It is started once and
answers as many requests as wanted; between requests it remembers nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from kubeverdict.model.addresses import Family

Object = Mapping[str, Any]

PATIENCE = 120.0
"""Seconds after which a program that has not answered is taken for hanging."""


class ProgramError(Exception):
    """The program could not answer: it is gone, hangs, or did not understand the request."""


class WireProbe(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"source": "from", "destination": "to", "icmp_type": "icmpType"},
):
    """The first packet of a connection, as the program wants it.

    An end is NAMESPACE/NAME of a pod, or an address; that of a pod or a node stands for the pod or
    node. ``protocol`` is TCP, UDP, SCTP, ICMP (of the family; without a type it is echo request)
    or the number of another one.
    """

    source: str
    destination: str
    protocol: str
    port: int = 0
    icmp_type: int | None = None
    family: Family = 4


class EndVerdict(msgspec.Struct, frozen=True):
    """What is said of one end, and what decided: policies by kind and name, or something else.

    ``redirect`` allows the connection as far as its port goes; a proxy judges what is said on it.
    ``authentication`` is the kind of mutual authentication that is asked for besides. A program
    with a second opinion says whether both ``agree``, and if not to what the other is ``blind``.
    """

    verdict: Literal["allow", "deny", "redirect"]
    by: str = ""
    authentication: str = ""
    agree: bool = True
    blind: tuple[str, ...] = ()


class WireAnswer(msgspec.Struct, frozen=True):
    """None for an end that is no pod and so has no policy. ``error``: this probe has no answer."""

    egress: EndVerdict | None = None
    ingress: EndVerdict | None = None
    error: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """What the program has against an object; ``applied``: the rest of it is in force."""

    object: str
    error: str
    applied: bool = False


class Response(msgspec.Struct, frozen=True):
    id: int
    errors: tuple[Refusal, ...] = ()
    answers: tuple[WireAnswer, ...] = ()
    error: str = ""


class Request(msgspec.Struct, frozen=True):
    id: int
    objects: Sequence[Object]
    options: Object
    probes: Sequence[WireProbe]


class Client:
    """A program that is running. For one thread at a time; to be closed, or used with ``with``."""

    def __init__(self, program: Path, *arguments: str, patience: float = PATIENCE) -> None:
        self._name = program.name
        self._patience = patience
        self._asked = 0
        # A pipe that nobody reads would block the program once it is full.
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        try:
            self._process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except OSError as error:
            self._said.close()
            raise ProgramError(f"{self._name} cannot be started: {error}") from error

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def ask(
        self,
        objects: Iterable[Object],
        probes: Iterable[WireProbe],
        options: Object | None = None,
    ) -> Response:
        """The program's answers, one for each probe. Raises ProgramError."""
        self._asked += 1
        request = Request(self._asked, tuple(objects), options or {}, tuple(probes))
        line = self._exchange(msgspec.json.encode(request) + b"\n")
        try:
            response = msgspec.json.decode(line, type=Response)
        except msgspec.MsgspecError as error:
            shown = line[:200].decode(errors="replace")
            raise ProgramError(f"{self._name} answers {shown!r}: {error}") from error
        if response.error:
            raise ProgramError(f"{self._name}: {response.error}")
        if response.id != request.id or len(response.answers) != len(request.probes):
            raise ProgramError(
                f"{self._name} answers {len(response.answers)} probes of request {response.id}, "
                f"not {len(request.probes)} of request {request.id}"
            )
        return response

    def close(self) -> None:
        """End the program, which stops by itself when there is nothing more to read."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # It may be gone already.
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            process.wait(self._patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._said.close()

    def _exchange(self, line: bytes) -> bytes:
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        watch = threading.Timer(self._patience, process.kill)
        watch.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        finally:
            hangs = watch.finished.is_set()
            watch.cancel()
        if not answer.endswith(b"\n"):
            raise ProgramError(self._obituary(hangs))
        return answer

    def _obituary(self, killed: bool) -> str:
        if killed:
            self._process.wait()
            return f"{self._name} did not answer within {self._patience:g} s"
        try:
            status = self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            return f"{self._name} closed its output"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return f"{self._name} ended with status {status}{last}"
