"""Two clusters whose policies are to be compared, over the same pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubeverdict.errors import UsageError
from kubeverdict.model.cluster import Cluster, Namespace
from kubeverdict.model.edit import policy_key
from kubeverdict.model.references import resolved_policies
from kubeverdict.model.surroundings import Surroundings

# What has to be the same where both inputs hold it; where one of them is made is no difference.
_COMPARED = {
    "Pod": ("pods", ("labels", "addresses", "ports", "node", "host_network", "phase")),
    "Namespace": ("namespaces", ("labels",)),
    "Node": ("nodes", ("addresses", "labels")),
}


def in_same_world(first: Cluster, second: Cluster) -> tuple[Cluster, Cluster]:
    """The policies of each over the pods, nodes and Services of the one that has pods, and over
    the namespaces of both.

    Raises UsageError where both have pods or nodes and these are not the same, and where a
    namespace has other labels in each.
    """
    for kind, (field, parts) in _COMPARED.items():
        _check(kind, getattr(first, field), getattr(second, field), parts)
    world = first if first.pods or not second.pods else second
    namespaces = _namespaces(first, second)
    labels = {one.name: one.labels for one in namespaces}
    around = Surroundings(world.services, world.endpoints, world.nodes)

    def placed(side: Cluster) -> Cluster:
        # Policies that refer to other documents were resolved in a world of their own.
        referring = set(map(policy_key, side.references.policies))
        plain = (one for one in side.policies if policy_key(one) not in referring)
        everything = (*plain, *side.references.policies)
        return msgspec.structs.replace(
            world,
            namespaces=namespaces,
            policies=resolved_policies(everything, side.references, labels, around),
            references=side.references,
            unevaluated=side.unevaluated,
        )

    return placed(first), placed(second)


def _namespaces(first: Cluster, second: Cluster) -> tuple[Namespace, ...]:
    """Those of both; of one that an input only names, what the other says of it."""
    found: dict[str, Namespace] = {}
    for one in (*first.namespaces, *second.namespaces):
        known = found.get(one.name)
        if known is None or known.implied:
            found[one.name] = one
    return tuple(found.values())


def _check(kind: str, first: Sequence[Any], second: Sequence[Any], parts: Sequence[str]) -> None:
    sides: list[Mapping[tuple[str, str], Any]] = [
        {
            (getattr(one, "namespace", ""), one.name): one
            for one in side
            if not getattr(one, "implied", False)
        }
        for side in (first, second)
    ]
    if not all(sides):
        return
    what = f"to compare policies, the {kind.lower()}s of both inputs must be the same"
    if kind != "Namespace":
        for one, other in (sides, sides[::-1]):
            for place in sorted(one.keys() - other.keys()):
                name = "/".join(filter(None, place))
                raise UsageError(f"{what}: {kind} {name} is in one of them alone")
    for place in sorted(sides[0].keys() & sides[1].keys()):
        for part in parts:
            if getattr(sides[0][place], part) != getattr(sides[1][place], part):
                name = "/".join(filter(None, place))
                raise UsageError(f"{what}: {kind} {name} has other {part.replace('_', ' ')}")
