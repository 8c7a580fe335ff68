"""NetworkPolicy (networking.k8s.io/v1): defaulted, validated and lowered to model rules.

The defaults and the checks are those of the API server, so a file that has never been to a
cluster means what it would mean there. All errors of a policy are reported, and where the
server drops something in silence (an unknown field, rules of a direction that is not in
``policyTypes``) there is a warning.
"""

from __future__ import annotations

from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import (
    forbidden,
    invalid,
    port_name_errors,
    port_number_errors,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
    wrong_type,
)
from kubeverdict.model.policy import (
    NETWORK_POLICY_ORDER,
    Action,
    Direction,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import PORT_PROTOCOLS, NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Selector
from kubeverdict.model.sources import FieldPath, Source

_TYPES = {"Ingress": Direction.INGRESS, "Egress": Direction.EGRESS}
_PROTOCOLS = {protocol.name: protocol for protocol in PORT_PROTOCOLS}
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_RULE_FIELDS = {
    Direction.INGRESS: fields.INGRESS_RULE,
    Direction.EGRESS: fields.EGRESS_RULE,
}


def read(reader: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> Policy:
    """The policy with the spec ``value``; its errors are reported to ``place``."""
    if value is None:
        place.warn((), "has no spec: it isolates every pod of its namespace for ingress")
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, fields.SPEC)
    pods = reader.selectors.read(place, spec.get("podSelector"), (*path, "podSelector"))
    lists = {
        direction: shape_list(place, spec.get(direction.word), (*path, direction.word))
        for direction in Direction
    }
    isolates = _policy_types(place, spec.get("policyTypes"), lists[Direction.EGRESS])
    rules = []
    for direction, values in lists.items():
        for index, value in enumerate(values):
            rules.append(_rule(reader, place, value, direction, index, head.namespace))
        if values and direction not in isolates:
            word = direction.word.title()
            message = f"by the API these rules have no effect: policyTypes does not list {word}"
            place.warn((*path, direction.word), message)
    return Policy(
        kind=head.kind,
        namespace=head.namespace,
        name=head.name,
        tier=head.tier,
        pods=pods,
        isolates=isolates,
        rules=tuple(rule for rule in rules if rule.direction in isolates),
        source=Source(place.origin),
        order=NETWORK_POLICY_ORDER,
        annotations=head.annotations,
        defaulted=not spec.get("policyTypes"),
        listed=tuple(one for one in Direction if spec.get(one.word) is not None),
        unlisted_rules=tuple(rule for rule in rules if rule.direction not in isolates),
        tiebreak=f"{head.namespace}/knp.default.{head.name}",
    )


def _policy_types(place: DocumentPlace, value: Any, egress: list[Any]) -> tuple[Direction, ...]:
    path: FieldPath = ("spec", "policyTypes")
    words = shape_list(place, value, path)
    if not words:
        return (Direction.INGRESS, Direction.EGRESS) if egress else (Direction.INGRESS,)
    if len(words) > 2:
        place.error(path, invalid(words, "may not specify more than two policyTypes"))
        return ()
    found = set()
    for index, word in enumerate(words):
        text = shape_string(place, word, (*path, index))
        if text in _TYPES:
            found.add(_TYPES[text])
        elif text is not None:
            place.error((*path, index), unsupported(text, ("Ingress", "Egress")))
    return tuple(sorted(found))


def _rule(
    reader: PolicyReader,
    place: DocumentPlace,
    value: Any,
    direction: Direction,
    index: int,
    namespace: str | None,
) -> Rule:
    path: FieldPath = ("spec", direction.word, index)
    if value is None:
        place.warn(path, "is null, which is a rule that allows everything")
    rule = shape_object(place, value, path)
    fields.check(place, rule, path, _RULE_FIELDS[direction])
    ports = [
        _port(place, port, (*path, "ports", at))
        for at, port in enumerate(shape_list(place, rule.get("ports"), (*path, "ports")))
    ]
    word = _PEERS[direction]
    peers = [
        _peer(reader, place, peer, (*path, word, at), namespace)
        for at, peer in enumerate(shape_list(place, rule.get(word), (*path, word)))
    ]
    return Rule(
        direction=direction,
        index=index,
        action=Action.ALLOW,
        peers=tuple(peer for peer in peers if peer is not None) or None,
        ports=tuple(port for port in ports if port is not None) or None,
        source=Source(place.origin, path),
    )


def _port(place: DocumentPlace, value: Any, path: FieldPath) -> PortMatch | None:
    port = shape_object(place, value, path)
    fields.check(place, port, path, fields.PORT)
    protocol: Protocol | None = Protocol.TCP
    if (word := port.get("protocol")) is not None:
        text = shape_string(place, word, (*path, "protocol"))
        protocol = _PROTOCOLS.get(text or "")
        if protocol is None and text is not None:
            place.error((*path, "protocol"), unsupported(text, ("TCP", "UDP", "SCTP")))
    number = port.get("port")
    end = _end_port(place, port.get("endPort"), number, (*path, "endPort"))
    if number is None:
        return None if protocol is None else PortRange(protocol)
    if isinstance(number, str):
        errors = port_name_errors(number)
    elif isinstance(number, int) and not isinstance(number, bool):
        errors = port_number_errors(number)
    else:
        place.error((*path, "port"), wrong_type(number, "an integer or a string"))
        return None
    for message in errors:
        place.error((*path, "port"), invalid(number, message))
    if protocol is None:
        return None
    if isinstance(number, str):
        return NamedPort(protocol, number)
    return PortRange(protocol, number, number if end is None else end)


def _end_port(place: DocumentPlace, end: Any, port: Any, path: FieldPath) -> int | None:
    if end is None:
        return None
    if not isinstance(end, int) or isinstance(end, bool):
        place.error(path, wrong_type(end, "an integer"))
        return None
    if port is None:
        message = "may not be specified when `port` is not specified"
        place.error(path, invalid(end, message))
    elif isinstance(port, str):
        place.error(path, invalid(end, "may not be specified when `port` is non-numeric"))
    else:
        if isinstance(port, int) and end < port:
            place.error(path, invalid(end, "must be greater than or equal to `port`"))
        for message in port_number_errors(end):
            place.error(path, invalid(end, message))
    return end


def _peer(
    reader: PolicyReader, place: DocumentPlace, value: Any, path: FieldPath, namespace: str | None
) -> Peer | None:
    peer = shape_object(place, value, path)
    fields.check(place, peer, path, fields.PEER)
    pods = _optional_selector(reader, place, peer, "podSelector", path)
    namespaces = _optional_selector(reader, place, peer, "namespaceSelector", path)
    block = peer.get("ipBlock")
    selects = pods is not None or namespaces is not None
    result: Peer | None = None
    if block is not None:
        result = reader.blocks.read(place, block, (*path, "ipBlock"))
        if selects:
            place.error(path, forbidden("may not specify both ipBlock and another peer"))
    elif namespaces is not None:
        result = PodPeer(pods, None, namespaces)
    elif pods is not None:
        result = PodPeer(pods, namespace, EVERYTHING)
    elif value is None or isinstance(value, dict):
        place.error(path, required("must specify a peer"))
    return result


def _optional_selector(
    reader: PolicyReader, place: DocumentPlace, peer: dict[str, Any], name: str, path: FieldPath
) -> Selector | None:
    value = peer.get(name)
    return None if value is None else reader.selectors.read(place, value, (*path, name))
