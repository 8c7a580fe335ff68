"""Calico's flow logs: JSON Lines, one record for each reporter and interval.

Records may be aggregated: names are then ``-``, addresses null, and ``…_name_aggr`` has what the
pods of a ReplicaSet have in common.
"""

from __future__ import annotations

import msgspec

from kubeverdict.flowlogs.fields import NO_PORT, NO_VERDICT, count_of, port_of, protocol_of
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen

_POD = "wep"
_PUT_TOGETHER = "addresses that Calico put together (pub, pvt)"


class _Line(msgspec.Struct, gc=False):
    source_type: str
    dest_type: str
    action: str
    proto: str | int
    start_time: float | str | None = None
    reporter: str | None = None
    source_ip: str | None = None
    source_name: str | None = None
    source_name_aggr: str | None = None
    source_namespace: str | None = None
    dest_ip: str | None = None
    dest_name: str | None = None
    dest_name_aggr: str | None = None
    dest_namespace: str | None = None
    dest_port: int | None = None
    num_flows: int | None = None


_decode = msgspec.json.Decoder(_Line).decode


def parse(line: bytes) -> FlowRecord | str:
    """The record of a line, or what it is instead."""
    row = _decode(line)
    if row.action == "deny":
        seen = Seen.DENIED
    elif row.action == "allow":
        seen = Seen.SENT if row.reporter == "src" else Seen.ARRIVED
    else:
        return NO_VERDICT
    protocol = protocol_of(row.proto)
    port = port_of(protocol, row.dest_port)
    if port is None:
        return NO_PORT
    source = _end(
        row.source_type, row.source_ip, row.source_name, row.source_name_aggr, row.source_namespace
    )
    destination = _end(
        row.dest_type, row.dest_ip, row.dest_name, row.dest_name_aggr, row.dest_namespace
    )
    if source is None or destination is None:
        return _PUT_TOGETHER
    count = count_of(row.num_flows, 0)
    return FlowRecord(source, destination, protocol, port, seen, row.start_time, count)


def _end(
    kind: str, address: str | None, name: str | None, together: str | None, namespace: str | None
) -> FlowEnd | None:
    """None for addresses of which only their kind is left."""
    if kind != _POD:
        return FlowEnd(address=address, outside=True) if address else None
    pod = next((text for text in (name, together) if text and text != "-"), "")
    if not pod and not address:
        raise ValueError("a pod has neither name nor address")
    return FlowEnd("" if namespace in (None, "-") else str(namespace), pod, address or "")
