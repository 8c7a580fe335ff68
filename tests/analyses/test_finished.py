"""Workloads of which only finished pods are left still have them, for questions about the past."""

from __future__ import annotations

from kubeverdict.analyses.finished import with_finished
from kubeverdict.analyses.judged_traffic import judged
from kubeverdict.compile.compiler import compile_cluster
from tests.analyses.test_attribution import OUT, collected, named, record
from tests.clusters.records import cluster, pod, policy


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
