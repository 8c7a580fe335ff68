"""What hands scenarios to a Dask cluster and takes reports back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Any

import distributed
import msgspec

from kubeverdict import __version__
from kubeverdict.analyses.bulk import ScenarioReport
from kubeverdict.distributed.worker import SnapshotPlugin, run_piece, version
from kubeverdict.errors import UsageError
from kubeverdict.manifests.scenarios import Scenario
from kubeverdict.model.counts import count
from kubeverdict.session.pipeline import ReportOptions

# Seconds: to reach the scheduler, to see a first worker, and to go on without either.
REACH, FIRST_WORKER, PATIENCE = 10.0, 60.0, 60.0
_FETCH = 10.0  # seconds for the reports of a piece, a megabyte at most
# Scenarios in the first pieces and at most, and how long a piece should take.
_FIRST, _MOST, _SECONDS = 64, 2048, 0.5

# They come without types.
_Client: Any = distributed.Client
_wait: Any = distributed.wait
_reports = msgspec.json.Decoder(list[ScenarioReport])
Judged = tuple[str, Scenario, ScenarioReport]
"""The name of the cluster, the scenario and what was found."""


class DaskCluster:
    """A connection to a Dask cluster whose workers can judge scenarios."""

    def __init__(self, scheduler: str, reach: float = REACH, first: float = FIRST_WORKER) -> None:
        # Its own messages about lost connections would mix with ours.
        for name in ("distributed.client", "distributed.core", "distributed.comm"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._address = scheduler
        try:
            self._client = _Client(
                scheduler, timeout=reach, set_as_default=False, name="kubeverdict"
            )
        except (OSError, ValueError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise UsageError(f"--scheduler {scheduler}: cannot be reached: {reason}") from None
        try:
            self._client.wait_for_workers(1, timeout=first)
            self._check_versions()
        except TimeoutError:
            self.close()
            raise UsageError(f"--scheduler {scheduler}: has no workers") from None
        except UsageError:
            self.close()
            raise

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close(timeout=5)

    def _check_versions(self) -> None:
        try:
            found = self._client.run(version, on_error="return")
        except (OSError, TimeoutError, RuntimeError) as error:
            raise UsageError(f"--scheduler {self._address}: {error}") from None
        for worker, answer in sorted(found.items()):
            if isinstance(answer, BaseException):
                reason = f"{type(answer).__name__}: {answer}"
                raise UsageError(f"worker {worker} cannot run kubeverdict: {reason}")
            if answer != __version__:
                raise UsageError(f"worker {worker} has kubeverdict {answer}, this is {__version__}")

    def judge(
        self,
        clusters: Mapping[str, bytes],
        scenarios: Iterable[Scenario],
        options: ReportOptions,
        patience: float = PATIENCE,
    ) -> Iterator[Judged]:
        """Judge every scenario against every cluster, given by name as the bytes of a snapshot.

        Reports come as they are done. Raises UsageError where the scheduler or all workers are
        gone for ``patience`` seconds.
        """
        digests = {name: self._ship(data) for name, data in clusters.items()}
        return _Run(self._client, self._address, digests, options, patience).judge(scenarios)

    def _ship(self, data: bytes) -> str:
        from kubeverdict import snapshots

        digest = snapshots.read_bytes(data).digest
        self._client.register_plugin(SnapshotPlugin(digest, data))
        return digest


class _Run:
    """One run: pieces on their way, and what comes back."""

    def __init__(
        self,
        client: Any,
        address: str,
        digests: Mapping[str, str],
        options: ReportOptions,
        patience: float,
    ) -> None:
        self._client = client
        self._address = address
        self._digests = digests
        self._options = msgspec.json.encode(options)
        self._patience = patience
        self._pending: dict[Any, tuple[str, list[Scenario]]] = {}
        self._size = _FIRST

    def judge(self, scenarios: Iterable[Scenario]) -> Iterator[Judged]:
        left = iter(scenarios)
        exhausted = False
        try:
            while True:
                while not exhausted and len(self._pending) < self._wanted():
                    piece = list(islice(left, self._size))
                    exhausted = not piece
                    for name in self._digests if piece else ():
                        self._submit(name, piece)
                if not self._pending:
                    return
                for name, piece, reports in self._done():
                    for scenario, report in zip(piece, reports, strict=True):
                        yield name, scenario, report
        finally:
            for future in self._pending:
                future.cancel()

    def _wanted(self) -> int:
        """Pieces to have on their way: some for each thread to take next."""
        return max(4, 3 * self._threads())

    def _submit(self, name: str, piece: list[Scenario]) -> None:
        future = self._client.submit(
            run_piece,
            self._digests[name],
            msgspec.json.encode(piece),
            self._options,
            pure=False,
            retries=2,
        )
        self._pending[future] = name, piece

    def _is_connected(self) -> bool:
        return bool(self._client.status == "running")

    def _done(self) -> Iterator[tuple[str, list[Scenario], list[ScenarioReport]]]:
        """The pieces that are done, which are pending no longer; waits for one."""
        since = monotonic()
        while True:
            some = False
            try:
                with self._client.as_current():
                    waited = _wait(list(self._pending), timeout=2, return_when="FIRST_COMPLETED")
                for future in waited.done:
                    reports = self._result(future)
                    if reports is not None:
                        some = True
                        yield *self._pending.pop(future), reports
            except TimeoutError:
                pass
            except (OSError, RuntimeError, distributed.CancelledError):
                raise self._lost("the scheduler is gone") from None
            if some:
                return
            if self._threads():
                since = monotonic()
            elif monotonic() - since > self._patience:
                what = "all workers are gone" if self._is_connected() else "the scheduler is gone"
                raise self._lost(what)

    def _threads(self) -> int:
        """Of all workers together; 0 where there are none, or no scheduler to ask."""
        try:
            return sum(self._client.nthreads().values()) if self._is_connected() else 0
        except (OSError, RuntimeError):
            return 0

    def _lost(self, what: str) -> UsageError:
        left = sum(len(piece) for _, piece in self._pending.values())
        lost = f"{count(left, 'scenario')} or more were not judged"
        return UsageError(f"--scheduler {self._address}: {what}; {lost}")

    def _result(self, future: Any) -> list[ScenarioReport] | None:
        """The reports of a piece that was done; None where the worker that had them is gone: then
        the piece is pending again."""
        _, piece = self._pending[future]
        if future.status == "cancelled":
            raise self._lost("the scheduler is gone")
        if future.status == "error":
            return _failed(piece, future.exception())
        try:
            seconds, found = future.result(timeout=_FETCH)
        except TimeoutError:
            return None
        except (OSError, distributed.CancelledError):
            raise  # of the connection
        except Exception as error:  # of a second try, since the line above
            return _failed(piece, error)
        wanted = int(len(piece) * _SECONDS / max(seconds, 1e-6))
        self._size = min(_MOST, max(_FIRST // 4, wanted))
        return _reports.decode(found)


def _failed(piece: list[Scenario], error: BaseException) -> list[ScenarioReport]:
    message = f"{type(error).__name__}: {error}"
    return [ScenarioReport(scenario.name, error=message) for scenario in piece]
