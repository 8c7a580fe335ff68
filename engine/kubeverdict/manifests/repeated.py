"""Objects that an input defines twice."""

from __future__ import annotations

import msgspec

from kubeverdict.manifests import exposing
from kubeverdict.manifests.objects import Record
from kubeverdict.model.policy import Policy

# No verdict between pods depends on these: the first is used, with a warning.
BESIDE = frozenset({"EndpointSlice", "Endpoints", "Service", *exposing.KINDS})


def same(one: Record | Policy, other: Record | Policy) -> bool:
    """Do two objects mean the same, wherever they came from?"""
    if isinstance(one, Policy) and isinstance(other, Policy):
        return _meaning(one) == _meaning(other)
    return msgspec.structs.astuple(one) == msgspec.structs.astuple(other)


def _meaning(policy: Policy) -> tuple[object, ...]:
    rules = [
        (rule.direction, rule.index, rule.action, rule.peers, rule.ports) for rule in policy.rules
    ]
    return policy.pods, policy.isolates, rules
