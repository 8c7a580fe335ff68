"""AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1): validated
and lowered to model rules. One comes before NetworkPolicy, the other after it.

Source: apis/v1alpha1 and config/crd of kubernetes-sigs/network-policy-api v0.1.7.
"""

from __future__ import annotations

import re
from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.checked import protocol_of
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.cluster_rules import (
    Form,
    named_port,
    only,
    port_number,
    read_rules,
)
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import invalid, shape_object, shape_string
from kubeverdict.model.policy import Action, Policy
from kubeverdict.model.ports import PortMatch, PortRange
from kubeverdict.model.sources import FieldPath

_RULES = frozenset({"egress", "ingress", "subject"})
_PORT_FIELDS = ("portNumber", "portRange", "namedPort")
# Of the one that a cluster may have.
_BASELINE_NAME = "default"


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The AdminNetworkPolicy with the spec ``value``; its errors are reported to ``place``."""
    spec = shape_object(place, value, ("spec",))
    fields.check(place, spec, ("spec",), _RULES | {"priority"})
    return read_rules(reader, place, head, spec, _ADMIN)


def read_baseline(
    reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any
) -> Policy:
    """The BaselineAdminNetworkPolicy with the spec ``value``; its errors are reported to
    ``place``."""
    if head.name and head.name != _BASELINE_NAME:
        message = (
            f'Only one baseline admin network policy with metadata.name="{_BASELINE_NAME}" can be '
            "created in the cluster"
        )
        place.error(("metadata", "name"), invalid(head.name, message))
    spec = shape_object(place, value, ("spec",))
    fields.check(place, spec, ("spec",), _RULES)
    return read_rules(reader, place, head, spec, _BASELINE)


def _port(place: DocumentPlace, value: Any, path: FieldPath) -> tuple[PortMatch, ...]:
    one, chosen = only(place, value, path, _PORT_FIELDS)
    field = (*path, one)
    if not one:
        return ()
    if one == "namedPort":
        return named_port(place, chosen, field)
    port = shape_object(place, chosen, field)
    ends = ("port", "port") if one == "portNumber" else ("start", "end")
    fields.check(place, port, field, frozenset({"protocol", *ends}))
    word = shape_string(place, port.get("protocol"), (*field, "protocol"))
    protocol = protocol_of(place, word, (*field, "protocol"))
    numbers = {end: port_number(place, port.get(end), (*field, end)) for end in dict.fromkeys(ends)}
    first, last = (numbers[end] for end in ends)
    if first and last and last < first:
        place.error((*field, "end"), invalid(last, "must be greater than or equal to `start`"))
    return (PortRange(protocol, first, last),)


_ADMIN = Form(
    actions={"Allow": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS},
    most=100,
    ports="ports",
    least_ports=0,
    port=_port,
    names=True,
    is_name=re.compile(
        r"(\*\.)?([a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+"
        r"[a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?"
    ).fullmatch,
    implied=False,
    priority=True,
)
_BASELINE = _ADMIN._replace(
    actions={"Allow": Action.ALLOW, "Deny": Action.DENY}, names=False, priority=False
)
