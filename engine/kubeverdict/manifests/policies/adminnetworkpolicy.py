"""AdminNetworkPolicy (policy.networking.k8s.io/v1alpha1): validated and lowered to model rules.

The limits are those of the custom resource definition, the experimental channel included. A rule
decides (Allow, Deny) or leaves its tier (Pass), in the order of ``priority`` and of the list;
nothing is isolated by being selected.

Which addresses a domain name has is known at run time only. As the API wants it of a peer that is
not understood, an Allow rule does not match it, and a Deny or Pass rule matches everything;
verdicts are then not certain, and the policy is named as not evaluated.

Source: apis/v1alpha1 and config/crd of kubernetes-sigs/network-policy-api v0.1.7.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from kubeverdict.manifests import fields
from kubeverdict.manifests.checked import protocol_of
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import (
    forbidden,
    invalid,
    port_name_errors,
    port_number_errors,
    quoted,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
    wrong_type,
)
from kubeverdict.model.policy import (
    Action,
    BlockPeer,
    Direction,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import PORT_PROTOCOLS, NamedPort, PortMatch, PortRange
from kubeverdict.model.selectors import EVERYTHING, Selector
from kubeverdict.model.sources import FieldPath, Source, field_text

_ACTIONS = {"Allow": Action.ALLOW, "Deny": Action.DENY, "Pass": Action.PASS}
_HIGHEST_PRIORITY = 1000
_MOST_RULES = _MOST_PEERS = _MOST_PORTS = 100
_MOST_ADDRESSES = 25  # and domain names
_LONGEST_NAME = 100

_SPEC = frozenset({"egress", "ingress", "priority", "subject"})
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_PODS = ("namespaces", "pods")
_ADDRESSES = ("networks", "nodes", "domainNames")
_PEER_FIELDS = {Direction.INGRESS: _PODS, Direction.EGRESS: (*_PODS, *_ADDRESSES)}
_PORT_FIELDS = ("portNumber", "portRange", "namedPort")
_is_domain = re.compile(
    r"(\*\.)?([a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?"
).fullmatch


class _Peers(NamedTuple):
    """The peers of a rule that are evaluated, and the fields of the others."""

    known: tuple[Peer, ...]
    unknown: tuple[FieldPath, ...]
    by_address: bool


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The policy with the spec ``value``; its errors are reported to ``place``."""
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, _SPEC)
    namespaces, pods = _subject(reader, place, spec.get("subject"), (*path, "subject"))
    priority = _number(place, spec.get("priority"), (*path, "priority"))
    if priority is not None and not 0 <= priority <= _HIGHEST_PRIORITY:
        message = invalid(priority, f"must be between 0 and {_HIGHEST_PRIORITY}, inclusive")
        place.error((*path, "priority"), message)
    rules: list[Rule] = []
    unknown: list[FieldPath] = []
    for direction in Direction:
        found = (*path, direction.word)
        for index, entry in enumerate(_items(place, spec.get(direction.word), found, _MOST_RULES)):
            rule, left_out = _rule(reader, place, entry, direction, index)
            unknown += left_out
            if rule is not None:
                rules.append(rule)
    if unknown and not place.failed:
        reader.leave_out(place, head, _uncertain(unknown))
    return Policy(
        kind=head.kind,
        namespace=head.namespace,
        name=head.name,
        tier=head.tier,
        pods=pods,
        isolates=(),
        rules=tuple(rules),
        source=Source(place.origin),
        namespaces=namespaces,
        order=float(priority or 0),
        annotations=head.annotations,
        subject_field=(*path, "subject"),
    )


def _uncertain(unknown: list[FieldPath]) -> str:
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return (
        f"peers that are domain names are not evaluated ({field_text(unknown[0])}{more}): a rule "
        "that allows is taken not to match them, and one that denies or passes to match every peer"
    )


