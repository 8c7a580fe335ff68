"""EgressFirewall (k8s.ovn.org/v1) and EgressNetworkPolicy (network.openshift.io/v1): rules for what
leaves the cluster, as a layer of their own.

Rules are in order, the first that matches decides, and what none matches is allowed. They are about
all pods of the namespace. Blocks leave out pods, whatever their addresses; nodes they do not. A
connection needs both: what network policies allow (of whatever tier) a firewall may deny, and the
reverse. That is inferred from where OVN-Kubernetes has these rules.

Sources: docs/features/network-security-controls/egress-firewall.md and
go-controller/pkg/ovn/controller/egressfirewall of ovn-kubernetes (8871cd9).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.cluster_rules import items, only, port_number
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import (
    invalid,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
)
from kubeverdict.model.policy import (
    Action,
    BlockPeer,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import PORT_PROTOCOLS, PortMatch, PortRange
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.model.sources import FieldPath, Source

_NAME = "default"
_MOST_RULES = 8_000
_ACTIONS = {"Allow": Action.ALLOW, "Deny": Action.DENY}
_PROTOCOLS = {protocol.name: protocol for protocol in PORT_PROTOCOLS}
_FIREWALL_PEERS = ("cidrSelector", "dnsName", "nodeSelector")
_OPENSHIFT_PEERS = _FIREWALL_PEERS[:2]
_PODS = (PodPeer(None),)
_BEYOND = (NamedPeer(EndSet.WORLD), NamedPeer(EndSet.NODES))
_is_name = re.compile(
    r"(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)*[-a-zA-Z0-9_]+\.?"
).fullmatch


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The EgressFirewall with the spec ``value``; its errors are reported to ``place``."""
    if head.name and head.name != _NAME:
        message = f"must be {_NAME}: a namespace has one {head.kind}"
        place.error(("metadata", "name"), invalid(head.name, message))
    return _policy(reader, place, head, value, _FIREWALL_PEERS)


def read_openshift(
    reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any
) -> Policy:
    """The same of an EgressNetworkPolicy, which has neither ports nor nodes."""
    place.warn((), "is of OpenShift SDN alone: no other network plug-in acts on it")
    return _policy(reader, place, head, value, _OPENSHIFT_PEERS)


def _policy(
    reader: PolicyReader,
    place: DocumentPlace,
    head: PolicyHead,
    value: Any,
    peers: tuple[str, ...],
) -> Policy:
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, frozenset({"egress"}))
    entries = items(place, spec.get("egress"), (*path, "egress"), _MOST_RULES)
    rules = [_rule(reader, place, entry, index, peers) for index, entry in enumerate(entries)]
    return Policy(
        kind=head.kind,
        namespace=head.namespace,
        name=head.name,
        tier=head.tier,
        pods=EVERYTHING,
        isolates=(),
        rules=tuple(rule for rule in rules if rule is not None),
        source=Source(place.origin),
        annotations=head.annotations,
        listed=(Direction.EGRESS,),
        subject_field=("metadata", "namespace"),
    )


def _rule(
    reader: PolicyReader, place: DocumentPlace, value: Any, index: int, peers: tuple[str, ...]
) -> Rule | None:
    path: FieldPath = ("spec", Direction.EGRESS.word, index)
    rule = shape_object(place, value, path)
    ports = frozenset({"ports"}) if peers == _FIREWALL_PEERS else frozenset[str]()
    fields.check(place, rule, path, ports | {"to", "type"})
    word = shape_string(place, rule.get("type"), (*path, "type"))
    if word == "":
        place.error((*path, "type"), required())
    elif word is not None and word not in _ACTIONS:
        place.error((*path, "type"), unsupported(word, tuple(_ACTIONS)))
    found, condition = _to(reader, place, rule.get("to"), (*path, "to"), peers)
    covered = [
        port
        for at, entry in enumerate(shape_list(place, rule.get("ports"), (*path, "ports")))
        if ports and (port := _port(place, entry, (*path, "ports", at))) is not None
    ]
    if place.failed:
        return None
    return Rule(
        direction=Direction.EGRESS,
        index=index,
        action=_ACTIONS[word or ""],
        peers=found,
        ports=tuple(covered) or None,
        source=Source(place.origin, path),
        condition=condition,
    )


def _to(
    reader: PolicyReader,
    place: DocumentPlace,
    value: Any,
    path: FieldPath,
    peers: tuple[str, ...],
) -> tuple[tuple[Peer, ...], str]:
    """Who a rule is about, and the condition of that."""
    word, chosen = only(place, value, path, peers)
    field = (*path, word)
    if word == "nodeSelector":
        return (NodePeer(reader.selectors.read(place, chosen, field)),), ""
    text = shape_string(place, chosen, field) if word else None
    if word == "cidrSelector" and text is not None:
        block = reader.blocks.cidr(place, text, field)
        return ((ExceptPeer(BlockPeer(block), _PODS),) if block is not None else ()), ""
    if word == "dnsName" and text is not None:
        if not _is_name(text):
            message = "must be a domain name, which may begin with '*.' for one label"
            place.error(field, invalid(text, message))
        return _BEYOND, f"if the address was given for {text.lower()}"
    return (), ""


def _port(place: DocumentPlace, value: Any, path: FieldPath) -> PortMatch | None:
    port: Mapping[str, Any] = shape_object(place, value, path)
    fields.check(place, port, path, frozenset({"port", "protocol"}))
    word = shape_string(place, port.get("protocol"), (*path, "protocol"))
    if word == "":
        place.error((*path, "protocol"), required())
    elif word is not None and word not in _PROTOCOLS:
        place.error((*path, "protocol"), unsupported(word, tuple(_PROTOCOLS)))
    protocol = _PROTOCOLS.get(word or "")
    if protocol is None:
        return None
    if port.get("port") is None:
        return PortRange(protocol)
    number = port_number(place, port["port"], (*path, "port"))
    return PortRange(protocol, number, number)
