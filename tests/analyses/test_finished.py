"""Workloads of which only finished pods are left still have them, for questions about the past."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import astuple, replace

from kubeverdict.analyses.finished import edit_with_finished, with_finished
from kubeverdict.analyses.judged_traffic import judged
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited
from kubeverdict.model.profile import REFERENCE
from kubeverdict.session.session import Session
from tests.analyses.test_attribution import OUT, collected, named, record
from tests.clusters.edits import some_cluster
from tests.clusters.records import cluster, pod, policy
from tests.compile.test_edits import agree, any_edit


def test_a_job_that_is_done_is_judged_by_its_labels() -> None:
    job = pod("shop/job-1", "app=job", "10.0.0.5", workload="job", kind="Job", phase="Succeeded")
    web = pod("shop/web-0", "app=web", "10.0.0.5", workload="web")
    old = pod("shop/web-1", "app=web", "10.0.0.6", workload="web", phase="Failed")
    made = cluster([job, web, old], [policy("shop/none", "app=job", egress=[])])
    kept = with_finished(made)
    assert [(one.name, one.addresses, one.phase) for one in kept.pods] == [
        ("job-1", (), ""),
        ("web-0", ("10.0.0.5",), "Running"),
        ("web-1", ("10.0.0.6",), "Failed"),
    ]
    traffic, reading = collected(
        record(named("shop/job-1"), OUT), record(named("shop/web-1"), OUT), inside=made
    )
    part = judged(compile_cluster(kept), traffic, reading)
    assert part.verdicts.allowed.tolist() == [False]
    (reason,) = reading.unattributed
    assert reason.startswith("pods that take no part: ") and "finished" in reason


def test_nothing_changes_where_nothing_is_finished() -> None:
    made = cluster([pod("shop/web-0", "app=web", "10.0.0.5")])
    assert with_finished(made) is made


def test_a_workload_that_gets_its_first_running_pod() -> None:
    """Its finished pods do not come back any more; they do where the last running pod goes."""
    done = pod("shop/job-1", "app=job", "10.0.0.5", workload="job", kind="Job", phase="Succeeded")
    runs = pod("shop/job-2", "app=job", "10.0.0.6", workload="job", kind="Job")
    starts = Edit("", pods_in=(runs,))
    made = edit_with_finished(cluster([done]), starts)
    assert {one.name: one.phase for one in made.pods_in} == {
        "job-1": "Succeeded",
        "job-2": "Running",
    }
    ends = Edit("", pods_out=(("shop", "job-2"),))
    made = edit_with_finished(cluster([done, runs]), ends)
    assert made.pods_out == (("shop", "job-2"),)
    assert [(one.name, one.phase, one.addresses) for one in made.pods_in] == [("job-1", "", ())]


@pytest.mark.parametrize("seed", range(12))
def test_a_change_of_a_cluster_with_finished_pods(seed: int) -> None:
    """What is judged by following the change is what compiling the changed cluster gives."""
    random = Random(seed)

    def some_finished(one: Cluster) -> Cluster:
        pods = tuple(
            replace(each, phase="Succeeded") if random.random() < 0.4 else each for each in one.pods
        )
        return replace(one, pods=pods)

    made, other = (some_finished(some_cluster(one, 12, 6)) for one in (seed, seed + 100))
    session = Session.of(with_finished(made), REFERENCE)
    for step in range(4):
        edit = any_edit(random, made, other)
        judged_ = session.judge(edit_with_finished(made, edit)).compiled
        assert by_key(judged_.cluster) == by_key(with_finished(edited(made, edit)))
        agree(judged_, judged_.cluster, step)


def by_key(made: Cluster) -> dict[tuple[str, str], object]:
    return {(one.namespace, one.name): astuple(one) for one in made.pods}
