"""When two policies mean the same, and policies for the whole cluster."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.manifests.loading import with_implied
from kubeverdict.manifests.repeated import same
from kubeverdict.model.policy import Action, Direction, Policy, Tier
from kubeverdict.model.sources import Source
from tests.clusters.records import allow, label, policy_of

ONE = policy_of("x/one", allow(Direction.INGRESS))
ELSEWHERE = Source(ONE.source.origin, ("items", 3))
EVERYWHERE = replace(ONE, namespace=None)


def test_a_policy_means_what_it_says_wherever_it_stands() -> None:
    assert same(ONE, replace(ONE, annotations={"owner": "team-a"}))
    assert same(ONE, replace(ONE, defaulted=True, listed=(Direction.EGRESS,), source=ELSEWHERE))


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, tier=Tier(1.0, "admin", Action.PASS)),
        replace(ONE, order=7.0),
        replace(ONE, isolates=()),
        replace(ONE, pods=label("app", "web")),
        replace(ONE, namespaces=label("team", "a")),
        replace(ONE, rules=(allow(Direction.INGRESS, action=Action.DENY),)),
        replace(ONE, rules=(*ONE.rules, *ONE.rules)),
        replace(ONE, rules=()),
    ],
)
def test_a_policy_that_judges_otherwise_is_another(other: Policy) -> None:
    assert not same(ONE, other)


def test_a_policy_for_the_whole_cluster_implies_no_namespace() -> None:
    assert [one.name for one in with_implied((), (ONE, EVERYWHERE))] == ["x"]
