"""AdminNetworkPolicy: what its fields mean, and every error of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.manifests import Loaded
from kubeverdict.model.addresses import parse_block
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    NodePeer,
    PodPeer,
    Policy,
    Tier,
)
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.model.unevaluated import Gap
from tests.clusters.records import label
from tests.manifests.reading import load_text, problems_of, told

ALL: dict[str, Any] = {"namespaces": {}}
TEAM = {"matchLabels": {"team": "a"}}
WEB = {"matchLabels": {"app": "web"}}
PODS = {"namespaceSelector": TEAM, "podSelector": WEB}


def text(**changed: object) -> str:
    """A policy as JSON, which is YAML too; ``changed`` are fields of its spec, None to leave one
    out."""
    fields: dict[str, object] = {"priority": 10, "subject": ALL, **changed}
    spec = {key: value for key, value in fields.items() if value is not None}
    return json.dumps(
        {
            "apiVersion": "policy.networking.k8s.io/v1alpha1",
            "kind": "AdminNetworkPolicy",
            "metadata": {"name": "admin"},
            "spec": spec,
        }
    )


def policy_of(**changed: object) -> Policy:
    (policy,) = load_text(text(**changed)).cluster.policies
    return policy


def ingress(*peers: object, action: str = "Allow", **fields: object) -> list[object]:
    return [{"action": action, "from": list(peers), **fields}]


def egress(*peers: object, action: str = "Allow", **fields: object) -> list[object]:
    return [{"action": action, "to": list(peers), **fields}]


# --- meaning ---------------------------------------------------------------------------------


def test_it_stands_before_network_policies_and_isolates_nothing() -> None:
    policy = policy_of(priority=7, ingress=ingress(ALL, action="Deny"))
    assert (policy.kind, policy.namespace, str(policy)) == ("AdminNetworkPolicy", None, "admin")
    assert policy.tier == Tier(1_000.0, "admin", Action.PASS)
    assert policy.tier < NETWORK_POLICY_TIER
    assert (policy.order, policy.isolates) == (7.0, ())


@pytest.mark.parametrize(
    ("subject", "namespaces", "pods"),
    [
        ({"namespaces": {}}, EVERYTHING, EVERYTHING),
        ({"namespaces": TEAM}, label("team", "a"), EVERYTHING),
        ({"pods": PODS}, label("team", "a"), label("app", "web")),
    ],
)
def test_subjects(subject: object, namespaces: object, pods: object) -> None:
    policy = policy_of(subject=subject)
    assert (policy.namespaces, policy.pods) == (namespaces, pods)


def test_rules_keep_their_order_and_actions() -> None:
    policy = policy_of(
        ingress=[
            *ingress(ALL, action="Pass", name="first"),
            *ingress({"pods": PODS}, action="Allow"),
            *ingress(ALL, action="Deny"),
        ],
        egress=egress(ALL, action="Deny"),
    )
    assert [(rule.direction, rule.index, rule.action) for rule in policy.rules] == [
        (Direction.INGRESS, 0, Action.PASS),
        (Direction.INGRESS, 1, Action.ALLOW),
        (Direction.INGRESS, 2, Action.DENY),
        (Direction.EGRESS, 0, Action.DENY),
    ]
    assert policy.rules[1].source.path == ("spec", "ingress", 1)


def test_peers() -> None:
    networks = {"networks": ["10.0.0.0/8", "2001:db8::/32"]}
    nodes = {"nodes": {"matchLabels": {"role": "edge"}}}
    (rule,) = policy_of(egress=egress({"namespaces": TEAM}, {"pods": PODS}, networks, nodes)).rules
    blocks = [parse_block(each) for each in networks["networks"]]
    assert rule.peers == (
        PodPeer(None, None, label("team", "a")),
        PodPeer(label("app", "web"), None, label("team", "a")),
        *(BlockPeer(block) for block in blocks if block is not None),
        NodePeer(label("role", "edge")),
    )


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"portNumber": {"port": 80}}, (PortRange(Protocol.TCP, 80, 80),)),
        ({"portNumber": {"protocol": "UDP", "port": 53}}, (PortRange(Protocol.UDP, 53, 53),)),
        (
            {"portRange": {"protocol": "SCTP", "start": 1, "end": 9}},
            (PortRange(Protocol.SCTP, 1, 9),),
        ),
        (
            {"namedPort": "web"},
            tuple(NamedPort(one, "web") for one in (Protocol.TCP, Protocol.UDP, Protocol.SCTP)),
        ),
    ],
)
def test_ports(port: object, expected: object) -> None:
    (rule,) = policy_of(ingress=ingress(ALL, ports=[port])).rules
    assert rule.ports == expected


def test_no_ports_are_all_ports() -> None:
    policy = policy_of(ingress=[*ingress(ALL), *ingress(ALL, ports=[])])
    assert [rule.ports for rule in policy.rules] == [None, None]


# --- what cannot be said -----------------------------------------------------------------------

NODES: dict[str, Any] = {"nodes": {}}
NAMES = {"domainNames": ["*.example.com"]}


def test_a_rule_with_peers_that_are_not_evaluated_fails_closed() -> None:
    policy = policy_of(
        egress=[
            *egress(NAMES, ALL),
            *egress(NAMES),
            *egress(NAMES, ALL, action="Deny"),
            *egress(NAMES, action="Pass"),
        ]
    )
    assert [(rule.index, rule.action, rule.peers) for rule in policy.rules] == [
        (0, Action.ALLOW, (PodPeer(None, None, EVERYTHING),)),
        (2, Action.DENY, None),
        (3, Action.PASS, None),
    ]


def unevaluated(loaded: Loaded) -> list[tuple[str, Gap, int, tuple[str, ...], str]]:
    return [
        (one.resource, one.gap, one.count, one.names, one.detail)
        for one in loaded.cluster.unevaluated
    ]


def test_what_is_not_evaluated_is_named() -> None:
    loaded = load_text(text(egress=[*egress(ALL, NAMES), *egress(NAMES)]))
    detail = (
        "AdminNetworkPolicy admin: peers that are domain names are not evaluated "
        "(spec.egress[0].to[1].domainNames and 1 more): a rule that allows is taken not to match "
        "them, and one that denies or passes to match every peer"
    )
    resource = "AdminNetworkPolicy.policy.networking.k8s.io"
    assert unevaluated(loaded) == [(resource, Gap.POLICY, 1, ("admin",), detail)]
    assert [str(one) for one in loaded.warnings] == [f"<stdin>:1: {detail}"]
    assert unevaluated(load_text(text(egress=egress(ALL)))) == []


# --- errors ----------------------------------------------------------------------------------

CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
ONE_PEER = "Required value: exactly one of namespaces, pods"
ONE_EGRESS_PEER = f"{ONE_PEER}, networks, nodes, domainNames"
ONE_PORT = "Required value: exactly one of portNumber, portRange, namedPort"
PORT = "must be between 1 and 65535, inclusive"
IN, OUT = "spec.ingress[0]", "spec.egress[0]"
UNNAMED = (
    "Forbidden: networks/nodes/domainNames peer cannot be set with namedPorts since there are no "
    "namedPorts for networks/nodes/domainNames"
)

WRONG: list[tuple[dict[str, object], list[str]]] = [
    ({"priority": None}, ["spec.priority: Required value"]),
    (
        {"priority": 1001},
        ["spec.priority: Invalid value: 1001: must be between 0 and 1000, inclusive"],
    ),
    ({"priority": -1}, ["spec.priority: Invalid value: -1: must be between 0 and 1000, inclusive"]),
    (
        {"priority": "1"},
        ['spec.priority: Invalid value: "1": expected an integer, got a string'],
    ),
    (
        {"priority": True},
        ["spec.priority: Invalid value: true: expected an integer, got a boolean"],
    ),
    ({"subject": None}, ["spec.subject: Required value"]),
    ({"subject": {}}, [f"spec.subject: {ONE_PEER}"]),
    ({"subject": {"namespaces": {}, "pods": PODS}}, [f"spec.subject: {ONE_PEER}"]),
    (
        {"priority": -1, "ingress": ingress({}), "subject": {}},
        [
            f"spec.subject: {ONE_PEER}",
            "spec.priority: Invalid value: -1: must be",
            f"{IN}.from[0]: {ONE_PEER}",
        ],
    ),
    (
        {"subject": "all"},
        ['spec.subject: Invalid value: "all": expected an object, got a string'],
    ),
    (
        {"subject": {"pods": {}}},
        [f"spec.subject.pods.{n}Selector: Required value" for n in ("namespace", "pod")],
    ),
    (
        {"subject": {"namespaces": {"matchLabels": {"a b": "c"}}}},
        ['spec.subject.namespaces.matchLabels: Invalid value: "a b": name part must consist of'],
    ),
    ({"ingress": {}}, ["spec.ingress: Invalid value: expected a list, got an object"]),
    (
        {"ingress": ingress(ALL) * 101},
        ["spec.ingress: Too many: 101: must have at most 100 items"],
    ),
    ({"ingress": ingress()}, [f"{IN}.from: Required value: must have at least 1 item"]),
    ({"egress": [{"action": "Deny"}]}, [f"{OUT}.to: Required value: must have at least 1 item"]),
    (
        {"egress": egress(*[ALL] * 101)},
        [f"{OUT}.to: Too many: 101: must have at most 100 items"],
    ),
    ({"ingress": [{"from": [ALL]}]}, [f"{IN}.action: Required value"]),
    (
        {"ingress": ingress(ALL, action="Accept")},
        [
            f'{IN}.action: Unsupported value: "Accept": supported values: "Allow", "Deny", "Pass"',
        ],
    ),
    (
        {"ingress": ingress(ALL, name="x" * 101)},
        [f"{IN}.name: Too long: may not be more than 100 bytes"],
    ),
    ({"ingress": ingress({})}, [f"{IN}.from[0]: {ONE_PEER}"]),
    ({"ingress": ingress({"networks": ["10.0.0.0/8"]})}, [f"{IN}.from[0]: {ONE_PEER}"]),
    ({"egress": egress({"namespaces": {}, **NODES})}, [f"{OUT}.to[0]: {ONE_EGRESS_PEER}"]),
    (
        {"egress": egress({"networks": []})},
        [f"{OUT}.to[0].networks: Required value: must have at least 1 item"],
    ),
    (
        {"egress": egress({"networks": ["10.0.0.0"]})},
        [f'{OUT}.to[0].networks[0]: Invalid value: "10.0.0.0": {CIDR}'],
    ),
    (
        {"egress": egress({"networks": ["10.0.0.0/8", "10.0.0.0/8"]})},
        [f'{OUT}.to[0].networks[1]: Duplicate value: "10.0.0.0/8"'],
    ),
    (
        {"egress": egress({"networks": [f"10.0.{n}.0/24" for n in range(26)]})},
        [f"{OUT}.to[0].networks: Too many: 26: must have at most 25 items"],
    ),
    (
        {"egress": egress({"networks": [5]})},
        [f"{OUT}.to[0].networks[0]: Invalid value: 5: expected a string, got an integer"],
    ),
    (
        {"egress": egress({"domainNames": ["a b"]})},
        [f'{OUT}.to[0].domainNames[0]: Invalid value: "a b": must be a domain name, which may'],
    ),
    (
        {"egress": egress({"nodes": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})},
        [
            f"{OUT}.to[0].nodes.matchExpressions[0].operator: Invalid value: "
            '"Is": not a valid selector operator'
        ],
    ),
    ({"ingress": ingress(ALL, ports=[{}])}, [f"{IN}.ports[0]: {ONE_PORT}"]),
    (
        {"ingress": ingress(ALL, ports=[{"namedPort": "a", "portNumber": {"port": 1}}])},
        [f"{IN}.ports[0]: {ONE_PORT}"],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"portNumber": {"port": 1}}] * 101)},
        [f"{IN}.ports: Too many: 101: must have at most 100 items"],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"portNumber": {"port": 0}}])},
        [f"{IN}.ports[0].portNumber.port: Invalid value: 0: {PORT}"],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"portNumber": {}}])},
        [f"{IN}.ports[0].portNumber.port: Required value"],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"portNumber": {"port": 1, "protocol": "tcp"}}])},
        [
            f'{IN}.ports[0].portNumber.protocol: Unsupported value: "tcp": supported values: '
            '"SCTP", "TCP", "UDP"'
        ],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"portRange": {"start": 9, "end": 8}}])},
        [
            f"{IN}.ports[0].portRange.end: Invalid value: 8: must be greater than or equal to "
            "`start`"
        ],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"portRange": {"start": 9}}])},
        [f"{IN}.ports[0].portRange.end: Required value"],
    ),
    (
        {"ingress": ingress(ALL, ports=[{"namedPort": "80"}])},
        [f'{IN}.ports[0].namedPort: Invalid value: "80": must contain at least one letter (a-z)'],
    ),
]


@pytest.mark.parametrize("peer", [{"networks": ["10.0.0.0/8"]}, NODES, NAMES])
def test_an_address_has_no_named_ports(peer: dict[str, object]) -> None:
    body = text(egress=egress(ALL, peer, ports=[{"namedPort": "web"}]))
    assert told(problems_of(body)) == [f"{OUT}: {UNNAMED}"]


@pytest.mark.parametrize(("changed", "messages"), WRONG)
def test_what_the_api_refuses(changed: dict[str, object], messages: list[str]) -> None:
    found = told(problems_of(text(**changed)))
    assert [one[: len(message)] for one, message in zip(found, messages, strict=True)] == messages


def test_an_error_says_where() -> None:
    yaml = """\
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec:
  priority: 10
  subject: {namespaces: {}}
  egress:
    - action: Deny
      to:
        - networks: [10.0.0.0/8]
        - networks:
            - 10.0.0.0/33
