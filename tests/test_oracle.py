"""The oracle on cases worked out by hand, so that it is more than a second engine."""

from __future__ import annotations

import pytest

from kubeverdict.model.cluster import METADATA_NAME, ContainerPort, Node
from kubeverdict.model.policy import Action, Direction, PodPeer, Tier
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from tests.clusters.records import allow, block, label, pod, policy_of, xy_cluster
from tests.counting import ChangeCount, PairCount, count_changes, count_pairs
from tests.oracle import Decider, Oracle, OracleVerdict, Reason

TCP, UDP, SCTP, ICMP, OTHER = Protocol
INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
NOT_ISOLATED, DENIED = Reason.NOT_ISOLATED, Reason.NO_RULE_MATCHES
OUTSIDE = "203.0.113.9"

A = pod("x/a", "app=a", "10.0.0.1", "fd00::1")
B = pod("x/b", "app=b", "10.0.0.2", "fd00::2")
C = pod("y/c", "app=b", "10.0.0.3", "fd00::3")
DENY_ALL = policy_of("x/deny-all", isolates=(INGRESS, EGRESS))


def name_of(decider: Decider) -> str:
    if isinstance(decider, Reason):
        return decider.value
    return f"{decider[0].name}[{decider[1].index}]"


def said(verdict: OracleVerdict) -> tuple[bool, str, str]:
    return verdict.allowed, name_of(verdict.egress), name_of(verdict.ingress)


# -- isolation, directions, order ------------------------------------------------------------


def test_nothing_isolates_without_policies() -> None:
    verdict = Oracle(xy_cluster((A, B))).judge(A, B, TCP, 80)
    assert said(verdict) == (True, "NOT_ISOLATED", "NOT_ISOLATED")


def test_isolation_is_for_each_direction() -> None:
    oracle = Oracle(xy_cluster((A, C), policy_of("x/in", isolates=(INGRESS,))))
    assert said(oracle.judge(C, A, TCP, 80)) == (False, "NOT_ISOLATED", "NO_RULE_MATCHES")
    assert said(oracle.judge(A, C, TCP, 80)) == (True, "NOT_ISOLATED", "NOT_ISOLATED")


def test_both_ends_must_allow_and_both_are_reported() -> None:
    out = policy_of("y/out", allow(EGRESS))
    verdict = Oracle(xy_cluster((A, C), DENY_ALL, out)).judge(C, A, TCP, 80)
    assert said(verdict) == (False, "out[0]", "NO_RULE_MATCHES")


def test_policies_add_up() -> None:
    one = policy_of("x/one", allow(INGRESS, ports=(PortRange(TCP, 80, 80),)))
    two = policy_of("x/two", allow(INGRESS, ports=(PortRange(TCP, 81, 81),)))
    oracle = Oracle(xy_cluster((A, C), one, two, DENY_ALL))
    assert [oracle.judge(C, A, TCP, port).allowed for port in (79, 80, 81, 82)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_first_rule_in_order_decides() -> None:
    late = policy_of("x/b", allow(INGRESS, index=0))
    early = policy_of(
        "x/a", allow(INGRESS, ports=(PortRange(UDP),)), allow(INGRESS, index=1), isolates=(INGRESS,)
    )
    oracle = Oracle(xy_cluster((A, C), late, early))
    assert name_of(oracle.judge(C, A, TCP, 80).ingress) == "a[1]"
    assert name_of(oracle.judge(C, A, UDP, 80).ingress) == "a[0]"


def test_a_policy_selects_in_its_own_namespace_only() -> None:
    oracle = Oracle(xy_cluster((A, C), policy_of("x/deny", isolates=(INGRESS,))))
    assert oracle.judge(A, C, TCP, 80).allowed
    assert not oracle.judge(C, A, TCP, 80).allowed


# -- selectors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (label("app", "web"), ["web"]),
        (label("app", "web", ""), ["web", "empty"]),
        (label("app", "web", operator=Operator.NOT_IN), ["empty", "bare"]),
        (label("app", operator=Operator.EXISTS), ["web", "empty"]),
        (label("app", operator=Operator.DOES_NOT_EXIST), ["bare"]),
        (EVERYTHING, ["web", "empty", "bare"]),
        (
            Selector.of(
                [Requirement("app", Operator.EXISTS), Requirement("app", Operator.NOT_IN, ("",))]
            ),
            ["web"],
        ),
    ],
)
def test_selectors(selector: Selector, matches: list[str]) -> None:
    sources = {
        "web": pod("x/web", "app=web", "10.0.1.1"),
        "empty": pod("x/empty", "app=", "10.0.1.2"),
        "bare": pod("x/bare", "", "10.0.1.3"),
    }
    rule = allow(INGRESS, peers=(PodPeer(selector, namespace="x"),))
    only_a = policy_of("x/p", rule, pods=label("app", "a"))
    oracle = Oracle(xy_cluster((A, *sources.values()), only_a))
    assert [name for name, each in sources.items() if oracle.judge(each, A, TCP, 1).allowed] == (
        matches
    )


