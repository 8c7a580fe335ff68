"""Flow logs against policies: from disk, and once they are parsed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.logged import hubble_file
from bench.workloads import cluster
from kubeverdict import flowlogs
from kubeverdict.analyses.attribution import TrafficEnd
from kubeverdict.analyses.judged_traffic import judged
from kubeverdict.analyses.replay import Replay, replay
from kubeverdict.analyses.traffic import LogReading, Traffic, collect
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster

LINES = 1_000_000
FLOWS = 5_000_000
FOLDER = Path(__file__).parents[1] / "build" / "workloads"


class Mixed(NamedTuple):
    cluster: Cluster
    compiled: CompiledPolicy


@pytest.fixture(scope="module")
def mixed() -> Mixed:
    made = cluster("mixed", 50_000, 5_000)
    return Mixed(made, compile_cluster(made))


def bench_lines_from_disk(measure: Measure, record: Record, mixed: Mixed) -> None:
    path = hubble_file(FOLDER / f"mixed-50000-{LINES}.hubble.jsonl", mixed.cluster, LINES)

    def run() -> Replay:
        reading = LogReading()
        batches = flowlogs.read([str(path)])
        return replay(collect(batches, mixed.cluster, reading), mixed.compiled, reading)

    report, median = measure(run, rounds=3)
    log = report.log
    assert (log.lines, log.malformed) == (LINES, 0)
    assert log.records + sum(one.records for one in log.skipped) == LINES
    judged_records = report.allowed.records + report.breaking.records
    assert judged_records + sum(one.records for one in log.lost) == log.records
    rate = LINES / median * 60
    record(
        Figure("Hubble lines replayed from disk, mixed 50k/5k", rate / 1e6, "M/min", 2, "at least")
    )


def bench_flows_once_parsed(measure: Measure, record: Record, mixed: Mixed) -> None:
    """Distinct connections between random pods, by endpoint id and judged."""
    random = np.random.default_rng(1)
    ends = [TrafficEnd(str(pod), pod=pod) for pod in mixed.cluster.pods]
    traffic = Traffic(
        ends,
        random.integers(len(ends), size=FLOWS, dtype=np.int32),
        random.integers(len(ends), size=FLOWS, dtype=np.int32),
        random.choice(np.array([0, 0, 0, 1], np.int8), FLOWS),
        random.choice(np.array([80, 443, 8080, 9090, 53], np.int32), FLOWS),
        np.ones(FLOWS, np.int64),
        np.zeros(FLOWS, np.int64),
    )
    # As they are collected.
    order = np.lexsort((traffic.port, traffic.protocol, traffic.destination, traffic.source))
    traffic = traffic.rows(order)
    part, median = measure(judged, mixed.compiled, traffic, rounds=5)
    assert part.verdicts.allowed.size == FLOWS
    record(
        Figure(
            "deduplicated flows judged, mixed 50k/5k", FLOWS / median / 1e6, "M/s", 5, "at least"
        )
    )
    report, median = measure_replay(traffic, mixed)
    assert report.allowed.connections + report.breaking.connections == FLOWS
    record(Figure("the same with the report, mostly denials", FLOWS / median / 1e6, "M/s"))


def measure_replay(traffic: Traffic, mixed: Mixed) -> tuple[Replay, float]:
    from time import perf_counter

    started = perf_counter()
    report = replay([traffic], mixed.compiled, LogReading())
    return report, perf_counter() - started
