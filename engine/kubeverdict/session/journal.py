"""Results kept in a file, so that an interrupted run can go on.

One JSON object a line. The first says which run it is; each of the others has the digest of its
scenario and the result. A last line that was not finished is dropped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from kubeverdict.analyses.bulk import ScenarioReport
from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.manifests.scenarios import Scenario

SCHEMA = "kubeverdict/bulk-results/v1"


class _Head(msgspec.Struct):
    schema: str
    run: str


class _Line(msgspec.Struct):
    scenario: str
    report: ScenarioReport


class Journal:
    """The results that are there, and where new ones go."""

    def __init__(self) -> None:
        self._known: dict[str, ScenarioReport] = {}

    def known(self, cluster: str, scenario: Scenario) -> ScenarioReport | None:
        """The result of a scenario on a cluster, if it is there."""
        return self._known.get(_digest(cluster, scenario)) if self._known else None

    def keep(self, cluster: str, scenario: Scenario, report: ScenarioReport) -> None:
        """Keep a new result."""

    def close(self) -> None:
        """No further result is added."""

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class FileJournal(Journal):
    """A journal in a file. Raises InputError for a file of another run, or of something else."""

    def __init__(self, path: str, run: str) -> None:
        super().__init__()
        self._path = path
        try:
            kept = self._read(path, run)
            self._file = open(path, "ab")  # noqa: SIM115  # open as long as the run takes
            self._file.truncate(kept)
        except OSError as error:
            raise InputError([Problem(path, 0, "", f"{error.strerror}")]) from None
        if not kept:
            self._write(_Head(SCHEMA, run))

    def _read(self, path: str, run: str) -> int:
        """Read what is there; returns how many bytes of it stay."""
        if not os.path.exists(path):
            return 0
        with open(path, "rb") as file:
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        if not lines:
            if data:
                raise InputError([Problem(path, 1, "", "holds no results of kubeverdict bulk")])
            return 0
        try:
            head = msgspec.json.decode(lines[0], type=_Head)
        except msgspec.DecodeError:
            head = None
        if head is None or head.schema != SCHEMA:
            raise InputError([Problem(path, 1, "", "holds no results of kubeverdict bulk")])
        if head.run != run:
            message = "holds results of another cluster, or of other options"
            raise InputError([Problem(path, 1, "", message)])
        for number, line in enumerate(lines[1:], start=2):
            try:
                entry = msgspec.json.decode(line, type=_Line)
            except msgspec.DecodeError as error:
                raise InputError([Problem(path, number, "", f"not a result: {error}")]) from None
            self._known[entry.scenario] = entry.report
        return sum(map(len, lines))

    def keep(self, cluster: str, scenario: Scenario, report: ScenarioReport) -> None:
        if not report.error:
            self._write(_Line(_digest(cluster, scenario), report))

    def close(self) -> None:
        with suppress(OSError):  # what could not be written has been reported
            self._file.close()

    def _write(self, entry: Any) -> None:
        try:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._file.flush()
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be written: {error.strerror}") from None


def open_journal(path: str | None, options: object, files: Sequence[str]) -> Journal:
    """The journal in ``path``, or one that keeps nothing.

    ``options`` and the content of the input ``files`` make the run what it is.
    """
    if path is None:
        return Journal()
    for name in files:
        if name == "-" or not (os.path.isfile(name) or os.path.isdir(name)):
            what = "standard input" if name == "-" else name
            raise UsageError(f"--resume: {what} cannot be read again, name a file")
    digest = hashlib.blake2b(msgspec.msgpack.encode(options), digest_size=16)
    for name in sorted(_below(files)):
        if not os.path.isfile(name):
            raise UsageError(f"--resume: {name} is not a file, and cannot be read again")
        with open(name, "rb") as file:
            content = hashlib.file_digest(file, "blake2b").digest()
        digest.update(msgspec.msgpack.encode((name, content)))
    return FileJournal(path, digest.hexdigest())


def _below(paths: Sequence[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            for parent, _, names in os.walk(path):
                found += filter(os.path.isfile, (os.path.join(parent, name) for name in names))
        else:
            found.append(path)
    return found


def _digest(cluster: str, scenario: Scenario) -> str:
    content = msgspec.msgpack.encode((cluster, scenario))
    return hashlib.blake2b(content, digest_size=12).hexdigest()
