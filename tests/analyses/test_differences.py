from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.analyses.connections import Connections, connections
from kubeverdict.analyses.differences import Differences, differences
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import Policy
from tests.analyses.reading import covers, in_workloads, is_listed, opens
from tests.clusters.generated import changes, ends, services
from tests.clusters.records import block, cluster, pod, pods_where, policy, tcp
from tests.oracle import Oracle
from tests.oracle_parts import FAMILIES

WEB = [pod(f"shop/web-{n}", f"app=web,n={n}", f"10.0.0.{n + 1}", workload="web") for n in (0, 1)]
DB = pod("data/db-0", "app=db", "10.0.1.1", workload="db", kind="StatefulSet")
CLOSED = policy("shop/closed", ingress=[], egress=None)


def into_db(*rules: tuple[str, int]) -> Policy:
    return policy(
        "data/in", "app=db", ingress=[([pods_where("", text)], [tcp(port)]) for text, port in rules]
    )


def report(*made: Policy, pods: list[Pod] | None = None) -> Connections:
    return connections(compile_cluster(cluster(pods or [*WEB, DB], [*made, CLOSED])))


def lines(old: Connections, new: Connections) -> list[tuple[str, str, str, str, str]]:
    """The changes between pods."""
    return [
        (one.kind, str(one.source), str(one.destination), str(one.before), str(one.after))
        for one in differences(old, new).changes
        if one.source.whole and one.destination.whole
    ]


def test_added_removed_and_changed() -> None:
    ours = ("shop/web[Deployment]", "data/db[StatefulSet]")
    none, one, other = (
        report(into_db()),
        report(into_db(("app=web", 80))),
        report(into_db(("app=web", 443))),
    )
    assert lines(none, one) == [("added", *ours, "none", "TCP 80")]
    assert lines(one, none) == [("removed", *ours, "TCP 80", "none")]
    assert lines(one, other) == [("changed", *ours, "TCP 80", "TCP 443")]
    assert lines(one, one) == []


def test_a_workload_that_is_torn_apart_is_compared_pod_by_pod() -> None:
    whole, part = report(into_db(("app=web", 80))), report(into_db(("n=0", 80)))
    assert lines(whole, part) == [
        (
            "removed",
            "shop/web[Deployment]{web-1}",
            "data/db[StatefulSet]",
            "TCP 80",
            "none",
        )
    ]


def test_pods_under_new_names_are_no_difference() -> None:
    renamed = [
        pod(f"shop/web-new-{n}", f"app=web,n={n}", f"10.0.9.{n}", workload="web") for n in "12"
    ]
    old = report(into_db(("app=web", 80)))
    new = report(into_db(("app=web", 80)), pods=[*renamed, DB])
    assert differences(old, new).changes == ()


def test_workloads_of_one_input_only() -> None:
    old, new = report(into_db()), report(into_db(), pods=[DB])
    found = differences(old, new)
    assert (found.appeared, found.gone) == ((), ("shop/web[Deployment]",))
    assert all("web" in f"{one.source}{one.destination}" for one in found.changes)


def test_ranges_are_compared_piece_by_piece() -> None:
    def out(*blocks: str) -> Connections:
        peers = [block(text) for text in blocks]
        made = policy("data/p", "app=db", ingress=[], egress=[(peers, [tcp(443)])])
        return connections(compile_cluster(cluster([DB], [made])))

    found = differences(out("10.0.0.0/8"), out("10.0.0.0/9", "11.0.0.0/8")).changes
    assert [(one.kind, str(one.destination)) for one in found] == [
        ("removed", "10.128.0.0/9"),
        ("added", "11.0.0.0/8"),
    ]


def test_a_difference_in_one_family_only() -> None:
    dual = [pod(f"a/p{n}", f"n={n}", f"10.0.0.{n}", f"2001:db8::{n}") for n in (1, 2)]

    def into(*blocks: str) -> Connections:
        made = policy("a/in", "n=1", ingress=[([block(text) for text in blocks], [tcp(80)])])
        return connections(compile_cluster(cluster(dual, [made])))

    found = differences(into("10.0.0.0/8", "2001:db8::/32"), into("10.0.0.0/8")).changes
    assert [(one.kind, one.family) for one in found if one.source.whole] == [("removed", "IPv6")]


@settings(max_examples=12)
@given(changes(tiers=True), st.booleans())
def test_a_change_is_where_one_report_lists_what_the_other_does_not(
    versions: tuple[Cluster, Cluster], by_pod: bool
) -> None:
    old, new = map(in_workloads, versions)
    compared = [
        connections(compile_cluster(made), by_pod=by_pod, families=(4, 6)) for made in (old, new)
    ]
    found = differences(*compared)
    oracles = [Oracle(made) for made in (old, new)]
    in_one_only = set(map(str, oracles[0].managed)) ^ set(map(str, oracles[1].managed))
    everyone = [end for end in map(str, ends(new, oracles[1].managed)) if end not in in_one_only]
    by_key = {str(end): end for end in ends(new, oracles[1].managed)}
    asked = dict.fromkeys([*services(old), *services(new)])
    for one in everyone:
        for other in everyone:
            source, destination = by_key[one], by_key[other]
            if source is destination or not (
                isinstance(source, Pod) or isinstance(destination, Pod)
            ):
                continue
            for family in FAMILIES:
                for protocol, port in asked:
                    if protocol.has_ports and not port:
                        continue
                    before, after = (
                        is_listed(side, source, destination, protocol, port, family)
                        for side in compared
                    )
                    changed = [
                        (opens(change.before, protocol, port), opens(change.after, protocol, port))
                        for change in found.changes
                        if change.family in ("", f"IPv{family}")
                        and any(covers(change.source, source, side) for side in compared)
                        and any(covers(change.destination, destination, side) for side in compared)
                    ]
                    if before != after:
                        assert changed == [(before, after)]
                    else:
                        assert all(one == other for one, other in changed)


def test_the_report_of_nothing() -> None:
    nothing = connections(compile_cluster(Cluster()))
    assert differences(nothing, nothing) == Differences("reference", (), (), ())
