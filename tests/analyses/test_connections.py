from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.connections import EVERYTHING, Connections, Selection, connections
from kubeverdict.analyses.external import families_in_use
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import BlockPeer, Direction, EndSet, ExceptPeer, NamedPeer
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.analyses.reading import in_workloads, is_listed
from tests.clusters.generated import (
    clusters,
    ends,
    profiles,
    random_cluster,
    services,
    without_icmp_types,
)
from tests.clusters.records import (
    allow,
    block,
    cluster,
    pod,
    pods_in,
    pods_where,
    policy,
    tcp,
    udp,
)
from tests.oracle import Oracle, Reason
from tests.oracle_parts import FAMILIES


def agree(made: Cluster, profile: Profile, by_pod: bool = False) -> None:
    """The report and the oracle say the same of every connection between pods, and between a pod
    and the addresses at the edges of blocks."""
    report = connections(compile_cluster(made, profile), by_pod=by_pod, families=(4, 6))
    oracle = Oracle(made, profile)
    everyone = ends(made, oracle.managed)
    asked = [
        (protocol, port)
        for protocol, port in services(made)
        if (port or not protocol.has_ports)
        and not (protocol is Protocol.ICMP and profile.icmp == "always")
    ]
    in_use = {ip_address(address) for one in oracle.managed for address in one.addresses}
    for source in everyone:
        for destination in everyone:
            if source is destination or not {type(source), type(destination)} & {Pod}:
                continue
            texts = [end for end in (source, destination) if isinstance(end, str)]
            if any(ip_address(text) in in_use for text in texts):
                continue  # that is the pod, which is asked about as such
            for family in FAMILIES:
                shared = oracle.end(source).has(family) and oracle.end(destination).has(family)
                if not shared:
                    continue
                for protocol, port in asked:
                    verdict = oracle.judge(source, destination, protocol, port, family)
                    if Reason.OWN_NODE in (verdict.egress, verdict.ingress):
                        break
                    listed = is_listed(report, source, destination, protocol, port, family)
                    assert listed == verdict.allowed, (source, destination, protocol, port, family)


@settings(max_examples=60)
@given(clusters(tiers=True, max_pods=5).map(without_icmp_types), profiles(), st.booleans())
def test_the_report_is_what_the_oracle_says(made: Cluster, profile: Profile, by_pod: bool) -> None:
    agree(in_workloads(made), profile, by_pod)


def table(report: Connections) -> list[tuple[str, str, str]]:
    return [(str(one.source), str(one.destination), str(one.ports)) for one in report.connections]


def lines(
    made: Cluster, by_pod: bool = False, selection: Selection = EVERYTHING
) -> list[tuple[str, str, str]]:
    """The rows between pods; those with addresses are looked at on their own."""
    report = connections(compile_cluster(made, REFERENCE), by_pod=by_pod, selection=selection)
    return [row for row in table(report) if "." not in row[0] + row[1]]


WEB = [pod(f"shop/web-{n}", f"app=web,n={n}", f"10.0.0.{n + 1}", workload="web") for n in (0, 1, 2)]
DB = pod("data/db-0", "app=db", "10.0.1.1", workload="db", kind="StatefulSet")
IN = [policy("data/in", "app=db", ingress=[([pods_where("", "app=web")], [tcp(5432), udp(53)])])]


def test_workloads_whose_pods_agree_are_one_line() -> None:
    assert lines(cluster([*WEB, DB], IN)) == [
        ("data/db[StatefulSet]", "shop/web[Deployment]", "all connections"),
        ("shop/web[Deployment]", "data/db[StatefulSet]", "TCP 5432,UDP 53"),
        ("shop/web[Deployment]", "shop/web[Deployment]", "all connections"),
    ]


def test_pods_that_are_treated_otherwise_are_shown_apart() -> None:
    only_first = policy("data/in", "app=db", ingress=[([pods_where("", "n=0")], [tcp(5432)])])
    apart = lines(cluster([*WEB, DB], [only_first]))
    assert apart == [
        ("data/db[StatefulSet]", "shop/web[Deployment]", "all connections"),
        ("shop/web[Deployment]", "shop/web[Deployment]", "all connections"),
        ("shop/web[Deployment]{web-0}", "data/db[StatefulSet]", "TCP 5432"),
    ]


def test_parts_that_get_different_ports_are_lines_of_their_own() -> None:
    both = policy(
        "data/in",
        "app=db",
        ingress=[([pods_where("", "n=0")], [tcp(5432)]), ([pods_where("", "app=web")], [tcp(80)])],
    )
    found = [row for row in lines(cluster([*WEB, DB], [both])) if row[1].startswith("data")]
    assert found == [
        ("shop/web[Deployment]{web-0}", "data/db[StatefulSet]", "TCP 80,5432"),
        ("shop/web[Deployment]{web-1,web-2}", "data/db[StatefulSet]", "TCP 80"),
    ]


