"""Policies from traffic, and the proof of them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.logged import distinct
from bench.workloads import cluster
from kubeverdict.analyses.recommend import DraftOptions, Recommendation, recommend
from kubeverdict.analyses.recommend.permits import Alone
from kubeverdict.analyses.recommend.proof import Proof, prove
from kubeverdict.analyses.traffic import LogReading, Traffic, collect
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import Problem
from kubeverdict.manifests import Loaded, apply
from kubeverdict.manifests.loading import load_text
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.flows import FlowRecord
from kubeverdict.model.profile import REFERENCE
from kubeverdict.render.policies import policies as written

FLOWS = 1_000_000
WORKLOADS = 5_000


class LoggedLines:
    """Records as a reader of logs hands them over."""

    def __init__(self, records: list[FlowRecord]) -> None:
        self.records = records
        self.lines = len(records)
        self.skipped: Counter[str] = Counter()
        self.malformed: list[Problem] = []


class Given(NamedTuple):
    cluster: Cluster
    traffic: Traffic


@pytest.fixture(scope="module")
def given() -> Given:
    """About 5,000 workloads of a mixed cluster, and a million different connections."""
    whole = cluster("mixed", 50_000, 5_000)
    refs = list(dict.fromkeys(pod.workload for pod in whole.pods))[:WORKLOADS]
    chosen = set(refs)
    pods = tuple(pod for pod in whole.pods if pod.workload in chosen)
    made = Cluster(whole.namespaces, pods, whole.policies, whole.nodes, whole.services)
    (traffic,) = collect([LoggedLines(distinct(made, FLOWS))], made, LogReading(), None)
    return Given(made, traffic)


def bench_recommend(measure: Measure, record: Record, given: Given) -> None:
    """Everything after the logs are read: policies, their text, reading that back, the proof."""

    def run() -> tuple[Recommendation, Proof]:
        names = tuple(sorted({pod.namespace for pod in given.cluster.pods}))
        options = DraftOptions(namespaces=names)
        found = recommend(given.cluster, REFERENCE, False, given.traffic, LogReading(), options)
        by_space: dict[str, list[object]] = {}
        for draft in found.policies:
            by_space.setdefault(draft.namespace, []).append(draft)
        read = tuple(
            policy
            for name, drafts in by_space.items()
            for policy in load_text(name, written(drafts).encode()).cluster.policies  # type: ignore[arg-type]
        )
        after = apply(given.cluster, Loaded(Cluster(policies=read)))
        before, applied = (compile_cluster(one) for one in (given.cluster, after))
        alone = Alone.of(given.cluster, read, REFERENCE, False)
        return found, prove(before, applied, alone, given.traffic)

    (found, proof), median = measure(run, rounds=1)
    assert proof.blocked.connections == 0
    assert proof.still_denied.connections == 0
    assert proof.selects_nothing == ()
    assert len(given.traffic) >= FLOWS
    policies = len(found.policies)
    what = f"recommend and prove, {WORKLOADS:,} workloads, 1 M flows ({policies:,} policies)"
    record(Figure(what, median, "s", 30))
