"""What the kinds of the network policy API (policy.networking.k8s.io) have in common.

A rule decides (Allow, Deny) or leaves its tier (Pass), in the order of ``priority`` and of the
list; nothing is isolated by being selected. The limits are those of the custom resource
definitions, their experimental channel included.

Which addresses a domain name has is known at run time only. As the API wants it of a peer that is
not understood, an Allow rule does not match it, and a Deny or Pass rule matches everything;
verdicts are then not certain, and the policy is named as not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kubeverdict.manifests import fields
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
from kubeverdict.model.ports import PORT_PROTOCOLS, NamedPort, PortMatch
from kubeverdict.model.selectors import EVERYTHING, Selector
from kubeverdict.model.sources import FieldPath, Source, field_text

_HIGHEST_PRIORITY = 1000
_MOST_ADDRESSES = 25  # and domain names
_LONGEST_NAME = 100

_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_PODS = ("namespaces", "pods")
_ADDRESSES = ("networks", "nodes")
_NAMES = "domainNames"

ReadPort = Callable[[DocumentPlace, Any, FieldPath], tuple[PortMatch, ...]]


class Form(NamedTuple):
    """How a kind of policy writes its rules.

    ``actions`` by the words for them; ``most`` rules in a direction, peers of a rule and ports of
    a rule; ``ports`` is the field with those, a list of at least ``least_ports``, each read by
    ``port``; ``names``: peers may be domain names, which are written as ``is_name`` matches;
    ``implied``: the selector of namespaces may be left out; ``priority``: there is one.
    """

    actions: Mapping[str, Action]
    most: int
    ports: str
    least_ports: int
    port: ReadPort
    names: bool
    is_name: Callable[[str], object]
    implied: bool
    priority: bool


class _Peers(NamedTuple):
    """The peers of a rule that are evaluated, and the fields of the others."""

    known: tuple[Peer, ...]
    unknown: tuple[FieldPath, ...]
    by_address: bool


def read_rules(
    reader: PolicyReader,
    place: DocumentPlace,
    head: PolicyHead,
    spec: Mapping[str, Any],
    form: Form,
) -> Policy:
    """The policy that a spec makes, of the tier of its ``head``; its errors are reported to
    ``place``."""
    path: FieldPath = ("spec",)
    namespaces, pods = _subject(reader, place, spec.get("subject"), (*path, "subject"), form)
    order = _priority(place, spec.get("priority")) if form.priority else 0.0
    rules: list[Rule] = []
    unknown: list[FieldPath] = []
    for direction in Direction:
        found = (*path, direction.word)
        for index, entry in enumerate(items(place, spec.get(direction.word), found, form.most)):
            rule, left_out = _rule(reader, place, entry, direction, index, form)
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
        order=order,
        annotations=head.annotations,
        subject_field=(*path, "subject"),
    )


def _priority(place: DocumentPlace, value: Any) -> float:
    path: FieldPath = ("spec", "priority")
    priority = number(place, value, path)
    if priority is not None and not 0 <= priority <= _HIGHEST_PRIORITY:
        message = invalid(priority, f"must be between 0 and {_HIGHEST_PRIORITY}, inclusive")
        place.error(path, message)
    return float(priority or 0)


def _uncertain(unknown: list[FieldPath]) -> str:
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return (
        f"peers that are domain names are not evaluated ({field_text(unknown[0])}{more}): a rule "
        "that allows is taken not to match them, and one that denies or passes to match every peer"
    )


def _subject(
    reader: PolicyReader, place: DocumentPlace, value: Any, path: FieldPath, form: Form
) -> tuple[Selector, Selector]:
    """The selectors of namespaces and of pods."""
    if value is None:
        place.error(path, required())
        return EVERYTHING, EVERYTHING
    one, chosen = only(place, value, path, _PODS)
    if one == "pods":
        return _pods(reader, place, chosen, (*path, one), form)
    return reader.selectors.read(place, chosen, (*path, one)), EVERYTHING


def _pods(
    reader: PolicyReader, place: DocumentPlace, value: Any, path: FieldPath, form: Form
) -> tuple[Selector, Selector]:
    both = shape_object(place, value, path)
    names = ("namespaceSelector", "podSelector")
    fields.check(place, both, path, frozenset(names))
    for name in names[form.implied :]:
        if isinstance(value, dict) and both.get(name) is None:
            place.error((*path, name), required())
    namespaces, pods = (
        reader.selectors.read(place, both.get(name), (*path, name)) for name in names
    )
    return namespaces, pods


def _rule(
    reader: PolicyReader,
    place: DocumentPlace,
    value: Any,
    direction: Direction,
    index: int,
    form: Form,
) -> tuple[Rule | None, tuple[FieldPath, ...]]:
    """The rule, None where it matches nothing, and the fields that it is not certain for."""
    path: FieldPath = ("spec", direction.word, index)
    side = _PEERS[direction]
    rule = shape_object(place, value, path)
    fields.check(place, rule, path, frozenset({"action", "name", form.ports, side}))
    name = shape_string(place, rule.get("name"), (*path, "name"))
    if name and len(name) > _LONGEST_NAME:
        message = f"Too long: may not be more than {_LONGEST_NAME} bytes"
        place.error((*path, "name"), message)
    word = shape_string(place, rule.get("action"), (*path, "action"))
    if word == "":
        place.error((*path, "action"), required())
    elif word is not None and word not in form.actions:
        place.error((*path, "action"), unsupported(word, tuple(form.actions)))
    action = form.actions.get(word or "", Action.DENY)
    peers = _peers(reader, place, rule.get(side), direction, (*path, side), form)
    ports: tuple[PortMatch, ...] = ()
    found = (*path, form.ports)
    listed = rule.get(form.ports)
    least = 0 if listed is None else form.least_ports
    for at, entry in enumerate(items(place, listed, found, form.most, least)):
        ports += form.port(place, entry, (*found, at))
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
    form: Form,
) -> _Peers:
    known: list[Peer] = []
    unknown: list[FieldPath] = []
    by_address = False
    kinds: tuple[str, ...] = _PODS
    if direction is Direction.EGRESS:
        kinds += (*_ADDRESSES, _NAMES) if form.names else _ADDRESSES
    for index, value in enumerate(items(place, values, path, form.most, least=1)):
        one, peer = only(place, value, (*path, index), kinds)
        field = (*path, index, one)
        by_address = by_address or one not in ("", *_PODS)
        match one:
            case "namespaces":
                known.append(PodPeer(None, None, reader.selectors.read(place, peer, field)))
            case "pods":
                namespaces, pods = _pods(reader, place, peer, field, form)
                known.append(PodPeer(pods, None, namespaces))
            case "networks":
                known += _networks(reader, place, peer, field)
            case "nodes":
                known.append(NodePeer(reader.selectors.read(place, peer, field)))
            case "domainNames":
                _check_domains(place, peer, field, form)
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


def _check_domains(place: DocumentPlace, values: Any, path: FieldPath, form: Form) -> None:
    for at, text in _texts(place, values, path):
        if not form.is_name(text):
            message = "must be a domain name, which may begin with '*.' (e.g. '*.example.com')"
            place.error(at, invalid(text, message))


def _texts(place: DocumentPlace, values: Any, path: FieldPath) -> list[tuple[FieldPath, str]]:
    """The strings of a list that has each once."""
    found: list[tuple[FieldPath, str]] = []
    seen: set[str] = set()
    for index, value in enumerate(items(place, values, path, _MOST_ADDRESSES, least=1)):
        text = shape_string(place, value, (*path, index))
        if text in seen:
            place.error((*path, index), f"Duplicate value: {quoted(text)}")
        elif text is not None:
            seen.add(text)
            found.append(((*path, index), text))
    return found


def named_port(place: DocumentPlace, value: Any, path: FieldPath) -> tuple[PortMatch, ...]:
    """A port by name. It says no protocol: the container port does."""
    name = shape_string(place, value, path)
    for message in port_name_errors(name) if name is not None else ():
        place.error(path, invalid(name, message))
    return tuple(NamedPort(protocol, name or "") for protocol in PORT_PROTOCOLS)


def port_number(place: DocumentPlace, value: Any, path: FieldPath) -> int:
    """The number of a port; 0, and an error, where it is none."""
    found = number(place, value, path)
    for message in port_number_errors(found) if found is not None else ():
        place.error(path, invalid(found, message))
    return found or 0


def number(place: DocumentPlace, value: Any, path: FieldPath) -> int | None:
    """An integer that has to be there; None, and an error, where it is none."""
    if value is None:
        place.error(path, required())
    elif not isinstance(value, int) or isinstance(value, bool):
        place.error(path, wrong_type(value, "an integer"))
    else:
        return value
    return None


def only(
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


def items(
    place: DocumentPlace, value: Any, path: FieldPath, most: int, least: int = 0
) -> list[Any]:
    """A list of a length that is allowed."""
    items = shape_list(place, value, path)
    if len(items) > most:
        place.error(path, f"Too many: {len(items)}: must have at most {most} items")
    elif len(items) < least and (value is None or isinstance(value, list)):
        place.error(path, required(f"must have at least {least} item"))
    return items