def test_a_pod_alone_is_not_connected_with_itself() -> None:
    assert lines(cluster([DB])) == []
    assert lines(cluster(WEB[:2])) == [
        ("shop/web[Deployment]", "shop/web[Deployment]", "all connections")
    ]
    # web-0 may only be reached by its like, and it is the only one of its kind.
    alone = policy("shop/in", "n=0", ingress=[([pods_in("shop", "n=0")], None)])
    assert lines(cluster(WEB[:2], [alone])) == [
        ("shop/web[Deployment]", "shop/web[Deployment]{web-1}", "all connections")
    ]


def test_pods_instead_of_workloads() -> None:
    found = lines(cluster([*WEB[:2], DB], IN), by_pod=True)
    assert ("shop/web-1[Pod]", "data/db-0[Pod]", "TCP 5432,UDP 53") in found
    assert len(found) == 2 + 2 + 2


def outside(*rules: str, excepts: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    peers = [block(text, *excepts) for text in rules]
    made = cluster([DB], [policy("data/p", "app=db", ingress=[], egress=[(peers, [tcp(443)])])])
    return table(connections(compile_cluster(made)))


def test_addresses_with_the_same_ports_are_one_peer() -> None:
    assert outside("0.0.0.0/0") == [("data/db[StatefulSet]", "0.0.0.0/0", "TCP 443")]
    assert outside("10.0.0.0/25", "10.0.0.128/25") == [
        ("data/db[StatefulSet]", "10.0.0.0/24", "TCP 443")
    ]
    assert outside("0.0.0.0/0", excepts=("10.0.0.0/8", "192.168.0.0/16")) == [
        ("data/db[StatefulSet]", "0.0.0.0/0 except 10.0.0.0/8, 192.168.0.0/16", "TCP 443"),
    ]


def test_each_range_is_a_peer_where_that_is_asked_for() -> None:
    peers = [block("0.0.0.0/0", "10.0.0.0/8")]
    made = cluster([DB], [policy("data/p", "app=db", ingress=[], egress=[(peers, [tcp(443)])])])
    assert table(connections(compile_cluster(made), by_range=True)) == [
        ("data/db[StatefulSet]", "0.0.0.0-9.255.255.255", "TCP 443"),
        ("data/db[StatefulSet]", "11.0.0.0-255.255.255.255", "TCP 443"),
    ]


V6_NODE = pod("kube/agent", "", "2001:db8::7", host_network=True)


@pytest.mark.parametrize(
    ("pods", "rules", "expected"),
    [
        # Without any address it is taken for a cluster of IPv4.
        ([pod("a/b")], [], {"0.0.0.0/0"}),
        ([pod("a/b", "", "10.0.0.1")], [], {"0.0.0.0/0"}),
        ([pod("a/b", "", "2001:db8::1")], [], {"::/0"}),
        ([pod("a/b", "", "10.0.0.1", "2001:db8::1")], [], {"0.0.0.0/0", "::/0"}),
        # A rule that names IPv6 is enough; that pods have no IPv4 it does not say.
        ([pod("a/b")], [block("::/0")], {"0.0.0.0/0", "::/0"}),
        ([pod("a/b", "", "10.0.0.1"), V6_NODE], [], {"0.0.0.0/0"}),
        ([pod("a/b"), V6_NODE], [], {"::/0"}),
    ],
)
def test_only_families_that_are_in_use_are_said(
    pods: list[Pod], rules: list[BlockPeer], expected: set[str]
) -> None:
    policies = [policy("a/p", egress=[(rules, None)])] if rules else []
    compiled = compile_cluster(cluster(pods, policies))
    report = connections(compiled)
    assert {str(one.source) for one in report.connections if not one.source.whole} == expected


def test_a_family_that_only_an_exclusion_names_is_in_use() -> None:
    peer = ExceptPeer(NamedPeer(EndSet.ALL), (block("2001:db8::/32"),))
    written = policy("a/p", ingress=[])
    rule = allow(Direction.INGRESS, (peer,))
    made = cluster([pod("a/b", "", "10.0.0.1")], [replace(written, rules=(rule,))])
    assert families_in_use(made) == {4, 6}


def test_ranges_are_said_of_both_families() -> None:
    report = connections(compile_cluster(cluster([pod("a/b")])), by_range=True)
    assert table(report) == [
        ("a/b[Pod]", "0.0.0.0-255.255.255.255", "all connections"),
        ("a/b[Pod]", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "all connections"),
        ("0.0.0.0-255.255.255.255", "a/b[Pod]", "all connections"),
        ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "a/b[Pod]", "all connections"),
    ]


