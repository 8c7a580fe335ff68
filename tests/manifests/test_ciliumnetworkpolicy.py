"""Cilium's policies as documents: what is taken, what is refused and why, what rules come out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubeverdict.analyses.conditions import peer_text
from kubeverdict.model.policy import Action, Direction, EndSet, NamedPeer, Policy, Rule
from kubeverdict.model.ports import IcmpMatch, NamedPort, PortRange, Protocol
from tests.manifests.reading import load_text, problems_of, told

WEB: dict[str, Any] = {"endpointSelector": {"matchLabels": {"app": "web"}}}
NAMESPACE = "io.kubernetes.pod.namespace"
CIDR_GROUP = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumCIDRGroup",
    "metadata": {"name": "office", "labels": {"site": "main"}},
    "spec": {"externalCIDRs": ["198.51.100.0/24", "2001:db8::/32"]},
}


def document(spec: Any = None, clusterwide: bool = False, **more: Any) -> dict[str, Any]:
    where = {} if clusterwide else {"namespace": "shop"}
    body = {} if spec is None else {"spec": spec}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy",
        "metadata": {"name": "p", **where},
        **body,
        **more,
    }


def text(*documents: dict[str, Any]) -> str:
    return "".join(f"---\n{msgspec.json.encode(one).decode()}\n" for one in documents)


def policy(spec: Any, *beside: dict[str, Any], clusterwide: bool = False, **more: Any) -> Policy:
    loaded = load_text(text(document(spec, clusterwide, **more), *beside))
    (found,) = loaded.cluster.policies
    return found


def rules(field: str, entry: dict[str, Any], *beside: dict[str, Any]) -> tuple[Rule, ...]:
    return policy({**WEB, field: [entry]}, *beside).rules


def peers(field: str, entry: dict[str, Any], *beside: dict[str, Any]) -> list[str]:
    """The peers of the rules, each rule's with its condition."""
    found = []
    for rule in rules(field, entry, *beside):
        words = "anyone" if rule.peers is None else " or ".join(map(peer_text, rule.peers))
        found.append(f"{words} {rule.condition}".strip())
    return found


def ports(entry: dict[str, Any]) -> list[Any]:
    return [
        (rule.ports, rule.condition) if rule.condition else rule.ports
        for rule in rules("ingress", {"fromEntities": ["all"], **entry})
    ]


# --- who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, "all pods in namespace shop"),
        ({"matchLabels": {"app": "x"}}, "pods with app=x in namespace shop"),
        ({"matchLabels": {"k8s:app": "x"}}, "pods with app=x in namespace shop"),
        (
            {"matchLabels": {"app": "x", "io.kubernetes.pod.namespace": "data"}},
            "pods with app=x in namespaces with kubernetes.io/metadata.name=data",
        ),
        (
            {
                "matchExpressions": [
                    {"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}
                ]
            },
            "all pods in namespaces with kubernetes.io/metadata.name exists",
        ),
        (
            {"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.team": "red"}},
            "all pods in namespaces with team=red",
        ),
        ({"matchLabels": {"reserved:host": ""}}, "the node of the pod"),
        (
            {"matchExpressions": [{"key": "reserved:remote-node", "operator": "Exists"}]},
            "every other node than the pod's",
        ),
        (
            {"matchLabels": {"io.cilium.k8s.policy.cluster": "east"}},
            "all pods in namespace shop if this cluster is called east",
        ),
    ],
)
def test_selectors_of_endpoints(selector: dict[str, Any], expected: str) -> None:
    assert peers("ingress", {"fromEndpoints": [selector]}) == [expected]


def test_a_label_of_another_source_is_one_that_no_pod_has() -> None:
    assert peers("ingress", {"fromEndpoints": [{"matchLabels": {"container:id": "x"}}]}) == [
        "pods with nothing in namespace shop"
    ]


def test_a_key_that_is_asked_for_twice_is_named() -> None:
    labels = {"matchLabels": {"app": "x", "any:app": "y"}}
    loaded = load_text(text(document({**WEB, "ingress": [{"fromEndpoints": [labels]}]})))
    (message,) = told(loaded.warnings)
    assert message.endswith("is asked for twice, and agents keep one of both values")