def test_pod_and_namespace_selector_of_one_peer_must_both_match() -> None:
    peer = PodPeer(label("app", "b"), namespaces=label(METADATA_NAME, "y"))
    oracle = Oracle(xy_cluster((A, B, C), policy_of("x/p", allow(INGRESS, peers=(peer,)))))
    assert oracle.judge(C, A, TCP, 80).allowed
    assert not oracle.judge(B, A, TCP, 80).allowed


def test_selectors_find_no_address_from_outside() -> None:
    every_pod = policy_of("x/p", allow(INGRESS, peers=(PodPeer(None),)))
    oracle = Oracle(xy_cluster((A, B), every_pod))
    assert oracle.judge(B, A, TCP, 80).allowed
    assert said(oracle.judge(OUTSIDE, A, TCP, 80)) == (False, "NOT_ISOLATED", "NO_RULE_MATCHES")


def test_no_peers_is_anybody_and_an_empty_list_is_nobody() -> None:
    anybody = Oracle(xy_cluster((A,), policy_of("x/p", allow(INGRESS))))
    nobody = Oracle(xy_cluster((A,), policy_of("x/p", allow(INGRESS, peers=()))))
    assert anybody.judge(OUTSIDE, A, TCP, 80).allowed
    assert not nobody.judge(OUTSIDE, A, TCP, 80).allowed


# -- ends ------------------------------------------------------------------------------------


def test_a_pod_always_reaches_itself() -> None:
    oracle = Oracle(xy_cluster((A,), DENY_ALL))
    for source, destination in ((A, A), (A, "10.0.0.1"), ("fd00::1", A), ("10.0.0.1", "fd00::1")):
        assert said(oracle.judge(source, destination, TCP, 80)) == (True, "SELF", "SELF")


def test_an_address_of_a_pod_is_that_pod_the_running_one_first() -> None:
    pending = pod("x/pending", "app=old", "10.0.0.9", phase="Pending")
    running = pod("x/running", "app=new", "10.0.0.9")
    peer = PodPeer(label("app", "new"), namespace="x")
    oracle = Oracle(
        xy_cluster((pending, running, A), policy_of("x/p", allow(INGRESS, peers=(peer,))))
    )
    assert oracle.end("10.0.0.9").pod is running
    assert oracle.judge("10.0.0.9", A, TCP, 80).allowed
    assert not oracle.judge(pending, A, TCP, 80).allowed


def test_who_is_managed() -> None:
    template = pod("x/template", phase="", template=True)
    manifest = pod("x/manifest", phase="")
    pending = pod("x/pending", phase="Pending")
    host = pod("x/host", "", "192.168.0.1", host_network=True)
    done = pod("x/done", "", "10.0.0.8", phase="Succeeded")
    everyone = xy_cluster((A, template, manifest, pending, host, done))
    assert Oracle(everyone).managed == [A, template, manifest]
    assert Oracle(everyone, static=True).managed == [A, template, manifest, pending]
    with pytest.raises(ValueError, match="x/done"):
        Oracle(everyone).judge(done, A, TCP, 80)


