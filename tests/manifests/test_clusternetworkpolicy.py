"""ClusterNetworkPolicy: where it differs from AdminNetworkPolicy, and the errors of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.model.policy import NETWORK_POLICY_TIER, Action, Direction, PodPeer, Policy, Tier
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING
from tests.clusters.records import label
from tests.manifests.reading import load_text, problems_of, told

ALL: dict[str, Any] = {"namespaces": {}}
WEB = {"matchLabels": {"app": "web"}}
NAMED = {"destinationNamedPort": "web"}
VERSIONS = ("v1beta1", "v1alpha2")


def text(*, version: object = "v1beta1", **changed: object) -> str:
    """A policy as JSON; ``changed`` are fields of its spec, None to leave one out."""
    fields: dict[str, object] = {"tier": "Admin", "priority": 10, "subject": ALL, **changed}
    return json.dumps(
        {
            "apiVersion": f"policy.networking.k8s.io/{version}",
            "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "cluster"},
            "spec": {key: value for key, value in fields.items() if value is not None},
        }
    )


def policy_of(**changed: Any) -> Policy:
    (policy,) = load_text(text(**changed)).cluster.policies
    return policy


def ingress(*peers: object, action: str = "Accept", **fields: object) -> list[object]:
    return [{"action": action, "from": list(peers), **fields}]


def egress(*peers: object, action: str = "Accept", **fields: object) -> list[object]:
    return [{"action": action, "to": list(peers), **fields}]


@pytest.mark.parametrize("version", VERSIONS)
def test_its_tier_stands_before_or_after_network_policies(version: str) -> None:
    admin = policy_of(version=version, ingress=ingress(ALL, action="Pass"))
    baseline = policy_of(version=version, tier="Baseline", priority=1000)
    assert (admin.kind, admin.tier.name, admin.order) == ("ClusterNetworkPolicy", "admin", 10.0)
    assert baseline.tier == Tier(10_000_000.0, "baseline", Action.PASS)
    assert admin.tier < NETWORK_POLICY_TIER < baseline.tier
    assert (admin.isolates, admin.rules[0].action, baseline.order) == ((), Action.PASS, 1000.0)


def test_actions() -> None:
    policy = policy_of(egress=[*egress(ALL), *egress(ALL, action="Deny")])
    assert [(rule.direction, rule.action) for rule in policy.rules] == [
        (Direction.EGRESS, Action.ALLOW),
        (Direction.EGRESS, Action.DENY),
    ]


def test_the_selector_of_namespaces_may_be_left_out() -> None:
    (rule,) = policy_of(ingress=ingress({"pods": {"podSelector": WEB}})).rules
    assert rule.peers == (PodPeer(label("app", "web"), None, EVERYTHING),)


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ({"tcp": {"destinationPort": {"number": 80}}}, (PortRange(Protocol.TCP, 80, 80),)),
        (
            {"sctp": {"destinationPort": {"range": {"start": 1, "end": 9}}}},
            (PortRange(Protocol.SCTP, 1, 9),),
        ),
        ({"udp": {"destinationPort": {"number": 53}}}, (PortRange(Protocol.UDP, 53, 53),)),
        (
            NAMED,
            tuple(NamedPort(one, "web") for one in (Protocol.TCP, Protocol.UDP, Protocol.SCTP)),
        ),
    ],
)
def test_protocols(protocol: object, expected: object) -> None:
    (rule,) = policy_of(ingress=ingress(ALL, protocols=[protocol])).rules
    assert rule.ports == expected


def test_without_protocols_it_is_all_of_them() -> None:
    (rule,) = policy_of(ingress=ingress(ALL)).rules
    assert rule.ports is None


IN, OUT = "spec.ingress[0]", "spec.egress[0]"
PORT = "must be between 1 and 65535, inclusive"
TCP = f"{IN}.protocols[0].tcp"


def tcp(port: object) -> dict[str, object]:
    return {"ingress": ingress(ALL, protocols=[{"tcp": {"destinationPort": port}}])}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tier": None}, "spec.tier: Required value"),
        (
            {"tier": "admin"},
            'spec.tier: Unsupported value: "admin": supported values: "Admin", "Baseline"',
        ),
        ({"priority": None, "tier": "Baseline"}, "spec.priority: Required value"),
        (
            {"ingress": ingress(ALL, action="Allow")},
            f'{IN}.action: Unsupported value: "Allow": supported values: "Accept", "Deny", "Pass"',
        ),
        (
            {"ingress": ingress(ALL) * 26},
            "spec.ingress: Too many: 26: must have at most 25 items",
        ),
        ({"egress": egress(*[ALL] * 26)}, f"{OUT}.to: Too many: 26: must have at most 25 items"),
        (
            {"ingress": ingress(ALL, protocols=[])},
            f"{IN}.protocols: Required value: must have at least 1 item",
        ),
        (
            {"ingress": ingress(ALL, protocols=[{}])},
            f"{IN}.protocols[0]: Required value: exactly one of tcp, udp, sctp, destinationNamed",
        ),
        (
            {"ingress": ingress(ALL, protocols=[{"tcp": {}}])},
            f"{TCP}.destinationPort: Required value",
        ),
        (tcp({}), f"{TCP}.destinationPort: Required value: exactly one of number, range"),
        (tcp({"number": 0}), f"{TCP}.destinationPort.number: Invalid value: 0: {PORT}"),
        (
            tcp({"range": {"start": 9, "end": 9}}),
            f"{TCP}.destinationPort.range.end: Invalid value: 9: Start port must be less than End",
        ),
        (tcp({"range": {"start": 9}}), f"{TCP}.destinationPort.range.end: Required value"),
        (
            {"subject": {"pods": {}}},
            "spec.subject.pods.podSelector: Required value",
        ),
        (
            {"egress": egress({"networks": ["10.0.0.0/8"]}, protocols=[NAMED])},
            f"{OUT}: Forbidden: networks/nodes/domainNames peer cannot be set with namedPorts",
        ),
        (
            {"egress": egress({"domainNames": ["a_b^c.example"]})},
            f'{OUT}.to[0].domainNames[0]: Invalid value: "a_b^c.example": must be a domain name',
        ),
    ],
)
def test_what_the_api_refuses(changed: dict[str, object], message: str) -> None:
    (found,) = told(problems_of(text(**changed)))
    assert found.startswith(message)


def test_fields_of_the_older_kinds_are_warned_of() -> None:
    loaded = load_text(text(ingress=ingress(ALL, ports=[])))
    assert [one.field for one in loaded.warnings] == ["spec.ingress[0].ports"]
