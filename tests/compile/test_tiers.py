"""Numbers of tiers, and whether the order of rules matters."""

from __future__ import annotations

import numpy as np
import pytest

from kubeverdict.compile.tiers import (
    isolates,
    order_matters,
    ordered_tiers,
    rows_add_up,
    tier_numbers,
    tiers_of,
)
from kubeverdict.model.policy import NETWORK_POLICY_TIER, Action, Direction, Policy, Tier
from tests.clusters.policies import ADMIN, BASELINE, MESH
from tests.clusters.records import allow, policy_of

IN, OUT = Direction.INGRESS, Direction.EGRESS
MESH_TIER = Tier(0.0, "mesh", layer=MESH)
NET = policy_of("x/net", allow(IN))
FIRST = policy_of("first", allow(IN), tier=ADMIN)
LAST = policy_of("last", allow(IN), tier=BASELINE)
MESHED = policy_of("x/mesh", allow(IN), tier=MESH_TIER)


def test_tiers_are_numbered_in_order_and_each_layer_by_itself() -> None:
    assert tier_numbers([MESHED, LAST, NET, FIRST]) == {
        ADMIN: 0,
        NETWORK_POLICY_TIER: 1,
        BASELINE: 2,
        MESH_TIER: 256,
    }
    assert tiers_of([NET]) == {0: NETWORK_POLICY_TIER}
    assert tiers_of([]) == {0: NETWORK_POLICY_TIER}


@pytest.mark.parametrize(
    ("policies", "matters"),
    [
        ([], False),
        ([NET, policy_of("x/more", allow(OUT))], False),
        ([NET, FIRST], True),
        ([policy_of("x/deny", allow(IN, action=Action.DENY))], True),
        ([policy_of("x/pass", allow(IN, action=Action.PASS))], True),
    ],
)
def test_order_matters_unless_rules_add_up(policies: list[Policy], matters: bool) -> None:
    assert order_matters(policies) is matters


def test_a_tier_isolates_where_it_denies_by_default() -> None:
    assert [isolates(NET, IN), isolates(NET, OUT), isolates(FIRST, IN)] == [True, False, False]


def test_the_same_of_compiled_rules() -> None:
    tier, action = np.array([0, 0, 1, 1]), np.array([Action.ALLOW, Action.DENY] * 2)
    rule = np.array([0, 1, 2, -2])
    # The denial of tier 1 is its default, which comes last in any case.
    assert ordered_tiers(tier, action, rule) == {0}
    assert not rows_add_up(tier, action, rule)
    assert rows_add_up(tier[2:], action[2:], rule[2:])
