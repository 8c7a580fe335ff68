"""Proof that a dataplane gives the engine's verdicts: packets sent, and where they arrived."""

from __future__ import annotations

import random
import selectors
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from bench.baselines.node import NodePod, NodeRule, NodeView, Selected
from bench.lab import Lab, LabPod, inside
from bench.lab.packets import NUMBERS, first_packet
from kubeverdict import CompiledPolicy, address_ids, judge
from kubeverdict.model.addresses import format_address
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol

_ETH_P_IP = 0x0800
_PROTOCOLS = {number: protocol for protocol, number in NUMBERS.items()}
# After the last packet that had to arrive, for those that must not.
_GRACE = 0.1


@dataclass(frozen=True, slots=True)
class Probe:
    """A connection that is tried, and what the engine says about it."""

    source: str
    destination: str
    protocol: Protocol
    port: int
    allowed: bool

    def __str__(self) -> str:
        verdict = "allowed" if self.allowed else "denied"
        port = f":{self.port}" if self.protocol.has_ports else ""
        return f"{self.source} -> {self.destination}{port} {self.protocol.name}: {verdict}"


def choose(
    compiled: CompiledPolicy,
    node: NodeView,
    node_address: str,
    count: int,
    *,
    others: Sequence[str] = ("203.0.113.66", "8.8.8.8"),
    seed: int = 1,
) -> tuple[Probe, ...]:
    """About ``count`` probes, half of them allowed, over every protocol and both directions.

    Candidates are made around what rules say (their peers, the edges of their ports), so that
    there is something to allow; the engine alone decides what each should become.
    """
    candidates = list(dict.fromkeys(_candidates(node, node_address, others, count * 20, seed)))
    sources, destinations, protocols, ports = zip(*candidates, strict=True)
    allowed = judge(
        compiled,
        address_ids(compiled, sources),
        address_ids(compiled, destinations),
        np.array(protocols),
        np.array(ports),
    ).allowed.tolist()
    chosen: list[Probe] = []
    # As many of each kind as there are kinds; what one lacks is not made up by another.
    kinds: dict[tuple[object, ...], int] = {}
    local = {pod.address for pod in node.pods}
    talking: set[tuple[str, str]] = set()
    for flow, verdict in zip(candidates, allowed, strict=True):
        # Connection tracking takes any other protocol back from where it once went to.
        if flow[2] is Protocol.OTHER:
            if (flow[1], flow[0]) in talking:
                continue
            talking.add(flow[:2])
        kind = (verdict, flow[2], flow[0] in local, flow[1] in local, node_address in flow[:2])
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] <= max(4, count // 24):
            chosen.append(Probe(*flow, verdict))
    return tuple(chosen)


_Flow = tuple[str, str, Protocol, int]


def _candidates(
    node: NodeView, node_address: str, others: Sequence[str], count: int, seed: int
) -> Iterator[_Flow]:
    chance = random.Random(seed)
    pods = [pod.address for pod in node.pods]
    for _ in range(count):
        pod = chance.choice(node.pods)
        direction = chance.choice(tuple(Direction))
        rule = _some_rule(node, pod, direction, chance)
        peer = _some_peer(rule, chance) if chance.random() < 0.8 else None
        if peer is None:
            peer = chance.choice((chance.choice(pods), node_address, *others))
        if peer == pod.address:
            continue
        protocol, port = _some_port(rule, chance)
        # Now and then the rule's port by another protocol.
        if chance.random() < 0.3:
            protocol = chance.choice(tuple(Protocol))
        ends = (peer, pod.address) if direction is Direction.INGRESS else (pod.address, peer)
        yield (*ends, protocol, port if protocol.has_ports else 0)


def _some_rule(
    node: NodeView, pod: NodePod, direction: Direction, chance: random.Random
) -> NodeRule | None:
    policies = pod.policies(direction)
    if not policies:
        return None
    rules = node.policies[chance.choice(policies)].of(direction)
    return chance.choice(rules) if rules else None


def _some_peer(rule: NodeRule | None, chance: random.Random) -> str | None:
    if rule is None or not rule.peers:
        return None
    peer = chance.choice(rule.peers)
    if isinstance(peer, Selected):
        return chance.choice(peer.addresses) if peer.addresses else None
    block = chance.choice((peer.block, *peer.excepts))
    # Not where no packet goes: 0.0.0.0/8, loopback, link-local, multicast.
    value = block.first + chance.randrange(1 << (32 - block.prefix))
    if not 1 <= value >> 24 < 224 or value >> 24 in (127, 169):
        return None
    return format_address(4, value)


def _some_port(rule: NodeRule | None, chance: random.Random) -> tuple[Protocol, int]:
    if rule is not None and rule.ports and chance.random() < 0.8:
        port = chance.choice(rule.ports)
        number = chance.choice((port.first, port.last, port.first - 1, port.last + 1))
        return port.protocol, min(max(number, 1), 65535)
    if rule is not None and rule.named and chance.random() < 0.8:
        named = chance.choice(rule.named)
        return named.protocol, named.number
    return chance.choice((Protocol.TCP, Protocol.UDP)), chance.choice((53, 80, 443, 9000, 9001))


def arrived(
    lab: Lab, outside: LabPod, probes: Sequence[Probe], *, patience: float = 30.0
) -> list[bool]:
    """Send each probe from its source; which of them got to their destination.

    Addresses that no pod of the lab has are ``outside``. What should arrive and does not is sent
    again for ``patience`` seconds, and what must not arrive gets its time.
    """
    places = {address: pod for pod in lab.pods for address in pod.addresses}
    with ExitStack() as stack:
        senders: dict[str, socket.socket] = {}
        receivers = selectors.DefaultSelector()
        stack.callback(receivers.close)

        def listen(netns: str) -> None:
            for receiver in _receivers(netns, of_node=netns == lab.node_netns):
                receivers.register(stack.enter_context(receiver), selectors.EVENT_READ)

        def namespace(address: str) -> str:
            if address == lab.node_ipv4:
                return lab.node_netns
            return places.get(address, outside).netns

        for netns in sorted({namespace(probe.destination) for probe in probes}):
            listen(netns)
        for netns in sorted({namespace(probe.source) for probe in probes}):
            senders[netns] = stack.enter_context(_sender(netns))
        waiting = {
            (
                socket.inet_aton(probe.source) + socket.inet_aton(probe.destination),
                probe.protocol,
                number,
            ): number
            for number, probe in enumerate(probes, start=1)
        }
        missing = set(waiting.values())
        deadline = time.monotonic() + patience
        rounds = 0
        while rounds < 2 or (
            any(probes[number - 1].allowed for number in missing) and time.monotonic() < deadline
        ):
            for number in sorted(missing):
                probe = probes[number - 1]
                packet = first_packet(
                    probe.source,
                    probe.destination,
                    probe.protocol,
                    number % 20000 + 40000,
                    probe.port,
                    number,
                )
                senders[namespace(probe.source)].sendto(packet, (probe.destination, 0))
                # Sockets hold a few hundred packets, and replies arrive as well.
                if number % 50 == 0:
                    _collect(receivers, waiting, missing, 0)
            _collect(receivers, waiting, missing, _GRACE)
            rounds += 1
        return [number not in missing for number in range(1, len(probes) + 1)]


def _sender(netns: str) -> socket.socket:
    return inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))