def _subject(
    reader: PolicyReader, place: DocumentPlace, value: Any, path: FieldPath
) -> tuple[Selector, Selector]:
    """The selectors of namespaces and of pods."""
    if value is None:
        place.error(path, required())
        return EVERYTHING, EVERYTHING
    one, chosen = _only(place, value, path, _PODS)
    if one == "pods":
        return _pods(reader, place, chosen, (*path, one))
    return reader.selectors.read(place, chosen, (*path, one)), EVERYTHING


def _pods(
    reader: PolicyReader, place: DocumentPlace, value: Any, path: FieldPath
) -> tuple[Selector, Selector]:
    both = shape_object(place, value, path)
    names = ("namespaceSelector", "podSelector")
    fields.check(place, both, path, frozenset(names))
    for name in names:
        if isinstance(value, dict) and both.get(name) is None:
            place.error((*path, name), required())
    namespaces, pods = (
        reader.selectors.read(place, both.get(name), (*path, name)) for name in names
    )
    return namespaces, pods


def _rule(
    reader: PolicyReader, place: DocumentPlace, value: Any, direction: Direction, index: int
) -> tuple[Rule | None, tuple[FieldPath, ...]]:
    """The rule, None where it matches nothing, and the fields that it is not certain for."""
    path: FieldPath = ("spec", direction.word, index)
    side = _PEERS[direction]
    rule = shape_object(place, value, path)
    fields.check(place, rule, path, frozenset({"action", "name", "ports", side}))
    name = shape_string(place, rule.get("name"), (*path, "name"))
    if name and len(name) > _LONGEST_NAME:
        message = f"Too long: may not be more than {_LONGEST_NAME} bytes"
        place.error((*path, "name"), message)
    word = shape_string(place, rule.get("action"), (*path, "action"))
    if word == "":
        place.error((*path, "action"), required())
    elif word is not None and word not in _ACTIONS:
        place.error((*path, "action"), unsupported(word, tuple(_ACTIONS)))
    action = _ACTIONS.get(word or "", Action.DENY)
    peers = _peers(reader, place, rule.get(side), direction, (*path, side))
    ports: tuple[PortMatch, ...] = ()
    found = (*path, "ports")
    for at, entry in enumerate(_items(place, rule.get("ports"), found, _MOST_PORTS)):
        ports += _port(place, entry, (*found, at))
    if peers.by_address and any(isinstance(port, NamedPort) for port in ports):
        message = (
            "networks/nodes/domainNames peer cannot be set with namedPorts since there are no "
            "namedPorts for networks/nodes/domainNames"
        )
        place.error(path, forbidden(message))
    matched: tuple[Peer, ...] | None = peers.known
    if peers.unknown and action is not Action.ALLOW:
        matched = None
    elif not peers.known:
        return None, peers.unknown
    source = Source(place.origin, path)
    return Rule(direction, index, action, matched, ports or None, source), peers.unknown


def _peers(
    reader: PolicyReader,
    place: DocumentPlace,
    values: Any,
    direction: Direction,
    path: FieldPath,
) -> _Peers:
    known: list[Peer] = []
    unknown: list[FieldPath] = []
    by_address = False
    for index, value in enumerate(_items(place, values, path, _MOST_PEERS, least=1)):
        one, peer = _only(place, value, (*path, index), _PEER_FIELDS[direction])
        field = (*path, index, one)
        by_address = by_address or one in _ADDRESSES
        match one:
            case "namespaces":
                known.append(PodPeer(None, None, reader.selectors.read(place, peer, field)))
            case "pods":
                namespaces, pods = _pods(reader, place, peer, field)
                known.append(PodPeer(pods, None, namespaces))
            case "networks":
                known += _networks(reader, place, peer, field)
            case "nodes":
                known.append(NodePeer(reader.selectors.read(place, peer, field)))
            case "domainNames":
                _check_domains(place, peer, field)
                unknown.append(field)
    return _Peers(tuple(known), tuple(unknown), by_address)


