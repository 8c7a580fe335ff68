"""Ports of Cilium's policies: numbers, names and ranges, types of ICMP, and what a proxy judges.

What a proxy decides by what is said on a connection (HTTP, DNS, the name in a TLS hello) is no
matter of ports: such ports are conditional.

Sources: Cilium 1.20.2, pkg/policy/api/{l4,icmp,rule_validation}.go, and the custom resource
definitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import (
    forbidden,
    invalid,
    required,
    shape_list,
    shape_object,
    shape_string,
    unsupported,
    wrong_type,
)
from kubeverdict.model.ports import (
    MAX_PORT,
    PORT_PROTOCOLS,
    IcmpMatch,
    NamedPort,
    PortMatch,
    PortRange,
    Protocol,
)
from kubeverdict.model.sources import FieldPath

MOST = 40
_PROTOCOLS = {one.name: (one,) for one in PORT_PROTOCOLS} | {"ANY": PORT_PROTOCOLS}
# Protocols without ports, for which the agent has an option.
_PORTLESS = ("VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH")
_is_name = re.compile(r"(?=.{1,15}\Z)([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*").fullmatch
_is_number = re.compile(r"0|[1-9][0-9]{0,4}|0[0-7]{1,6}").fullmatch

_PORT_RULE = frozenset(
    ("ports", "rules", "serverNames", "listener", "terminatingTLS", "originatingTLS")
)
_DENY_PORT_RULE = frozenset({"ports"})
_PORT = frozenset({"port", "protocol", "endPort"})
# The last of them are gone from 1.20, and older agents have them.
_L7 = ("http", "dns", "kafka", "l7", "l7proto")

_ICMP_TYPES: Mapping[Literal[4, 6], Mapping[str, int]] = {
    4: {
        "EchoReply": 0,
        "DestinationUnreachable": 3,
        "Redirect": 5,
        "Echo": 8,
        "EchoRequest": 8,
        "RouterAdvertisement": 9,
        "RouterSelection": 10,
        "TimeExceeded": 11,
        "ParameterProblem": 12,
        "Timestamp": 13,
        "TimestampReply": 14,
        "Photuris": 40,
        "ExtendedEchoRequest": 42,
        "ExtendedEchoReply": 43,
    },
    6: {
        "DestinationUnreachable": 1,
        "PacketTooBig": 2,
        "TimeExceeded": 3,
        "ParameterProblem": 4,
        "EchoRequest": 128,
        "EchoReply": 129,
        "MulticastListenerQuery": 130,
        "MulticastListenerReport": 131,
        "MulticastListenerDone": 132,
        "RouterSolicitation": 133,
        "RouterAdvertisement": 134,
        "NeighborSolicitation": 135,
        "NeighborAdvertisement": 136,
        "RedirectMessage": 137,
        "RouterRenumbering": 138,
        "ICMPNodeInformationQuery": 139,
        "ICMPNodeInformationResponse": 140,
        "InverseNeighborDiscoverySolicitation": 141,
        "InverseNeighborDiscoveryAdvertisement": 142,
        "HomeAgentAddressDiscoveryRequest": 144,
        "HomeAgentAddressDiscoveryReply": 145,
        "MobilePrefixSolicitation": 146,
        "MobilePrefixAdvertisement": 147,
        "DuplicateAddressRequestCodeSuffix": 157,
        "DuplicateAddressConfirmationCodeSuffix": 158,
        "ExtendedEchoRequest": 160,
        "ExtendedEchoReply": 161,
    },
}
_VERSIONS: Mapping[str, Literal[4, 6]] = {"IPv4": 4, "IPv6": 6}


class RulePorts(NamedTuple):
    """Some of the ports of a rule; None is every port of every protocol. ``condition`` says what
    it depends on whether these are meant."""

    ports: tuple[PortMatch, ...] | None
    condition: str = ""


def read_ports(
    place: DocumentPlace, rule: Mapping[str, Any], path: FieldPath, ingress: bool, denies: bool
) -> list[RulePorts] | None:
    """The ports and types of ICMP of a rule, none where its lists name nothing; None where it has
    no such list."""
    listed = shape_list(place, rule.get("toPorts"), (*path, "toPorts"))
    types = shape_list(place, rule.get("icmps"), (*path, "icmps"))
    if listed and types:
        place.error((*path, "icmps"), forbidden("may not be combined with toPorts in one rule"))
    if not listed and not types:
        return None
    found: list[RulePorts] = []
    for index, value in enumerate(listed):
        found += _port_rule(place, value, (*path, "toPorts", index), ingress, denies)
    for index, value in enumerate(types):
        matches = tuple(_icmp(place, value, (*path, "icmps", index)))
        if matches:
            found.append(RulePorts(matches))
    return _together(found)


def _together(found: list[RulePorts]) -> list[RulePorts]:
    """The ports of each condition, and those without one, as one entry."""
    by_condition: dict[str, list[PortMatch]] = {}
    for one in found:
        by_condition.setdefault(one.condition, []).extend(one.ports or ())
    return [RulePorts(tuple(dict.fromkeys(ports)), text) for text, ports in by_condition.items()]


def _port_rule(
    place: DocumentPlace, value: Any, path: FieldPath, ingress: bool, denies: bool
) -> Iterator[RulePorts]:
    entry = shape_object(place, value, path)
    fields.check(place, entry, path, _DENY_PORT_RULE if denies else _PORT_RULE)
    conditions = [] if denies else list(_proxied(place, entry, path, ingress))
    found = (*path, "ports")
    listed = shape_list(place, entry.get("ports"), found)
    if len(listed) > MOST:
        place.error(found, f"Too many: {len(listed)}: must have at most {MOST} items")
    rules = entry.get("rules")
    only_tcp = isinstance(rules, dict) and any(rules.get(one) for one in ("http", "kafka"))
    for index, one in enumerate(listed):
        for ports in _port(place, one, (*found, index), only_tcp and not denies):
            together = [text for text in (*conditions, ports.condition) if text]
            yield RulePorts(ports.ports, " and ".join(together))


def _port(place: DocumentPlace, value: Any, path: FieldPath, only_tcp: bool) -> Iterator[RulePorts]:
    """A port, or a range of them."""
    entry = shape_object(place, value, path)
    fields.check(place, entry, path, _PORT)
    word = shape_string(place, entry.get("protocol"), (*path, "protocol"))
    if word is not None and word not in ("", *_PROTOCOLS, *_PORTLESS):
        known = ("TCP", "UDP", "SCTP", *_PORTLESS, "ANY")
        place.error((*path, "protocol"), unsupported(word, known))
        word = None
    if only_tcp and word != "TCP":
        place.error((*path, "protocol"), invalid(word, "rules of this kind can only be for TCP"))
    port = shape_string(place, entry.get("port"), (*path, "port"))
    last = _end_port(place, entry.get("endPort"), (*path, "endPort"))
    if port is None or word is None:
        return
    if word in _PORTLESS:
        if port not in ("", "0"):
            place.error((*path, "port"), invalid(port, f"must be empty or 0 for {word}"))
        yield RulePorts(
            (PortRange(Protocol.OTHER, 0, 0),), f"for {word} only, where agents allow it"
        )
        return
    if not port:
        place.error((*path, "port"), required())
        return
    protocols = _PROTOCOLS[word or "ANY"]
    if _is_name(port):
        name = port.lower()
        yield RulePorts(tuple(NamedPort(protocol, name) for protocol in protocols))
        if last:
            # At ingress the range begins at the port that has the name.
            ranges = tuple(PortRange(protocol, 1, last) for protocol in protocols)
            yield RulePorts(ranges, f"for ports from the one called {name} to {last}")
        return
    number = _number(port)
    if number is None or number > MAX_PORT:
        message = f"must be a number from 0 to {MAX_PORT}, or the name of a port"
        place.error((*path, "port"), invalid(port, message))
    elif number == 0:
        if only_tcp:
            place.error((*path, "port"), invalid(port, "rules of a proxy cannot be for every port"))
        yield RulePorts(tuple(PortRange(protocol) for protocol in protocols))
    else:
        upper = max(number, last)
        yield RulePorts(tuple(PortRange(protocol, number, upper) for protocol in protocols))


def _number(text: str) -> int | None:
    """A port as it is written; with a zero in front it is octal."""
    if not _is_number(text):
        return None
    return int(text, 8 if text.startswith("0") else 10)


def _end_port(place: DocumentPlace, value: Any, path: FieldPath) -> int:
    """The last port of a range, 0 where there is none."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        place.error(path, wrong_type(value, "an integer"))
    elif not 0 <= value <= MAX_PORT:
        place.error(path, invalid(value, f"must be from 0 to {MAX_PORT}"))
    else:
        return value
    return 0


