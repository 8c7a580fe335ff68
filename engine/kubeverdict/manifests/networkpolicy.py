"""NetworkPolicy (networking.k8s.io/v1): defaulted, validated and lowered to model rules.

The defaults and the checks are those of the API server, so a file that has never been to a
cluster means what it would mean there. All errors of a policy are reported, and where the
server drops something in silence (an unknown field, rules of a direction that is not in
``policyTypes``) there is a warning.
"""

from __future__ import annotations

from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.blocks import BlockReader
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.selectors import SelectorReader
from kubeverdict.manifests.validation import (
    dns_label_errors,
    forbidden,
    generate_name_errors,
    generated_name,
    invalid,
    port_name_errors,
    port_number_errors,
    required,
    shape_list,
    shape_object,
    shape_string,
    subdomain_errors,
    subject,
    unsupported,
    wrong_type,
)
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    Direction,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import PORT_PROTOCOLS, NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Selector
from kubeverdict.model.sources import FieldPath, Origin, Source

KIND = "NetworkPolicy"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TYPES = {"Ingress": Direction.INGRESS, "Egress": Direction.EGRESS}
_PROTOCOLS = {protocol.name: protocol for protocol in PORT_PROTOCOLS}
_PEERS = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_RULE_FIELDS = {
    Direction.INGRESS: fields.INGRESS_RULE,
    Direction.EGRESS: fields.EGRESS_RULE,
}


class NetworkPolicyReader:
    """Reads the NetworkPolicies of one load."""

    def __init__(self, findings: Findings, namespace: str) -> None:
        self._findings = findings
        self._namespace = namespace  # of policies that do not say
        self.unplaced = 0  # how many those are
        self._selectors = SelectorReader()
        self._blocks = BlockReader()

    def read(self, document: dict[str, Any], origin: Origin) -> Policy | None:
        """The policy, or None where it has errors, which are then reported."""
        place = DocumentPlace(self._findings, origin, KIND)
        namespace, name, annotations = self._metadata(place, document.get("metadata"))
        fields.check(place, document, (), fields.POLICY)
        if document.get("spec") is None:
            place.warn((), "has no spec: it isolates every pod of its namespace for ingress")
        path: FieldPath = ("spec",)
        spec = shape_object(place, document.get("spec"), path)
        fields.check(place, spec, path, fields.SPEC)
        pods = self._selectors.read(place, spec.get("podSelector"), (*path, "podSelector"))
        lists = {
            direction: shape_list(place, spec.get(direction.word), (*path, direction.word))
            for direction in Direction
        }
        isolates = self._policy_types(place, spec.get("policyTypes"), lists[Direction.EGRESS])
        rules = []
        for direction, values in lists.items():
            for index, value in enumerate(values):
                rules.append(self._rule(place, value, direction, index, namespace))
            if values and direction not in isolates:
                word = direction.word.title()
                message = f"these rules have no effect: policyTypes does not list {word}"
                place.warn((*path, direction.word), message)
        if place.failed:
            return None
        return Policy(
            kind=KIND,
            namespace=namespace,
            name=name,
            tier=NETWORK_POLICY_TIER,
            pods=pods,
            isolates=isolates,
            rules=tuple(rule for rule in rules if rule.direction in isolates),
            source=Source(origin),
            annotations=annotations,
            defaulted=not spec.get("policyTypes"),
            listed=tuple(one for one in Direction if spec.get(one.word) is not None),
        )

    def _metadata(self, place: DocumentPlace, value: Any) -> tuple[str, str, dict[str, str]]:
        path: FieldPath = ("metadata",)
        metadata = shape_object(place, value, path)
        place.subject = subject(KIND, metadata, self._namespace)
        name = shape_string(place, metadata.get("name"), (*path, "name"))
        prefix = shape_string(place, metadata.get("generateName"), (*path, "generateName"))
        namespace = shape_string(place, metadata.get("namespace"), (*path, "namespace"))
        if not namespace:
            self.unplaced += 1
            namespace = self._namespace
        given = name
        if name == "" and prefix:
            name = generated_name(prefix)
        fields.check(place, metadata, path, fields.METADATA)
        if given:
            for message in subdomain_errors(given):
                place.error((*path, "name"), invalid(given, message))
        elif prefix:
            for message in generate_name_errors(prefix):
                place.error((*path, "generateName"), invalid(prefix, message))
        elif name is not None and prefix is not None:
            place.error((*path, "name"), required("name or generateName is required"))
        for message in dns_label_errors(namespace):
            place.error((*path, "namespace"), invalid(namespace, message))
        self._selectors.labels(place, metadata.get("labels"), (*path, "labels"))
        found = (*path, "annotations")
        annotations = {}
        for key, value in shape_object(place, metadata.get("annotations"), found).items():
            text = shape_string(place, value, (*found, key))
            if key != _LAST_APPLIED:
                annotations[key] = text or ""
        return namespace, name or "", annotations

    def _policy_types(
        self, place: DocumentPlace, value: Any, egress: list[Any]
    ) -> tuple[Direction, ...]:
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
                place.error((*path, index), unsupported(text, ("Egress", "Ingress")))
        return tuple(sorted(found))

    def _rule(
        self, place: DocumentPlace, value: Any, direction: Direction, index: int, namespace: str
    ) -> Rule:
        path: FieldPath = ("spec", direction.word, index)
        if value is None:
            place.warn(path, "is null, which is a rule that allows everything")
        rule = shape_object(place, value, path)
        fields.check(place, rule, path, _RULE_FIELDS[direction])
        ports = [
            self._port(place, port, (*path, "ports", at))
            for at, port in enumerate(shape_list(place, rule.get("ports"), (*path, "ports")))
        ]
        word = _PEERS[direction]
        peers = [
            self._peer(place, peer, (*path, word, at), namespace)
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

    def _port(self, place: DocumentPlace, value: Any, path: FieldPath) -> PortMatch | None:
        port = shape_object(place, value, path)
        fields.check(place, port, path, fields.PORT)
        protocol: Protocol | None = Protocol.TCP
        if (word := port.get("protocol")) is not None:
            text = shape_string(place, word, (*path, "protocol"))
            protocol = _PROTOCOLS.get(text or "")
            if protocol is None and text is not None:
                place.error((*path, "protocol"), unsupported(text, ("SCTP", "TCP", "UDP")))
        number = port.get("port")
        end = self._end_port(place, port.get("endPort"), number, (*path, "endPort"))
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

    def _end_port(self, place: DocumentPlace, end: Any, port: Any, path: FieldPath) -> int | None:
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
        self, place: DocumentPlace, value: Any, path: FieldPath, namespace: str
    ) -> Peer | None:
        peer = shape_object(place, value, path)
        fields.check(place, peer, path, fields.PEER)
        pods = self._optional_selector(place, peer, "podSelector", path)
        namespaces = self._optional_selector(place, peer, "namespaceSelector", path)
        block = peer.get("ipBlock")
        selects = pods is not None or namespaces is not None
        result: Peer | None = None
        if block is not None:
            result = self._blocks.read(place, block, (*path, "ipBlock"))
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
        self, place: DocumentPlace, peer: dict[str, Any], name: str, path: FieldPath
    ) -> Selector | None:
        value = peer.get(name)
        return None if value is None else self._selectors.read(place, value, (*path, name))
