"""The tiers of a cluster, and whether their order and that of their rules matters.

Where every policy is of one tier and every rule allows, rules add up: a connection is allowed
where any rule allows it, whichever comes first. Much is simpler and faster then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.sequences import folded
from kubeverdict.model.policy import NETWORK_POLICY_TIER, Action, Direction, Policy, Tier

# Tiers that one layer can have: the first of the next is numbered from there.
_LAYER_SIZE = 256


def tiers_of(policies: Sequence[Policy]) -> dict[int, Tier]:
    """The tiers by their numbers, in order: in the first layer from 0, in the next from 256."""
    return {number: tier for tier, number in tier_numbers(policies).items()}


def tier_numbers(policies: Sequence[Policy]) -> dict[Tier, int]:
    """The number of each tier, in order."""
    found: dict[Tier, int] = {}
    in_order = sorted(set[Tier]().union(*folded(policies, _tiers))) or [NETWORK_POLICY_TIER]
    for layer, (_, tiers) in enumerate(groupby(in_order, key=lambda tier: tier.layer)):
        found |= {tier: number for number, tier in enumerate(tiers, start=layer * _LAYER_SIZE)}
    return found


def _tiers(policies: Iterable[Policy]) -> set[Tier]:
    return {policy.tier for policy in policies}


def isolates(policy: Policy, direction: Direction) -> bool:
    """Whether what a policy selects is denied in this direction where no rule of its tier
    matches."""
    return policy.tier.default is Action.DENY and direction in policy.isolates


def order_matters(policies: Sequence[Policy]) -> bool:
    """Whether rules do not simply add up."""
    return len(tiers_of(policies)) > 1 or any(
        rule.action is not Action.ALLOW for policy in policies for rule in policy.rules
    )


def ordered_tiers(
    tier: NDArray[np.integer], action: NDArray[np.integer], rule: NDArray[np.integer]
) -> set[int]:
    """The tiers of compiled rules, one element each, that hold others than Allow: in these the
    order of rules changes verdicts. A default (``rule`` is negative) comes last in any case."""
    return set(tier[(action != Action.ALLOW) & (rule >= 0)].tolist())


def rows_add_up(
    tier: NDArray[np.integer], action: NDArray[np.integer], rule: NDArray[np.integer]
) -> bool:
    """The contrary of :func:`order_matters`, for compiled rules."""
    return not ordered_tiers(tier, action, rule) and np.unique(tier).size <= 1
