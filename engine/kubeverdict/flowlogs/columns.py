"""Records of any source with named columns: CSV, JSON Lines, parquet."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from functools import partial
from typing import Any

import msgspec

from kubeverdict.errors import UsageError
from kubeverdict.flowlogs.fields import (
    HEADING,
    NO_PORT,
    count_of,
    port_of,
    protocol_of,
    seen_of,
    source_port_of,
)
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol

FIELDS = (
    "source",
    "source_namespace",
    "source_pod",
    "source_address",
    "source_port",
    "destination",
    "destination_namespace",
    "destination_pod",
    "destination_address",
    "protocol",
    "port",
    "time",
    "verdict",
    "count",
)
_NO_LETTER = re.compile(r"[^a-z0-9.]+")
# Of so many sets of names it is remembered which column holds which field.
_KEPT = 64
_DENIED_WORDS = frozenset({"false", "0"})
_ALLOWED_WORDS = frozenset({"true", "1", ""})


class Mapping(msgspec.Struct, frozen=True):
    """Which column holds which field; a field that is not named has its own name."""

    columns: dict[str, str] = {}

    @classmethod
    def of(cls, text: str) -> Mapping:
        """From ``source_address=src,port=dport``. Raises UsageError for unknown fields."""
        columns = {}
        for part in text.split(","):
            field, equals, column = (piece.strip() for piece in part.partition("="))
            if not (equals and column):
                raise UsageError(f"--columns {text}: write it as FIELD=COLUMN,FIELD=COLUMN")
            if field not in FIELDS:
                raise UsageError(
                    f"--columns {text}: {field} is not a field; there are {', '.join(FIELDS)}"
                )
            columns[field] = column
        return cls(columns)

    def column(self, field: str) -> str:
        return self.columns.get(field, field)

    def found_in(self, names: Iterable[str]) -> dict[str, str]:
        """Which of ``names`` holds each field, or is where a path to it (``src.ip``) begins. How
        names are spelled makes no difference: ``Source Address`` is ``source_address``."""
        exact = dict.fromkeys(names)
        folded = {_folded(name): name for name in reversed(exact)}
        found = {}
        for field in FIELDS:
            column = self.column(field)
            if column in exact or column.partition(".")[0] in exact:
                found[field] = column
            elif _folded(column) in folded:
                found[field] = folded[_folded(column)]
        return found

    def missing(self, names: Iterable[str]) -> list[str]:
        """The columns that were named and are not among ``names``."""
        found = self.found_in(names)
        return [column for field, column in self.columns.items() if field not in found]

    def fits(self, names: Iterable[str]) -> bool:
        """Whether rows with these columns name both ends."""
        have = self.found_in(names).keys()
        return all(
            have & {end, f"{end}_pod", f"{end}_address"} for end in ("source", "destination")
        )


def _folded(name: str) -> str:
    return _NO_LETTER.sub("", name.lower())


Row = Callable[[str], Any]
"""The value of a field; None where there is none."""


def record(row: Row) -> FlowRecord | str:
    """The record of a row. Raises ValueError where it makes no sense."""

    def text(field: str) -> str:
        value = row(field)
        return "" if value is None else str(value).strip()

    protocol_text = text("protocol")
    protocol = protocol_of(protocol_text) if protocol_text else Protocol.TCP
    port_text = text("port")
    port = port_of(protocol, port_text.removesuffix(".0"))
    if port is None:
        return NO_PORT
    seen = _seen(text("verdict"))
    # Such logs may have a row for each direction.
    source_port = text("source_port").removesuffix(".0")
    return FlowRecord(
        _end(text, "source"),
        _end(text, "destination"),
        protocol,
        port,
        seen,
        text("time") or None,
        count_of(text("count")),
        source_port_of(protocol, source_port, seen),
    )


def _seen(word: str) -> Seen:
    lower = word.lower()
    if lower in _ALLOWED_WORDS:
        return Seen.ARRIVED
    return Seen.DENIED if lower in _DENIED_WORDS else seen_of(lower)


def _end(text: Callable[[str], str], end: str) -> FlowEnd:
    """``source`` itself is an address, or NAMESPACE/POD."""
    whole = text(end)
    namespace, pod = text(f"{end}_namespace"), text(f"{end}_pod")
    address = text(f"{end}_address")
    if whole:
        if parse_address(whole) is not None:
            address = address or whole
        else:
            first, slash, last = whole.partition("/")
            if not (slash and first and last):
                raise ValueError(f"{end} {whole!r} is neither an address nor NAMESPACE/POD")
            namespace, pod = namespace or first, pod or last
    if not (pod or address):
        raise ValueError(f"no {end}")
    return FlowEnd(namespace, pod, address)


def json_parser(mapping: Mapping) -> Callable[[bytes], FlowRecord | str]:
    """For JSON Lines."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode

    def parse(line: bytes) -> FlowRecord | str:
        return record(row_of(decode(line)))

    row_of = rows_of(mapping)
    return parse


def rows_of(mapping: Mapping) -> Callable[[AnyMapping[str, Any]], Row]:
    """Makes rows of objects with names. A column may be a path (``src.ip``)."""
    known: dict[tuple[str, ...], dict[str, str]] = {}

    def row_of(whole: AnyMapping[str, Any]) -> Row:
        names = tuple(whole)
        columns = known.get(names)
        if columns is None:
            if len(known) >= _KEPT:
                known.clear()
            columns = known[names] = mapping.found_in(names)
        return partial(_value, whole, columns)

    return row_of


def _value(whole: AnyMapping[str, Any], columns: AnyMapping[str, str], field: str) -> Any:
    column = columns.get(field)
    if column is None:
        return None
    found: Any = whole
    for part in (column,) if column in whole else column.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return None if isinstance(found, dict | list) else found


def csv_header(line: bytes) -> list[str]:
    """The columns that a line names; quoted fields may not hold line ends."""
    return _fields(line)


def csv_parser(header: Sequence[str], mapping: Mapping) -> Callable[[bytes], FlowRecord | str]:
    names = list(header)
    found = mapping.found_in(names)
    places = {field: names.index(name) for field, name in found.items() if name in names}

    def parse(line: bytes) -> FlowRecord | str:
        fields = _fields(line)
        if fields == names:
            return HEADING  # again, where files were put together
        if len(fields) != len(header):
            raise ValueError(f"{len(fields)} columns where the heading has {len(header)}")

        def value(field: str) -> str | None:
            place = places.get(field)
            return None if place is None else fields[place]

        return record(value)

    return parse


def _fields(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None
