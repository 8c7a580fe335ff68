"""Protocols, ports and types of ICMP in rules of Calico's policies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.validation import (
    invalid,
    port_number_errors,
    required,
    shape_list,
    shape_object,
    unsupported,
    wrong_type,
)
from kubeverdict.model.ports import (
    PORT_PROTOCOLS,
    IcmpMatch,
    NamedPort,
    PortMatch,
    PortRange,
    Protocol,
)
from kubeverdict.model.sources import FieldPath

if TYPE_CHECKING:
    from kubeverdict.manifests.policies.calico_entities import EntityRule

RulePort = tuple[int, int] | str
"""First and last number, or a name."""

_MOST_PORTS = 50
_is_name = re.compile(r"[a-zA-Z0-9_.-]{1,128}").fullmatch
_is_range = re.compile(r"(\d+):(\d+)").fullmatch

# By number, as they are all over the Internet.
_NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
_WITH_PORTS = {6: Protocol.TCP, 17: Protocol.UDP, 132: Protocol.SCTP}
_ICMP: dict[int, Literal[4, 6]] = {1: 4, 58: 6}
_HIGHEST_TYPE, _HIGHEST_CODE = 254, 255


class CoveredPorts(NamedTuple):
    """What a rule says of protocols and ports. ``version`` is the only IP version of its
    protocol."""

    ports: tuple[PortMatch, ...] | None = None
    excluded: tuple[PortRange | NamedPort, ...] = ()
    condition: str = ""
    version: Literal[4, 6] | None = None


def read_ports(
    place: DocumentPlace,
    rule: Mapping[str, Any],
    path: FieldPath,
    source: EntityRule,
    destination: EntityRule,
) -> CoveredPorts:
    """What a rule at ``path`` covers at its destination."""
    protocol = _protocol(place, rule.get("protocol"), (*path, "protocol"))
    without = _protocol(place, rule.get("notProtocol"), (*path, "notProtocol"))
    if protocol not in _WITH_PORTS:
        for word, entity in (("source", source), ("destination", destination)):
            for name, listed in (("ports", entity.ports), ("notPorts", entity.not_ports)):
                if listed:
                    message = "needs the protocol TCP, UDP or SCTP"
                    place.error((*path, word, name), f"Invalid value: {message}")
    if rule.get("http") is not None and protocol not in (None, _NUMBERS["TCP"]):
        place.error((*path, "protocol"), "Invalid value: must be TCP where http is set")
    icmp = _icmp(place, rule.get("icmp"), (*path, "icmp"))
    not_icmp = _icmp(place, rule.get("notICMP"), (*path, "notICMP"))
    if icmp is not None and protocol not in _ICMP:
        place.error((*path, "icmp"), "Invalid value: needs the protocol ICMP or ICMPv6")
    version = _ICMP.get(protocol or without or 0)
    covered = _covered(protocol, without, icmp, not_icmp, destination)
    return covered._replace(version=version)


def _covered(
    protocol: int | None,
    without: int | None,
    icmp: _Icmp | None,
    not_icmp: _Icmp | None,
    destination: EntityRule,
) -> CoveredPorts:
    if protocol is None:
        if not_icmp is not None:
            # Of what is no ICMP, Felix looks at bytes that are something else there.
            return CoveredPorts(
                condition="for packets that are no ICMP of the type that it leaves out"
            )
        return _all_but(without)
    if protocol == without:
        return CoveredPorts(())
    if protocol in _WITH_PORTS:
        return _with_ports(_WITH_PORTS[protocol], destination)
    if protocol in _ICMP:
        return CoveredPorts(tuple(_icmp_types(_ICMP[protocol], icmp, not_icmp)))
    return CoveredPorts((PortRange(Protocol.OTHER),), condition=f"for protocol {protocol} only")


def _all_but(without: int | None) -> CoveredPorts:
    if without is None:
        return CoveredPorts()
    if without in _WITH_PORTS:
        return CoveredPorts(excluded=(PortRange(_WITH_PORTS[without]),))
    others = tuple(map(PortRange, (*PORT_PROTOCOLS, Protocol.OTHER)))
    if without in _ICMP:
        return CoveredPorts((*others, IcmpMatch(6 if _ICMP[without] == 4 else 4)))
    return CoveredPorts(condition=f"for protocols other than {without}")


def _with_ports(protocol: Protocol, destination: EntityRule) -> CoveredPorts:
    ports = tuple(_match(protocol, one) for one in destination.ports)
    excluded = tuple(_match(protocol, one) for one in destination.not_ports)
    return CoveredPorts(ports or (PortRange(protocol),), excluded)


def _match(protocol: Protocol, port: RulePort) -> PortRange | NamedPort:
    return NamedPort(protocol, port) if isinstance(port, str) else PortRange(protocol, *port)


class _Icmp(NamedTuple):
    type: int | None
    code: int | None


def _icmp_types(
    version: Literal[4, 6], icmp: _Icmp | None, without: _Icmp | None
) -> Iterable[PortMatch]:
    """Types of ICMP that are covered."""
    wanted = IcmpMatch(version) if icmp is None else IcmpMatch(version, icmp.type, icmp.code)
    if without is None or without.type is None:
        return (wanted,)
    left: list[IcmpMatch] = []
    for number in range(256) if wanted.icmp_type is None else (wanted.icmp_type,):
        if number != without.type:
            left.append(IcmpMatch(version, number, wanted.code))
        elif without.code is not None:
            codes = range(256) if wanted.code is None else (wanted.code,)
            left += [IcmpMatch(version, number, one) for one in codes if one != without.code]
    return left


def _icmp(place: DocumentPlace, value: Any, path: FieldPath) -> _Icmp | None:
    if value is None:
        return None
    icmp = shape_object(place, value, path)
    fields.check(place, icmp, path, frozenset({"code", "type"}))
    numbers = []
    for word, most in (("type", _HIGHEST_TYPE), ("code", _HIGHEST_CODE)):
        number = icmp.get(word)
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            place.error((*path, word), wrong_type(number, "an integer"))
            number = None
        elif number is not None and not 0 <= number <= most:
            place.error((*path, word), invalid(number, f"must be between 0 and {most}"))
        numbers.append(number)
    if numbers[0] is None and numbers[1] is not None:
        place.error((*path, "type"), required("a code needs a type"))
    return _Icmp(*numbers)


def _protocol(place: DocumentPlace, value: Any, path: FieldPath) -> int | None:
    """The number of a protocol."""
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _NUMBERS:
            place.error(path, unsupported(value, tuple(_NUMBERS)))
        return _NUMBERS.get(value)
    if not isinstance(value, int) or isinstance(value, bool):
        place.error(path, wrong_type(value, "an integer or a string"))
        return None
    if not 1 <= value <= 255:
        place.error(path, invalid(value, "must be between 1 and 255"))
    return value


def read_port_list(place: DocumentPlace, value: Any, path: FieldPath) -> tuple[RulePort, ...]:
    """The ports that a list names; errors are reported."""
    values = shape_list(place, value, path)
    if len(values) > _MOST_PORTS:
        place.error(path, f"Too many: {len(values)}: must have at most {_MOST_PORTS} items")
    found = (_port(place, one, (*path, at)) for at, one in enumerate(values))
    return tuple(one for one in found if one is not None)


def _port(place: DocumentPlace, value: Any, path: FieldPath) -> RulePort | None:
    if isinstance(value, str) and not value.isdigit():
        span = _is_range(value)
        if span is None:
            if not _is_name(value):
                message = "must be a number, a range as 1000:2000, or the name of a port"
                place.error(path, invalid(value, message))
            return value
        first, last = int(span[1]), int(span[2])
    elif isinstance(value, str):
        first = last = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        place.error(path, wrong_type(value, "an integer or a string"))
        return None
    errors = [*port_number_errors(first), *(port_number_errors(last) if last != first else ())]
    for message in errors:
        place.error(path, invalid(value, message))
    if not errors and first > last:
        place.error(path, invalid(value, "ends before it begins"))
    return first, last


def ports_text(ports: Iterable[RulePort]) -> str:
    """``53, 1000-2000 or http``."""
    return " or ".join(
        one if isinstance(one, str) else str(one[0]) if one[0] == one[1] else f"{one[0]}-{one[1]}"
        for one in ports
    )
