"""Denials as flows of Hubble, one JSON object a line, so that what reads Hubble reads them.

The envelope and the fields are those of Hubble's ``GetFlowsResponse`` and ``Flow`` messages
(cilium/api/v1/observer and flow) in their JSON form. What they have no place for is in an object
``kubeverdict`` next to the flow: the rule that decided, the mode, the policy generation.
"""

from __future__ import annotations

import time
from typing import Any

from kubeverdict_agent.observe.collecting import Denial
from kubeverdict_agent.observe.naming import NamedEnd

_DROP_EVENT = 1
_VERDICT_EVENT = 5
_POLICY_DENIED = (133, "POLICY_DENIED")
# Where policy was not asked: numbers and names of Cilium's DropReason.
_DROP_REASONS = {
    "spoofed": (132, "INVALID_SOURCE_IP"),
    "malformed": (134, "INVALID_PACKET_DROPPED"),
    "unsupported": (139, "UNSUPPORTED_L3_PROTOCOL"),
}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_L4 = {6: "TCP", 17: "UDP", 132: "SCTP"}
_ICMP = {1: "ICMPv4", 58: "ICMPv6"}


def flow(denial: Denial, node: str) -> dict[str, Any]:
    """The response for a denial."""
    ingress = denial.direction == "ingress"
    local, remote = (denial.local, denial.local_port), (denial.remote, denial.remote_port)
    (source, source_port), (destination, destination_port) = (
        (remote, local) if ingress else (local, remote)
    )
    conditional = denial.reason == "conditional"
    dropped = denial.mode == "enforce" and not conditional
    number, word = _DROP_REASONS.get(denial.reason, _POLICY_DENIED)
    stamp = timestamp(denial.time)
    body: dict[str, Any] = {
        "time": stamp,
        "verdict": "FORWARDED" if conditional else "DROPPED" if dropped else "AUDIT",
        "IP": {
            "source": source.address,
            "destination": destination.address,
            "ipVersion": "IPv4" if denial.family == 4 else "IPv6",
        },
        "source": _endpoint(source),
        "destination": _endpoint(destination),
        "Type": "L3_L4",
        "node_name": node,
        "event_type": {"type": _VERDICT_EVENT}
        if conditional
        else {"type": _DROP_EVENT, "sub_type": number},
        "traffic_direction": denial.direction.upper(),
        "is_reply": False,
        "Summary": _summary(denial),
    }
    l4 = _layer4(denial, source_port, destination_port)
    if l4:
        body["l4"] = l4
    if dropped:
        body["drop_reason"] = number
        body["drop_reason_desc"] = word
    decider = denial.decider
    return {
        "flow": body,
        "node_name": node,
        "time": stamp,
        "kubeverdict": {
            "mode": denial.mode,
            "reason": denial.reason,
            "decided_by": decider.reason,
            "policies": list(decider.policies),
            "rule": decider.field,
            **({"condition": decider.condition} if decider.condition else {}),
            "file": decider.places[0].rpartition(":")[0] if decider.places else "",
            "line": int(decider.places[0].rpartition(":")[2]) if decider.places else 0,
            "generation": denial.generation,
            "length": denial.length,
        },
    }


def lost(count: int, node: str) -> dict[str, Any]:
    """The response for lost events."""
    return {
        # 64-bit numbers are text in the JSON form of protocol buffers.
        "lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": str(count)},
        "node_name": node,
        "time": timestamp(time.time()),
    }


def timestamp(seconds: float) -> str:
    whole = int(seconds)
    rest = int((seconds - whole) * 1e9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:09}Z"


def _endpoint(end: NamedEnd) -> dict[str, Any]:
    if not end.pod:
        return {"labels": ["reserved:world"]}
    return {
        "namespace": end.namespace,
        "labels": sorted(f"k8s:{key}={value}" for key, value in end.labels.items()),
        "pod_name": end.pod,
        "workloads": [{"name": end.workload, "kind": end.kind}],
    }


def _layer4(denial: Denial, source_port: int, destination_port: int) -> dict[str, Any]:
    name = _L4.get(denial.protocol)
    if name is not None:
        ports: dict[str, Any] = {"source_port": source_port, "destination_port": destination_port}
        if name == "TCP":
            ports["flags"] = {
                flag: True for bit, flag in enumerate(_FLAGS) if denial.tcp_flags >> bit & 1
            }
        return {name: ports}
    name = _ICMP.get(denial.protocol)
    if name is not None:
        return {name: {"type": destination_port >> 8, "code": destination_port & 0xFF}}
    return {}


def _summary(denial: Denial) -> str:
    name = _L4.get(denial.protocol) or _ICMP.get(denial.protocol) or f"protocol {denial.protocol}"
    if name != "TCP":
        return name
    flags = [flag for bit, flag in enumerate(_FLAGS) if denial.tcp_flags >> bit & 1]
    return f"TCP Flags: {', '.join(flags)}"