def test_ends_without_a_common_family_cannot_meet() -> None:
    four, six = pod("x/four", "", "10.0.0.4"), pod("x/six", "", "fd00::6")
    oracle = Oracle(xy_cluster((four, six, A)))
    nowhere = (False, "NO_ADDRESS", "NO_ADDRESS")
    assert said(oracle.judge(four, six, TCP, 80)) == nowhere
    assert said(oracle.judge(six, OUTSIDE, TCP, 80)) == nowhere
    assert said(oracle.judge(A, four, TCP, 80, family=6)) == nowhere
    assert oracle.judge(A, six, TCP, 80).allowed


def test_ipv4_comes_first_and_a_template_has_every_family() -> None:
    template = pod("x/template", phase="", template=True)
    out = policy_of("x/p", allow(EGRESS, peers=(block("fd00::/8"),)))
    oracle = Oracle(xy_cluster((A, C, template), out))
    assert not oracle.judge(A, C, TCP, 80).allowed
    assert oracle.judge(A, C, TCP, 80, family=6).allowed
    assert oracle.judge(template, "fd00::3", TCP, 80, family=6).allowed


def test_no_block_holds_a_pod_without_an_address() -> None:
    template = pod("y/template", phase="", template=True)
    both = (block("0.0.0.0/0"), block("::/0"))
    oracle = Oracle(xy_cluster((A, template), policy_of("x/p", allow(EGRESS, peers=both))))
    assert not oracle.judge(A, template, TCP, 80).allowed
    assert oracle.judge(A, OUTSIDE, TCP, 80).allowed


# -- ports -----------------------------------------------------------------------------------


def test_a_range_holds_both_ends_of_its_protocol_only() -> None:
    oracle = Oracle(
        xy_cluster((A,), policy_of("x/p", allow(INGRESS, ports=(PortRange(TCP, 80, 90),))))
    )
    assert [
        port for port in (79, 80, 85, 90, 91) if oracle.judge(OUTSIDE, A, TCP, port).allowed
    ] == [80, 85, 90]
    assert not oracle.judge(OUTSIDE, A, SCTP, 80).allowed


def test_what_has_no_ports_matches_rules_without_ports_only() -> None:
    every_port = tuple(PortRange(protocol) for protocol in (TCP, UDP, SCTP))
    narrow = Oracle(xy_cluster((A,), policy_of("x/p", allow(INGRESS, ports=every_port))))
    free = Oracle(xy_cluster((A,), policy_of("x/p", allow(INGRESS))))
    for protocol in (ICMP, OTHER):
        assert not narrow.judge(OUTSIDE, A, protocol, 0).allowed
        assert free.judge(OUTSIDE, A, protocol, 0).allowed
    assert not narrow.judge(OUTSIDE, A, TCP, 0).allowed
    assert free.judge(OUTSIDE, A, TCP, 0).allowed


HTTP = (NamedPort(TCP, "http"),)
OLD = pod("x/old", "", "10.0.2.1", ports=(ContainerPort("http", TCP, 80),))
NEW = pod("x/new", "", "10.0.2.2", ports=(ContainerPort("http", TCP, 8080),))


def test_a_named_port_is_the_destination_pods() -> None:
    into = policy_of("x/into", allow(INGRESS, ports=HTTP))
    out = policy_of("y/out", allow(EGRESS, ports=HTTP))
    oracle = Oracle(xy_cluster((OLD, NEW, C), into, out))
    for destination, open_port in ((OLD, 80), (NEW, 8080)):
        for port in (80, 8080):
            verdict = oracle.judge(C, destination, TCP, port)
            assert verdict.allowed is (port == open_port)
            assert (verdict.egress is DENIED) is (port != open_port)
    assert not oracle.judge(C, OLD, UDP, 80).allowed
    assert not oracle.judge(C, OUTSIDE, TCP, 80).allowed


# -- blocks ----------------------------------------------------------------------------------