def test_families_that_differ_are_named() -> None:
    dual = [pod(f"a/p{n}", f"n={n}", f"10.0.0.{n}", f"2001:db8::{n}") for n in (1, 2)]
    only_v4 = policy("a/in", "n=1", ingress=[([block("10.0.0.0/8")], [tcp(80)])])
    report = connections(compile_cluster(cluster(dual, [only_v4])))
    pods = [one for one in report.connections if one.source.whole and one.destination.whole]
    assert [(str(one.source), str(one.ports), one.family) for one in pods] == [
        ("a/p1[Pod]", "all connections", ""),
        ("a/p2[Pod]", "TCP 80", "IPv4"),
    ]


def test_a_node_that_blocks_do_not_match_is_cut_out_of_its_range() -> None:
    made = cluster(
        [DB, pod("kube/agent", "", "192.168.0.7", host_network=True)],
        [policy("data/p", "app=db", ingress=[([block("192.168.0.0/24")], None)])],
    )
    found = table(connections(compile_cluster(made, PROFILES["cilium"])))
    assert [row[0] for row in found if row[1].startswith("data")] == [
        "192.168.0.0/24 except 192.168.0.7",
    ]


def test_icmp_that_the_cni_lets_through_is_no_connection() -> None:
    made = cluster(WEB, [policy("shop/deny", ingress=[])])
    report = connections(compile_cluster(made, PROFILES["kube-router"]))
    assert not [one for one in report.connections if one.destination.whole]


def test_focus() -> None:
    made = cluster([*WEB, DB], IN)
    assert lines(made, selection=Selection(focus="data/db")) == [
        ("data/db[StatefulSet]", "shop/web[Deployment]", "all connections"),
        ("shop/web[Deployment]", "data/db[StatefulSet]", "TCP 5432,UDP 53"),
    ]
    # A pod is shown by itself.
    assert lines(made, selection=Selection(focus="shop/web-0", direction=Direction.EGRESS)) == [
        ("shop/web-0[Pod]", "data/db[StatefulSet]", "TCP 5432,UDP 53"),
        ("shop/web-0[Pod]", "shop/web[Deployment]", "all connections"),
    ]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        (Direction.INGRESS, [("shop/web[Deployment]", "data/db[StatefulSet]", "TCP 5432,UDP 53")]),
        (Direction.EGRESS, [("data/db[StatefulSet]", "shop/web[Deployment]", "all connections")]),
    ],
)
def test_direction_is_that_of_the_focus_or_the_namespace(
    direction: Direction, expected: list[tuple[str, str, str]]
) -> None:
    made = cluster([*WEB, DB], IN)
    for selection in (
        Selection(focus="data/db", direction=direction),
        Selection(namespaces=("data",), direction=direction),
    ):
        assert lines(made, selection=selection) == expected


def test_focus_and_namespace_together() -> None:
    made = cluster([*WEB, DB, pod("ops/probe", "", "10.0.2.1")])
    found = lines(made, selection=Selection(focus="data/db", namespaces=("ops",)))
    assert [row[:2] for row in found] == [
        ("data/db[StatefulSet]", "ops/probe[Pod]"),
        ("ops/probe[Pod]", "data/db[StatefulSet]"),
    ]


@settings(max_examples=30)
@given(st.integers(0, 50), st.sampled_from([None, *Direction]))
def test_a_selection_only_leaves_out(seed: int, direction: Direction | None) -> None:
    compiled = compile_cluster(random_cluster(seed, pods=12, policies=6))
    everything = connections(compiled)
    namespace = compiled.cluster.namespaces[0].name
    selected = connections(compiled, selection=Selection("", (namespace,), direction))
    assert table(selected) == [
        row
        for row, one in zip(table(everything), everything.connections, strict=True)
        if (direction is not Direction.EGRESS and one.destination.namespace == namespace)
        or (direction is not Direction.INGRESS and one.source.namespace == namespace)
    ]


def test_selections_that_cannot_be() -> None:
    compiled = compile_cluster(cluster([*WEB, DB]))
    for selection, message in (
        (Selection(focus="shop/wob"), 'did you mean "web"'),
        (Selection(namespaces=("shopp",)), 'did you mean "shop"'),
        (Selection(direction=Direction.INGRESS), "--direction needs"),
        (Selection(focus="8.8.8.8"), "is not a pod or workload"),
    ):
        with pytest.raises(UsageError, match=message):
            connections(compiled, selection=selection)


def test_nobody() -> None:
    assert list(connections(compile_cluster(Cluster())).connections) == []