def _icmp(place: DocumentPlace, value: Any, path: FieldPath) -> Iterator[PortMatch]:
    entry = shape_object(place, value, path)
    fields.check(place, entry, path, frozenset({"fields"}))
    found = (*path, "fields")
    listed = shape_list(place, entry.get("fields"), found)
    if len(listed) > MOST:
        place.error(found, f"Too many: {len(listed)}: must have at most {MOST} items")
    for index, one in enumerate(listed):
        match = _icmp_type(place, one, (*found, index))
        if match is not None:
            yield match


def _icmp_type(place: DocumentPlace, value: Any, path: FieldPath) -> IcmpMatch | None:
    entry = shape_object(place, value, path)
    fields.check(place, entry, path, frozenset({"family", "type"}))
    family = shape_string(place, entry.get("family"), (*path, "family"))
    version = _VERSIONS.get(family or "IPv4")
    if version is None:
        if family is not None:
            place.error((*path, "family"), unsupported(family, tuple(_VERSIONS)))
        return None
    written = entry.get("type")
    known = _ICMP_TYPES[version]
    number: int | None
    if written is None:
        place.error((*path, "type"), required())
        return None
    if isinstance(written, str):
        number = known.get(written, int(written) if written.isdecimal() else None)
    elif isinstance(written, int) and not isinstance(written, bool):
        number = written
    else:
        place.error((*path, "type"), wrong_type(written, "an integer or a string"))
        return None
    if number is None or not 0 <= number <= 255:
        message = f"must be a number from 0 to 255, or the name of a type of {family or 'IPv4'}"
        place.error((*path, "type"), invalid(written, message))
        return None
    # The type stands in the place of the port, and port 0 is every port.
    if number == 0:
        place.warn((*path, "type"), f"type 0 stands for every type of ICMP over {family or 'IPv4'}")
    return IcmpMatch(version, number or None)