def test_an_except_takes_away_from_its_own_block_only() -> None:
    peers = (block("203.0.113.0/24", "203.0.113.0/28"), block("203.0.113.8/30"))
    oracle = Oracle(xy_cluster((A,), policy_of("x/p", allow(EGRESS, peers=peers))))
    allowed = [
        last
        for last in (0, 7, 8, 11, 12, 15, 16, 255)
        if oracle.judge(A, f"203.0.113.{last}", TCP, 80).allowed
    ]
    assert allowed == [8, 11, 16, 255]


def test_blocks_are_of_one_family() -> None:
    oracle = Oracle(xy_cluster((A,), policy_of("x/p", allow(EGRESS, peers=(block("0.0.0.0/0"),)))))
    assert oracle.judge(A, OUTSIDE, TCP, 80).allowed
    assert not oracle.judge(A, "2001:db8::9", TCP, 80).allowed


# -- nodes -----------------------------------------------------------------------------------

NODE = Node("node-1", ("192.168.0.1",))
OTHER_NODE = Node("node-2", ("192.168.0.2",))
HERE = pod("x/here", "", "10.0.3.1", node="node-1")
AGENT = pod("y/agent", "app=agent", "192.168.0.1", node="node-1", host_network=True)


def test_a_pods_own_node_comes_in() -> None:
    oracle = Oracle(xy_cluster((HERE, AGENT), DENY_ALL, nodes=(NODE, OTHER_NODE)))
    assert said(oracle.judge("192.168.0.1", HERE, TCP, 80)) == (True, "NOT_ISOLATED", "OWN_NODE")
    assert said(oracle.judge(AGENT, HERE, TCP, 80)) == (True, "NOT_ISOLATED", "OWN_NODE")
    assert not oracle.judge("192.168.0.2", HERE, TCP, 80).allowed
    assert said(oracle.judge(HERE, AGENT, TCP, 80)) == (False, "NO_RULE_MATCHES", "NOT_ISOLATED")


def test_a_host_network_pod_tells_an_address_of_its_node() -> None:
    oracle = Oracle(xy_cluster((HERE, AGENT), DENY_ALL))
    assert name_of(oracle.judge("192.168.0.1", HERE, TCP, 80).ingress) == "OWN_NODE"


def test_host_network_pods_are_neither_subjects_nor_peers() -> None:
    deny_agents = policy_of("y/deny", isolates=(INGRESS, EGRESS))
    from_agents = policy_of("x/p", allow(INGRESS, peers=(PodPeer(label("app", "agent")),)))
    from_nodes = policy_of("x/q", allow(INGRESS, peers=(block("192.168.0.1/32"),)), pods=EVERYTHING)
    oracle = Oracle(xy_cluster((A, AGENT), deny_agents, from_agents))
    assert said(oracle.judge(AGENT, A, TCP, 80)) == (False, "NOT_ISOLATED", "NO_RULE_MATCHES")
    assert oracle.judge(A, AGENT, TCP, 80).allowed
    assert Oracle(xy_cluster((A, AGENT), from_nodes)).judge(AGENT, A, TCP, 80).allowed


# -- tiers -----------------------------------------------------------------------------------

ADMIN = Tier(100.0, "admin", Action.PASS)
BASELINE = Tier(2_000_000.0, "baseline", Action.PASS)


def test_deny_in_an_earlier_tier_wins() -> None:
    deny = policy_of("deny", allow(INGRESS, action=Action.DENY), tier=ADMIN)
    verdict = Oracle(xy_cluster((A, C), policy_of("x/open", allow(INGRESS)), deny)).judge(
        C, A, TCP, 80
    )
    assert said(verdict) == (False, "NOT_ISOLATED", "deny[0]")


def test_allow_in_an_earlier_tier_wins_in_its_direction_only() -> None:
    admin = policy_of("admin", allow(INGRESS), tier=ADMIN)
    verdict = Oracle(xy_cluster((A, B), DENY_ALL, admin)).judge(B, A, TCP, 80)
    assert said(verdict) == (False, "NO_RULE_MATCHES", "admin[0]")


