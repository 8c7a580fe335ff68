from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.connections import connections
from kubeverdict.analyses.effects import Effect
from kubeverdict.analyses.external import families_in_use
from kubeverdict.analyses.whatif import WhatIf, opening, whatif
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Node, Pod
from kubeverdict.model.policy import Policy
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.analyses.reading import covers, in_workloads, is_listed, opens
from tests.clusters.generated import changes, ends, profiles, services
from tests.clusters.records import block, cluster, pod, pods_where, policy, tcp
from tests.oracle import Oracle
from tests.oracle_parts import FAMILIES

WEB = [pod(f"shop/web-{n}", f"app=web,n={n}", f"10.0.0.{n + 1}", workload="web") for n in (0, 1)]
DB = pod("data/db-0", "app=db", "10.0.1.1", workload="db", kind="StatefulSet")


def into_db(*rules: tuple[str, int], file: str = "policies.yaml") -> Policy:
    return policy(
        "data/in",
        "app=db",
        ingress=[([pods_where("", text)], [tcp(port)]) for text, port in rules],
        file=file,
    )


def change(old: Policy | None, new: Policy | None, pods: list[Pod] | None = None) -> WhatIf:
    return compared(
        cluster([*WEB, DB], [old] if old else []),
        cluster(pods or [*WEB, DB], [new] if new else []),
    )


def compared(old: Cluster, new: Cluster, profile: Profile = REFERENCE) -> WhatIf:
    return whatif(compile_cluster(old, profile), compile_cluster(new, profile))


def lines(effects: tuple[Effect, ...]) -> list[tuple[str, str, str, int]]:
    return [(str(one.source), str(one.destination), str(one.ports), one.pairs) for one in effects]


OURS = ("shop/web[Deployment]", "data/db[StatefulSet]")


def test_what_opens_and_what_closes_with_the_rules_behind_it() -> None:
    report = change(into_db(("app=web", 80)), into_db(("app=web", 443), file="new.yaml"))
    assert lines(report.opened) == [(*OURS, "TCP 443", 2)]
    assert lines(report.closed) == [(*OURS, "TCP 80", 2)]
    (opened,) = report.opened
    assert opened.before is not None and opened.after is not None
    assert not opened.before.allowed
    (isolating,) = opened.before.ingress.isolated_by
    assert (isolating.policy.name, isolating.policy.file) == ("data/in", "policies.yaml")
    assert opened.after.allowed and opened.after.egress.reason == "not-isolated"
    rule = opened.after.ingress.rule
    assert rule is not None
    assert (rule.policy.name, rule.field, rule.file) == ("data/in", "spec.ingress[0]", "new.yaml")
    (closed,) = report.closed
    assert closed.before is not None and closed.before.allowed
    assert closed.after is not None and not closed.after.allowed


def test_the_pods_of_a_workload_are_shown_apart() -> None:
    report = change(into_db(("app=web", 80)), into_db(("n=0", 80)))
    assert lines(report.closed) == [
        ("shop/web[Deployment]{web-1}", "data/db[StatefulSet]", "TCP 80", 1)
    ]
    assert report.opened == ()


def test_totals_are_those_of_pods() -> None:
    report = change(into_db(("app=web", 80)), into_db(("n=0", 80), ("n=0", 443)))
    (totals,) = report.pairs
    # All of 3 x 2 pairs connect at first, web-1 loses the way to the database at last.
    assert (totals.before, totals.after, totals.opened, totals.closed) == (6, 5, 1, 1)


def test_addresses_are_no_pod_pairs_and_their_rules_are_found() -> None:
    def out(*blocks: str) -> Policy:
        peers = [block(text) for text in blocks]
        return policy("data/out", "app=db", egress=[(peers, [tcp(443)])])

    report = change(out("10.0.0.0/8"), out("10.0.0.0/8", "192.0.2.0/24"))
    (effect,) = report.opened
    assert lines(report.opened) == [("data/db[StatefulSet]", "192.0.2.0/24", "TCP 443", 0)]
    assert effect.before is not None and not effect.before.allowed
    assert effect.after is not None and effect.after.egress.rule is not None
    assert effect.after.ingress.reason == "not-a-pod"


def test_a_pod_that_appears_did_not_exist_before() -> None:
    extra = pod("ops/probe", "", "10.0.2.1")
    report = change(None, None, pods=[*WEB, DB, extra])
    assert report.closed == ()
    assert all("ops/probe" in f"{one.source}{one.destination}" for one in report.opened)
    assert {one.before for one in report.opened} == {None}


def test_a_range_that_begins_with_a_node_is_explained_by_an_address_beside_it() -> None:
    """The node of the pod reaches it under any rules, which would explain nothing."""
    home = replace(DB, node="node-1")
    node = Node("node-1", ("192.0.2.0",))

    def version(*blocks: str) -> Cluster:
        peers = [block(text) for text in blocks]
        made = policy("data/in", "app=db", ingress=[(peers, None)])
        return cluster([home], [made], nodes=[node])

    (effect,) = compared(version(), version("192.0.2.0/24")).opened
    assert effect.before is not None and not effect.before.allowed
    assert effect.after is not None and effect.after.ingress.rule is not None
    # In Cilium no block matches the node, so the range begins behind it.
    (effect,) = compared(version(), version("192.0.2.0/24"), PROFILES["cilium"]).opened
    assert str(effect.source) == "192.0.2.0/24 except 192.0.2.0"
    assert effect.after is not None and effect.after.allowed


