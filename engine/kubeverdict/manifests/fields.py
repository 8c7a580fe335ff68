"""Unknown fields: the API server drops them, so a misspelt one changes what a policy means."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.model.sources import FieldPath

POLICY = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
METADATA = frozenset(
    {
        "annotations",
        "clusterName",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
SPEC = frozenset({"egress", "ingress", "podSelector", "policyTypes"})
INGRESS_RULE = frozenset({"from", "ports"})
EGRESS_RULE = frozenset({"ports", "to"})
PORT = frozenset({"endPort", "port", "protocol"})
PEER = frozenset({"ipBlock", "namespaceSelector", "podSelector"})
BLOCK = frozenset({"cidr", "except"})
SELECTOR = frozenset({"matchExpressions", "matchLabels"})
REQUIREMENT = frozenset({"key", "operator", "values"})

# Fields that belong to the other direction: spelling distance does not help.
_OPPOSITE = {"from": "to", "to": "from"}


def check(
    place: DocumentPlace, value: Mapping[str, Any], path: FieldPath, known: frozenset[str]
) -> None:
    """Warn of each key of ``value`` that is not a field, and name the one that was meant."""
    if value.keys() <= known:
        return
    for key in value:
        if key not in known:
            nearest = nearest_name(key, known)
            hint = f'did you mean "{nearest}"?' if nearest else "it has no effect"
            place.warn((*path, key), f"unknown field, {hint}")


def nearest_name(name: str, known: Collection[str]) -> str | None:
    """The known name that ``name`` most likely stands for."""
    if _OPPOSITE.get(name) in known:
        return _OPPOSITE[name]
    folded = {each.lower(): each for each in sorted(known)}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None
