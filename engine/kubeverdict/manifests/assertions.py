"""Files of assertions: what must and what must not be reachable.

A file is YAML or JSON::

    zones:
      gateway: platform/ingress-nginx
      dev: {namespaceSelector: {matchLabels: {env: dev}}}
    assertions:
      - name: only the gateway reaches the shop
        only: {from: gateway}
        to: {namespace: shop, podSelector: {matchLabels: {app: frontend}}}
        ports: [http]
      - name: nothing in dev reaches the databases
        deny: {from: dev, to: {namespace: data}}

An end is the name of a zone, a workload (NS/NAME or KIND/NS/NAME), an address, a CIDR, a peer as
NetworkPolicy writes it, or a list of these. All mistakes of all files come together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kubeverdict.errors import InputError, Problem
from kubeverdict.manifests import sources
from kubeverdict.manifests.blocks import BlockReader
from kubeverdict.manifests.fields import nearest_name
from kubeverdict.manifests.findings import DocumentPlace, Findings
from kubeverdict.manifests.selectors import SelectorReader
from kubeverdict.manifests.validation import (
    dns_label_errors,
    forbidden,
    invalid,
    port_name_errors,
    port_number_errors,
    quoted,
    required,
    wrong_type,
)
from kubeverdict.manifests.values import Entry, Text, entries
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.assertions import (
    Assertion,
    Assertions,
    Claim,
    EndPart,
    EndSpec,
    PortAsked,
    PortName,
    WorkloadName,
)
from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.ports import PORT_PROTOCOLS, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING
from kubeverdict.model.sources import FieldPath, Source

_FILE = ("assertions", "podRanges", "zones")
_ASSERTION = ("allow", "deny", "description", "from", "mayBeEmpty", "name", "only", "ports", "to")
_PEER = ("ipBlock", "namespace", "namespaceSelector", "podSelector")
_CLAIMS = ("allow", "deny", "only")
_PROTOCOLS = {protocol.name: protocol for protocol in PORT_PROTOCOLS}
_ICMP = PortRange(Protocol.ICMP, 0, 0)
_NUMBERS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_NOTATION = "write 8080, 8000-8100/TCP, http, dns/UDP, TCP or ICMP"


def read_assertions(paths: Sequence[str]) -> Assertions:
    """The assertions of files, and of those in folders.

    Raises InputError with everything that is wrong in them.
    """
    findings = Findings()
    texts = (
        (buffer.name, text)
        for buffer in sources.read(paths, None, findings)
        if (text := sources.text(buffer, findings)) is not None
    )
    return _read_texts(texts, findings)


def assertions_in(name: str, text: str) -> Assertions:
    """As :func:`read_assertions`, of a text that is called ``name``."""
    return _read_texts([(name, text)], Findings())


def _read_texts(texts: Iterable[tuple[str, str]], findings: Findings) -> Assertions:
    found: list[Assertion] = []
    ranges: list[BlockPeer] = []
    for name, text in texts:
        reader = _FileReader(findings)
        before = len(findings.errors)
        assertions = list(reader.read(name, text))
        if not assertions and len(findings.errors) == before:
            findings.errors.append(Problem(name, 0, "", "holds no assertions"))
        found += assertions
        ranges += reader.pod_ranges
    _check_names(found, findings)
    if findings.fatal or findings.errors:
        problems = findings.fatal + findings.errors
        raise InputError(problems, findings.warnings, skippable=False)
    return Assertions(tuple(found), tuple(dict.fromkeys(ranges)))


def _check_names(assertions: Sequence[Assertion], findings: Findings) -> None:
    first: dict[str, Source] = {}
    for one in assertions:
        known = first.setdefault(one.name, one.origin)
        if known is not one.origin:
            message = f"another assertion has the name {quoted(one.name)}: {known}"
            problem = Problem(one.origin.file, one.origin.line, "name", message)
            findings.errors.append(problem)


class _Wrong(Exception):
    """The value cannot be made sense of; why has been reported."""


class _FileReader:
    """Reads one file."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._selectors = SelectorReader()
        self._blocks = BlockReader()
        self._raw_zones: dict[str, tuple[Text, FieldPath, Any]] = {}
        self._zones: dict[str, EndSpec | None] = {}  # None while it is being read, or is wrong
        self.pod_ranges: list[BlockPeer] = []

    def read(self, file: str, text: str) -> Iterator[Assertion]:
        documents: list[Entry] = []
        for entry in entries(file, text):
            if isinstance(entry, Problem):
                self._findings.errors.append(entry)
            elif not isinstance(entry.value, dict) or entry.at:
                message = "expected an object with assertions, and perhaps zones"
                self._wrong(entry.text, entry.at, message)
            else:
                documents.append(entry)
        for document in documents:
            self._unknown(document.text, document.value, (), _FILE, "a file of assertions")
            self._note_zones(document.text, document.value.get("zones"))
            self._note_ranges(document.text, document.value.get("podRanges"))
        for name in self._raw_zones:
            self._zone(name)
        for document in documents:
            listed = document.value.get("assertions")
            if listed is not None and not isinstance(listed, list):
                self._wrong(document.text, ("assertions",), wrong_type(listed, "a list"))
                continue
            for index, value in enumerate(listed or ()):
                one = self._assertion(document.text, value, ("assertions", index))
                if one is not None:
                    yield one

    def _wrong(self, text: Text, path: FieldPath, message: str) -> None:
        DocumentPlace(self._findings, text).error(path, message)

    def _unknown(
        self, text: Text, value: Mapping[str, Any], path: FieldPath, known: Sequence[str], what: str
    ) -> None:
        for key in value:
            if key not in known:
                nearest = nearest_name(key, known)
                hint = f'did you mean "{nearest}"?' if nearest else f"{what} has {', '.join(known)}"
                self._wrong(text, (*path, key), f"unknown field, {hint}")

    # -- zones and ranges ------------------------------------------------------------------------

    def _note_zones(self, text: Text, value: Any) -> None:
        if value is not None and not isinstance(value, dict):
            self._wrong(text, ("zones",), wrong_type(value, "an object"))
            return
        for name, zone in (value or {}).items():
            path: FieldPath = ("zones", name)
            if "/" in name or parse_address(name) is not None or not name:
                self._wrong(text, path, invalid(name, "would be taken for a workload or address"))
            elif name in self._raw_zones:
                self._wrong(text, path, "another zone of this file has that name")
            else:
                self._raw_zones[name] = (text, path, zone)

    def _note_ranges(self, text: Text, value: Any) -> None:
        if value is not None and not isinstance(value, list):
            self._wrong(text, ("podRanges",), wrong_type(value, "a list"))
            return
        for index, cidr in enumerate(value or ()):
            path: FieldPath = ("podRanges", index)
            block = self._blocks.read(DocumentPlace(self._findings, text), {"cidr": cidr}, path)
            if block is not None:
                self.pod_ranges.append(block)

    def _zone(self, name: str) -> EndSpec | None:
        if name not in self._zones:
            self._zones[name] = None
            text, path, value = self._raw_zones[name]
            with suppress(_Wrong):
                self._zones[name] = self._end(text, value, path)
        return self._zones[name]

    # -- assertions ------------------------------------------------------------------------------

    def _assertion(self, text: Text, value: Any, path: FieldPath) -> Assertion | None:
        before = len(self._findings.errors)
        if not isinstance(value, dict):
            self._wrong(text, path, wrong_type(value, "an object: an assertion"))
            return None
        self._unknown(text, value, path, _ASSERTION, "an assertion")
        name = self._string(text, value, (*path, "name"))
        if name == "":
            self._wrong(text, (*path, "name"), required("reports are by name"))
        description = self._string(text, value, (*path, "description"))
        may_be_empty = value.get("mayBeEmpty", False)
        if not isinstance(may_be_empty, bool):
            self._wrong(text, (*path, "mayBeEmpty"), wrong_type(may_be_empty, "a boolean"))
        try:
            claim, ends = self._claim(text, value, path)
        except _Wrong:
            return None
        ports = self._ports(text, value.get("ports"), (*path, "ports"))
        read: list[EndSpec] = []
        for end_value, end_path in ends:
            with suppress(_Wrong):
                read.append(self._end(text, end_value, end_path))
        if len(self._findings.errors) > before or len(read) < 2:
            return None
        source, destination = read
        if all(isinstance(part, BlockPeer) for end in read for part in end.parts):
            self._wrong(text, path, "both ends are addresses, and no policy is about those")
            return None
        return Assertion(
            name=name,
            claim=claim,
            source=source,
            destination=destination,
            origin=Source(text, path),
            source_origin=Source(text, ends[0][1]),
            destination_origin=Source(text, ends[1][1]),
            description=description,
            ports=ports,
            may_be_empty=may_be_empty,
        )

    def _string(self, text: Text, value: Mapping[str, Any], path: FieldPath) -> str:
        found = value.get(str(path[-1]))
        if found is None:
            return ""
        if not isinstance(found, str):
            self._wrong(text, path, wrong_type(found, "a string"))
            return "?"
        return found

    def _claim(
        self, text: Text, value: Mapping[str, Any], path: FieldPath
    ) -> tuple[Claim, list[tuple[Any, FieldPath]]]:
        """What is claimed, and the source and the destination: values and where they stand."""
        said = [word for word in _CLAIMS if word in value]
        if len(said) != 1:
            self._wrong(text, path, "an assertion says one of allow, deny, only")
            raise _Wrong
        (word,) = said
        inside, at = value[word], (*path, word)
        if not isinstance(inside, dict):
            self._wrong(text, at, wrong_type(inside, "an object"))
            raise _Wrong
        self._unknown(text, inside, at, ("from", "to"), word)
        places = {
            side: (holder[side], (*where, side))
            for holder, where in ((value, path), (inside, at))
            for side in ("from", "to")
            if side in holder
        }
        if word != "only":
            for side in ("from", "to"):
                if side in value:
                    self._wrong(text, (*path, side), f"belongs into {word}: {{from, to}}")
                    raise _Wrong
        elif len(inside.keys() & {"from", "to"}) != 1 or inside.keys() & value.keys():
            message = "write only: {from: …} with to, or only: {to: …} with from"
            self._wrong(text, at, message)
            raise _Wrong
        missing = [side for side in ("from", "to") if side not in places]
        for side in missing:
            self._wrong(text, (*(path if word == "only" else at), side), required())
        if missing:
            raise _Wrong
        claims = {
            "allow": Claim.ALLOW,
            "deny": Claim.DENY,
            "only": Claim.ONLY_FROM if "from" in inside else Claim.ONLY_TO,
        }
        return claims[word], [places["from"], places["to"]]

    # -- ends ------------------------------------------------------------------------------------

    def _end(self, text: Text, value: Any, path: FieldPath) -> EndSpec:
        if isinstance(value, list):
            if not value:
                self._wrong(text, path, required("an end is something"))
                raise _Wrong
            read = [self._end(text, item, (*path, index)) for index, item in enumerate(value)]
            return EndSpec(tuple(dict.fromkeys(part for end in read for part in end.parts)))
        if isinstance(value, str):
            return self._named(text, value, path)
        if not isinstance(value, dict) or not value:
            self._wrong(text, path, wrong_type(value, "a name, a peer or a list of them"))
            raise _Wrong
        return EndSpec((self._peer(text, value, path),))

    def _named(self, text: Text, name: str, path: FieldPath) -> EndSpec:
        if name in self._raw_zones:
            zone = self._zone(name)
            if zone is None:
                where = self._raw_zones[name][1]
                if path[:2] == where or path[0] == "zones":
                    self._wrong(text, path, f"zone {quoted(name)} is wrong, or contains itself")
                raise _Wrong
            return zone
        address = parse_address(name)
        if address is not None or parse_address(name.partition("/")[0]) is not None:
            cidr = name if address is None else f"{name}/{32 if address.family == 4 else 128}"
            block = self._blocks.read(DocumentPlace(self._findings, text), {"cidr": cidr}, path)
            if block is None:
                raise _Wrong
            return EndSpec((block,))
        parts = name.split("/")
        if len(parts) in (2, 3) and all(parts):
            kind = parts[0].lower() if len(parts) == 3 else ""
            return EndSpec((WorkloadName(parts[-2], parts[-1], kind),))
        nearest = nearest_name(name, self._raw_zones)
        hint = f"did you mean {quoted(nearest)}?" if nearest else "is not a zone of this file"
        message = f"{hint} (or write NS/NAME, KIND/NS/NAME, an address or a CIDR)"
        self._wrong(text, path, invalid(name, message))
        raise _Wrong

    def _peer(self, text: Text, value: dict[str, Any], path: FieldPath) -> EndPart:
        place = DocumentPlace(self._findings, text)
        before = len(self._findings.errors)
        self._unknown(text, value, path, _PEER, "an end")
        part: EndPart | None = None
        if "ipBlock" in value:
            part = self._blocks.read(place, value["ipBlock"], (*path, "ipBlock"))
            if len(value) > 1:
                place.error(path, forbidden("may not specify both ipBlock and another peer"))
        else:
            pods, namespaces = (
                self._selectors.read(place, value[field], (*path, field))
                if value.get(field) is not None
                else None
                for field in ("podSelector", "namespaceSelector")
            )
            namespace = self._string(text, value, (*path, "namespace")) or None
            for message in dns_label_errors(namespace) if namespace else ():
                place.error((*path, "namespace"), invalid(namespace, message))
            if namespace and namespaces is not None:
                place.error(path, forbidden("may not specify namespace and namespaceSelector"))
            part = PodPeer(pods, namespace, namespaces or EVERYTHING)
        if part is None or len(self._findings.errors) > before:
            raise _Wrong
        return part

    # -- ports -----------------------------------------------------------------------------------

    def _ports(self, text: Text, value: Any, path: FieldPath) -> tuple[PortAsked, ...] | None:
        if value is None:
            return None
        if isinstance(value, list):
            if not value:
                self._wrong(text, path, required("leave ports out for every port"))
            read = [self._port(text, item, (*path, index)) for index, item in enumerate(value)]
        else:
            read = [self._port(text, value, path)]
        return tuple(dict.fromkeys(port for port in read if port is not None))

    def _port(self, text: Text, value: Any, path: FieldPath) -> PortAsked | None:
        if isinstance(value, bool) or not isinstance(value, int | str):
            self._wrong(text, path, wrong_type(value, "a port"))
            return None
        written = str(value)
        if written.upper() == "ICMP":
            return _ICMP
        if written in _PROTOCOLS:
            return PortRange(_PROTOCOLS[written])
        port, slash, word = written.partition("/")
        protocol = _PROTOCOLS.get(word.upper()) if slash else None
        if slash and protocol is None:
            message = f"the protocol is TCP, UDP or SCTP; {_NOTATION}"
            self._wrong(text, path, invalid(value, message))
            return None
        numbers = _NUMBERS.fullmatch(port)
        if numbers is None:
            for message in port_name_errors(port):
                self._wrong(text, path, invalid(value, f"{message}; {_NOTATION}"))
                return None
            return PortName(port, protocol)
        first = int(numbers[1])
        last = int(numbers[2] or first)
        for message in (*port_number_errors(first), *port_number_errors(last)):
            self._wrong(text, path, invalid(value, message))
            return None
        if last < first:
            self._wrong(text, path, invalid(value, "ends before it begins"))
            return None
        return PortRange(protocol or Protocol.TCP, first, last)
