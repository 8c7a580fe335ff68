"""What runs on a worker."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any

import msgspec
from distributed.diagnostics.plugin import WorkerPlugin

from kubeverdict import __version__, snapshots
from kubeverdict.errors import UsageError
from kubeverdict.manifests.scenarios import Scenario
from kubeverdict.session.pipeline import ReportOptions, reports
from kubeverdict.session.version import Version

# Of this process: snapshots as they came, and what was made of them. Workers have threads.
_data: dict[str, bytes] = {}
_ready: dict[str, Version] = {}
_lock = threading.Lock()
# How often this process received a snapshot, which should be once.
_arrivals: dict[str, int] = {}


class SnapshotPlugin(WorkerPlugin):
    """Brings a snapshot to a worker."""

    idempotent = True

    def __init__(self, digest: str, data: bytes) -> None:
        self.name = f"kubeverdict-{digest}"
        self._digest = digest
        self._content = data

    def setup(self, worker: Any) -> None:
        _data[self._digest] = self._content
        _arrivals[self._digest] = _arrivals.get(self._digest, 0) + 1

    def teardown(self, worker: Any) -> None:
        _data.pop(self._digest, None)
        _ready.pop(self._digest, None)


def version() -> str:
    """The version of kubeverdict on a worker."""
    return __version__


def arrivals() -> dict[str, int]:
    """How often this process received each snapshot."""
    return dict(_arrivals)


def run_piece(digest: str, scenarios: bytes, options: bytes) -> tuple[float, bytes]:
    """Judge some scenarios: the seconds it took, and the reports as JSON."""
    cluster = _version(digest)
    started = perf_counter()
    asked = msgspec.json.decode(scenarios, type=list[Scenario])
    wanted = msgspec.json.decode(options, type=ReportOptions)
    # The worker's own threads run other pieces.
    found = reports(cluster, asked, wanted, threads=1)
    return perf_counter() - started, msgspec.json.encode(found)


def _version(digest: str) -> Version:
    with _lock:
        if digest not in _ready:
            if digest not in _data:
                raise UsageError("the snapshot has not arrived at this worker")
            snapshot = snapshots.read_bytes(_data[digest])
            _ready[digest] = Version(0, snapshot.compiled, snapshot.workbench)
        return _ready[digest]
