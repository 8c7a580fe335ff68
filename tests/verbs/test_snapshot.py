"""A snapshot answers as its source does, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict import snapshots
from kubeverdict.analyses import bulk
from kubeverdict.analyses.bulk import ScenarioReport
from kubeverdict.analyses.conditional import certain_connections, certain_differences
from kubeverdict.analyses.explain import explain
from kubeverdict.analyses.questions import PortQuestion
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.scenarios.workbench import Workbench, evaluate, workbench
from kubeverdict.manifests.scenarios import relabel_each
from kubeverdict.model.edit import Edit, policy_key
from kubeverdict.render import json as as_json
from kubeverdict.render.style import Style
from kubeverdict.session.pipeline import ReportOptions, reports
from kubeverdict.session.version import Version
from tests.analyses.reading import in_workloads
from tests.clusters.conditions import with_conditions
from tests.verbs.plain import Asked, Plain, small_versions

SEEDS = range(60)
QUESTIONS = 10


def explained(compiled: CompiledPolicy, questions: list[Asked]) -> Iterator[str]:
    for asked in questions:
        port = PortQuestion("", asked.port, protocol=asked.protocol)
        found = explain(compiled, str(asked.source), str(asked.destination), port)
        yield as_json.explanation(found, Style())


def listed(compiled: CompiledPolicy) -> str:
    return "".join(as_json.connections(certain_connections(compiled), Style()))


def differing(old: CompiledPolicy, new: CompiledPolicy) -> str:
    return as_json.differences(certain_differences(old, new), Style())


def judged(bench: Workbench) -> list[ScenarioReport]:
    cluster = bench.compiled.cluster
    scenarios = list(relabel_each(cluster, "app=web"))
    found = reports(Version(0, bench.compiled, bench), scenarios, ReportOptions())
    return list(map(timeless, found))


def timeless(report: ScenarioReport) -> ScenarioReport:
    return replace(report, milliseconds=0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_answer_is_the_same(seed: int) -> None:
    old, new = (
        compile_cluster(in_workloads(with_conditions(made, seed))) for made in small_versions(seed)
    )
    bench = workbench(old)
    back = snapshots.read_bytes(snapshots.to_bytes(old, bench))
    asked = list(Plain(old.cluster).asked())
    questions = Random(seed).sample(asked, min(QUESTIONS, len(asked)))
    assert list(explained(back.compiled, questions)) == list(explained(old, questions))
    assert listed(back.compiled) == listed(old)
    assert differing(back.compiled, new) == differing(old, new)
    assert differing(new, back.compiled) == differing(new, old)
    assert back.workbench is not None
    assert judged(back.workbench) == judged(bench)


@pytest.mark.parametrize("seed", SEEDS)
def test_policies_can_be_changed_as_in_the_source(seed: int) -> None:
    """Edits of a cluster whose arrays were read from a file."""
    before, after = small_versions(seed)
    bench = workbench(compile_cluster(before))
    back = snapshots.read_bytes(snapshots.to_bytes(bench.compiled, bench)).workbench
    assert back is not None
    edits = [Edit(f"in {one}", policies_in=(one,)) for one in after.policies]
    edits += [Edit(f"out {one}", policies_out=(policy_key(one),)) for one in before.policies]
    found, expected = (
        [bulk.report(one) for one in evaluate(each, edits)] for each in (back, bench)
    )
    assert list(map(timeless, found)) == list(map(timeless, expected))
