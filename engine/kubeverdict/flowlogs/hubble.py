"""Hubble's JSON, with and without the wrapper; the events of our own agent are the same.

https://docs.cilium.io/en/stable/_api/v1/flow/README/ has the fields. Others are ignored.
"""

from __future__ import annotations

import msgspec

from kubeverdict.flowlogs.fields import (
    NO_PORT,
    NO_VERDICT,
    NOT_A_FLOW,
    REPLY,
    UNDER_WAY,
    source_port_of,
)
from kubeverdict.model.flows import DIRECTED, FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol

_LOST = "lost-event notices from Hubble"
_TRANSLATED = "records of Services before translation"
_OTHER_DROP = "drops for other reasons than policy"

# Identities that are reserved for what is no pod: host, world (and of one version), remote-node,
# kube-apiserver, ingress.
_OUTSIDE = frozenset({1, 2, 6, 7, 8, 9, 10})
_POLICY_DROPS = frozenset({"POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED", ""})
_ABSENT = msgspec.Raw(b"null")
_NOT_CONNECTIONS = frozenset({"TRACED", "TRANSLATED"})


class _Flags(msgspec.Struct, gc=False):
    SYN: bool = False
    ACK: bool = False
    FIN: bool = False
    RST: bool = False
    PSH: bool = False
    URG: bool = False

    @property
    def are_under_way(self) -> bool:
        """Whether it is not the first packet of a connection. Without any flags that is not
        known."""
        return self.ACK or (not self.SYN and (self.FIN or self.RST or self.PSH or self.URG))


class _Ports(msgspec.Struct, gc=False):
    source_port: int | None = None
    destination_port: int | None = None
    flags: _Flags | None = None


class _L4(msgspec.Struct, gc=False):
    TCP: _Ports | None = None
    UDP: _Ports | None = None
    SCTP: _Ports | None = None
    ICMPv4: msgspec.Raw = _ABSENT
    ICMPv6: msgspec.Raw = _ABSENT


class _Addresses(msgspec.Struct, gc=False):
    source: str | None = None
    destination: str | None = None


class _Workload(msgspec.Struct, gc=False):
    name: str | None = None


class _End(msgspec.Struct, gc=False):
    identity: int | None = None
    namespace: str | None = None
    pod_name: str | None = None
    workloads: list[_Workload] | None = None


class _Flow(msgspec.Struct, gc=False):
    time: str | None = None
    verdict: str | None = None
    drop_reason_desc: str | None = None
    IP: _Addresses | None = None
    l4: _L4 | None = None
    source: _End | None = None
    destination: _End | None = None
    traffic_direction: str | None = None
    is_reply: bool | None = None


class _Line(_Flow, gc=False):
    """A flow by itself, or in the wrapper; or another kind of line that Hubble writes."""

    flow: _Flow | None = None
    lost_events: msgspec.Raw = _ABSENT
    node_status: msgspec.Raw = _ABSENT
    agent_event: msgspec.Raw = _ABSENT
    debug_event: msgspec.Raw = _ABSENT


_decode = msgspec.json.Decoder(_Line).decode
_NOWHERE = _Addresses()


def parse(line: bytes) -> FlowRecord | str:
    """The record of a line, or what it is instead."""
    whole = _decode(line)
    flow: _Flow = whole.flow or whole
    if flow.verdict is None:
        if _is_there(whole.lost_events):
            return _LOST
        if any(map(_is_there, (whole.node_status, whole.agent_event, whole.debug_event))):
            return NOT_A_FLOW
        raise ValueError("no flow in it")
    if flow.is_reply:
        return REPLY
    if flow.l4 is None:
        return NOT_A_FLOW
    verdict = flow.verdict
    if verdict in ("FORWARDED", "AUDIT", "REDIRECTED"):
        seen = Seen.SENT if flow.traffic_direction == "EGRESS" else Seen.ARRIVED
    elif verdict in ("DROPPED", "ERROR"):
        if (flow.drop_reason_desc or "") not in _POLICY_DROPS:
            return _OTHER_DROP
        seen = Seen.DENIED
    elif verdict in _NOT_CONNECTIONS:
        return _TRANSLATED
    else:
        return NO_VERDICT
    l4 = flow.l4
    source_port = DIRECTED
    protocol, ports = Protocol.TCP, l4.TCP
    if ports is None:
        protocol, ports = Protocol.UDP, l4.UDP
        if ports is None:
            protocol, ports = Protocol.SCTP, l4.SCTP
    if ports is None:
        has_type = _is_there(l4.ICMPv4) or _is_there(l4.ICMPv6)
        protocol, port = (Protocol.ICMP if has_type else Protocol.OTHER), 0
    else:
        flags = ports.flags
        if flow.is_reply is None:
            if flags is not None and flags.are_under_way:
                # Which end began it is not known: the destination may have.
                return REPLY if flags.SYN else UNDER_WAY
            if flags is None or not flags.SYN:
                source_port = source_port_of(protocol, ports.source_port, seen)
        if ports.destination_port is None:
            return NO_PORT
        port = ports.destination_port
        if not 0 <= port <= 65535:
            raise ValueError(f"{port} is not a port")
    addresses = flow.IP or _NOWHERE
    return FlowRecord(
        _end(flow.source, addresses.source or ""),
        _end(flow.destination, addresses.destination or ""),
        protocol,
        port,
        seen,
        flow.time,
        source_port=source_port,
    )


def _is_there(raw: msgspec.Raw) -> bool:
    return bytes(raw) != b"null"


def _end(end: _End | None, address: str) -> FlowEnd:
    if end is None:
        if not address:
            raise ValueError("an end has neither pod nor address")
        return FlowEnd("", "", address)
    workload = (end.workloads[0].name or "") if end.workloads else ""
    pod = end.pod_name or ""
    outside = not pod and end.identity in _OUTSIDE
    if not (pod or workload or address):
        raise ValueError("an end has neither pod nor address")
    return FlowEnd(end.namespace or "", pod, address, workload, outside)
