"""Layers: each decides for itself, and a connection has to get through all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubeverdict.analyses.explain import Explanation, explain
from kubeverdict.analyses.questions import parse_port
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.policy import Action, Direction, Layer, PodPeer, Policy, Tier
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.render import json as as_json
from kubeverdict.render import tree
from kubeverdict.render.style import Style
from tests.clusters.records import allow, pod, policy_of, xy_cluster

MESH = Tier(0.0, "mesh", Action.DENY, Layer(1, "mesh"))
FIREWALL = Tier(0.0, "firewall", Action.PASS, Layer(2, "firewall"))
INGRESS = (Direction.INGRESS,)
ANYBODY = allow(Direction.INGRESS)
FROM_X = allow(Direction.INGRESS, (PodPeer(EVERYTHING, "x"),))
NOBODY = allow(Direction.INGRESS, None, None, Action.DENY)


def asked(*policies: Policy, source: str = "x/a") -> Explanation:
    pods = (pod("x/a", "", "10.0.0.1"), pod("y/b", "", "10.0.0.2"), pod("y/c", "", "10.0.0.3"))
    compiled = compile_cluster(xy_cluster(pods, *policies))
    return explain(compiled, source, "y/b", parse_port("80"))


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ([policy_of("y/net", ANYBODY), policy_of("y/mesh", FROM_X, tier=MESH)], True),
        ([policy_of("y/net", ANYBODY), policy_of("y/mesh", NOBODY, tier=MESH)], False),
        ([policy_of("y/net", isolates=INGRESS), policy_of("y/mesh", FROM_X, tier=MESH)], False),
        (
            [policy_of("y/mesh", FROM_X, tier=MESH), policy_of("y/wall", NOBODY, tier=FIREWALL)],
            False,
        ),
        (
            [policy_of("y/mesh", FROM_X, tier=MESH), policy_of("y/wall", ANYBODY, tier=FIREWALL)],
            True,
        ),
    ],
)
def test_every_layer_has_to_allow(policies: list[Policy], allowed: bool) -> None:
    assert asked(*policies).allowed is allowed


def test_explain_says_what_each_layer_decides() -> None:
    report = asked(policy_of("y/net", NOBODY), policy_of("y/mesh", FROM_X, tier=MESH))
    (answer,) = report.answers
    ingress = answer.ingress
    assert [(each.layer, each.decision.allowed) for each in ingress.layers] == [
        ("network policy", False),
        ("mesh", True),
    ]
    assert ingress.rule is not None and ingress.rule.policy.name == "y/net"
    text = tree.explanation(report, Style())
    assert "network policy layer: denied" in text and "mesh layer: allowed" in text
    told: Any = json.loads(as_json.explanation(report, Style()))["answers"][0]["ingress"]
    assert [(each["layer"], each["allowed"]) for each in told["layers"]] == [
        ("network policy", False),
        ("mesh", True),
    ]


def test_one_layer_is_not_named() -> None:
    (answer,) = asked(policy_of("y/net", FROM_X), source="y/c").answers
    assert not answer.ingress.layers and not answer.allowed
