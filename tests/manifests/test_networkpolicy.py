"""NetworkPolicy: the API server's defaults, and what rules, peers and ports become."""

from __future__ import annotations

from typing import Any

import pytest

from kubeverdict.manifests import repeated
from kubeverdict.model.addresses import parse_block
from kubeverdict.model.policy import BlockPeer, Direction, PodPeer, says_the_same
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from tests.manifests.reading import load_text, peers, policy_of, policy_text, ports

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
TYPES: list[tuple[dict[str, Any], tuple[Direction, ...]]] = [
    ({}, (INGRESS,)),
    ({"policyTypes": None}, (INGRESS,)),
    ({"policyTypes": []}, (INGRESS,)),
    ({"egress": []}, (INGRESS,)),
    ({"egress": None}, (INGRESS,)),
    ({"egress": [{}]}, (INGRESS, EGRESS)),
    ({"egress": [{}], "policyTypes": []}, (INGRESS, EGRESS)),
    ({"ingress": [{}]}, (INGRESS,)),
    ({"egress": [{}], "policyTypes": ["Ingress"]}, (INGRESS,)),
    ({"ingress": [{}], "policyTypes": ["Egress"]}, (EGRESS,)),
    ({"policyTypes": ["Egress", "Ingress"]}, (INGRESS, EGRESS)),
]


@pytest.mark.parametrize(("spec", "expected"), TYPES)
def test_policy_types_default(spec: dict[str, Any], expected: tuple[Direction, ...]) -> None:
    policy = policy_of(spec)
    assert policy.isolates == expected
    assert {rule.direction for rule in policy.rules} <= set(expected)


def test_rules_of_a_direction_not_in_force_are_told() -> None:
    loaded = load_text(policy_text({"ingress": [{}], "policyTypes": ["Egress"]}))
    assert [str(warning) for warning in loaded.warnings] == [
        "<stdin>:1: NetworkPolicy shop/web: spec.ingress: by the API these rules have no effect: "
        "policyTypes does not list Ingress"
    ]


def test_rules_of_a_direction_not_in_force_are_kept_apart() -> None:
    egress: dict[str, Any] = {"to": [{"podSelector": {}}]}
    policy = policy_of({"ingress": [{}], "egress": [egress, {}], "policyTypes": ["Ingress"]})
    assert [rule.direction for rule in policy.rules] == [INGRESS]
    assert [(rule.direction, rule.index) for rule in policy.unlisted_rules] == [
        (EGRESS, 0),
        (EGRESS, 1),
    ]
    assert policy_of({"ingress": [{}], "policyTypes": ["Ingress", "Egress"]}).unlisted_rules == ()


def test_policies_differ_in_rules_that_are_not_in_force() -> None:
    one, same, other = (
        policy_of({"policyTypes": ["Ingress"], "egress": [{"ports": [{"port": port}]}]})
        for port in (80, 80, 81)
    )
    assert says_the_same(one, same) and repeated.same(one, same)
    assert not says_the_same(one, other) and not repeated.same(one, other)


def test_a_policy_without_spec_isolates_and_is_told() -> None:
    text = (
        '{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}}'
    )
    loaded = load_text(text)
    (policy,) = loaded.cluster.policies
    assert (policy.pods, policy.isolates, policy.rules) == (EVERYTHING, (INGRESS,), ())
    assert len(loaded.warnings) == 1


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": None}, {"matchLabels": {}}])
def test_an_empty_selector_is_everything(selector: object) -> None:
    assert policy_of({"podSelector": selector}).pods == EVERYTHING


@pytest.mark.parametrize("empty", [{}, {"from": None, "ports": None}, {"from": [], "ports": []}])
def test_an_empty_rule_has_no_restriction(empty: object) -> None:
    (rule,) = policy_of({"ingress": [empty]}).rules
    assert (rule.peers, rule.ports) == (None, None)


def test_a_null_rule_allows_everything_and_is_told() -> None:
    loaded = load_text(policy_text({"ingress": [None]}))
    (rule,) = loaded.cluster.policies[0].rules
    assert (rule.peers, rule.ports) == (None, None)
    assert [warning.field for warning in loaded.warnings] == ["spec.ingress[0]"]


