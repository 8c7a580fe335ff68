"""Assertions about a large cluster: those of a platform team, in the mixture that they write."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.workloads import cluster
from kubeverdict.analyses.verify.report import Verification
from kubeverdict.analyses.verify.verifying import verify
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.manifests.assertions import read_assertions
from kubeverdict.model.assertions import Assertions
from kubeverdict.model.cluster import Cluster

COUNT = 1_000
# Connections of assertions that are judged one by one, to compare with.
SAMPLE = 20


@pytest.fixture(scope="module")
def mixed() -> Cluster:
    return cluster("mixed", 50_000, 5_000)


@pytest.fixture(scope="module")
def compiled(mixed: Cluster) -> CompiledPolicy:
    return compile_cluster(mixed)


def written(mixed: Cluster) -> str:
    """Assertions about workloads, labels, namespaces, zones and addresses, a fifth each."""
    random = Random(1)
    refs = list(dict.fromkeys(pod.workload for pod in mixed.pods))
    names = [namespace.name for namespace in mixed.namespaces]
    teams = sorted({pod.labels.get("team", "") for pod in mixed.pods} - {""})
    lines = ["zones:"]
    lines += [
        f"  team-{number}: {{podSelector: {{matchLabels: {{team: {team}}}}}}}"
        for number, team in enumerate(teams)
    ]
    lines += ["assertions:"]
    for number in range(COUNT):
        one, other = random.sample(refs, 2)
        here, there = random.sample(names, 2)
        kind = number % 5
        lines.append(f"  - name: assertion-{number}")
        workload = f"{one.kind}/{one.namespace}/{one.name}"
        target = f"{other.kind}/{other.namespace}/{other.name}"
        if kind == 0:
            lines.append(f"    deny: {{from: {workload}, to: {target}}}")
        elif kind == 1:
            lines.append(f"    deny: {{from: {{namespace: {here}}}, to: {{namespace: {there}}}}}")
        elif kind == 2:
            lines.append(f"    only: {{from: {{namespace: {there}}}}}")
            lines.append(f"    to: {target}")
        elif kind == 3:
            zone = f"team-{random.randrange(len(teams))}"
            lines.append(f"    deny: {{from: {zone}, to: {target}}}")
        else:
            lines.append(f"    allow: {{from: {workload}, to: 203.0.113.0/24}}")
        lines.append("    ports: [443, 8080-8090/TCP]" if number % 2 else "    ports: [5432]")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def assertions(mixed: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Assertions:
    path: Path = tmp_path_factory.mktemp("assertions") / "assertions.yaml"
    path.write_text(written(mixed))
    return read_assertions([str(path)])


def check(compiled: CompiledPolicy, report: Verification) -> None:
    """Violations are so, one connection at a time."""
    ids = {str(pod): number for number, pod in enumerate(compiled.pods)}
    violations = [
        (result, one)
        for result in report.results
        for one in result.violations
        if one.sample[0] in ids and one.sample[1] in ids
    ]
    assert violations
    for result, one in Random(2).sample(violations, min(SAMPLE, len(violations))):
        source, destination, _ = one.sample
        port = int(one.sample[2].split()[1])
        verdicts = judge(compiled, [ids[source]], [ids[destination]], [0], [port])
        assert bool(verdicts.allowed[0]) == (result.should == "allowed")


def bench_assertions(
    measure: Measure, record: Record, compiled: CompiledPolicy, assertions: Assertions
) -> None:
    report, median = measure(verify, compiled, assertions, rounds=5)
    assert len(report.results) == COUNT
    assert not report.failed
    check(compiled, report)
    record(Figure("1,000 assertions, mixed 50k/5k", median, "s", 1.0))
    record(Figure("violations among them", sum(len(r.violations) for r in report.results), ""))


def bench_reading_assertions(
    measure: Measure, record: Record, mixed: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "assertions.yaml"
    path.write_text(written(mixed))
    _, median = measure(read_assertions, [str(path)], rounds=5)
    record(Figure("1,000 assertions read", median, "s"))


def bench_any(
    measure: Measure, record: Record, compiled: CompiledPolicy, assertions: Assertions
) -> None:
    """For pods that could be created: each assertion has a small cluster of its own."""
    some = Assertions(assertions.assertions[:50])
    report, median = measure(lambda: verify(compiled, some, anyone=True), rounds=3)
    assert not report.failed
    record(Figure("an assertion for any pod, mixed 50k/5k", median / 50 * 1e3, "ms"))
