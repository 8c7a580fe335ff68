"""What is recommended where there are policies of other tiers than NetworkPolicies, and the proof
of it, against the oracle on the clusters before and after."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.finished import with_finished
from kubeverdict.analyses.judged_traffic import Count, judged
from kubeverdict.analyses.recommend import Recommendation
from kubeverdict.analyses.recommend.baselines import BASELINES
from kubeverdict.analyses.recommend.permits import Alone
from kubeverdict.analyses.recommend.proof import Proof, Recommended, prove
from kubeverdict.analyses.recommend.shapes import DraftPolicy
from kubeverdict.analyses.replay import Log
from kubeverdict.analyses.traffic import Traffic
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import METADATA_NAME, Cluster, Namespace, Pod
from kubeverdict.model.policy import (
    NETWORK_POLICY_ORDER,
    NETWORK_POLICY_TIER,
    Action,
    Direction,
    Policy,
    Rule,
    Tier,
)
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.model.sources import field_text
from kubeverdict.render.recommend import json as as_json
from kubeverdict.render.recommend import table
from kubeverdict.render.style import Style
from tests.analyses.test_recommend_property import read_back, recommended, traffic_of
from tests.clusters.conditions import CONDITIONS, bound, with_conditions
from tests.clusters.generated import Probe, clusters, probes, random_cluster, random_probes
from tests.clusters.policies import ADMIN, BASELINE, MESH, MIDDLE
from tests.clusters.records import allow, pod, policy_of, xy_cluster
from tests.counting import port_runs
from tests.oracle import Oracle, OracleVerdict
from tests.verbs.plain import Plain, small_cluster


class Run(NamedTuple):
    """One recommendation, with what it came from and what it leads to."""

    found: Recommendation
    proof: Proof
    before: Cluster
    after: Cluster
    traffic: Traffic
    profile: Profile


def run(
    cluster: Cluster,
    asked: Sequence[Probe],
    profile: Profile = REFERENCE,
    baselines: Sequence[str] = (),
) -> Run:
    cluster = with_finished(cluster)
    traffic, reading = traffic_of(cluster, asked)
    found, proof, after = recommended(cluster, profile, traffic, reading, baselines)
    part = judged(compile_cluster(cluster, profile), traffic)
    return Run(found, proof, cluster, after, part.traffic, profile)


def with_network_policies(cluster: Cluster, policies: Sequence[Policy]) -> Cluster:
    network = ("NetworkPolicy", NETWORK_POLICY_TIER)
    others = (one for one in cluster.policies if (one.kind, one.tier) != network)
    return replace(cluster, policies=(*others, *policies))


def opened(cluster: Cluster) -> Cluster:
    """NetworkPolicies allow everything."""
    open_to_all = [
        replace(
            policy_of(f"{one.name}/open", *map(allow, Direction)),
            order=NETWORK_POLICY_ORDER,
            tiebreak=f"{one.name}/knp.default.open",
        )
        for one in cluster.namespaces
    ]
    return with_network_policies(cluster, open_to_all)


class Bounds(NamedTuple):
    """What the oracle says of connections where as much as possible is allowed, and as little."""

    most: list[bool]
    least: list[bool]


def bounds(cluster: Cluster, traffic: Traffic, profile: Profile = REFERENCE) -> Bounds:
    pods = {(pod.namespace, pod.name): pod for pod in cluster.pods}
    ends: list[Pod | str] = [
        pods[one.pod.namespace, one.pod.name] if one.pod else one.address for one in traffic.ends
    ]
    columns = (traffic.source, traffic.destination, traffic.protocol, traffic.port)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))

    def allowed(at_least: bool) -> list[bool]:
        oracle = Oracle(bound(cluster, at_least), profile)
        return [
            oracle.judge(ends[source], ends[destination], Protocol(protocol), port).allowed
            for source, destination, protocol, port in rows
        ]

    return Bounds(allowed(False), allowed(True))


def check(given: Run) -> None:
    """The proof says what the oracle does, and all that NetworkPolicies can let through is."""
    found, proof, traffic = given.found, given.proof, given.traffic
    before, after, reach = (
        bounds(cluster, traffic, given.profile)
        for cluster in (given.before, given.after, opened(given.before))
    )
    seen = traffic.observed.tolist()

    def counted(which: Sequence[bool]) -> Count:
        return Count(sum(n for n, one in zip(seen, which, strict=True) if one), sum(which))

    def both(one: Sequence[bool], other: Sequence[bool]) -> list[bool]:
        return [a and b for a, b in zip(one, other, strict=True)]

    def none(one: Sequence[bool]) -> list[bool]:
        return [not each for each in one]

    # Nothing is blocked, whatever conditions come to.
    assert proof.blocked == Count() and proof.blocked_groups == ()
    assert not any(both(before.most, none(after.most)) + both(before.least, none(after.least)))
    # All that can be let through is, and no more is said to be.
    assert after == reach
    assert found.out_of_reach == proof.still_denied == counted(none(reach.most))
    assert sum(one.connections for one in proof.still_denied_groups) == sum(none(reach.most))
    assert proof.repaired == counted(both(none(before.most), after.most))
    depends = counted(both(after.most, none(after.least)))
    assert found.conditional == proof.conditional == depends
    assert sum(one.connections for one in proof.conditional_groups) == depends.connections
    for group in proof.conditional_groups:
        assert "conditional" in (group.egress.reason, group.ingress.reason)
    assert proof.selects_nothing == ()
    for draft in found.policies:
        denies_all = draft.name == "recommended-default-deny"
        assert denies_all or draft.ingress or draft.egress, "a policy without a rule"


@settings(max_examples=200)
@given(st.data())
def test_all_that_can_be_let_through_is_and_the_rest_is_said(data: st.DataObject) -> None:
    cluster = data.draw(clusters(tiers=True, max_pods=5))
    if data.draw(st.booleans()):
        cluster = with_conditions(cluster, data.draw(st.integers(0, 99)))
    asked = data.draw(probes(cluster, Oracle(cluster).managed))
    check(run(cluster, asked[:30]))


# No NetworkPolicy of the others lets nodes in but one that lets in everything.
ABLE = [one for one in PROFILES.values() if one.ipblock_matches_nodes]


def larger(seed: int, count: int = 80) -> Run:
    made = with_conditions(random_cluster(seed, pods=12, policies=10, tiers=True), seed)
    profile = ABLE[seed % len(ABLE)]
    asked = random_probes(made, Oracle(made, profile).managed, count, seed)
    return run(made, asked, profile, BASELINES if seed % 3 == 0 else ())


@pytest.mark.parametrize("seed", range(40))
def test_the_same_on_larger_clusters(seed: int) -> None:
    check(larger(seed))


def test_some_are_out_of_reach_and_some_depend_on_conditions() -> None:
    runs = [larger(seed) for seed in range(16)]
    assert sum(one.found.out_of_reach.connections for one in runs) > 30
    assert sum(one.found.conditional.connections for one in runs) > 4


# -- how far recommended policies go ---------------------------------------------------------


def some_flows(plain: Plain, seed: int, count: int = 12) -> list[Probe]:
    choose = Random(seed).choice
    pods, ports = plain.oracle.managed, plain.ports
    found = []
    for _ in range(count if pods else 0):
        ends = choose(pods), choose(choose((pods, pods, plain.anyone)))
        source, destination = ends if choose((True, False)) else ends[::-1]
        found.append(Probe(source, destination, *choose(ports), None))
    return found


def deciding(verdict: OracleVerdict) -> tuple[str, str] | None:
    """The recommended rule that a connection is counted for."""
    for decided in (verdict.ingress, verdict.egress):
        if isinstance(decided, tuple):
            owner, rule = decided
            return str(owner), field_text(rule.source.path)
    return None


@pytest.mark.parametrize("seed", range(100))
def test_what_is_permitted_is_what_gets_through(seed: int) -> None:
    cluster = small_cluster(seed, pods=5, policies=8)
    if seed % 2:
        cluster = with_conditions(cluster, seed)
    given = run(cluster, some_flows(Plain(cluster), seed))
    drafts = read_back(given.found)
    bare = Oracle(replace(given.before, policies=drafts))
    beside = [
        Oracle(with_network_policies(bound(given.before, at_least), drafts))
        for at_least in (False, True)
    ]
    permitted, by_itself = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    conditionally = 0
    for source, destination in permutations(bare.managed, 2):
        for ports in port_runs(*beside):
            flow = source, destination, ports.protocol, ports.first
            own = bare.judge(*flow)
            rule = deciding(own)
            most, least = (oracle.judge(*flow).allowed for oracle in beside)
            if rule is not None:
                by_itself[rule] += ports.size * own.allowed
                permitted[rule] += ports.size * most
                conditionally += ports.size * (most and not least)
    proof = given.proof
    assert proof.permitted == permitted.total()
    assert proof.permitted_conditionally == conditionally
    told = {(one.rule.policy.name, one.rule.field): one for one in proof.excess}
    assert {one: each.permitted for one, each in told.items() if each.unseen} == {
        one: number for one, number in permitted.items() if number > seen_by(given, bare, one)
    }
    assert {(one.policy.name, one.field) for one in proof.without_effect} == {
        one for one, number in by_itself.items() if number and not permitted[one]
    }


def seen_by(given: Run, bare: Oracle, rule: tuple[str, str]) -> int:
    """Connections between different pods that were seen and get through, counted for a rule."""
    traffic, after = (
        given.traffic,
        bounds(with_network_policies(given.before, bare.policies), given.traffic),
    )
    pods = {(pod.namespace, pod.name): pod for pod in given.before.pods}
    found = 0
    for row, allowed in enumerate(after.most):
        source, destination = (
            traffic.ends[int(column[row])] for column in (traffic.source, traffic.destination)
        )
        protocol = Protocol(int(traffic.protocol[row]))
        if source.pod is None or destination.pod is None or source is destination:
            continue
        ends = [pods[one.pod.namespace, one.pod.name] for one in (source, destination) if one.pod]
        if not (allowed and protocol.has_ports and all(one in bare.managed for one in ends)):
            continue
        verdict = bare.judge(ends[0], ends[1], protocol, int(traffic.port[row]))
        found += deciding(verdict) == rule
    return found


# -- by hand ---------------------------------------------------------------------------------

INGRESS, EGRESS = Direction
A, B, C = (
    pod(f"{space}/{name}", {"app": name}, f"10.0.0.{number}")
    for number, (space, name) in enumerate((("x", "a"), ("y", "b"), ("y", "c")), start=1)
)
LOG = Log(1, 1, (), 0, (), (), 0)


def port(number: int) -> tuple[PortRange, ...]:
    return (PortRange(Protocol.TCP, number, number),)


def admin(*rules: Rule, tier: Tier = ADMIN) -> Policy:
    return policy_of("admin", *rules, isolates=(), tier=tier)


def denies(number: int, action: Action = Action.DENY) -> Rule:
    return allow(INGRESS, None, port(number), action)


def recommend_for(*policies: Policy, seen: Sequence[int] = (80,)) -> Run:
    """Connections from x/a to y/b were seen."""
    given = run(
        xy_cluster((A, B, C), *policies),
        [Probe(A, B, Protocol.TCP, number, None) for number in seen],
    )
    check(given)
    return given


def comments(given: Run) -> set[str]:
    rules = (rule for one in given.found.policies for rule in (one.ingress or ()))
    return {text for rule in rules for text in rule.why}


def text_of(given: Run) -> str:
    return table(Recommended(given.found, given.proof, LOG), Style())


def test_what_an_admin_tier_denies_is_not_drafted_and_is_said() -> None:
    given = recommend_for(admin(denies(81)), seen=(80, 81))
    assert {spec for one in given.found.policies for spec in ports_of(one)} == {80}
    assert given.found.out_of_reach == Count(1, 1)
    assert "1 connection (1 record) that policies of another tier deny" in text_of(given)
    assert "ingress denied by admin" in text_of(given)


def ports_of(draft: DraftPolicy) -> set[int | str]:
    rules = (*(draft.ingress or ()), *(draft.egress or ()))
    return {number for rule in rules for _, number in rule.ports or ()}


def test_who_was_only_seen_trying_gets_no_policy() -> None:
    given = recommend_for(admin(denies(80)))
    assert given.found.policies == ()
    tried = {one.workload: one.out_of_reach for one in given.found.silent}
    assert tried == {"x/a[Pod]": True, "y/b[Pod]": True, "y/c[Pod]": False}
    assert "because no NetworkPolicy lets through what was seen of them" in text_of(given)


@pytest.mark.parametrize(
    "other",
    [
        policy_of("middle", isolates=(INGRESS,), tier=MIDDLE),
        policy_of("mesh", isolates=(INGRESS,), tier=Tier(0.0, "mesh", layer=MESH)),
        replace(policy_of("y/before", denies(80), isolates=(), order=-1.0), kind="Other"),
    ],
)
def test_who_denies_by_another_policy_is_not_overruled(other: Policy) -> None:
    given = recommend_for(other)
    assert given.found.out_of_reach == Count(1, 1) and given.found.policies == ()


def test_what_an_admin_tier_allows_is_drafted_so_that_it_stays_without_it() -> None:
    given = recommend_for(admin(denies(80, Action.ALLOW)))
    assert "1 record allowed by NetworkPolicy admin before any NetworkPolicy" in comments(given)
    assert (given.proof.permitted, given.proof.seen) == (1, 1)
    drafts = [one for one in given.after.policies if one.name != "admin"]
    alone = Oracle(replace(given.after, policies=drafts))
    assert alone.judge(A, B, Protocol.TCP, 80).allowed
    assert not alone.judge(A, C, Protocol.TCP, 80).allowed


def test_what_is_passed_on_and_what_a_baseline_denies_is_drafted() -> None:
    passing = allow(INGRESS, None, None, Action.PASS)
    given = recommend_for(admin(passing), replace(admin(denies(80), tier=BASELINE), name="base"))
    assert given.found.out_of_reach == Count() and given.proof.repaired == Count(1, 1)
    assert comments(given) == {"1 record: x/a[Pod]"}


def test_what_depends_on_a_condition_is_drafted_and_said() -> None:
    given = recommend_for(admin(replace(denies(80), condition=CONDITIONS[0])))
    assert given.found.conditional == given.proof.conditional == Count(1, 1)
    assert f"1 record allowed only under a condition: {CONDITIONS[0]}" in comments(given)
    assert given.proof.permitted_conditionally == 1 and given.proof.is_sound
    text = text_of(given)
    assert "1 allowed only under the conditions of rules" in text
    assert f"ingress depends on a condition: {CONDITIONS[0]}" in text
    assert "0 beyond that; 1 only under the conditions of rules" in text
    told = json.loads(as_json(Recommended(given.found, given.proof, LOG), Style()))
    assert told["conditional"] == {"records": 1, "connections": 1}
    (group,) = told["proof"]["depends"]
    assert group["ingress"]["reason"] == "conditional"


def test_an_admin_tier_that_may_allow_is_not_counted_on() -> None:
    given = recommend_for(admin(replace(denies(80, Action.ALLOW), condition=CONDITIONS[0])))
    assert given.found.conditional == Count() and comments(given) == {"1 record: x/a[Pod]"}


def test_the_proof_fails_where_a_condition_decides_whether_something_is_blocked() -> None:
    perhaps = admin(replace(denies(80, Action.ALLOW), condition=CONDITIONS[0]))
    before = xy_cluster((A, B, C), perhaps)
    wrong = policy_of("y/recommended", isolates=(INGRESS,))
    traffic, _ = traffic_of(before, [Probe(A, B, Protocol.TCP, 80, None)])
    after = replace(before, policies=(*before.policies, wrong))
    alone = Alone.of(before, [wrong], REFERENCE, False)
    proof = prove(compile_cluster(before), compile_cluster(after), alone, traffic)
    assert not proof.is_sound and proof.blocked == Count(1, 1)
    (group,) = proof.blocked_groups
    assert group.ingress.reason == "conditional" and group.ingress.conditions == CONDITIONS[:1]


def test_a_rule_of_which_an_admin_tier_denies_everything_is_told() -> None:
    dns = pod("kube-system/dns", "k8s-app=kube-dns", "10.0.0.9")
    no_dns = [
        allow(EGRESS, None, (PortRange(protocol, 53, 53),), Action.DENY, number)
        for number, protocol in enumerate((Protocol.UDP, Protocol.TCP))
    ]
    made = xy_cluster((A, B, dns), admin(*no_dns))
    spaces = (*made.namespaces, Namespace("kube-system", {METADATA_NAME: "kube-system"}))
    given = run(replace(made, namespaces=spaces), [Probe(A, B, Protocol.TCP, 80, None)])
    told = {(one.policy.name, one.field) for one in given.proof.without_effect}
    assert told == {("x/recommended-a", "spec.egress[0]")}
    assert "rules of which policies of other tiers deny everything" in text_of(given)
