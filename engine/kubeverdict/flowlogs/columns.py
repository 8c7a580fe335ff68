"""Records of any make whose columns are named: CSV, JSON Lines, parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from collections.abc import Mapping as AnyMapping
from typing import Any

import msgspec

from kubeverdict.errors import UsageError
from kubeverdict.flowlogs.fields import NO_PORT, count_of, port_of, protocol_of, seen_of
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol

FIELDS = (
    "source",
    "source_namespace",
    "source_pod",
    "source_address",
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
                    f"--columns {text}: {field} is no field; there are {', '.join(FIELDS)}"
                )
            columns[field] = column
        return cls(columns)

    def column(self, field: str) -> str:
        return self.columns.get(field, field)

    def has(self, field: str, names: AnyMapping[str, Any] | Sequence[str]) -> bool:
        """Whether there is a column for a field, or one that may hold it inside."""
        column = self.column(field)
        return column in names or column.partition(".")[0] in names

    def fits(self, names: AnyMapping[str, Any] | Sequence[str]) -> bool:
        """Whether rows with these columns tell of both ends."""
        have = {field for field in FIELDS if self.has(field, names)}
        return all(
            have & {end, f"{end}_pod", f"{end}_address"} for end in ("source", "destination")
        )


Row = Callable[[str], Any]
"""The value of a column, by name; None where there is none."""


def record(row: Row, mapping: Mapping) -> FlowRecord | str:
    """The record of a row. Raises ValueError where it makes no sense."""

    def text(field: str) -> str:
        value = row(mapping.column(field))
        return "" if value is None else str(value).strip()

    protocol_text = text("protocol")
    protocol = protocol_of(protocol_text) if protocol_text else Protocol.TCP
    port_text = text("port")
    port = port_of(protocol, port_text.removesuffix(".0"))
    if port is None:
        return NO_PORT
    return FlowRecord(
        _end(text, "source"),
        _end(text, "destination"),
        protocol,
        port,
        _seen(text("verdict")),
        text("time") or None,
        count_of(text("count")),
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
        return record(row_of(decode(line)), mapping)

    return parse


def row_of(whole: AnyMapping[str, Any]) -> Row:
    """The row of an object with names. A column may be a path (``src.ip``)."""

    def value(column: str) -> Any:
        found: Any = whole
        for part in (column,) if column in whole else column.split("."):
            if not isinstance(found, dict):
                return None
            found = found.get(part)
        return None if isinstance(found, dict | list) else found

    return value


def csv_header(line: bytes) -> list[str]:
    """The columns that a line names; quoted fields may not hold line ends."""
    return [name.strip() for name in _fields(line)]


def csv_parser(header: Sequence[str], mapping: Mapping) -> Callable[[bytes], FlowRecord | str]:
    places = {name: place for place, name in enumerate(header)}

    def parse(line: bytes) -> FlowRecord | str:
        fields = _fields(line)
        if len(fields) != len(header):
            raise ValueError(f"{len(fields)} columns where the heading has {len(header)}")

        def value(column: str) -> str | None:
            place = places.get(column)
            return None if place is None else fields[place]

        return record(value, mapping)

    return parse


def _fields(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None