def _receivers(netns: str, *, of_node: bool) -> list[socket.socket]:
    """Sockets that see what arrives: on the wire of a pod; on the node behind its INPUT chain."""

    def make() -> list[socket.socket]:
        if of_node:
            return [
                socket.socket(socket.AF_INET, socket.SOCK_RAW, number)
                for number in NUMBERS.values()
            ]
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        tap.bind(("eth0", _ETH_P_IP))
        return [tap]

    sockets = inside(netns, make)
    for receiver in sockets:
        receiver.setblocking(False)
    return sockets


def _collect(
    receivers: selectors.BaseSelector,
    waiting: Mapping[tuple[bytes, Protocol, int], int],
    missing: set[int],
    patience: float,
) -> None:
    """Take what has arrived out of ``missing``, until nothing came for ``patience`` seconds."""
    while ready := receivers.select(patience):
        for key, _ in ready:
            assert isinstance(key.fileobj, socket.socket)
            try:
                packet, sender = key.fileobj.recvfrom(2048)
            except BlockingIOError:
                continue
            if len(sender) == 5 and sender[2] == socket.PACKET_OUTGOING:
                continue
            (number,) = struct.unpack_from("!H", packet, 4)
            protocol = _PROTOCOLS.get(packet[9])
            if protocol is not None:
                missing.discard(waiting.get((packet[12:20], protocol, number), 0))


def wrong(probes: Sequence[Probe], results: Sequence[bool]) -> list[str]:
    """What a dataplane did against the engine's verdict, one line each."""
    return [
        f"{probe}, but it {'arrived' if result else 'did not arrive'}"
        for probe, result in zip(probes, results, strict=True)
        if probe.allowed != result
    ]
