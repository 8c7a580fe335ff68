"""What Calico makes of NetworkPolicy, before it is iptables or nftables.

Each peer of a rule becomes a rule of its own, and the ports of a rule are put together by
protocol. Only policies and sets that pods of this node need are rendered.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.baselines.node import (
    NamedNumber,
    NodePod,
    NodePolicy,
    NodeRule,
    NodeView,
    Selected,
    digest,
)
from kubeverdict.model.policy import BlockPeer, Direction
from kubeverdict.model.ports import PortRange, Protocol

ACCEPT, PASS, SCRATCH = 0x10000, 0x20000, 0x80000
# iptables' multiport match takes 15 numbers; a range counts as two.
_SLOTS = 15


@dataclass(frozen=True, slots=True)
class FlatRule:
    """One peer, one protocol. ``peer`` None: any end; ``protocol`` None: any; without ``ports``
    and ``named`` any port. ``named`` holds members ``address,protocol:port``."""

    direction: Direction
    peer: Selected | BlockPeer | None
    protocol: Protocol | None = None
    ports: tuple[PortRange, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def named_key(self) -> str:
        return digest(*self.named, length=20)


def flat_rules(policy: NodePolicy, direction: Direction) -> Iterator[FlatRule]:
    """The rules of one direction, taken apart."""
    for rule in policy.of(direction):
        for peer in (None,) if rule.peers is None else rule.peers:
            if isinstance(peer, Selected) and not peer.addresses:
                continue
            yield from _by_protocol(rule, peer)


def _by_protocol(rule: NodeRule, peer: Selected | BlockPeer | None) -> Iterator[FlatRule]:
    if rule.ports is None:
        yield FlatRule(rule.direction, peer)
        return
    for protocol in Protocol:
        ports = [port for port in rule.ports if port.protocol is protocol]
        if any((port.first, port.last) == (1, 65535) for port in ports):
            yield FlatRule(rule.direction, peer, protocol)
            continue
        for chunk in _chunks(ports):
            yield FlatRule(rule.direction, peer, protocol, chunk)
        named = tuple(_named(rule, protocol))
        # On egress a name is known of pods only.
        if named and (rule.direction is Direction.INGRESS or isinstance(peer, Selected)):
            yield FlatRule(rule.direction, peer, protocol, (), named)


def _chunks(ports: Sequence[PortRange]) -> Iterator[tuple[PortRange, ...]]:
    chunk: list[PortRange] = []
    slots = 0
    for port in ports:
        width = 1 if port.first == port.last else 2
        if slots + width > _SLOTS:
            yield tuple(chunk)
            chunk, slots = [], 0
        chunk.append(port)
        slots += width
    if chunk:
        yield tuple(chunk)


def _named(rule: NodeRule, protocol: Protocol) -> Iterator[str]:
    for number in rule.named:
        if number.protocol is protocol:
            yield from _members(number)


def _members(number: NamedNumber) -> Iterable[str]:
    return (f"{text},{number.protocol.name.lower()}:{number.number}" for text in number.holders)


def dispatch_tree(pods: Sequence[NodePod]) -> Mapping[str, Sequence[str]]:
    """The two levels by which Calico's iptables rules find a pod's chain: the interfaces by
    their common prefix and one character more."""
    names = sorted(pod.interface for pod in pods)
    first, last = names[0], names[-1]
    common = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    length = len(list(common)) + 1
    branches: dict[str, list[str]] = {}
    for name in names:
        branches.setdefault(name[:length], []).append(name)
    return branches


def policy_chain(policy: NodePolicy, direction: Direction) -> str:
    letters = "pi" if direction is Direction.INGRESS else "po"
    return f"cali-{letters}-{digest(policy.namespace, policy.name, length=18)}"


def policies_of(pod: NodePod, direction: Direction, node: NodeView) -> Iterator[NodePolicy]:
    """The policies that isolate a pod, in the order of their names, as Calico has them."""
    found = (node.policies[index] for index in pod.policies(direction))
    return iter(sorted(found, key=lambda policy: (policy.namespace, policy.name)))