def test_no_change() -> None:
    report = change(into_db(("app=web", 80)), into_db(("app=web", 80), file="other.yaml"))
    assert report.opened == report.closed == ()
    assert [(one.before, one.after) for one in report.pairs] == [(6, 6)]


def has_family(oracle: Oracle, end: Pod | str, family: Family) -> bool:
    """Has ``end`` an address of the family in this version, or is it not there at all?"""
    if isinstance(end, str):
        return oracle.end(end).has(family)
    same = [one for one in oracle.managed if str(one) == str(end)]
    return not same or oracle.end(same[0]).has(family)


@settings(max_examples=25)
@given(changes(tiers=True), profiles(), st.data())
def test_effects_are_where_the_lists_of_both_versions_differ(
    versions: tuple[Cluster, Cluster], profile: Profile, data: st.DataObject
) -> None:
    old, new = map(in_workloads, versions)
    compiled = [compile_cluster(made, profile) for made in (old, new)]
    families = families_in_use(old, new)
    listed = [connections(one, families=families) for one in compiled]
    report = whatif(*compiled)
    oracles = [Oracle(made, profile) for made in (old, new)]
    everyone = ends(new, oracles[1].managed)
    asked = [(protocol, port) for protocol, port in [*services(old), *services(new)] if port]
    for source in everyone:
        for destination in everyone:
            if source is destination or not {type(source), type(destination)} & {Pod}:
                continue
            for family in FAMILIES:
                if not all(
                    has_family(oracle, end, family)
                    for oracle in oracles
                    for end in (source, destination)
                ):
                    continue
                protocol, port = data.draw(st.sampled_from(asked))
                before, after = (
                    is_listed(one, source, destination, protocol, port, family) for one in listed
                )
                for effects, expected in (
                    (report.opened, after and not before),
                    (report.closed, before and not after),
                ):
                    found = [
                        one
                        for one in effects
                        if one.family in ("", f"IPv{family}")
                        and any(covers(one.source, source, side) for side in listed)
                        and any(covers(one.destination, destination, side) for side in listed)
                        and opens(one.ports, protocol, port)
                    ]
                    assert len(found) == expected
                    if expected and found[0].before and found[0].after:
                        assert found[0].before.allowed == (effects is report.closed)
                        assert found[0].after.allowed == (effects is report.opened)


def test_before_a_pod_gets_other_labels_the_policies_of_its_old_ones_isolate_it() -> None:
    closed = policy("shop/closed", "app=web", ingress=[])
    pods = [pod("shop/web", "app=web", "10.0.0.1"), pod("shop/ops", "app=ops", "10.0.0.2")]
    moved = [pod("shop/web", "app=other", "10.0.0.1"), pods[1]]
    found = compared(cluster(pods, [closed]), cluster(moved, [closed])).opened
    (effect,) = (one for one in found if one.source.whole)
    assert effect.before is not None
    assert [one.policy.name for one in effect.before.ingress.isolated_by] == ["shop/closed"]


def test_policies_that_change_are_those_that_say_something_else() -> None:
    old, new = into_db(("app=web", 80)), into_db(("app=web", 80), file="new.yaml")
    other = replace(into_db(("app=web", 80)), name="other")
    name = frozenset([("NetworkPolicy", "data/in")])
    assert change(old, new).changed == frozenset()
    assert change(old, into_db(("app=web", 443))).changed == name
    assert change(old, replace(new, order=1.0)).changed == name
    assert change(old, None).changed == change(None, new).changed == name
    assert change(old, other).changed == name | {("NetworkPolicy", "data/other")}


def test_the_sample_of_a_node_is_not_a_pod_that_runs_on_it() -> None:
    """A pod and its own node may connect whatever the rules say."""
    pods = [
        pod("data/db-0", "app=db", "10.0.1.1", workload="db", node="n1"),
        pod("data/db-1", "app=db", "10.0.1.2", workload="db", node="n2"),
        pod("kube/agent", "app=agent", "10.9.0.1", node="n1", host_network=True),
    ]
    from_agent = [([pods_where("", "app=agent")], [tcp(80)])]
    node = Node("n1", ("10.9.0.1",))
    before, after = (
        cluster(pods, [policy("data/in", "app=db", ingress=rules)], nodes=[node])
        for rules in (from_agent, [])
    )
    (closed,) = compared(before, after, replace(REFERENCE, hostnetwork_peers="always")).closed
    assert str(closed.source) == "10.9.0.1"
    assert closed.before is not None and closed.before.allowed
    assert closed.after is not None and not closed.after.allowed


def test_what_is_only_counted_is_not_explained() -> None:
    pods = [*WEB, DB, *(pod(f"bare/p-{n}", "app=web", f"10.0.2.{n + 1}") for n in range(4))]
    some, others = into_db(("app=web", 80)), into_db(("app=db", 443))
    before, after = (compile_cluster(cluster(pods, [one]), REFERENCE) for one in (some, others))
    report, read = whatif(before, after), opening(before, after)
    assert len(report.closed) == 5 and not report.opened
    for listed, asked in ((report.opened, read.opened), (report.closed, read.closed)):
        assert len(asked) == len(listed) and [*asked] == [*listed]
        assert [*asked[1:3]] == [*listed[1:3]]
    assert read.closed[-1] == report.closed[-1] and read.pairs == report.pairs
