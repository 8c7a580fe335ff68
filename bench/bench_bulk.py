"""Many scenarios against one cluster, and one against a snapshot of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter

import numpy as np
import pytest
from msgspec.structs import replace

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.workloads import cluster
from kubeverdict import snapshots
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.scenarios import pod_batches, policy_batches, recompile
from kubeverdict.evaluate.scenarios.outcome import ANYTHING
from kubeverdict.evaluate.scenarios.workbench import Workbench, evaluate, switched, workbench
from kubeverdict.manifests.scenarios import delete_each
from kubeverdict.model.cluster import Cluster, Pod, WorkloadRef
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.session.pipeline import ReportOptions, reports
from kubeverdict.session.version import Version

# Scenarios whose answer is compared with compiling the changed cluster as a whole.
SAMPLE = 4
CORES = len(os.sched_getaffinity(0))


class Bench:
    """A cluster made ready once, and its scenarios."""

    def __init__(self, shape: str, pods: int, policies: int | None = None) -> None:
        self.cluster: Cluster = cluster(shape, pods, policies)
        self.bench: Workbench = workbench(compile_cluster(self.cluster))

    def deletes(self, most: int = 10_000) -> list[Edit]:
        edits = [Edit(str(p), policies_out=(policy_key(p),)) for p in self.cluster.policies]
        return edits if len(edits) <= most else Random(1).sample(edits, most)

    def workloads(self) -> dict[WorkloadRef, list[Pod]]:
        found: dict[WorkloadRef, list[Pod]] = {}
        for pod in self.cluster.pods:
            found.setdefault(pod.workload, []).append(pod)
        return found

    def relabels(self) -> list[Edit]:
        """Each workload moves to another tier of its application."""
        return [
            Edit(f"label {ref}", pods_in=tuple(_tier(pod, "backend") for pod in pods))
            for ref, pods in self.workloads().items()
        ]

    def scalings(self) -> list[Edit]:
        """Each workload gets two more pods."""
        return [
            Edit(
                f"scale {ref}",
                pods_in=tuple(
                    replace(pods[0], name=f"{pods[0].name}-{copy}", addresses=(), phase="")
                    for copy in range(2)
                ),
            )
            for ref, pods in self.workloads().items()
        ]

    def prepared(self, edits: list[Edit]) -> policy_batches.Prepared:
        batch = policy_batches.PolicyBatch(self.bench.compiled)
        for number, edit in enumerate(edits):
            batch.add(number, *switched(self.bench, edit))
        return policy_batches.prepare(self.bench.overlay, batch)

    def check(self, edits: list[Edit]) -> None:
        """The bulk answer equals a full recompile, on a sample."""
        sample = Random(2).sample(edits, SAMPLE)
        compiled = self.bench.compiled
        for edit, found in zip(sample, evaluate(self.bench, sample), strict=True):
            new = compile_cluster(edited(self.cluster, edit))
            expected = recompile.outcome("", compiled, new, ANYTHING, 0)
            assert found.counts == expected.counts
            assert (found.workloads, found.namespaces) == (
                expected.workloads,
                expected.namespaces,
            )
            assert not found.recompiled


def _tier(pod: Pod, tier: str) -> Pod:
    return replace(pod, labels={**pod.labels, "tier": tier})


@pytest.fixture(scope="module")
def mixed() -> Bench:
    return Bench("mixed", 50_000, 5_000)


@pytest.fixture(scope="module")
def rates() -> dict[str, float]:
    """Scenarios a second, by what they are, as the benchmarks below find them."""
    return {}


def measured(measure: Measure, judge: Callable[[], object], count: int, rounds: int = 7) -> float:
    _, median = measure(judge, rounds=rounds)
    return count / median


def bench_policy_scenarios_on_one_core(
    measure: Measure, record: Record, mixed: Bench, rates: dict[str, float]
) -> None:
    edits = mixed.deletes()
    prepared = mixed.prepared(edits)
    rate = measured(measure, lambda: policy_batches.judge(prepared, threads=1), len(edits))
    mixed.check(edits)
    rates["policy"] = rate
    record(Figure("bulk what-if, mixed 50k/5k, one core", rate, "/s", 20_000, "at least"))


def bench_policy_scenarios(
    measure: Measure, record: Record, mixed: Bench, rates: dict[str, float]
) -> None:
    edits = mixed.deletes()
    prepared = mixed.prepared(edits)
    rate = measured(measure, lambda: policy_batches.judge(prepared), len(edits))
    target = 60_000 if CORES >= 4 else None
    record(Figure(f"bulk what-if, mixed 50k/5k, {CORES} cores", rate, "/s", target, "at least"))
    if "policy" in rates and CORES >= 4:
        name = f"speed-up of that from 1 to {CORES} cores"
        record(Figure(name, rate / rates["policy"], "", 2.7, "at least"))


def bench_new_policies(measure: Measure, record: Record, mixed: Bench) -> None:
    """Policies of another seed, applied one by one: added to the compiled base, and judged."""
    other = cluster("mixed", 50_000, 5_000, seed=2).policies
    edits = [Edit(str(p), policies_in=(replace(p, name=f"new-{p.name}"),)) for p in other]
    prepared = mixed.prepared(edits)
    rate = measured(measure, lambda: policy_batches.judge(prepared, threads=1), len(edits), 5)
    mixed.check(edits)
    record(Figure("bulk what-if, new policies, mixed 50k/5k, one core", rate, "/s"))
    started = perf_counter()
    mixed.prepared(edits)
    rate = len(edits) / (perf_counter() - started)
    record(Figure("candidates added to mixed 50k/5k, one core", rate, "/s"))


def bench_label_scenarios(
    measure: Measure, record: Record, mixed: Bench, rates: dict[str, float]
) -> None:
    _moves(measure, record, mixed, rates, "label", mixed.relabels())


def bench_scale_scenarios(
    measure: Measure, record: Record, mixed: Bench, rates: dict[str, float]
) -> None:
    _moves(measure, record, mixed, rates, "scale", mixed.scalings())


def _moves(
    measure: Measure,
    record: Record,
    mixed: Bench,
    rates: dict[str, float],
    what: str,
    edits: list[Edit],
) -> None:
    batch = pod_batches.PodBatch(mixed.bench.compiled)
    for number, edit in enumerate(edits):
        batch.add(number, edit)
    prepared = pod_batches.prepare(mixed.bench.overlay, batch)
    rate = measured(measure, lambda: pod_batches.judge(prepared, threads=1), len(edits), 3)
    mixed.check(edits)
    record(Figure(f"{what} scenarios, mixed 50k/5k, one core", rate, "/s"))
    if "policy" in rates:
        record(Figure(f"{what} against policy scenarios", rates["policy"] / rate, "times", 5.0))


def bench_observed_density(measure: Measure, record: Record) -> None:
    made = Bench("observed", 50_000)
    edits = made.deletes()
    prepared = made.prepared(edits)
    rate = measured(measure, lambda: policy_batches.judge(prepared, threads=1), len(edits), 3)
    made.check(edits)
    record(Figure("bulk what-if, observed 50k/126k, one core", rate, "/s", 2_000, "at least"))


def bench_reports(measure: Measure, record: Record, mixed: Bench) -> None:
    """As the command makes them: examples with their rules, and why policies are redundant."""
    version = Version(0, mixed.bench.compiled, mixed.bench)
    scenarios = list(delete_each(mixed.cluster))
    rate = measured(
        measure,
        lambda: reports(version, scenarios, ReportOptions()),
        len(scenarios),
        3,
    )
    record(Figure("reports of scenarios, mixed 50k/5k", rate, "/s"))


def bench_single_what_if(measure: Measure, record: Record, mixed: Bench, tmp_path: Path) -> None:
    """From a snapshot that is open: one new or deleted policy at a time, with examples."""
    path = str(tmp_path / "mixed.kvs")
    snapshots.write(path, mixed.bench.compiled, mixed.bench)
    other = cluster("mixed", 50_000, 5_000, seed=2).policies
    edits = [Edit(str(p), policies_in=(replace(p, name=f"new-{p.name}"),)) for p in other[:400]]
    edits += mixed.deletes()[:200]
    Random(3).shuffle(edits)
    snapshot, median = measure(snapshots.read, path, rounds=5)
    record(Figure("a snapshot of mixed 50k/5k, read", median * 1e3, "ms"))
    bench = snapshot.workbench
    assert bench is not None
    evaluate(bench, edits[:20])
    times = []
    for edit in edits:
        started = perf_counter()
        evaluate(bench, [edit])
        times.append(perf_counter() - started)
    half, most = np.percentile(times, [50, 95]) * 1e3
    record(Figure("single what-if on a snapshot, median", float(half), "ms"))
    record(Figure("single what-if on a snapshot, p95", float(most), "ms", 2.0))


@pytest.mark.parametrize("pods", [10_000, 50_000, 100_000])
def bench_growth(measure: Measure, record: Record, pods: int) -> None:
    made = Bench("mixed", pods)
    edits = made.deletes()
    prepared = made.prepared(edits)
    rate = measured(measure, lambda: policy_batches.judge(prepared, threads=1), len(edits), 3)
    name = f"one of many what-ifs, mixed {pods // 1000}k"
    record(Figure(name, 1e6 / rate, "us"))
