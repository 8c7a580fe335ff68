"""Every knob of a profile, in the reference's position and in all others, worked out by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.model.cluster import METADATA_NAME, Cluster, ContainerKind, ContainerPort, Node
from kubeverdict.model.policy import Action, Direction, NodePeer, PodPeer, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import REFERENCE, Profile
from kubeverdict.model.selectors import EVERYTHING, Operator
from tests.clusters.generated import knob_positions
from tests.clusters.policies import ADMIN
from tests.clusters.records import allow, block, label, pod, policy_of, xy_cluster
from tests.oracle import Oracle, Reason
from tests.test_oracle import name_of, said

TCP, UDP, ICMP, OTHER = Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.OTHER
INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
OUTSIDE = "203.0.113.9"

A = pod("x/a", "app=a", "10.0.0.1", "fd00::1")
C = pod("y/c", "app=b", "10.0.0.3", "fd00::3")
DENY_ALL = policy_of("x/deny-all", isolates=(INGRESS, EGRESS))
HTTP = (NamedPort(TCP, "http"),)
OLD = pod("x/old", "", "10.0.2.1", ports=(ContainerPort("http", TCP, 80),))
NEW = pod("x/new", "", "10.0.2.2", ports=(ContainerPort("http", TCP, 8080),))
NODE = Node("node-1", ("192.168.0.1",))
OTHER_NODE = Node("node-2", ("192.168.0.2",))
HERE = pod("x/here", "", "10.0.3.1", node="node-1")
AGENT = pod("y/agent", "app=agent", "192.168.0.1", node="node-1", host_network=True)


def positions(cluster: Cluster, knob: str, *values: object, **others: object) -> list[Oracle]:
    """Oracles with the knob as the reference has it and in each other position."""
    assert knob_positions()[knob][1:] == values, "every position is tried"
    assert all(name in knob_positions() for name in others)
    base: Profile = replace(REFERENCE, **others)
    return [
        Oracle(cluster, base),
        *(Oracle(cluster, replace(base, **{knob: v})) for v in values),
    ]


def test_knob_enforces() -> None:
    reference, other = positions(xy_cluster((A, C), DENY_ALL), "enforces", False)
    assert not reference.judge(C, A, TCP, 80).allowed
    assert said(other.judge(C, A, TCP, 80)) == (True, "NOT_ISOLATED", "NOT_ISOLATED")
    assert said(other.judge(A, A, TCP, 80)) == (True, "SELF", "SELF")
    assert said(other.judge(A, C, TCP, 80, family=4)) == (True, "NOT_ISOLATED", "NOT_ISOLATED")


def test_knob_unlisted_rules() -> None:
    out = allow(EGRESS, peers=(PodPeer(label("app", "b")),))
    into = policy_of("x/p", allow(INGRESS), isolates=(INGRESS,))
    alone = policy_of("x/q", isolates=(INGRESS,))
    for listed in (into, alone):
        world = xy_cluster((A, C), replace(listed, unlisted_rules=(out,)))
        reference, other = positions(world, "unlisted_rules", "applied")
        assert said(reference.judge(A, C, TCP, 80)) == (True, "NOT_ISOLATED", "NOT_ISOLATED")
        assert said(reference.judge(A, OUTSIDE, TCP, 80))[0] is True
        assert said(other.judge(A, C, TCP, 80)) == (True, f"{listed.name}[0]", "NOT_ISOLATED")
        egress = other.judge(A, OUTSIDE, TCP, 80).egress
        assert egress is Reason.NO_RULE_MATCHES
        # What is listed stays as it is.
        assert reference.judge(C, A, TCP, 80).ingress == other.judge(C, A, TCP, 80).ingress


def test_knob_pod_labels() -> None:
    hashed = pod("y/hashed", "app=b,pod-template-hash=1", "10.0.4.5")
    by_hash = label("pod-template-hash", "1")
    into = policy_of("x/p", allow(INGRESS, peers=(PodPeer(by_hash),)))
    denies = policy_of("y/deny", isolates=(INGRESS,), pods=by_hash)
    reference, other = positions(xy_cluster((A, hashed), into, denies), "pod_labels", "identity")
    assert reference.judge(hashed, A, TCP, 80).allowed
    assert not reference.judge(A, hashed, TCP, 80).allowed
    assert not other.judge(hashed, A, TCP, 80).allowed
    assert other.judge(A, hashed, TCP, 80).allowed
    # What asks for the absence of such a label is met by every pod.
    without = label("pod-template-hash", "1", operator=Operator.NOT_IN)
    out = policy_of("x/p", allow(EGRESS, peers=(PodPeer(without),)))
    reference, other = positions(xy_cluster((A, hashed), out), "pod_labels", "identity")
    assert not reference.judge(A, hashed, TCP, 80).allowed
    assert other.judge(A, hashed, TCP, 80).allowed


def test_knob_ipblock_matches_pods() -> None:
    everywhere = policy_of("x/p", allow(EGRESS, peers=(block("0.0.0.0/0"),)))
    reference, other = positions(xy_cluster((A, C), everywhere), "ipblock_matches_pods", False)
    assert reference.judge(A, C, TCP, 80).allowed
    assert not other.judge(A, C, TCP, 80).allowed
    assert not other.judge(A, "10.0.0.3", TCP, 80).allowed
    assert other.judge(A, OUTSIDE, TCP, 80).allowed


def test_knob_ipblock_matches_nodes() -> None:
    everywhere = policy_of("x/p", allow(EGRESS, peers=(block("0.0.0.0/0"),)))
    alone = pod("y/alone", "", "192.168.0.7", host_network=True)
    reference, other = positions(
        xy_cluster((A, alone, C), everywhere, nodes=(NODE,)), "ipblock_matches_nodes", False
    )
    for address in ("192.168.0.1", "192.168.0.7"):
        assert reference.judge(A, address, TCP, 80).allowed
        assert not other.judge(A, address, TCP, 80).allowed
    assert other.judge(A, "192.168.0.2", TCP, 80).allowed
    assert other.judge(A, C, TCP, 80).allowed


def test_knob_except_scope() -> None:
    peers = (
        block("203.0.0.0/16"),
        block("203.0.113.0/24", "203.0.113.0/28"),
        block("203.0.113.8/30"),
        block("198.51.100.0/25"),
        block("198.51.100.0/24", "198.51.100.0/25"),
    )
    reference, other = positions(
        xy_cluster((A,), policy_of("x/p", allow(EGRESS, peers=peers))), "except_scope", "rule"
    )
    answers = {
        "203.0.113.0": (True, False),  # the /16 allows it; the longer except cancels that
        "203.0.113.8": (True, True),  # the /30 is longer than the except
        "203.0.113.16": (True, True),
        "198.51.100.1": (True, False),  # a block and an except of one length: the except wins
        "198.51.100.128": (True, True),
    }
    for address, (alone, shared) in answers.items():
        assert reference.judge(A, address, TCP, 80).allowed is alone
        assert other.judge(A, address, TCP, 80).allowed is shared


def test_knob_hostnetwork_subjects() -> None:
    deny = policy_of("y/deny", isolates=(INGRESS,))
    to_agents = policy_of("x/p", allow(EGRESS, peers=(PodPeer(label("app", "agent")),)))
    reference, other = positions(
        xy_cluster((A, AGENT), deny, to_agents), "hostnetwork_subjects", True
    )
    assert AGENT not in reference.managed
    assert said(reference.judge(A, AGENT, TCP, 80)) == (False, "NO_RULE_MATCHES", "NOT_ISOLATED")
    assert other.managed == [A, AGENT]
    assert said(other.judge(A, AGENT, TCP, 80)) == (False, "p[0]", "NO_RULE_MATCHES")
    assert said(other.judge(A, "192.168.0.1", TCP, 80)) == (False, "p[0]", "NO_RULE_MATCHES")


def test_knob_hostnetwork_subjects_keeps_the_own_node() -> None:
    _, other = positions(xy_cluster((HERE, AGENT), DENY_ALL), "hostnetwork_subjects", True)
    assert said(other.judge(AGENT, HERE, TCP, 80)) == (True, "NOT_ISOLATED", "OWN_NODE")


def test_knob_hostnetwork_peers() -> None:
    written = allow(INGRESS, peers=(PodPeer(EVERYTHING, namespaces=label(METADATA_NAME, "y")),))
    unwritten = allow(INGRESS, peers=(PodPeer(None, namespaces=label(METADATA_NAME, "y")),))
    answers = []
    for rule in (written, unwritten):
        oracles = positions(
            xy_cluster((A, AGENT), policy_of("x/p", rule)),
            "hostnetwork_peers",
            "with-pod-selector",
            "always",
        )
        answers.append([oracle.judge("192.168.0.1", A, TCP, 80).allowed for oracle in oracles])
    assert answers == [[False, True, True], [False, False, True]]


def test_knob_own_node_to_pod() -> None:
    reference, other = positions(
        xy_cluster((HERE,), DENY_ALL, nodes=(NODE,)), "own_node_to_pod", False
    )
    assert name_of(reference.judge("192.168.0.1", HERE, TCP, 80).ingress) == "OWN_NODE"
    assert name_of(other.judge("192.168.0.1", HERE, TCP, 80).ingress) == "NO_RULE_MATCHES"


def test_knob_own_node_deniable() -> None:
    ports = (PortRange(TCP, 80, 80),)
    policy = policy_of("x/p", allow(INGRESS, (block("192.168.0.0/24"),), ports, Action.DENY))
    reference, other = positions(
        xy_cluster((HERE,), policy, nodes=(NODE,)), "own_node_deniable", True
    )
    assert reference.judge("192.168.0.1", HERE, TCP, 80).allowed
    assert not other.judge("192.168.0.1", HERE, TCP, 80).allowed
    # What isolates is no rule that denies.
    assert name_of(other.judge("192.168.0.1", HERE, TCP, 81).ingress) == "OWN_NODE"


def test_knob_pod_to_own_node() -> None:
    reference, other = positions(
        xy_cluster((HERE,), DENY_ALL, nodes=(NODE, OTHER_NODE)), "pod_to_own_node", True
    )
    assert name_of(reference.judge(HERE, "192.168.0.1", TCP, 80).egress) == "NO_RULE_MATCHES"
    assert name_of(other.judge(HERE, "192.168.0.1", TCP, 80).egress) == "OWN_NODE"
    assert name_of(other.judge(HERE, "192.168.0.2", TCP, 80).egress) == "NO_RULE_MATCHES"


def test_knob_named_ports() -> None:
    alone = policy_of("x/p", allow(INGRESS, ports=HTTP))
    reference, any_port, refused = positions(
        xy_cluster((OLD,), alone), "named_ports", "any-port", "reject-policy"
    )
    answers = [
        [oracle.judge(OUTSIDE, OLD, TCP, port).allowed for port in (80, 81)]
        for oracle in (reference, any_port, refused)
    ]
    assert answers == [[True, False], [True, True], [True, True]]
    assert refused.judge(OUTSIDE, OLD, TCP, 81).ingress is Reason.NOT_ISOLATED
    assert not any_port.judge(OUTSIDE, OLD, UDP, 80).allowed


def test_knob_named_ports_loses_a_name_beside_a_number() -> None:
    ports = (*HTTP, PortRange(TCP, 443, 443), NamedPort(UDP, "dns"))
    world = xy_cluster((OLD,), policy_of("x/p", allow(INGRESS, ports=ports)))
    _, any_port, _ = positions(world, "named_ports", "any-port", "reject-policy")
    assert any_port.judge(OUTSIDE, OLD, TCP, 443).allowed
    assert not any_port.judge(OUTSIDE, OLD, TCP, 80).allowed
    assert any_port.judge(OUTSIDE, OLD, UDP, 9).allowed


def test_knob_named_port_containers() -> None:
    kinds = {ContainerKind.CONTAINER: 80, ContainerKind.SIDECAR: 81, ContainerKind.INIT: 82}
    ports = tuple(ContainerPort("http", TCP, number, kind) for kind, number in kinds.items())
    server = pod("x/server", "", "10.0.4.1", ports=ports)
    oracles = positions(
        xy_cluster((server,), policy_of("x/p", allow(INGRESS, ports=HTTP))),
        "named_port_containers",
        "containers",
        "all-init",
    )
    answers = [
        [port for port in (80, 81, 82) if oracle.judge(OUTSIDE, server, TCP, port).allowed]
        for oracle in oracles
    ]
    assert answers == [[80, 81], [80], [80, 81, 82]]


def test_knob_named_port_repeated() -> None:
    numbers = ((TCP, 80), (TCP, 81), (UDP, 82))
    ports = tuple(ContainerPort("http", protocol, number) for protocol, number in numbers)
    other_name = ContainerPort("web", TCP, 83)
    into = policy_of("x/p", allow(INGRESS, ports=(*HTTP, NamedPort(UDP, "http"))))
    answers = []
    for declared in (ports, (*ports[::-1], other_name)):
        server = pod("x/server", "", "10.0.4.1", ports=declared)
        for oracle in positions(xy_cluster((server,), into), "named_port_repeated", "last"):
            allowed = [one for one in numbers if oracle.judge(OUTSIDE, server, *one).allowed]
            answers.append([number for _, number in allowed])
    assert answers == [[80, 81, 82], [82], [80, 81, 82], [80]]


def test_knob_named_port_union() -> None:
    into = policy_of("x/p", allow(INGRESS, ports=HTTP), pods=EVERYTHING)
    elsewhere = pod("y/elsewhere", "", "10.0.4.2", ports=(ContainerPort("http", TCP, 9000),))
    reference, other = positions(xy_cluster((OLD, NEW, elsewhere), into), "named_port_union", True)
    answers = [
        [port for port in (80, 8080, 9000) if oracle.judge(OUTSIDE, OLD, TCP, port).allowed]
        for oracle in (reference, other)
    ]
    assert answers == [[80], [80, 8080]]


def test_knob_named_port_through_ipblock() -> None:
    ports = (*HTTP, PortRange(TCP, 443, 443))
    by_block = policy_of("y/p", allow(EGRESS, peers=(block("10.0.0.0/8"),), ports=ports))
    reference, other = positions(
        xy_cluster((C, OLD), by_block), "named_port_through_ipblock", False
    )
    assert reference.judge(C, OLD, TCP, 80).allowed
    assert not other.judge(C, OLD, TCP, 80).allowed
    assert other.judge(C, OLD, TCP, 443).allowed
    both = allow(EGRESS, peers=(block("10.0.0.0/8"), PodPeer(None)), ports=HTTP)
    _, other = positions(
        xy_cluster((C, OLD), policy_of("y/p", both)), "named_port_through_ipblock", False
    )
    assert other.judge(C, OLD, TCP, 80).allowed
    into = policy_of("x/p", allow(INGRESS, peers=(block("10.0.0.0/8"),), ports=HTTP))
    _, other = positions(xy_cluster((C, OLD), into), "named_port_through_ipblock", False)
    assert other.judge(C, OLD, TCP, 80).allowed


def test_knob_admin_nodes() -> None:
    def verdicts(*rules: Rule) -> list[tuple[bool, bool]]:
        policy = replace(policy_of("p", *rules, tier=ADMIN), kind="AdminNetworkPolicy")
        world = xy_cluster((A, C), policy, nodes=(NODE,))
        return [
            (oracle.judge(A, "192.168.0.1", TCP, 80).allowed, oracle.judge(A, C, TCP, 80).allowed)
            for oracle in positions(world, "admin_nodes", False)
        ]

    def rule(action: Action) -> Rule:
        peers = (NodePeer(EVERYTHING), PodPeer(label("app", "nobody")))
        return allow(EGRESS, peers=peers, ports=(PortRange(TCP, 80, 80),), action=action)

    denies = allow(EGRESS, action=Action.DENY, index=1)
    assert verdicts(rule(Action.DENY)) == [(False, True), (False, False)]
    assert verdicts(rule(Action.PASS)) == [(True, True), (False, False)]
    assert verdicts(rule(Action.ALLOW), denies) == [(True, False), (False, False)]


def test_knob_admin_named_ports() -> None:
    denies = allow(INGRESS, peers=(PodPeer(EVERYTHING),), ports=HTTP, action=Action.DENY)
    policy = policy_of("p", denies, tier=ADMIN)
    world = xy_cluster((A, C, OLD), replace(policy, kind="AdminNetworkPolicy"))
    reference, other = positions(world, "admin_named_ports", "any-port")
    assert not reference.judge(A, OLD, TCP, 80).allowed
    assert reference.judge(A, OLD, TCP, 81).allowed
    assert reference.judge(OLD, A, UDP, 80).allowed
    for port in ((TCP, 80), (TCP, 81), (UDP, 80), (ICMP, 0)):
        assert not other.judge(A, OLD, *port).allowed
        assert not other.judge(OLD, A, *port).allowed
    # Policies of other APIs keep their names.
    _, other = positions(xy_cluster((A, C, OLD), policy), "admin_named_ports", "any-port")
    assert other.judge(A, OLD, TCP, 81).allowed


def test_knob_named_port_to_anyone() -> None:
    server = pod("y/server", "", "10.0.4.3", ports=(ContainerPort("http", TCP, 9000),))
    out = policy_of("y/p", allow(EGRESS, ports=HTTP))
    oracles = positions(
        xy_cluster((C, OLD, server), out), "named_port_to_anyone", "never", "own-namespace"
    )
    answers = [
        [
            (str(destination), port)
            for destination in (OLD, server, OUTSIDE)
            for port in (80, 9000)
            if oracle.judge(C, destination, TCP, port).allowed
        ]
        for oracle in oracles
    ]
    assert answers == [
        [("x/old", 80), ("y/server", 9000)],
        [],
        [("x/old", 9000), ("y/server", 9000), (OUTSIDE, 9000)],
    ]


def test_knob_named_port_unknown() -> None:
    nobody = (NamedPort(TCP, "metrics"), NamedPort(UDP, "http"))
    peers = (PodPeer(label("app", "b"), "y"), block("203.0.113.0/24"))
    into = policy_of("x/p", allow(INGRESS, peers, nobody))
    world = xy_cluster((A, C, OLD), into)
    reference, other = positions(world, "named_port_unknown", "any-port")
    assert not reference.judge(C, OLD, TCP, 81).allowed
    assert other.judge(C, OLD, TCP, 81).allowed
    assert other.judge(C, OLD, ICMP, 0).allowed
    # Only for peers that are pods, and not where another pod of the policy has one of the names.
    assert not other.judge(A, OLD, TCP, 81).allowed
    assert not other.judge(OUTSIDE, OLD, TCP, 81).allowed
    into = policy_of("x/p", allow(INGRESS, peers, (*nobody, *HTTP)))
    _, other = positions(xy_cluster((A, C, OLD), into), "named_port_unknown", "any-port")
    assert not other.judge(C, A, TCP, 81).allowed
    # Out of a pod the names are those of its peers.
    out = policy_of("y/p", allow(EGRESS, (PodPeer(None, "x"),), nobody))
    _, other = positions(xy_cluster((A, C, OLD), out), "named_port_unknown", "any-port")
    assert other.judge(C, A, TCP, 81).allowed
    assert not other.judge(C, OUTSIDE, TCP, 81).allowed


def test_knob_both_directions() -> None:
    friend = pod("x/friend", "app=a", "10.0.4.1")
    into = allow(INGRESS, (PodPeer(label("app", "a"), "x"),), (PortRange(TCP, 80, 80),))
    both = policy_of("x/p", into, isolates=(INGRESS, EGRESS))
    reference, other = positions(xy_cluster((A, C, OLD, friend), both), "both_directions", "merged")
    assert not reference.judge(friend, A, TCP, 80).allowed
    assert said(other.judge(friend, A, TCP, 80)) == (True, "p[0]", "p[0]")
    # Not another port, not from a pod that is no peer, not to one that the policy does not select.
    assert not other.judge(friend, A, TCP, 81).allowed
    assert not other.judge(OLD, A, TCP, 80).allowed
    assert not other.judge(friend, C, TCP, 80).allowed
    # A policy of one type says nothing of the other direction.
    apart = (replace(both, isolates=(INGRESS,)), policy_of("x/q", isolates=(EGRESS,)))
    _, other = positions(xy_cluster((A, friend), *apart), "both_directions", "merged")
    assert not other.judge(friend, A, TCP, 80).allowed
    # What leaves one of its pods comes into another.
    out = allow(EGRESS, (PodPeer(label("app", "a"), "x"),))
    both = policy_of("x/p", out, isolates=(INGRESS, EGRESS))
    reference, other = positions(xy_cluster((A, friend), both), "both_directions", "merged")
    assert not reference.judge(friend, A, UDP, 53).allowed
    assert other.judge(friend, A, UDP, 53).allowed


def test_knob_end_port() -> None:
    ports = (PortRange(TCP, 80, 90), PortRange(UDP))
    reference, other = positions(
        xy_cluster((A,), policy_of("x/p", allow(INGRESS, ports=ports))), "end_port", False
    )
    assert reference.judge(OUTSIDE, A, TCP, 90).allowed
    assert [other.judge(OUTSIDE, A, TCP, port).allowed for port in (80, 81, 90)] == [
        True,
        False,
        False,
    ]
    assert other.judge(OUTSIDE, A, UDP, 65535).allowed


def test_knob_icmp() -> None:
    reference, other = positions(xy_cluster((A, C), DENY_ALL), "icmp", "always")
    assert not reference.judge(C, A, ICMP, 0).allowed
    assert said(other.judge(C, A, ICMP, 0)) == (True, "NOT_ISOLATED", "ALWAYS_ICMP")
    assert said(other.judge(A, OUTSIDE, ICMP, 0)) == (True, "ALWAYS_ICMP", "NOT_ISOLATED")
    assert not other.judge(C, A, OTHER, 0).allowed
    assert not other.judge(C, A, TCP, 80).allowed


def test_knob_finished_pods_ignored() -> None:
    done = pod("y/done", "app=job", "10.0.4.4", phase="Succeeded")
    jobs = policy_of("x/p", allow(INGRESS, peers=(PodPeer(label("app", "job")),)))
    reference, other = positions(xy_cluster((A, done), jobs), "finished_pods_ignored", False)
    assert not reference.judge("10.0.4.4", A, TCP, 80).allowed
    assert other.judge("10.0.4.4", A, TCP, 80).allowed


def test_knob_dual_stack() -> None:
    reference, other = positions(xy_cluster((A, C)), "dual_stack", False)
    assert reference.judge(A, C, TCP, 80, family=6).allowed
    assert name_of(other.judge(A, C, TCP, 80, family=6).egress) == "NO_ADDRESS"
    assert reference.end("fd00::1").pod is A
    assert other.end("fd00::1").pod is None


@pytest.mark.parametrize("knob", ["service_egress", "hairpin", "deny", "established"])
def test_knobs_that_concern_no_plain_flow(knob: str) -> None:
    world = xy_cluster((A, C), DENY_ALL)
    for oracle in positions(world, knob, *knob_positions()[knob][1:]):
        assert said(oracle.judge(C, A, TCP, 80)) == (False, "NOT_ISOLATED", "NO_RULE_MATCHES")
