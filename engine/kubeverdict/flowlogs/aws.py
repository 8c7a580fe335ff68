"""The AWS network policy agent: its own JSON log, and the form that goes to CloudWatch."""

from __future__ import annotations

import re

import msgspec

from kubeverdict.flowlogs.fields import NOT_A_FLOW, port_of, protocol_of, seen_of, source_port_of
from kubeverdict.model.flows import FlowEnd, FlowRecord


class _Line(msgspec.Struct, gc=False):
    timestamp: str | None = None
    source: str | None = msgspec.field(default=None, name="Src IP")
    destination: str | None = msgspec.field(default=None, name="Dest IP")
    source_port: int | str | None = msgspec.field(default=None, name="Src Port")
    port: int | str | None = msgspec.field(default=None, name="Dest Port")
    protocol: str | None = msgspec.field(default=None, name="Proto")
    verdict: str | None = msgspec.field(default=None, name="Verdict")


_decode = msgspec.json.Decoder(_Line).decode
_CLOUDWATCH = re.compile(
    rb"SIP: *(?P<source>[^;]+);\s*SPORT: *(?P<source_port>[^;]*);\s*DIP: *(?P<destination>[^;]+);"
    rb"\s*DPORT: *(?P<port>[^;]*);\s*PROTOCOL: *(?P<protocol>[^;]+);"
    rb"\s*PolicyVerdict: *(?P<verdict>\w+)"
)
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ][0-9:.]+(?:Z|[+-]\d\d:?\d\d)?")


def parse(line: bytes) -> FlowRecord | str:
    """The record of a line of either form, or what it is instead."""
    if b"SIP:" in line:
        match = _CLOUDWATCH.search(line)
        if match is None:
            raise ValueError("a record of CloudWatch that is cut short")
        time = _TIME.search(line, 0, match.start())
        part = {name: text.decode().strip() for name, text in match.groupdict().items()}
        when = time.group().decode() if time else None
        return _record(
            part["source"],
            part["destination"],
            part["protocol"],
            part["source_port"],
            part["port"],
            part["verdict"],
            when,
        )
    row = _decode(line)
    if row.source is None and row.destination is None:
        return NOT_A_FLOW
    return _record(
        row.source,
        row.destination,
        row.protocol,
        row.source_port,
        row.port,
        row.verdict,
        row.timestamp,
    )


def _record(
    source: str | None,
    destination: str | None,
    protocol: str | None,
    source_port: int | str | None,
    port: int | str | None,
    verdict: str | None,
    time: str | None,
) -> FlowRecord | str:
    if not (source and destination and protocol and verdict):
        raise ValueError("a source, destination, protocol or verdict is missing")
    if verdict.startswith(("EXPIRED", "DELETED")):
        return NOT_A_FLOW  # the end of a connection that was logged before
    known = protocol_of(protocol)
    number = port_of(known, port)
    if number is None:
        raise ValueError("the destination port is missing")
    seen = seen_of(verdict)
    return FlowRecord(
        FlowEnd(address=source),
        FlowEnd(address=destination),
        known,
        number,
        seen,
        time,
        source_port=source_port_of(known, source_port, seen),
    )