def label(key: str, *values: str) -> Requirement:
    return Requirement(key, Operator.IN, values)


def test_peers_are_lowered() -> None:
    web = {"matchLabels": {"app": "web"}}
    selector = Selector.of([label("app", "web")])
    spec = peers(
        {"podSelector": web},
        {"podSelector": {}},
        {"namespaceSelector": web},
        {"namespaceSelector": {}},
        {"podSelector": web, "namespaceSelector": web},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    )
    (rule,) = policy_of(spec).rules
    assert rule.peers == (
        PodPeer(selector, "shop"),
        PodPeer(EVERYTHING, "shop"),
        PodPeer(None, None, selector),
        PodPeer(None, None, EVERYTHING),
        PodPeer(selector, None, selector),
        BlockPeer(parse_block("10.0.0.0/8"), (parse_block("10.1.0.0/16"),)),  # type: ignore[arg-type]
    )


def test_ports_are_lowered() -> None:
    spec = ports(
        {},
        None,
        {"protocol": "UDP"},
        {"port": 80},
        {"port": 80, "endPort": 90, "protocol": "SCTP"},
        {"port": "http"},
        {"port": "dns", "protocol": "UDP"},
    )
    (rule,) = policy_of(spec).rules
    assert rule.ports == (
        PortRange(Protocol.TCP),
        PortRange(Protocol.TCP),
        PortRange(Protocol.UDP),
        PortRange(Protocol.TCP, 80, 80),
        PortRange(Protocol.SCTP, 80, 90),
        NamedPort(Protocol.TCP, "http"),
        NamedPort(Protocol.UDP, "dns"),
    )


def test_selectors_are_canonical() -> None:
    one = policy_of({"podSelector": {"matchLabels": {"b": "2", "a": "1"}}})
    other = policy_of(
        {
            "podSelector": {
                "matchLabels": {"a": "1"},
                "matchExpressions": [
                    {"key": "b", "operator": "In", "values": ["2", "2"]},
                    {"key": "b", "operator": "In", "values": ["2"]},
                ],
            }
        }
    )
    assert one.pods == other.pods == Selector.of([label("a", "1"), label("b", "2")])


def test_every_operator_is_read() -> None:
    spec = {
        "podSelector": {
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["y", "x"]},
                {"key": "b", "operator": "NotIn", "values": [""]},
                {"key": "c", "operator": "Exists"},
                {"key": "d", "operator": "DoesNotExist"},
            ]
        }
    }
    assert policy_of(spec).pods.requirements == (
        Requirement("a", Operator.IN, ("x", "y")),
        Requirement("b", Operator.NOT_IN, ("",)),
        Requirement("c", Operator.EXISTS),
        Requirement("d", Operator.DOES_NOT_EXIST),
    )


def test_a_rule_knows_its_place() -> None:
    text = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
spec:
  ingress:
  - ports:
    - port: 80
  - from:
    - podSelector: {}
  egress:
  - {}
"""
    (policy,) = load_text(text).cluster.policies
    assert (policy.namespace, policy.source.line) == ("default", 1)
    found = [(rule.direction, rule.index, rule.source.line) for rule in policy.rules]
    assert found == [(INGRESS, 0, 7), (INGRESS, 1, 9), (EGRESS, 0, 12)]
    assert policy.rules[1].source.path == ("spec", "ingress", 1)


def test_what_the_author_wrote_is_kept() -> None:
    (policy,) = load_text(
        policy_text(
            {"podSelector": {}, "egress": []},
            annotations={
                "owner": "storefront",
                "empty": "",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
        )
    ).cluster.policies
    assert policy.annotations == {"owner": "storefront", "empty": ""}
    assert (policy.defaulted, policy.listed) == (True, (Direction.EGRESS,))
    plain = policy_of({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})
    assert (plain.annotations, plain.defaulted, plain.listed) == ({}, False, (Direction.INGRESS,))