"""
    (problem,) = problems_of(yaml)
    assert str(problem).startswith(
        "<stdin>:12: AdminNetworkPolicy admin: spec.egress[0].to[1].networks[0]: Invalid value"
    )


@pytest.mark.parametrize("spec", [None, {}])
def test_an_empty_spec_lacks_what_is_required(spec: object) -> None:
    body = json.loads(text())
    body["spec"] = spec
    assert told(problems_of(json.dumps(body))) == [
        "spec.subject: Required value",
        "spec.priority: Required value",
    ]


def test_it_is_in_no_namespace() -> None:
    body = json.loads(text())
    body["metadata"]["namespace"] = "shop"
    (problem,) = problems_of(json.dumps(body))
    assert (problem.subject, problem.field) == ("AdminNetworkPolicy admin", "metadata.namespace")
    assert problem.message == "Forbidden: not allowed on this type"


def test_another_version_is_an_error() -> None:
    body = text().replace("v1alpha1", "v1alpha2")
    assert told(problems_of(body)) == [
        'apiVersion: Invalid value: "policy.networking.k8s.io/v1alpha2": an AdminNetworkPolicy is '
        "of policy.networking.k8s.io/v1alpha1"
    ]


def test_fields_that_the_api_drops_are_warned_of() -> None:
    rule = {"action": "Deny", "from": [ALL], "port": [], "to": []}
    loaded = load_text(text(ingress=[rule], egres=[]))
    assert sorted(f"{one.field}: {one.message}" for one in loaded.warnings) == [
        'spec.egres: unknown field, did you mean "egress"?',
        'spec.ingress[0].port: unknown field, did you mean "ports"?',
        'spec.ingress[0].to: unknown field, did you mean "from"?',
    ]


def test_policies_are_distinguished_by_what_they_decide() -> None:
    same = load_text(f"{text()}\n{text()}")
    assert len(same.cluster.policies) == 1 and "same content" in same.warnings[0].message
    (problem,) = problems_of(f"{text()}\n{text(priority=11)}")
    assert "defined twice with different content" in problem.message


# --- BaselineAdminNetworkPolicy --------------------------------------------------------------


def baseline(name: str = "default", **changed: object) -> str:
    body = json.loads(text(priority=None, **changed))
    return json.dumps({**body, "kind": "BaselineAdminNetworkPolicy", "metadata": {"name": name}})


def test_the_baseline_stands_after_network_policies() -> None:
    body = baseline(ingress=ingress(ALL, action="Deny"))
    (policy,) = load_text(body).cluster.policies
    assert policy.kind == "BaselineAdminNetworkPolicy"
    assert policy.tier == Tier(10_000_000.0, "baseline", Action.PASS)
    assert policy.tier > NETWORK_POLICY_TIER
    assert (policy.isolates, policy.rules[0].action) == ((), Action.DENY)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            baseline("other"),
            'metadata.name: Invalid value: "other": Only one baseline admin network policy with '
            'metadata.name="default" can be created in the cluster',
        ),
        (
            baseline(ingress=ingress(ALL, action="Pass")),
            f'{IN}.action: Unsupported value: "Pass": supported values: "Allow", "Deny"',
        ),
        (
            baseline(egress=egress(NAMES, action="Deny")),
            f"{OUT}.to[0]: {ONE_PEER}, networks, nodes",
        ),
        (baseline(subject=None), "spec.subject: Required value"),
    ],
)
def test_what_the_api_refuses_of_the_baseline(body: str, message: str) -> None:
    assert told(problems_of(body)) == [message]
