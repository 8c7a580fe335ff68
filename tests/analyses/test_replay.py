"""Traffic against policies: what breaks, what is used, what is distinguished."""

from __future__ import annotations

from kubeverdict.analyses.replay import Replay, replay
from kubeverdict.analyses.traffic import LogReading, collect
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.policy import Policy
from kubeverdict.model.ports import Protocol
from tests.analyses.test_recommend_property import Lines
from tests.clusters.records import block, cluster, pod, pods_in, policy, tcp

PODS = [
    pod("shop/web-0", "app=web", workload="web"),
    pod("shop/web-1", "app=web", workload="web"),
    pod("shop/db-0", "app=db", workload="db", kind="StatefulSet"),
]
DB = policy(
    "shop/db",
    "app=db",
    ingress=[
        ([pods_in("shop", "app=web")], [tcp(5432)]),
        ([pods_in("shop", "app=web")], [tcp(5432, 5440)]),
        ([pods_in("shop", "app=backup")], [tcp(5432)]),
        ([block("203.0.113.0/24")], [tcp(5432)]),
    ],
)


def seen(source: str, destination: str, port: int, what: Seen = Seen.ARRIVED) -> FlowRecord:
    def end(text: str) -> FlowEnd:
        namespace, slash, name = text.partition("/")
        return FlowEnd(namespace, name) if slash else FlowEnd(address=text, outside=True)

    return FlowRecord(end(source), end(destination), Protocol.TCP, port, what)


def replayed(
    *found: FlowRecord,
    policies: tuple[Policy, ...] = (DB,),
    present: tuple[Policy, ...] | None = None,
) -> Replay:
    def compiled(given: tuple[Policy, ...]) -> Cluster:
        return cluster(PODS, given)

    reading = LogReading()
    batches = collect([Lines(found)], cluster(PODS), reading)
    before = None if present is None else compile_cluster(compiled(present))
    return replay(batches, compile_cluster(compiled(policies)), reading, before)


def test_what_breaks_is_put_together_by_workload() -> None:
    report = replayed(
        *[seen("shop/web-0", "shop/db-0", 80)] * 3,
        seen("shop/web-1", "shop/db-0", 80),
        seen("shop/web-1", "shop/db-0", 5432),
        seen("198.51.100.1", "shop/db-0", 5432),
        seen("198.51.100.2", "shop/db-0", 5432),
    )
    assert (report.allowed.connections, report.allowed.records) == (1, 1)
    assert (report.breaking.connections, report.breaking.records) == (4, 6)
    first, second = report.breaks
    assert (first.source_workload, first.destination_workload, first.port) == (
        "shop/web[Deployment]",
        "shop/db[StatefulSet]",
        "80/TCP",
    )
    assert (first.records, first.connections) == (4, 2)
    assert first.egress.allowed and not first.ingress.allowed
    assert first.ingress.isolated_by[0].policy.name == "shop/db"
    # Addresses that no policy distinguishes are one group.
    assert (second.source_workload, second.connections) == ("198.51.100.1", 2)


def test_denials_are_counted_apart() -> None:
    report = replayed(
        seen("shop/web-0", "shop/db-0", 80, Seen.DENIED),
        seen("shop/web-0", "shop/db-0", 5432, Seen.DENIED),
    )
    assert report.breaking.records == 0
    assert (report.refused.records, report.admitted.records) == (1, 1)
    assert [group.port for group in report.admits] == ["5432/TCP"]


def test_rules_that_nothing_used() -> None:
    report = replayed(seen("shop/web-0", "shop/db-0", 5432), seen("203.0.113.9", "shop/db-0", 5432))
    assert report.rules == 4
    assert [(one.rule.field, one.shadowed) for one in report.idle] == [
        ("spec.ingress[1]", True),
        ("spec.ingress[2]", False),
    ]
    assert (report.pairs_seen, report.pairs_allowed) == (1, 6)


def test_what_a_proposal_breaks_and_what_was_broken_before() -> None:
    deny = policy("shop/none", "app=web", ingress=[])
    report = replayed(
        seen("shop/web-0", "shop/db-0", 80),
        seen("shop/db-0", "shop/web-0", 80),
        policies=(DB, deny),
        present=(DB,),
    )
    assert report.proposed
    assert (report.breaking.connections, report.broken_by_change.connections) == (2, 1)
    assert {group.source: group.before for group in report.breaks} == {
        "shop/web-0": False,
        "shop/db-0": True,
    }
