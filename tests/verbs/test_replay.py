"""Which rules a flow log used, against the way of each connection through the tiers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.judged_traffic import judged
from kubeverdict.analyses.replay import Replay, replay
from kubeverdict.analyses.traffic import LogReading, Traffic, collect
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.flows import FlowRecord, Seen
from kubeverdict.model.policy import Action, Direction, Layer, Policy, Rule, Tier
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.sources import field_text
from kubeverdict.render.replay import json as as_json
from kubeverdict.render.replay import table
from kubeverdict.render.style import Style
from tests.analyses.test_recommend_property import Lines, end_of
from tests.clusters.conditions import CONDITIONS, bound, with_conditions
from tests.clusters.generated import Probe, clusters, probes, random_cluster, random_probes
from tests.clusters.records import allow, pod, policy_of, xy_cluster
from tests.oracle import Oracle, Reason, decides_to_allow
from tests.oracle_parts import Flow

# A rule by its policy and its place there.
Name = tuple[str, str, str]
FAMILIES: tuple[Family, ...] = (4, 6)


def name(policy: Policy, rule: Rule) -> Name:
    return policy.kind, str(policy), field_text(rule.source.path)


def rules_of(cluster: Cluster) -> dict[Name, Rule]:
    return {name(one, rule): rule for one in cluster.policies for rule in one.rules}


class Use(NamedTuple):
    """The rules behind verdicts, and those that match a connection at all."""

    used: set[Name]
    matched: set[Name]


def plain_use(oracle: Oracle, traffic: Traffic) -> Use:
    """A rule that denies or passes on is used by every such connection, one that allows by those
    that are allowed in the end."""
    use = Use(set(), set())
    pods = {(pod.namespace, pod.name): pod for pod in oracle.cluster.pods}

    def end(number: int) -> Pod | str:
        one = traffic.ends[number]
        return pods[one.pod.namespace, one.pod.name] if one.pod else one.address

    for row in range(len(traffic)):
        source, destination = end(int(traffic.source[row])), end(int(traffic.destination[row]))
        protocol, port = Protocol(int(traffic.protocol[row])), int(traffic.port[row])
        verdict = oracle.judge(source, destination, protocol, port)
        opener, answerer = oracle.end(source), oracle.end(destination)
        family = next(one for one in FAMILIES if opener.has(one) and answerer.has(one))
        flow = Flow(opener, answerer, protocol, port, family)
        use.matched.update(matching(oracle, flow))
        if Reason.SELF in (verdict.egress, verdict.ingress):
            continue
        for direction in Direction:
            way = oracle.way(direction, source, destination, protocol, port, family)
            for _, layer in way.layers:
                use.used.update(name(*one) for one in layer.passed)
                allows = decides_to_allow(layer.decided)
                if isinstance(layer.decided, tuple) and (verdict.allowed or not allows):
                    use.used.add(name(*layer.decided))
                if not allows:
                    break
    return use


def matching(oracle: Oracle, flow: Flow) -> Iterator[Name]:
    for listed in oracle.policies:
        for rule in listed.rules:
            out = rule.direction is Direction.EGRESS
            subject, other = (flow.source, flow.destination)[:: 1 if out else -1]
            if (
                subject.pod is not None
                and oracle._is_subject(listed, subject.pod)
                and oracle._rule_matches(listed, rule, other, flow)
            ):
                yield name(listed, rule)


def unused(report: Replay) -> dict[Name, bool]:
    """The rules that nothing used: whether they match anything."""
    return {
        (one.rule.policy.kind, one.rule.policy.name, one.rule.field): one.shadowed
        for one in report.idle
    }


def check(cluster: Cluster, asked: Sequence[Probe], seen: Sequence[Seen]) -> Replay:
    compiled = compile_cluster(cluster)
    reading = LogReading()
    found = [
        FlowRecord(end_of(one.source), end_of(one.destination), one.protocol, one.port, what)
        for one, what in zip(asked, seen, strict=True)
    ]
    (traffic,) = collect([Lines(found)], cluster, reading, None)
    part = judged(compiled, traffic).traffic
    used, matched = set[Name](), set[Name]()
    for at_least in (False, True):
        use = plain_use(Oracle(bound(cluster, at_least)), part)
        used |= use.used
        matched |= use.matched
    report = replay([traffic], compiled, reading)
    told = unused(report)
    assert told == {one: one in matched for one in rules_of(cluster).keys() - used}
    assert len(report.idle) == len(told) and report.rules == len(rules_of(cluster))
    counts = (report.allowed, report.breaking, report.refused, report.admitted)
    both = ((part.observed > 0) & (part.denied > 0)).sum()
    assert sum(one.connections for one in counts) == len(part) + both
    assert sum(group.records for group in report.breaks) == report.breaking.records
    for group in report.breaks:
        for side in (group.egress, group.ingress):
            if side.rule is not None and not side.allowed:
                assert side.rule.action == "deny"
    return report


@settings(max_examples=200)
@given(st.data())
def test_use_of_rules_on_small_clusters(data: st.DataObject) -> None:
    cluster = data.draw(clusters(tiers=True, max_pods=5))
    if data.draw(st.booleans()):
        cluster = with_conditions(cluster, data.draw(st.integers(0, 99)))
    asked = data.draw(probes(cluster, Oracle(cluster).managed))[:60]
    seen = [data.draw(st.sampled_from([Seen.ARRIVED, Seen.DENIED])) for _ in asked]
    check(cluster, asked, seen)


@pytest.mark.parametrize("seed", range(12))
def test_use_of_rules_on_larger_clusters(seed: int) -> None:
    random = Random(seed)
    cluster = random_cluster(seed, pods=20, policies=12, tiers=True)
    if seed % 2:
        cluster = with_conditions(cluster, seed)
    asked = random_probes(cluster, Oracle(cluster).managed, 200, seed)
    check(cluster, asked, [random.choice((Seen.ARRIVED, Seen.DENIED)) for _ in asked])


def test_some_rules_of_every_action_are_used_and_some_are_not() -> None:
    rules, used = Counter[Action](), Counter[Action]()
    for seed in range(24):
        cluster = random_cluster(seed, pods=20, policies=12, tiers=True)
        asked = random_probes(cluster, Oracle(cluster).managed, 200, seed)
        report = check(cluster, asked, [Seen.DENIED] * len(asked))
        idle = unused(report)
        for one, rule in rules_of(cluster).items():
            rules[rule.action] += 1
            used[rule.action] += one not in idle
    assert all(3 < used[action] < rules[action] for action in Action)


# -- by hand ---------------------------------------------------------------------------------

ADMIN, MESH = Tier(100.0, "admin", Action.PASS), Tier(0.0, "mesh", layer=Layer(1, "mesh"))
INGRESS = Direction.INGRESS


def port(number: int) -> tuple[PortRange, ...]:
    return (PortRange(Protocol.TCP, number, number),)


def admin(*rules: Rule) -> Policy:
    return policy_of("admin", *rules, isolates=(), tier=ADMIN)


PAIR = (pod("x/a", "", "10.0.0.1"), pod("y/b", "", "10.0.0.2"))


def used_by(seen: dict[int, Seen], *policies: Policy) -> dict[str, str]:
    """What becomes of each rule where connections from x/a to y/b on some ports were seen."""
    cluster = xy_cluster(PAIR, *policies)
    asked = [Probe(*PAIR, Protocol.TCP, number, None) for number in seen]
    found = unused(check(cluster, asked, list(seen.values())))
    words = {None: "used", True: "shadowed", False: "idle"}
    return {
        f"{one[1]} {rule.index}": words[found.get(one)] for one, rule in rules_of(cluster).items()
    }


def test_a_denial_is_a_use_of_the_rule_that_denies() -> None:
    deny = allow(INGRESS, None, port(80), Action.DENY)
    other = allow(INGRESS, None, port(81), Action.DENY, index=1)
    for what in (Seen.ARRIVED, Seen.DENIED):
        found = used_by({80: what}, admin(deny, other), policy_of("y/net", allow(INGRESS)))
        assert found == {"admin 0": "used", "admin 1": "idle", "y/net 0": "shadowed"}


def test_passing_on_is_a_use_whatever_comes_of_it() -> None:
    passing = admin(allow(INGRESS, None, None, Action.PASS))
    found = used_by({80: Seen.ARRIVED}, passing, policy_of("y/net", allow(INGRESS, None, port(80))))
    assert found == {"admin 0": "used", "y/net 0": "used"}
    found = used_by({80: Seen.ARRIVED}, passing, policy_of("y/net", allow(INGRESS, None, port(81))))
    assert found == {"admin 0": "used", "y/net 0": "idle"}
    found = used_by({80: Seen.ARRIVED}, passing)
    assert found == {"admin 0": "used"}


def test_what_is_denied_at_the_other_end_uses_no_rule_that_allows() -> None:
    out = policy_of("x/out", allow(Direction.EGRESS))
    found = used_by({80: Seen.ARRIVED}, out, policy_of("y/net", allow(INGRESS, None, port(81))))
    assert found == {"x/out 0": "shadowed", "y/net 0": "idle"}


def test_every_layer_that_allows_is_used() -> None:
    mesh = policy_of("mesh", allow(INGRESS), allow(INGRESS, index=1), tier=MESH)
    found = used_by({80: Seen.ARRIVED}, policy_of("y/net", allow(INGRESS)), mesh)
    assert found == {"mesh 0": "used", "mesh 1": "shadowed", "y/net 0": "used"}
    denying = policy_of("y/net", allow(INGRESS, None, port(81)))
    found = used_by({80: Seen.ARRIVED}, denying, mesh)
    assert found == {"mesh 0": "shadowed", "mesh 1": "shadowed", "y/net 0": "idle"}


def test_a_rule_that_counts_on_a_condition_may_be_used() -> None:
    perhaps = replace(allow(INGRESS, None, port(80), Action.DENY), condition=CONDITIONS[0])
    found = used_by({80: Seen.ARRIVED}, admin(perhaps), policy_of("y/net", allow(INGRESS)))
    assert found == {"admin 0": "used", "y/net 0": "used"}
    found = used_by({81: Seen.ARRIVED}, admin(perhaps), policy_of("y/net", allow(INGRESS)))
    assert found == {"admin 0": "idle", "y/net 0": "used"}


def test_the_report_counts_and_names_rules_of_every_action() -> None:
    deny = allow(INGRESS, None, port(81), Action.DENY)
    cluster = xy_cluster(PAIR, admin(deny), policy_of("y/net", allow(INGRESS)))
    report = check(cluster, [Probe(*PAIR, Protocol.TCP, 80, None)], [Seen.ARRIVED])
    text = table(report, Style())
    assert "nothing that was seen used 1 of 2 rules" in text
    assert "spec.ingress[0] (deny)" in text and "nothing that was seen matches it" in text
    (told,) = json.loads(as_json(report, Style()))["unused_rules"]
    assert (told["policy"], told["action"], told["shadowed"]) == ("admin", "deny", False)


def test_a_connection_that_would_be_admitted_under_a_condition_says_so() -> None:
    perhaps = replace(allow(INGRESS, None, port(80)), condition=CONDITIONS[0])
    cluster = xy_cluster(PAIR, policy_of("y/net", perhaps))
    report = check(cluster, [Probe(*PAIR, Protocol.TCP, 80, None)], [Seen.DENIED])
    (group,) = report.admits
    assert group.ingress.reason == "conditional" and group.ingress.conditions == CONDITIONS[:1]
    assert f"ingress depends on a condition: {CONDITIONS[0]}" in table(report, Style())
