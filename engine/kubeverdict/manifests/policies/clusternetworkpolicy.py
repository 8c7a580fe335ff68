"""ClusterNetworkPolicy (policy.networking.k8s.io, v1beta1 and v1alpha2): validated and lowered to
model rules. ``tier`` says whether it comes before or after NetworkPolicy.

What its type leaves open is read generously where two versions differ: the selector of namespaces
beside one of pods, required at first, may be left out.

Source: apis and config/crd of kubernetes-sigs/network-policy-api v0.3.0.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies import ADMIN_TIER, BASELINE_TIER
from kubeverdict.manifests.policies.cluster_rules import (
    Form,
    named_port,
    only,
    port_number,
    read_rules,
)
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import (
    invalid,
    required,
    shape_object,
    shape_string,
    unsupported,
)
from kubeverdict.model.policy import Action, Policy
from kubeverdict.model.ports import PortMatch, PortRange, Protocol
from kubeverdict.model.sources import FieldPath

_SPEC = frozenset({"egress", "ingress", "priority", "subject", "tier"})
_TIERS = {"Admin": ADMIN_TIER, "Baseline": BASELINE_TIER}
_NAMED = "destinationNamedPort"
_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "sctp": Protocol.SCTP}


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The policy with the spec ``value``; its errors are reported to ``place``."""
    spec = shape_object(place, value, ("spec",))
    fields.check(place, spec, ("spec",), _SPEC)
    path: FieldPath = ("spec", "tier")
    tier = shape_string(place, spec.get("tier"), path)
    if tier == "":
        place.error(path, required())
    elif tier is not None and tier not in _TIERS:
        place.error(path, unsupported(tier, tuple(_TIERS)))
    policy = read_rules(reader, place, head, spec, _FORM)
    return replace(policy, tier=_TIERS.get(tier or "", ADMIN_TIER))


def _protocol(place: DocumentPlace, value: Any, path: FieldPath) -> tuple[PortMatch, ...]:
    one, chosen = only(place, value, path, (*_PROTOCOLS, _NAMED))
    field = (*path, one)
    if not one:
        return ()
    if one == _NAMED:
        return named_port(place, chosen, field)
    entries = shape_object(place, chosen, field)
    fields.check(place, entries, field, frozenset({"destinationPort"}))
    field = (*field, "destinationPort")
    port = entries.get("destinationPort")
    if port is None:
        if isinstance(chosen, dict):
            place.error(field, required())
        return ()
    form, chosen = only(place, port, field, ("number", "range"))
    field = (*field, form)
    if form == "number":
        first = last = port_number(place, chosen, field)
    elif form == "range":
        first, last = _range(place, chosen, field)
    else:
        return ()
    return (PortRange(_PROTOCOLS[one], first, last),)


def _range(place: DocumentPlace, value: Any, path: FieldPath) -> tuple[int, int]:
    entries = shape_object(place, value, path)
    fields.check(place, entries, path, frozenset({"start", "end"}))
    first, last = (port_number(place, entries.get(end), (*path, end)) for end in ("start", "end"))
    if first and last and first >= last:
        place.error((*path, "end"), invalid(last, "Start port must be less than End port"))
    return first, last


_FORM = Form(
    actions={"Accept": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS},
    most=25,
    ports="protocols",
    least_ports=1,
    port=_protocol,
    names=True,
    is_name=re.compile(
        r"(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+"
        r"[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?"
    ).fullmatch,
    implied=True,
    priority=True,
)
