"""Reading a report back: what it says of one connection."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from msgspec.structs import replace

from kubeverdict.analyses.connections import Connections
from kubeverdict.analyses.peers import Peer
from kubeverdict.analyses.port_text import Ports
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod, WorkloadRef
from kubeverdict.model.ports import IcmpMatch, Protocol, icmp_match


def covers(peer: Peer, end: Pod | str, report: Connections) -> bool:
    """Is ``end`` (a pod, or the text of an address) part of ``peer``?"""
    if isinstance(end, Pod):
        pods = peer.pods or report.pods.get(peer.whole, ())
        return peer.namespace == end.namespace and end.name in pods
    if peer.whole:
        return False
    return ip_address(end) in Addresses(peer.name)


class Addresses:
    """The set that a text of addresses means, read by other means than it is written with."""

    def __init__(self, text: str) -> None:
        self._terms = [
            [list(map(ip_network, part.split(", "))) for part in term.split(" except ")]
            for term in text.split("; ")
        ]

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(
            any(address in block for block in blocks)
            and not any(address in block for excepts in rest for block in excepts)
            for blocks, *rest in self._terms
        )


def opens(ports: Ports, protocol: Protocol, port: int) -> bool:
    """Whether ports, as they are written, hold one; of ICMP with a type, see ``icmp_port``."""
    if ports.everything:
        return True
    texts = dict(ports.protocols)
    if protocol is Protocol.ICMP and port:
        return texts.get("ICMP") == "all" or _has_type(texts, icmp_match(port))
    text = texts.get(protocol.name)
    if text is None or not protocol.has_ports:
        return text == "all"
    return _is_among(port, text)


def _has_type(texts: dict[str, str], asked: IcmpMatch) -> bool:
    """Types are written ``8``, ``3-5`` and, with their codes, ``3/4`` or ``3/4-6``."""
    assert asked.icmp_type is not None and asked.code is not None
    for part in texts.get(f"ICMPv{asked.version}", "").split(","):
        types, slash, codes = part.partition("/")
        if not types or not _is_among(asked.icmp_type, types):
            continue
        if not slash or _is_among(asked.code, codes):
            return True
    return False


def _is_among(number: int, text: str) -> bool:
    bounds = [part.split("-") for part in text.split(",")]
    return any(int(part[0]) <= number <= int(part[-1]) for part in bounds)


def is_listed(
    report: Connections,
    source: Pod | str,
    destination: Pod | str,
    protocol: Protocol,
    port: int,
    family: Family,
) -> bool:
    """Does the report list the connection?"""
    found = [
        opens(one.ports, protocol, port)
        for one in report.connections
        if one.family in ("", f"IPv{family}")
        and covers(one.source, source, report)
        and covers(one.destination, destination, report)
    ]
    assert len(found) <= 1, "a connection is listed once"
    return any(found)


def in_workloads(made: Cluster) -> Cluster:
    """The pods of each namespace in two workloads: that of a pod is told by its name."""
    pods = (
        replace(
            one,
            workload=WorkloadRef(one.namespace, f"w{int(one.name[-1]) % 2}", "Deployment"),
        )
        for one in made.pods
    )
    return replace(made, pods=tuple(pods))
