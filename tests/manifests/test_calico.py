"""Calico's policies, network sets and tiers: what is read, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.manifests.resolving import apply, delete
from kubeverdict.model.cluster import METADATA_NAME, SERVICE_ACCOUNT
from kubeverdict.model.policy import (
    NETWORK_POLICY_ORDER,
    NETWORK_POLICY_TIER,
    Action,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    PodPeer,
    Policy,
    Rule,
    Tier,
)
from kubeverdict.model.ports import IcmpMatch, NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Operator
from tests.clusters.records import block, label, pods_in, pods_where, tcp
from tests.manifests.reading import load_text, policy_text, told

V3, STORED = "projectcalico.org/v3", "crd.projectcalico.org/v1"
IN_X = "x"
ALL = NamedPeer(EndSet.ALL)
OTHER_FAMILY = block("::/0")


def text(value: object) -> str:
    return f"---\n{json.dumps(value)}\n"


def document(kind: str, spec: object, name: str = "p", version: str = V3, **metadata: Any) -> str:
    head = {"name": name, **metadata}
    if kind in ("NetworkPolicy", "NetworkSet"):
        head["namespace"] = IN_X
    return text({"apiVersion": version, "kind": kind, "metadata": head, "spec": spec})


def read(*documents: str) -> list[Policy]:
    return list(load_text("".join(documents)).cluster.policies)


def local(**spec: Any) -> Policy:
    (policy,) = read(document("NetworkPolicy", spec))
    return policy


def everywhere(**spec: Any) -> Policy:
    (policy,) = read(document("GlobalNetworkPolicy", spec))
    return policy


def rules(kind: str = "GlobalNetworkPolicy", way: str = "ingress", **rule: Any) -> list[Rule]:
    spec = {way: [{"action": "Allow", **rule}]}
    return list(read(document(kind, spec))[0].rules)


def one(kind: str = "GlobalNetworkPolicy", way: str = "ingress", **rule: Any) -> Rule:
    (found,) = rules(kind, way, **rule)
    return found


# --- policies --------------------------------------------------------------------------------


def test_without_a_tier_a_policy_is_beside_those_of_kubernetes() -> None:
    first, second = local(order=10, selector="app == 'web'"), everywhere()
    assert (first.kind, str(first)) == ("NetworkPolicy.projectcalico.org", "x/p")
    assert (first.tier, first.order, first.pods) == (NETWORK_POLICY_TIER, 10, label("app", "web"))
    assert (first.namespace, first.tiebreak) == (IN_X, "x/default.p")
    assert (second.kind, second.namespace, second.tiebreak) == (
        "GlobalNetworkPolicy",
        None,
        "default.p",
    )
    (usual,) = read(policy_text({}))
    assert (usual.tier, usual.order) == (NETWORK_POLICY_TIER, NETWORK_POLICY_ORDER)
    assert usual.tiebreak == "shop/knp.default.web"
    assert first.sort_key < usual.sort_key < second.sort_key


@pytest.mark.parametrize(
    ("rules", "types", "isolates"),
    [
        ({}, [], "Ingress"),
        ({"ingress": 1}, [], "Ingress"),
        ({"egress": 1}, [], "Egress"),
        ({"ingress": 1, "egress": 1}, [], "Ingress Egress"),
        ({"ingress": 1}, ["Egress"], "Egress"),
    ],
)
def test_types(rules: dict[str, int], types: list[str], isolates: str) -> None:
    spec: dict[str, Any] = {way: [{"action": "Allow"}] for way in rules}
    policy = local(**spec, **({"types": types} if types else {}))
    assert [way.name.title() for way in policy.isolates] == isolates.split()
    assert {rule.direction for rule in policy.rules} <= set(policy.isolates)
    (stored,) = read(document("NetworkPolicy", spec, version=STORED))
    assert stored.isolates == tuple(Direction)


def test_the_stored_form_has_names_and_labels_in_an_annotation() -> None:
    kept = {"projectcalico.org/metadata": json.dumps({"name": "web", "labels": {"role": "feed"}})}
    (policy,) = read(
        document("NetworkPolicy", {}, "default.web", STORED),
        document("GlobalNetworkSet", {}, "feeds", STORED, annotations=kept),
    )
    assert (policy.kind, str(policy)) == ("NetworkPolicy.projectcalico.org", "x/web")
    loaded = load_text(document("GlobalNetworkSet", {}, "feeds", STORED, annotations=kept))
    assert loaded.cluster.references.address_sets[0].labels == {"role": "feed"}


def test_both_forms_of_one_policy_are_one() -> None:
    spec = {"types": ["Ingress"]}
    both = document("NetworkPolicy", spec, "web") + document(
        "NetworkPolicy", spec, "default.web", STORED
    )
    loaded = load_text(both)
    assert len(loaded.cluster.policies) == 1
    assert "defined twice with the same content" in loaded.warnings[0].message


def test_subjects() -> None:
    found = everywhere(namespaceSelector="team == 'a'", selector="app == 'web'")
    assert (found.pods, found.namespaces) == (label("app", "web"), label("team", "a"))
    assert everywhere(namespaceSelector="all()").namespaces == EVERYTHING
    inside = everywhere(selector="projectcalico.org/namespace == 'b'")
    assert (inside.namespace, inside.namespaces) == (None, label(METADATA_NAME, "b"))
    account = everywhere(selector="projectcalico.org/serviceaccount == 'web'")
    assert account.pods == label(SERVICE_ACCOUNT, "web")
    assert local(selector="projectcalico.org/namespace == 'other'").pods == EVERYTHING
    assert not local(selector="projectcalico.org/namespace == 'other'").namespaces.matches({})


def test_a_subject_that_two_selectors_cannot_say_is_said_rule_by_rule() -> None:
    policy = everywhere(
        selector="app == 'web' && pcns.team == 'a' || pcns.team == 'b'",
        types=["Ingress"],
        ingress=[{"action": "Allow"}],
    )
    assert policy.isolates == ()
    ends = [(rule.action, rule.subject, rule.precedence) for rule in policy.rules if rule.subject]
    web, all_of_b = pods_where("team=a", "app=web"), pods_where("team=b", "")
    last = float("inf")
    assert ends == [
        (Action.ALLOW, web, None),
        (Action.ALLOW, all_of_b, None),
        (Action.DENY, web, last),
        (Action.DENY, all_of_b, last),
    ]


def test_what_is_about_host_endpoints_leaves_pods_alone() -> None:
    spec = {"preDNAT": True, "applyOnForward": True, "ingress": [{"action": "Deny"}]}
    loaded = load_text(document("GlobalNetworkPolicy", spec))
    (policy,) = loaded.cluster.policies
    assert (policy.pods, policy.isolates, policy.rules) == (NOTHING, (), ())
    assert told(loaded.warnings) == [
        "spec.preDNAT: is about host endpoints, which are not evaluated: no pod is a subject of it"
    ]


# --- rules -----------------------------------------------------------------------------------


def test_a_rule_without_anything_is_about_everything() -> None:
    rule = one()
    assert (rule.peers, rule.ports, rule.subject, rule.condition) == (None, None, None, "")


def test_log_decides_nothing_and_keeps_its_place() -> None:
    policy = everywhere(ingress=[{"action": "Log"}, {"action": "Pass"}, {"action": "Deny"}])
    assert [(rule.index, rule.action) for rule in policy.rules] == [
        (1, Action.PASS),
        (2, Action.DENY),
    ]


@pytest.mark.parametrize(
    ("kind", "entity", "peers"),
    [
        ("NetworkPolicy", {"selector": "app == 'web'"}, [pods_in("x", "app=web")]),
        ("GlobalNetworkPolicy", {"selector": "app == 'web'"}, [pods_where("", "app=web")]),
        ("NetworkPolicy", {"namespaceSelector": "team == 'a'"}, [pods_where("team=a", "")]),
        (
            "NetworkPolicy",
            {"namespaceSelector": "projectcalico.org/name == 'b'", "selector": "app == 'web'"},
            [pods_in("b", "app=web")],
        ),
        ("GlobalNetworkPolicy", {"namespaceSelector": "global()"}, []),
        ("GlobalNetworkPolicy", {"nets": ["10.0.0.0/8"]}, [block("10.0.0.0/8")]),
        (
            "GlobalNetworkPolicy",
            {"nets": ["10.0.0.0/8", "10.1.0.0/16"], "notNets": ["10.1.0.0/16"]},
            [block("10.0.0.0/8", "10.1.0.0/16")],
        ),
        (
            "GlobalNetworkPolicy",
            {"notNets": ["10.0.0.0/8"]},
            [ExceptPeer(ALL, (block("10.0.0.0/8"), OTHER_FAMILY))],
        ),
        (
            "GlobalNetworkPolicy",
            {"notSelector": "app == 'web'"},
            [ExceptPeer(ALL, (pods_where("", "app=web"),))],
        ),
        (
            "NetworkPolicy",
            {"notSelector": "app == 'web'"},
            [PodPeer(label("app", "web", operator=Operator.NOT_IN), "x")],
        ),
        (
            "GlobalNetworkPolicy",
            {"selector": "all()", "nets": ["10.0.0.0/8"]},
            [ExceptPeer(pods_where("", ""), (ExceptPeer(ALL, (block("10.0.0.0/8"),)),))],
        ),
        (
            "NetworkPolicy",
            {"serviceAccounts": {"names": ["a", "b"]}},
            [PodPeer(label(SERVICE_ACCOUNT, "a", "b"), "x")],
        ),
    ],
)
def test_peers(kind: str, entity: dict[str, Any], peers: list[Any]) -> None:
    assert one(kind, source=entity).peers == tuple(peers)


def test_the_own_end_narrows_the_subject() -> None:
    rule = one("NetworkPolicy", destination={"selector": "app == 'web'"})
    assert rule.subject == pods_in("x", "app=web")
    rule = one(way="egress", source={"notSelector": "app == 'web'"})
    assert rule.subject == ExceptPeer(ALL, (pods_where("", "app=web"),))
    rule = one(way="egress", source={"nets": ["10.0.0.0/8"], "ports": [53]}, protocol="UDP")
    assert (rule.subject, rule.condition) == (block("10.0.0.0/8"), "from source port 53 only")


def test_network_sets_are_blocks_of_the_rules_that_select_them() -> None:
    sets = [
        document("GlobalNetworkSet", {"nets": ["192.0.2.7", "198.51.100.0/24"]}, "feeds",
                 labels={"role": "feed"}),
        document("NetworkSet", {"nets": ["203.0.113.0/24"]}, "own", labels={"role": "feed"}),
    ]  # fmt: skip
    spec = {"ingress": [{"action": "Deny", "source": {"selector": "role == 'feed'"}}]}
    globally, own = document("GlobalNetworkPolicy", spec), document("NetworkPolicy", spec)
    (policy,) = read(globally, *sets)
    assert policy.rules[0].peers == (
        pods_where("", "role=feed"),
        block("203.0.113.0/24"),
        block("192.0.2.7/32"),
        block("198.51.100.0/24"),
    )
    (policy,) = read(*sets, own)
    assert policy.rules[0].peers == (pods_in("x", "role=feed"), block("203.0.113.0/24"))
    outside = {"namespaceSelector": "global()", "selector": "role == 'feed'"}
    spec = {"ingress": [{"action": "Deny", "source": outside}]}
    (policy,) = read(document("NetworkPolicy", spec), *sets)
    assert policy.rules[0].peers == (block("192.0.2.7/32"), block("198.51.100.0/24"))


def test_a_pod_with_an_address_of_a_network_set_is_selected_with_it() -> None:
    sets = document("GlobalNetworkSet", {"nets": ["10.0.0.1", "10.0.0.2"]}, "s", labels={"a": "b"})
    spec = {"ingress": [{"action": "Deny", "destination": {"selector": "a == 'b'"}}]}
    found = read(document("GlobalNetworkPolicy", spec), sets)[0].rules
    both = ExceptPeer(ALL, (block("10.0.0.1/32"), block("10.0.0.2/32")))
    assert [rule.subject for rule in found] == [
        pods_where("", "a=b"),
        ExceptPeer(ALL, (both,)),
    ]
    assert len(read(document("GlobalNetworkPolicy", spec))[0].rules) == 1


def test_names_of_ports_mean_workloads_and_not_network_sets() -> None:
    sets = document("GlobalNetworkSet", {"nets": ["10.0.0.0/8"]}, "all", labels={"a": "b"})
    to = {"selector": "a == 'b'", "ports": ["http", 80]}
    spec = {"egress": [{"action": "Allow", "protocol": "TCP", "destination": to}]}
    (policy,) = read(document("GlobalNetworkPolicy", spec), sets)
    assert [(rule.peers, rule.ports) for rule in policy.rules] == [
        ((pods_where("", "a=b"),), (tcp("http"), tcp(80))),
        ((block("10.0.0.0/8"),), (tcp(80),)),
    ]


@pytest.mark.parametrize(
    ("rule", "ports"),
    [
        ({"protocol": "TCP"}, (PortRange(Protocol.TCP),)),
        ({"protocol": 17}, (PortRange(Protocol.UDP),)),
        (
            {"protocol": "TCP", "destination": {"ports": [80, "90:100", "http", "443"]}},
            (tcp(80), tcp(90, 100), NamedPort(Protocol.TCP, "http"), tcp(443)),
        ),
        ({"protocol": "ICMP"}, (IcmpMatch(4),)),
        ({"protocol": "ICMPv6", "icmp": {"type": 128}}, (IcmpMatch(6, 128),)),
        ({"protocol": "ICMP", "icmp": {"type": 3, "code": 4}}, (IcmpMatch(4, 3, 4),)),
        ({"protocol": "TCP", "notProtocol": "TCP"}, ()),
    ],
)
def test_ports(rule: dict[str, Any], ports: tuple[Any, ...]) -> None:
    assert one(**rule).ports == ports


def test_ports_that_are_left_out() -> None:
    rule = one(protocol="TCP", destination={"notPorts": [80, "http"]})
    assert rule.ports == (PortRange(Protocol.TCP),)
    assert rule.excluded_ports == (PortRange(Protocol.TCP, 80, 80), NamedPort(Protocol.TCP, "http"))
    rule = one(notProtocol="UDP")
    assert (rule.ports, rule.excluded_ports) == (None, (PortRange(Protocol.UDP),))
    left = one(notProtocol="ICMP").ports or ()
    assert IcmpMatch(6) in left and IcmpMatch(4) not in left and len(left) == 5
    left = one(protocol="ICMP", notICMP={"type": 8}).ports or ()
    assert IcmpMatch(4, 8) not in left and len(left) == 255


@pytest.mark.parametrize(
    ("rule", "condition"),
    [
        ({"http": {"methods": ["GET", "PUT"], "paths": [{"exact": "/a"}, {"prefix": "/b"}]}},
         "for HTTP GET|PUT /a or /b* only"),
        ({"protocol": "UDPLite"}, "for protocol 136 only"),
        ({"notProtocol": 47}, "for protocols other than 47"),
        ({"protocol": "TCP", "source": {"ports": [80, "90:91"]}},
         "from source port 80 or 90-91 only"),
        ({"source": {"serviceAccounts": {"selector": "role == 'a'"}}},
         "if the labels of service accounts are as asked for"),
    ],
)  # fmt: skip
def test_conditions(rule: dict[str, Any], condition: str) -> None:
    assert one(**rule).condition == condition


def test_an_ip_version_leaves_the_other_family_out() -> None:
    assert one(ipVersion=4).peers == (ExceptPeer(ALL, (OTHER_FAMILY,)),)
    assert one(ipVersion=6, source={"selector": "all()"}).peers == (
        ExceptPeer(pods_where("", ""), (block("0.0.0.0/0"),)),
    )


# --- Services --------------------------------------------------------------------------------

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "b", "name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "namespace": "b",
        "name": "web-1",
        "labels": {"kubernetes.io/service-name": "web"},
    },
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": False}}],
    "ports": [{"protocol": "TCP", "port": 8080}, {"protocol": "UDP", "port": 53}],
}


def test_backends_of_a_service() -> None:
    to = {"services": {"name": "web", "namespace": "b"}}
    spec = {"egress": [{"action": "Allow", "destination": to}]}
    policy = document("GlobalNetworkPolicy", spec)
    (unknown,) = read(policy)
    assert unknown.rules[0].condition == ("as Service b/web has it, which the input does not hold")
    (nowhere,) = read(policy, text(SERVICE).replace('"web"}, "spec"', '"db"}, "spec"'))
    assert not nowhere.rules
    (selected,) = read(policy, text(SERVICE))
    assert selected.rules[0].peers == (pods_in("b", "app=web"),)
    assert selected.rules[0].ports == (tcp("http"),)
    (listed,) = read(policy, text(SERVICE), text(SLICE))
    assert listed.rules[0].peers == (block("10.0.0.7/32"),)
    assert listed.rules[0].ports == (tcp(8080), PortRange(Protocol.UDP, 53, 53))
    udp = document("GlobalNetworkPolicy", {"egress": [{**spec["egress"][0], "protocol": "UDP"}]})
    (of_udp,) = read(udp, text(SERVICE), text(SLICE))
    assert of_udp.rules[0].ports == (PortRange(Protocol.UDP, 53, 53),)
    source = {"ingress": [{"action": "Allow", "source": to}]}
    (incoming,) = read(document("GlobalNetworkPolicy", source), text(SERVICE), text(SLICE))
    assert (incoming.rules[0].peers, incoming.rules[0].ports) == ((block("10.0.0.7/32"),), None)


# --- tiers -----------------------------------------------------------------------------------


def test_tiers_wherever_they_are_written() -> None:
    policy = document("GlobalNetworkPolicy", {"tier": "security", "order": 1}, "security.a")
    tier = document("Tier", {"order": 5, "defaultAction": "Pass"}, "security")
    for documents in ((policy, tier), (tier, policy)):
        (found,) = read(*documents)
        assert found.tier == Tier(5.0, "security", Action.PASS)
        assert (found.name, found.tiebreak) == ("security.a", "security.a")
    (unordered,) = read(policy, document("Tier", {}, "security"))
    assert unordered.tier == Tier(1_000_000.0, "security", Action.DENY)
    (missing,) = read(policy)
    assert missing.tier == Tier(float("inf"), "security", Action.DENY)


def test_the_end_of_a_tier_that_passes_denies_nobody() -> None:
    spec = {"tier": "t", "selector": "a == 'b' || pcns.a == 'b'"}
    policy = document("GlobalNetworkPolicy", spec, "t.p")
    assert len(read(policy, document("Tier", {}, "t"))[0].rules) == 2
    assert not read(policy, document("Tier", {"defaultAction": "Pass"}, "t"))[0].rules


# --- changes ---------------------------------------------------------------------------------

RULE = {"action": "Allow", "source": {"selector": "role == 'feed'"}}
FEEDS = document("GlobalNetworkSet", {"nets": ["192.0.2.0/24"]}, "feeds", labels={"role": "feed"})
OTHER_FEEDS = FEEDS.replace("192.0.2.0/24", "198.51.100.0/24")
BASE = (
    document("GlobalNetworkPolicy", {"tier": "t", "ingress": [RULE]}, "t.p"),
    document("NetworkPolicy", {}, "other"),
    document("Tier", {"order": 5}, "t"),
    FEEDS,
)


def blocks_of(policies: Any) -> list[str]:
    (policy,) = (one for one in policies if one.name == "t.p")
    return [str(peer) for peer in policy.rules[0].peers or () if not isinstance(peer, PodPeer)]


def test_a_network_set_that_changes_changes_the_policies_that_refer_to_it() -> None:
    cluster = load_text("".join(BASE)).cluster
    assert blocks_of(cluster.policies) == [str(block("192.0.2.0/24"))]
    after = apply(cluster, load_text(OTHER_FEEDS))
    assert blocks_of(after.policies) == [str(block("198.51.100.0/24"))]
    assert blocks_of(delete(after, ["globalnetworkset/feeds"]).policies) == []
    other = [policy for policy in after.policies if policy.name == "other"]
    assert other[0] in cluster.policies


def test_a_policy_that_comes_finds_its_tier_and_sets_and_a_tier_that_goes_is_missed() -> None:
    cluster = load_text("".join(BASE)).cluster
    new = document(
        "GlobalNetworkPolicy",
        {
            "tier": "t",
            "egress": [{"action": "Deny", "destination": {"selector": "role == 'feed'"}}],
        },
        "t.q",
    )
    after = apply(cluster, load_text(new))
    (found,) = (one for one in after.policies if one.name == "t.q")
    assert found.tier.order == 5.0
    assert (found.rules[0].peers or ())[-1] == block("192.0.2.0/24")
    gone = delete(after, ["tier.projectcalico.org/t"])
    assert {one.tier.order for one in gone.policies if one.name != "other"} == {float("inf")}
    back = apply(gone, load_text(BASE[2]))
    assert {one.tier.order for one in back.policies if one.name != "other"} == {5.0}
    assert "t.q" not in {one.name for one in delete(back, ["gnp/t.q"]).references.policies}


def test_labels_of_a_namespace_select_its_network_sets() -> None:
    entity = {"namespaceSelector": "team == 'a'", "selector": "role == 'feed'"}
    spec = {"ingress": [{"action": "Allow", "source": entity}]}
    cluster = load_text(
        document("GlobalNetworkPolicy", spec, "t.p")
        + document("NetworkSet", {"nets": ["192.0.2.0/24"]}, "own", labels={"role": "feed"})
    ).cluster
    assert blocks_of(cluster.policies) == []
    head = {"name": "x", "labels": {"team": "a", METADATA_NAME: "x"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": head}
    after = apply(cluster, load_text(text(namespace)))
    assert blocks_of(after.policies) == [str(block("192.0.2.0/24"))]