def test_pass_skips_the_rest_of_its_tier() -> None:
    rules = (
        allow(INGRESS, ports=(PortRange(TCP, 80, 80),), action=Action.PASS),
        allow(INGRESS, action=Action.DENY, index=1),
    )
    admin = policy_of("admin", *rules, tier=ADMIN)
    open_80 = policy_of("x/open", allow(INGRESS, ports=(PortRange(TCP, 80, 81),)))
    oracle = Oracle(xy_cluster((A, C), admin, open_80))
    assert name_of(oracle.judge(C, A, TCP, 80).ingress) == "open[0]"
    assert name_of(oracle.judge(C, A, TCP, 81).ingress) == "admin[1]"


def test_a_tier_with_pass_default_does_not_isolate() -> None:
    rule = allow(INGRESS, ports=(PortRange(TCP, 80, 80),), action=Action.DENY)
    oracle = Oracle(xy_cluster((A, C), policy_of("admin", rule, tier=ADMIN)))
    assert name_of(oracle.judge(C, A, TCP, 80).ingress) == "admin[0]"
    assert said(oracle.judge(C, A, TCP, 81)) == (True, "NOT_ISOLATED", "NOT_ISOLATED")


def test_isolation_comes_before_the_baseline() -> None:
    base = policy_of("base", allow(INGRESS), tier=BASELINE)
    oracle = Oracle(xy_cluster((A, C), base, policy_of("x/deny", isolates=(INGRESS,))))
    assert said(oracle.judge(C, A, TCP, 80)) == (False, "NOT_ISOLATED", "NO_RULE_MATCHES")
    assert name_of(oracle.judge(A, C, TCP, 80).ingress) == "base[0]"


def test_order_inside_a_tier_comes_before_names() -> None:
    first = policy_of("z", allow(INGRESS), tier=ADMIN, order=1.0)
    second = policy_of("a", allow(INGRESS, action=Action.DENY), tier=ADMIN, order=2.0)
    assert name_of(Oracle(xy_cluster((A, C), second, first)).judge(C, A, TCP, 80).ingress) == "z[0]"


# -- counting --------------------------------------------------------------------------------


def test_pairs_are_counted_with_their_ports() -> None:
    into_a = policy_of(
        "x/p", allow(INGRESS, ports=(PortRange(TCP, 80, 89),)), pods=label("app", "a")
    )
    none = policy_of("y/none", isolates=(EGRESS,))
    everything = 3 * 65535
    # To a: ten ports from b; from c nothing, anywhere. To b and c: all ports, from a; and b to c.
    oracle = Oracle(xy_cluster((A, B, C), into_a, none))
    assert count_pairs(oracle) == PairCount(pairs=4, pair_ports=10 + 3 * everything)


def test_pairs_are_counted_for_a_family() -> None:
    four = pod("x/four", "", "10.0.0.4")
    oracle = Oracle(xy_cluster((A, four)))
    assert count_pairs(oracle, 4) == PairCount(2, 2 * 3 * 65535)
    assert count_pairs(oracle, 6) == PairCount(0, 0)


def test_changes_are_counted() -> None:
    before = policy_of("x/p", allow(INGRESS, ports=(PortRange(TCP, 80, 89),)))
    after = policy_of("x/p", allow(INGRESS, ports=(PortRange(TCP, 85, 90), PortRange(UDP, 53, 53))))
    old = Oracle(xy_cluster((A, C), before))
    new = Oracle(xy_cluster((A, B), after))
    everything = 3 * 65535
    # c is gone, which ends a to c and the ten ports from c to a; b is new, seven ports each way.
    assert count_changes(old, new) == ChangeCount(2, 2, 2 * 7, 10 + everything)
    # The same pods: c to a loses five ports and gains two; a to c stays as it was.
    assert count_changes(old, Oracle(xy_cluster((A, C), after))) == ChangeCount(1, 1, 2, 5)
