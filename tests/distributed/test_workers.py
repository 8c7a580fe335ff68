"""Scenarios on a real scheduler and real workers, some of which are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from msgspec.structs import replace

from kubeverdict import snapshots
from kubeverdict.analyses.bulk import ScenarioReport
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.distributed import client
from kubeverdict.distributed import worker as on_worker
from kubeverdict.distributed.client import DaskCluster as DaskCluster
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
from kubeverdict.manifests.scenarios import Change, Scenario, delete_each
from kubeverdict.session.pipeline import ReportOptions, reports
from kubeverdict.session.version import Version
from tests.cli.running import SHOP, run
from tests.clusters.generated import random_cluster

ROOT = Path(__file__).parents[2]


class Process:
    """A scheduler or a worker: a process of its own, ended with the test."""

    def __init__(self, *arguments: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "engine"), str(ROOT)]),
            "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def says(self, pattern: str, seconds: float = 120.0) -> str:
        """Wait for a line and return its group."""
        until = monotonic() + seconds
        while monotonic() < until:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found.group(1)
            assert self.process.poll() is None, "".join(self.lines)
            sleep(0.05)
        raise AssertionError(f"never said {pattern}: {''.join(self.lines)}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Lab:
    """A scheduler and workers on this machine."""

    def __init__(self) -> None:
        self._processes: list[Process] = []
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
        )
        self.address = self.scheduler.says(r"Scheduler at:\s+(tcp://\S+)")

    def worker(self) -> Process:
        started = self._start(
            "distributed.cli.dask_worker",
            self.address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--host",
            "127.0.0.1",
        )
        started.says(r"(Registered to):")
        return started

    def _start(self, *arguments: str) -> Process:
        process = Process(*arguments)
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            process.end()


@contextmanager
def a_lab(workers: int) -> Iterator[tuple[Lab, list[Process]]]:
    lab = Lab()
    try:
        yield lab, [lab.worker() for _ in range(workers)]
    finally:
        lab.end()


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return workbench(compile_cluster(random_cluster(3, pods=60, policies=40)))


@pytest.fixture(scope="module")
def shipped(bench: Workbench) -> bytes:
    return snapshots.to_bytes(bench.compiled, bench)


def scenarios_of(bench: Workbench, repeated: int) -> list[Scenario]:
    """Every policy deleted, several times under different names, and one that is wrong."""
    found = [
        replace(scenario, name=f"{scenario.name} {number}")
        for number in range(repeated)
        for scenario in delete_each(bench.compiled.cluster)
    ]
    return [*found, Scenario("wrong", (Change("delete", target="pod/no/such"),))]


def timeless(report: ScenarioReport) -> ScenarioReport:
    return replace(report, milliseconds=0.0)


def expected(bench: Workbench, scenarios: list[Scenario]) -> dict[str, ScenarioReport]:
    found = reports(Version(0, bench.compiled, bench), scenarios, ReportOptions())
    return {report.name: timeless(report) for report in found}


def test_a_killed_worker_loses_nothing_and_nothing_counts_twice(
    bench: Workbench, shipped: bytes
) -> None:
    scenarios = scenarios_of(bench, 60)
    found: dict[str, ScenarioReport] = {}
    seen: Counter[str] = Counter()
    with a_lab(3) as (lab, workers), DaskCluster(lab.address, reach=60.0) as dask:
        for name, _, report in dask.judge({"one": shipped}, scenarios, ReportOptions()):
            assert name == "one"
            seen[report.name] += 1
            found[report.name] = timeless(report)
            if len(seen) == 100:
                workers[0].kill()
                lab.worker()  # and another joins late
        arrivals = dask._client.run(on_worker.arrivals)
    assert set(seen.values()) == {1}
    assert found == expected(bench, scenarios)
    # Each worker that is left got the snapshot once, the late one too.
    assert [list(each.values()) for each in arrivals.values()] == [[1]] * 3


def test_work_goes_on_when_the_last_worker_is_replaced(bench: Workbench, shipped: bytes) -> None:
    scenarios = scenarios_of(bench, 20)
    names: list[str] = []
    with a_lab(1) as (lab, workers), DaskCluster(lab.address, reach=60.0) as dask:
        for _, _, report in dask.judge({"one": shipped}, scenarios, ReportOptions()):
            names.append(report.name)
            if len(names) == 50:
                workers[0].kill()
                lab.worker()
    assert sorted(names) == sorted(scenario.name for scenario in scenarios)


def test_losing_everything_is_said(bench: Workbench, shipped: bytes) -> None:
    scenarios = scenarios_of(bench, 200)
    with a_lab(1) as (lab, workers), DaskCluster(lab.address, reach=60.0) as dask:
        run = dask.judge({"one": shipped}, scenarios, ReportOptions(), patience=3.0)
        next(run)
        workers[0].kill()
        with pytest.raises(UsageError, match="all workers are gone"):
            list(run)


def test_losing_the_scheduler_is_said(bench: Workbench, shipped: bytes) -> None:
    with a_lab(1) as (lab, _), DaskCluster(lab.address, reach=60.0) as dask:
        run = dask.judge({"one": shipped}, scenarios_of(bench, 200), ReportOptions(), patience=3.0)
        next(run)
        lab.scheduler.kill()
        with pytest.raises(UsageError, match="the scheduler is gone"):
            list(run)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_worker_that_is_lost_with_what_it_had_done(
    bench: Workbench, shipped: bytes, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """It goes between the word that a piece is done and handing it over."""
    scenarios = scenarios_of(bench, 20)
    with a_lab(1) as (lab, workers), DaskCluster(lab.address, reach=60.0) as dask:

        def wait_and_kill(*arguments: Any, **options: Any) -> Any:
            done = wait(*arguments, **options)
            if workers[0].process.poll() is None:
                workers[0].kill()
                workers[0].process.wait()
                sleep(1.0)  # until everybody knows
                if replaced:
                    lab.worker()
            return done

        wait = client._wait
        monkeypatch.setattr(client, "_wait", wait_and_kill)
        monkeypatch.setattr(client, "_FETCH", 1.0)
        run = dask.judge({"one": shipped}, scenarios, ReportOptions(), patience=3.0)
        if replaced:
            assert sorted(report.name for _, _, report in run) == sorted(
                one.name for one in scenarios
            )
        else:
            with pytest.raises(UsageError, match="all workers are gone"):
                list(run)


def test_a_scheduler_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"--scheduler tcp://127\.0\.0\.1:1: cannot be reached"):
        DaskCluster("tcp://127.0.0.1:1", reach=2.0)


def test_a_scheduler_without_workers() -> None:
    with a_lab(0) as (lab, _), pytest.raises(UsageError, match="has no workers"):
        DaskCluster(lab.address, reach=60.0, first=1.0)


def test_the_command_with_a_scheduler_answers_as_without(tmp_path: Path) -> None:
    """And on two clusters, each of which is shipped."""
    (tmp_path / "s.yaml").write_text(
        "- name: scale\n  changes: [{scale: deployment/shop/cart, replicas: 4}]\n"
        "- name: bad\n  changes: [{delete: pod/no/such}]\n"
    )
    given = ("--delete-each", "--scenarios", tmp_path / "s.yaml", "-o", "jsonl")

    def timeless_lines(text: str) -> list[str]:
        text = re.sub(r'"milliseconds":[0-9.e-]+', '"milliseconds":0', text)
        return sorted(text.splitlines())

    with a_lab(2) as (lab, _):
        for clusters in (("-f", SHOP), ("--cluster", f"a={SHOP}", "--cluster", f"b={SHOP}")):
            here = run("bulk", *clusters, *given)
            there = run("bulk", *clusters, *given, "--scheduler", lab.address)
            assert here.status == there.status
            assert timeless_lines(there.out) == timeless_lines(here.out)
