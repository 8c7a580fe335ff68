"""Policy logs of GKE (Dataplane V2): JSON Lines, alone or as the payload of a Cloud log entry."""

from __future__ import annotations

import msgspec

from kubeverdict.flowlogs.fields import NO_PORT, NOT_A_FLOW, count_of, port_of, protocol_of, seen_of
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen


class _Connection(msgspec.Struct, gc=False):
    src_ip: str
    dest_ip: str
    protocol: str
    dest_port: int | None = None
    direction: str | None = None


class _End(msgspec.Struct, gc=False):
    pod_name: str | None = None
    pod_namespace: str | None = None
    namespace: str | None = None
    workload_name: str | None = None


class _Payload(msgspec.Struct, gc=False):
    connection: _Connection | None = None
    disposition: str | None = None
    src: _End | None = None
    dest: _End | None = None
    count: int | str | None = None
    timestamp: str | None = None


class _Line(_Payload, gc=False):
    json_payload: _Payload | None = msgspec.field(default=None, name="jsonPayload")


_decode = msgspec.json.Decoder(_Line).decode


def parse(line: bytes) -> FlowRecord | str:
    """The record of a line, or what it is instead."""
    whole = _decode(line)
    row: _Payload = whole.json_payload or whole
    connection = row.connection
    if connection is None:
        return NOT_A_FLOW
    if row.disposition is None:
        raise ValueError("the disposition is missing")
    seen = seen_of(row.disposition)
    if seen is Seen.ARRIVED and connection.direction == "egress":
        seen = Seen.SENT
    protocol = protocol_of(connection.protocol)
    port = port_of(protocol, connection.dest_port)
    if port is None:
        return NO_PORT
    return FlowRecord(
        _end(row.src, connection.src_ip),
        _end(row.dest, connection.dest_ip),
        protocol,
        port,
        seen,
        row.timestamp or whole.timestamp,
        count_of(row.count, 0),
    )


def _end(end: _End | None, address: str) -> FlowEnd:
    if end is None:
        return FlowEnd(address=address)
    namespace = end.pod_namespace or end.namespace or ""
    return FlowEnd(namespace, end.pod_name or "", address, end.workload_name or "")
