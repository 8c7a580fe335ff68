"""ACL logs of OVN (ovn-controller): a line of text, the packet in the words of Open vSwitch."""

from __future__ import annotations

import re

from kubeverdict.flowlogs.fields import (
    NO_PORT,
    NOT_A_FLOW,
    REPLY,
    port_of,
    protocol_of,
    seen_of,
    source_port_of,
)
from kubeverdict.model.flows import DIRECTED, FlowEnd, FlowRecord, Seen

_HEAD = re.compile(
    r"^(?P<time>\S+?)\|.*acl_log.*?verdict=(?P<verdict>[\w-]+)"
    r".*?(?:direction=(?P<direction>[\w-]+))?: (?P<protocol>\w+),(?P<packet>.*)$"
)
_SOURCES = ("nw_src", "ipv6_src")
_DESTINATIONS = ("nw_dst", "ipv6_dst")


def parse(line: bytes) -> FlowRecord | str:
    """The record of a line, or what it is instead."""
    if b"acl_log" not in line:
        return NOT_A_FLOW
    match = _HEAD.match(line.decode())
    if match is None:
        raise ValueError("an ACL log line that is cut short")
    parts = (part.partition("=") for part in match["packet"].strip().split(","))
    packet = {name: value for name, _, value in parts}
    flags = packet.get("tcp_flags", "").split("|")
    if "syn" in flags and "ack" in flags:
        return REPLY
    seen = seen_of("allow" if match["verdict"].startswith("allow") else match["verdict"])
    if seen is Seen.ARRIVED and match["direction"] == "from-lport":
        seen = Seen.SENT
    protocol = protocol_of(match["protocol"])
    port = port_of(protocol, packet.get("tp_dst"))
    if port is None:
        return NO_PORT
    begins = flags == ["syn"]
    source_port = DIRECTED if begins else source_port_of(protocol, packet.get("tp_src"), seen)
    source = next((packet[name] for name in _SOURCES if name in packet), "")
    destination = next((packet[name] for name in _DESTINATIONS if name in packet), "")
    if not source or not destination:
        if protocol_of(match["protocol"]).has_ports:
            raise ValueError("an address is missing")
        return NOT_A_FLOW
    return FlowRecord(
        FlowEnd(address=source),
        FlowEnd(address=destination),
        protocol,
        port,
        seen,
        match["time"],
        source_port=source_port,
    )
