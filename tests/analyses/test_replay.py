"""Traffic against policies: what breaks, what is used, what is told apart."""

from __future__ import annotations

import numpy as np
import pytest

from kubeverdict.analyses.replay import Replay, judged, only, replay
from kubeverdict.analyses.rule_use import RuleUse
from kubeverdict.analyses.traffic import LogReading, Traffic, collect
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.policy import Direction, Policy, Rule
from kubeverdict.model.ports import Protocol
from tests.analyses.clusters import block, cluster, pod, pods_in, policy, tcp
from tests.analyses.test_recommend_property import Lines, traffic_of
from tests.generated import random_cluster, random_probes
from tests.oracle import Oracle
from tests.oracle_parts import Flow

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
    # Addresses that no policy tells apart are one group.
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


def naive_use(oracle: Oracle, traffic: Traffic) -> tuple[set[Rule], set[Rule]]:
    """The rules that decide a connection that gets through, and those that match one."""
    decided, matched = set[Rule](), set[Rule]()
    pods = {(pod.namespace, pod.name): pod for pod in oracle.cluster.pods}

    def end(number: int) -> Pod | str:
        one = traffic.ends[number]
        return pods[one.pod.namespace, one.pod.name] if one.pod else one.address

    for row in range(len(traffic)):
        source, destination = end(int(traffic.source[row])), end(int(traffic.destination[row]))
        protocol, port = Protocol(int(traffic.protocol[row])), int(traffic.port[row])
        verdict = oracle.judge(source, destination, protocol, port)
        if not verdict.allowed:
            continue
        decided |= {one[1] for one in (verdict.egress, verdict.ingress) if isinstance(one, tuple)}
        opener, answerer = oracle.end(source), oracle.end(destination)
        families: tuple[Family, ...] = (4, 6)
        family = next(one for one in families if opener.has(one) and answerer.has(one))
        flow = Flow(opener, answerer, protocol, port, family)
        for listed in oracle.policies:
            for rule in listed.rules:
                out = rule.direction is Direction.EGRESS
                subject, other = (opener, answerer) if out else (answerer, opener)
                if (
                    subject.pod is not None
                    and oracle._is_subject(listed, subject.pod)
                    and oracle._rule_matches(listed, rule, other, flow)
                ):
                    matched.add(rule)
    return decided, matched


@pytest.mark.parametrize("seed", range(6))
def test_counts_and_use_of_rules_on_generated_clusters(seed: int) -> None:
    made = random_cluster(seed, pods=40, policies=25)
    compiled = compile_cluster(made)
    asked = random_probes(made, list(compiled.pods), 300, seed)
    traffic, reading = traffic_of(made, asked)
    report = replay([traffic], compiled, reading)
    judged_records = report.allowed.records + report.breaking.records
    lost = sum(one.records for one in report.log.lost)
    assert judged_records + lost == len(asked)
    assert sum(group.records for group in report.breaks) == report.breaking.records
    decided, matched = naive_use(Oracle(made), judged(compiled, traffic).traffic)
    expected = {
        (str(ref.policy), ref.rule.direction.word, ref.rule.index): ref.rule in matched
        for ref in compiled.rules
        if ref.rule not in decided
    }
    use = _use(compiled, traffic)
    assert use == expected
    assert len(report.idle) == len(expected)


def _use(compiled: CompiledPolicy, traffic: Traffic) -> dict[tuple[str, str, int], bool]:
    """Rules that decided nothing: whether they matched anything."""
    part = judged(compiled, traffic)
    part = only(part, part.verdicts.allowed)
    protocol = part.traffic.protocol.astype(int)
    place = np.where(protocol < 3, protocol * 65536 + part.traffic.port, 3 * 65536 + protocol - 3)
    use = RuleUse(compiled)
    atoms = compiled.ports.table[place]
    use.add(part.source, part.destination, atoms, part.traffic.observed, part.verdicts)
    found = {}
    for numbers, matches in ((use.idle, False), (use.shadowed, True)):
        for number in numbers:
            ref = compiled.rules[number]
            found[str(ref.policy), ref.rule.direction.word, ref.rule.index] = matches
    return found
