"""Workers of a Dask cluster say of scenarios on clusters with tiers what this process says."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from kubeverdict import snapshots
from kubeverdict.analyses.bulk import ScenarioReport
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.distributed.client import DaskCluster
from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
from kubeverdict.manifests.scenarios import Scenario, relabel_each
from kubeverdict.session.pipeline import ReportOptions, reports
from kubeverdict.session.version import Version
from tests.clusters.conditions import with_conditions
from tests.distributed.test_workers import a_lab
from tests.verbs.plain import small_cluster

SEEDS = range(16)
Told = dict[tuple[str, str], ScenarioReport]


def told(found: Iterable[tuple[str, ScenarioReport]]) -> Told:
    return {(name, one.name): replace(one, milliseconds=0.0) for name, one in found}


def here(name: str, bench: Workbench, scenarios: list[Scenario]) -> Told:
    version = Version(0, bench.compiled, bench)
    return told((name, one) for one in reports(version, scenarios, ReportOptions()))


def test_two_workers_answer_as_this_process() -> None:
    made = {str(seed): with_conditions(small_cluster(seed, pods=6), seed) for seed in SEEDS}
    benches = {name: workbench(compile_cluster(cluster)) for name, cluster in made.items()}
    scenarios = [
        one
        for name, cluster in made.items()
        for label in ("app=web", "app-", "tier=db")
        for one in relabel_each(cluster, label)
    ]
    unique = list({one.name: one for one in scenarios}.values())
    shipped = {name: snapshots.to_bytes(bench.compiled, bench) for name, bench in benches.items()}
    with a_lab(2) as (lab, _), DaskCluster(lab.address, reach=60.0) as dask:
        found = told(
            (name, report) for name, _, report in dask.judge(shipped, unique, ReportOptions())
        )
    expected: Told = {}
    for name, bench in benches.items():
        expected |= here(name, bench, unique)
    assert found == expected
    assert any(one.changes for one in found.values()) and any(one.error for one in found.values())