def test_in_a_clusterwide_policy_pods_of_all_namespaces_are_meant() -> None:
    spec = {**WEB, "ingress": [{"fromEndpoints": [{}, {"matchLabels": {"app": "x"}}]}]}
    found = policy(spec, clusterwide=True)
    assert found.namespace is None and found.namespaces.selects_all
    (rule,) = found.rules
    assert [peer_text(peer) for peer in rule.peers or ()] == [
        "all pods in every namespace",
        "pods with app=x in every namespace",
    ]


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ("all", ["anyone"]),
        ("world", ["addresses outside the cluster"]),
        ("cluster", ["every pod and node"]),
        ("host", ["the node of the pod"]),
        ("remote-node", ["every other node than the pod's"]),
        (
            "kube-apiserver",
            ["every node or addresses outside the cluster if the other end is an API server"],
        ),
        ("none", []),
        ("health", []),
    ],
)
def test_entities(entity: str, expected: list[str]) -> None:
    assert peers("ingress", {"fromEntities": [entity]}) == expected


def test_entities_that_no_input_shows_are_named() -> None:
    loaded = load_text(text(document({**WEB, "ingress": [{"fromEntities": ["health"]}]})))
    assert told(loaded.warnings) == [
        "spec.ingress[0].fromEntities[0]: no pod or address of the input is taken for health"
    ]


OUTSIDE = " except every pod and node"


def test_blocks_are_addresses_outside() -> None:
    assert peers("egress", {"toCIDR": ["10.0.0.0/8"]}) == [f"10.0.0.0/8{OUTSIDE}"]
    entry = {"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.0.0.0/8"]}]}
    assert peers("egress", entry) == [f"10.0.0.0/8 except 10.1.0.0/16, 10.0.0.0/8{OUTSIDE}"]


@pytest.mark.parametrize(
    "chosen",
    [{"cidrGroupRef": "office"}, {"cidrGroupSelector": {"matchLabels": {"site": "main"}}}],
    ids=["by name", "by labels"],
)
def test_groups_of_blocks(chosen: dict[str, Any]) -> None:
    entry = {"toCIDRSet": [{**chosen, "except": ["198.51.100.0/26"]}]}
    assert peers("egress", entry, CIDR_GROUP) == [
        f"198.51.100.0/24 except 198.51.100.0/26{OUTSIDE} or 2001:db8::/32{OUTSIDE}"
    ]
    assert peers("egress", entry) == [""]