def _networks(
    reader: PolicyReader, place: DocumentPlace, values: Any, path: FieldPath
) -> list[BlockPeer]:
    found = []
    for at, text in _texts(place, values, path):
        block = reader.blocks.cidr(place, text, at)
        if block is not None:
            found.append(BlockPeer(block))
    return found


def _check_domains(place: DocumentPlace, values: Any, path: FieldPath) -> None:
    for at, text in _texts(place, values, path):
        if not _is_domain(text):
            message = "must be a domain name, which may begin with '*.' (e.g. '*.example.com')"
            place.error(at, invalid(text, message))


def _texts(place: DocumentPlace, values: Any, path: FieldPath) -> list[tuple[FieldPath, str]]:
    """The strings of a list that has each once."""
    found: list[tuple[FieldPath, str]] = []
    seen: set[str] = set()
    for index, value in enumerate(_items(place, values, path, _MOST_ADDRESSES, least=1)):
        text = shape_string(place, value, (*path, index))
        if text in seen:
            place.error((*path, index), f"Duplicate value: {quoted(text)}")
        elif text is not None:
            seen.add(text)
            found.append(((*path, index), text))
    return found


def _port(place: DocumentPlace, value: Any, path: FieldPath) -> tuple[PortMatch, ...]:
    one, chosen = _only(place, value, path, _PORT_FIELDS)
    field = (*path, one)
    if not one:
        return ()
    if one == "namedPort":
        name = shape_string(place, chosen, field)
        for message in port_name_errors(name) if name is not None else ():
            place.error(field, invalid(name, message))
        # It says no protocol: the container port does.
        return tuple(NamedPort(protocol, name or "") for protocol in PORT_PROTOCOLS)
    port = shape_object(place, chosen, field)
    ends = ("port", "port") if one == "portNumber" else ("start", "end")
    fields.check(place, port, field, frozenset({"protocol", *ends}))
    word = shape_string(place, port.get("protocol"), (*field, "protocol"))
    protocol = protocol_of(place, word, (*field, "protocol"))
    numbers = {
        end: _port_number(place, port.get(end), (*field, end)) for end in dict.fromkeys(ends)
    }
    first, last = (numbers[end] for end in ends)
    if first and last and last < first:
        place.error((*field, "end"), invalid(last, "must be greater than or equal to `start`"))
    return (PortRange(protocol, first, last),)


def _port_number(place: DocumentPlace, value: Any, path: FieldPath) -> int:
    number = _number(place, value, path)
    for message in port_number_errors(number) if number is not None else ():
        place.error(path, invalid(number, message))
    return number or 0


def _number(place: DocumentPlace, value: Any, path: FieldPath) -> int | None:
    """An integer that has to be there; None, and an error, where it is none."""
    if value is None:
        place.error(path, required())
    elif not isinstance(value, int) or isinstance(value, bool):
        place.error(path, wrong_type(value, "an integer"))
    else:
        return value
    return None


def _only(
    place: DocumentPlace, value: Any, path: FieldPath, names: tuple[str, ...]
) -> tuple[str, Any]:
    """Which of ``names``, of which an object must have exactly one, it has, and what is there;
    empty, and an error, where it is none."""
    entries = shape_object(place, value, path)
    fields.check(place, entries, path, frozenset(names))
    present = [name for name in names if entries.get(name) is not None]
    if len(present) == 1:
        return present[0], entries[present[0]]
    if value is None or isinstance(value, dict):
        place.error(path, required(f"exactly one of {', '.join(names)}"))
    return "", None


def _items(
    place: DocumentPlace, value: Any, path: FieldPath, most: int, least: int = 0
) -> list[Any]:
    """A list of a length that is allowed."""
    items = shape_list(place, value, path)
    if len(items) > most:
        place.error(path, f"Too many: {len(items)}: must have at most {most} items")
    elif len(items) < least and (value is None or isinstance(value, list)):
        place.error(path, required(f"must have at least {least} item"))
    return items