# -- what a proxy judges ------------------------------------------------------------------------


def _proxied(
    place: DocumentPlace, entry: Mapping[str, Any], path: FieldPath, ingress: bool
) -> Iterator[str]:
    """What has to hold besides, for the ports of one entry."""
    rules = shape_object(place, entry.get("rules"), (*path, "rules"))
    found = (*path, "rules")
    fields.check(place, rules, found, frozenset(_L7))
    named = [name for name in _L7[:-1] if shape_list(place, rules.get(name), (*found, name))]
    if len(named) > 1:
        place.error(found, forbidden(f"rules of one protocol only: {' or '.join(named)}"))
    if ingress and "dns" in named:
        place.error((*found, "dns"), forbidden("not for ingress"))
    for name in named:
        listed = [shape_object(place, one, (*found, name)) for one in rules[name]]
        yield _L7_TEXTS.get(name, _other_text)(listed)
    names = shape_list(place, entry.get("serverNames"), (*path, "serverNames"))
    if names:
        yield f"for TLS to {_listed([str(one) for one in names])} only"
        if named and entry.get("terminatingTLS") is None:
            message = "not with rules of a proxy, unless it ends TLS (terminatingTLS)"
            place.error((*path, "serverNames"), forbidden(message))
    listener = shape_object(place, entry.get("listener"), (*path, "listener"))
    if listener:
        yield f"as the listener {listener.get('name')} decides"
        if ingress or named:
            message = "not for ingress, and not with rules of a proxy"
            place.error((*path, "listener"), forbidden(message))
    ends_tls = [one for one in ("terminatingTLS", "originatingTLS") if entry.get(one) is not None]
    if ends_tls and not named:
        yield "for TLS that the proxy can end"


def _http_text(rules: list[dict[str, Any]]) -> str:
    def one(rule: dict[str, Any]) -> str:
        path = rule.get("path") or ""
        words = [str(rule.get("method") or ""), str(path)]
        text = " ".join(word for word in words if word)
        if rule.get("host"):
            text += f" of {rule['host']}"
        if rule.get("headers") or rule.get("headerMatches"):
            text += " with certain headers"
        return text.strip()

    wanted = [one(rule) for rule in rules]
    if "" in wanted:
        return "for HTTP only"
    return f"for HTTP {_listed(wanted)} only"


def _dns_text(rules: list[dict[str, Any]]) -> str:
    names = [str(rule.get("matchName") or rule.get("matchPattern") or "") for rule in rules]
    if "*" in names:
        return "for DNS only"
    return f"for DNS questions about {_listed(names)} only"


def _kafka_text(_: list[dict[str, Any]]) -> str:
    return "for some requests of Kafka only"


def _other_text(_: list[dict[str, Any]]) -> str:
    return "for some requests only, as a proxy reads them"


_L7_TEXTS = {"http": _http_text, "dns": _dns_text, "kafka": _kafka_text}


def _listed(words: list[str]) -> str:
    shown = list(dict.fromkeys(words))
    if len(shown) > 3:
        shown = [*shown[:3], f"{len(shown) - 3} more"]
    return " or ".join(shown)