def test_names_groups_and_nodes_are_conditional() -> None:
    assert peers("egress", {"toFQDNs": [{"matchName": "Example.com"}]}) == [
        "addresses outside the cluster if the address was given for example.com"
    ]
    assert peers("egress", {"toGroups": [{"aws": {"region": "x"}}]}) == [
        "addresses outside the cluster if the address is one of a group in the cloud"
    ]
    assert peers("egress", {"toNodes": [{"matchLabels": {"disk": "ssd"}}]}) == [
        "nodes with disk=ssd except the node of the pod if agents run with "
        "enable-node-selector-labels, without which they refuse the policy"
    ]


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db", "namespace": "data", "labels": {"tier": "back"}},
    "spec": {"selector": {"app": "db"}},
}
TO_PORT = {"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}


@pytest.mark.parametrize(
    "chosen",
    [
        {"k8sService": {"serviceName": "db", "namespace": "data"}},
        {"k8sService": {"serviceName": "db"}},
        {"k8sServiceSelector": {"selector": {"matchLabels": {"tier": "back"}}}},
    ],
)
def test_services_stand_for_what_is_behind_them(chosen: dict[str, Any]) -> None:
    entry = {"toServices": [chosen]}
    assert peers("egress", entry, SERVICE) == ["pods with app=db in namespace data"]


def test_a_service_that_is_not_there() -> None:
    gone = {"toServices": [{"k8sService": {"serviceName": "gone", "namespace": "data"}}]}
    assert peers("egress", gone, SERVICE) == []
    assert peers("egress", {**gone, **TO_PORT}, SERVICE) == ["anyone"]
    # Where the input has no Service of the namespace, it may be there.
    unknown = "anyone as Service data/gone has it, which the input does not hold"
    assert peers("egress", {**gone, **TO_PORT}) == [unknown]
    assert peers("egressDeny", {**gone, **TO_PORT}, SERVICE) == ["anyone"]
    assert peers("egressDeny", gone, SERVICE) == []


@pytest.mark.parametrize("name", ["Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes"])
def test_an_empty_list_is_nobody(name: str) -> None:
    assert peers("ingress", {f"from{name}": []}) == []
    assert peers("ingress", {f"from{name}": [], **TO_PORT}) == []


@pytest.mark.parametrize("name", ["Services", "FQDNs", "Groups"])
def test_an_empty_list_that_is_as_if_it_were_not_there(name: str) -> None:
    assert peers("egress", {f"to{name}": []}) == []
    assert peers("egress", {f"to{name}": [], **TO_PORT}) == ["anyone"]


def test_a_rule_that_says_nothing_matches_nothing_and_isolates() -> None:
    for field in ("ingress", "ingressDeny"):
        found = policy({**WEB, field: [{}]})
        assert found.rules == () and found.isolates == (Direction.INGRESS,)


# --- ports --------------------------------------------------------------------------------------

TCP = Protocol.TCP


def test_ports() -> None:
    def one(**port: Any) -> list[Any]:
        return ports({"toPorts": [{"ports": [port]}]})

    each = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
    assert one(port="80", protocol="TCP") == [(PortRange(TCP, 80, 80),)]
    assert one(port="80") == one(port="80", protocol="ANY")
    assert one(port="80") == [tuple(PortRange(protocol, 80, 80) for protocol in each)]
    assert one(port="0", protocol="TCP", endPort=90) == [(PortRange(TCP),)]
    assert one(port="80", protocol="TCP", endPort=90) == [(PortRange(TCP, 80, 90),)]
    assert one(port="80", protocol="TCP", endPort=70) == [(PortRange(TCP, 80, 80),)]
    assert one(port="010", protocol="TCP") == [(PortRange(TCP, 8, 8),)]
    assert one(port="HTTP", protocol="TCP") == [(NamedPort(TCP, "http"),)]
    assert one(port="0x10", protocol="TCP") == [(NamedPort(TCP, "0x10"),)]
    assert one(port="0", protocol="GRE") == [
        ((PortRange(Protocol.OTHER, 0, 0),), "for GRE only, where agents allow it")
    ]


def test_lists_of_ports_that_name_none() -> None:
    assert ports({"toPorts": []}) == [None]
    assert ports({"toPorts": [{}]}) == []
    assert ports({"icmps": [{"fields": []}]}) == []


def test_types_of_icmp() -> None:
    fields = [{"type": 8}, {"type": "EchoRequest", "family": "IPv6"}, {"type": "3"}]
    assert ports({"icmps": [{"fields": fields}]}) == [
        (IcmpMatch(4, 8), IcmpMatch(6, 128), IcmpMatch(4, 3))
    ]
    # The type stands in the place of the port, where 0 is every one.
    assert ports({"icmps": [{"fields": [{"type": 0}]}]}) == [(IcmpMatch(4),)]


@pytest.mark.parametrize(
    ("beside", "condition"),
    [
        ({"rules": {"http": [{"method": "GET", "path": "/api"}]}}, "for HTTP GET /api only"),
        ({"rules": {"http": [{}]}}, "for HTTP only"),
        ({"rules": {"http": []}}, ""),
        ({"rules": {"kafka": [{"topic": "x"}]}}, "for some requests of Kafka only"),
        ({"serverNames": ["a.example"]}, "for TLS to a.example only"),
        ({"terminatingTLS": {"secret": {"name": "s"}}}, "for TLS that the proxy can end"),
    ],
)
def test_what_a_proxy_judges_is_conditional(beside: dict[str, Any], condition: str) -> None:
    entry = {"ports": [{"port": "80", "protocol": "TCP"}], **beside}
    (rule,) = rules("ingress", {"fromEntities": ["all"], "toPorts": [entry]})
    assert rule.condition == condition


def test_one_rule_becomes_one_for_each_condition() -> None:
    plain = {"ports": [{"port": "81", "protocol": "TCP"}]}
    judged = {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}
    found = rules("ingress", {"fromEntities": ["world"], "toPorts": [judged, plain]})
    assert [(rule.index, rule.condition, rule.ports) for rule in found] == [
        (0, "for HTTP only", (PortRange(TCP, 80, 80),)),
        (1, "", (PortRange(TCP, 81, 81),)),
    ]
    assert {rule.source.path for rule in found} == {("spec", "ingress", 0)}


def test_authentication_is_conditional() -> None:
    def condition(mode: str) -> str:
        entry = {"fromEndpoints": [{}], "authentication": {"mode": mode}}
        (rule,) = rules("ingress", entry)
        return rule.condition

    assert condition("disabled") == ""
    assert condition("required") == "if both ends prove who they are (mutual authentication)"


# --- policies -----------------------------------------------------------------------------------


def test_what_denies_comes_first_and_isolates() -> None:
    found = policy(
        {**WEB, "ingress": [{"fromEntities": ["all"]}], "egressDeny": [{"toEntities": ["world"]}]}
    )
    assert found.isolates == (Direction.INGRESS, Direction.EGRESS)
    assert [(rule.direction, rule.action, rule.precedence) for rule in found.rules] == [
        (Direction.INGRESS, Action.ALLOW, None),
        (Direction.EGRESS, Action.DENY, -1.0),
    ]
    assert found.rules[1].peers == (NamedPeer(EndSet.WORLD),)


def test_default_deny_can_be_left_out() -> None:
    deny = {"ingressDeny": [{"fromEntities": ["world"]}], "egress": [{"toEntities": ["all"]}]}
    found = policy({**WEB, **deny, "enableDefaultDeny": {"ingress": False, "egress": True}})
    assert found.isolates == (Direction.EGRESS,)
    no_rules = policy({**WEB, "egress": [{}], "enableDefaultDeny": {"ingress": True}})
    assert no_rules.isolates == (Direction.EGRESS,)


def test_several_policies_in_one_document() -> None:
    cart = {"endpointSelector": {"matchLabels": {"app": "cart"}}}
    alike = [{**one, "ingress": [{"fromEntities": ["all"]}]} for one in (WEB, cart)]
    found = policy(None, specs=alike)
    assert str(found.pods) == "app in (cart, web)" and found.isolates == (Direction.INGRESS,)
    assert [peer_text(rule.subject) for rule in found.rules] == [
        "pods with app=web in every namespace",
        "pods with app=cart in every namespace",
    ]
    apart = policy(None, specs=[alike[0], {**cart, "egress": [{"toEntities": ["all"]}]}])
    assert apart.isolates == ()
    denying = [rule for rule in apart.rules if rule.action is Action.DENY]
    assert [(rule.direction, peer_text(rule.subject)) for rule in denying] == [
        (Direction.INGRESS, "pods with app=web in every namespace"),
        (Direction.EGRESS, "pods with app=cart in every namespace"),
    ]


def test_a_policy_selects_in_its_own_namespace() -> None:
    def selector(**labels: str) -> Policy:
        return policy({"endpointSelector": {"matchLabels": labels}, "ingress": [{}]})

    assert selector(**{"k8s:io.kubernetes.pod.namespace": "data", "app": "x"}).pods == (
        selector(app="x").pods
    )
    assert str(selector(**{"io.kubernetes.pod.namespace": "data"}).pods) == "nothing"


def test_a_policy_for_nodes_is_named_as_not_evaluated() -> None:
    spec = {"nodeSelector": {"matchLabels": {"disk": "ssd"}}, "ingress": [{}]}
    loaded = load_text(text(document(spec, clusterwide=True)))
    (found,) = loaded.cluster.unevaluated
    assert found.names == ("p",) and "nodeSelector" in found.detail


# --- what is refused ----------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({**WEB, "ingress": []}, "spec: Required value: at least one rule in ingress, ingressDeny"),
    ({"ingress": [{}]}, "spec: Required value: exactly one of endpointSelector and nodeSelector"),
    (
        {"nodeSelector": {}, "ingress": [{}]},
        "spec.nodeSelector: Forbidden: a CiliumNetworkPolicy may not select nodes",
    ),
    (
        {**WEB, "ingress": [{"fromEntities": ["all"], "fromCIDR": ["203.0.113.9/32"]}]},
        "spec.ingress[0]: Forbidden: one rule may not have fromCIDR and fromEntities",
    ),
    (
        {**WEB, "ingress": [{"fromRequires": [{}]}]},
        "spec.ingress[0].fromRequires: Forbidden: is gone from this version of the API",
    ),
    (
        {**WEB, "ingress": [{"fromEntities": ["world-ipv4"]}]},
        'spec.ingress[0].fromEntities[0]: Unsupported value: "world-ipv4"',
    ),
    (
        {**WEB, "ingress": [{"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}]}]},
        'spec.ingress[0].fromCIDRSet[0].except[0]: Invalid value: "11.0.0.0/8"',
    ),
    (
        {**WEB, "ingress": [{"fromCIDRSet": [{}]}]},
        "spec.ingress[0].fromCIDRSet[0]: Required value: exactly one of cidr, cidrGroupRef",
    ),
    (
        {**WEB, "ingress": [{"toPorts": [{"ports": [{"port": "80", "protocol": "tcp"}]}]}]},
        'spec.ingress[0].toPorts[0].ports[0].protocol: Unsupported value: "tcp"',
    ),
    (
        {**WEB, "ingress": [{"toPorts": [{"ports": [{"port": "65536"}]}]}]},
        'spec.ingress[0].toPorts[0].ports[0].port: Invalid value: "65536"',
    ),
    (
        {**WEB, "ingress": [{"toPorts": [{"ports": [{"port": 80}]}]}]},
        "spec.ingress[0].toPorts[0].ports[0].port: Invalid value: 80: expected a string",
    ),
    (
        {**WEB, "ingress": [{"toPorts": [{"ports": [{"port": "80"}] * 41}]}]},
        "spec.ingress[0].toPorts[0].ports: Too many: 41: must have at most 40 items",
    ),
    (
        {
            **WEB,
            "ingress": [
                {"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}]},
            ],
        },
        'spec.ingress[0].toPorts[0].ports[0].protocol: Invalid value: "": rules of this kind',
    ),
    (
        {**WEB, "ingress": [{**TO_PORT, "icmps": [{"fields": [{"type": 8}]}]}]},
        "spec.ingress[0].icmps: Forbidden: may not be combined with toPorts",
    ),
    (
        {**WEB, "ingress": [{"icmps": [{"fields": [{"type": "Ping"}]}]}]},
        'spec.ingress[0].icmps[0].fields[0].type: Invalid value: "Ping"',
    ),
    (
        {**WEB, "egress": [{"toFQDNs": [{"matchName": "a b"}]}]},
        'spec.egress[0].toFQDNs[0].matchName: Invalid value: "a b"',
    ),
    (
        {
            "endpointSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
            "ingress": [{}],
        },
        "spec.endpointSelector.matchExpressions[0].values: Required value: must be specified",
    ),
    (
        {"endpointSelector": {"matchLabels": {"a:b:c": ""}}, "ingress": [{}]},
        'spec.endpointSelector.matchLabels.a:b:c: Invalid value: "a:b:c"',
    ),
    (
        {**WEB, "ingress": [{"authentication": {"mode": "maybe"}}]},
        'spec.ingress[0].authentication.mode: Unsupported value: "maybe"',
    ),
    (
        {**WEB, "ingress": [{}], "enableDefaultDeny": {"ingress": "no"}},
        "spec.enableDefaultDeny.ingress: Invalid value:",
    ),
]


@pytest.mark.parametrize(("spec", "expected"), REFUSED, ids=[text for _, text in REFUSED])
def test_what_is_refused(spec: dict[str, Any], expected: str) -> None:
    messages = told(problems_of(text(document(spec))))
    assert any(message.startswith(expected) for message in messages), messages


def test_a_document_needs_a_spec() -> None:
    assert told(problems_of(text(document()))) == [
        "spec: Required value: spec or specs must be provided"
    ]


def test_unknown_fields_are_named() -> None:
    loaded = load_text(text(document({**WEB, "ingress": [{"fromEntity": ["all"]}]})))
    assert told(loaded.warnings) == [
        'spec.ingress[0].fromEntity: unknown field, did you mean "fromEntities"?'
    ]


def test_a_group_needs_its_blocks() -> None:
    group = {**CIDR_GROUP, "spec": {}}
    assert told(problems_of(text(group))) == ["spec.externalCIDRs: Required value"]
    bare = {**CIDR_GROUP, "spec": {"externalCIDRs": ["198.51.100.9"]}}
    (message,) = told(problems_of(text(bare)))
    assert message.startswith('spec.externalCIDRs[0]: Invalid value: "198.51.100.9"')
