"""One iptables rule for each pair that may talk, and a DROP behind them: rules by hand.

Excepts are taken out of their blocks first, so that the order of rules does not matter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from bench.baselines.iptables import FilterTable
from bench.baselines.node import NodePod, NodeRule, NodeView, Selected
from kubeverdict.model.policy import BlockPeer, Direction
from kubeverdict.model.ports import PortRange

_CHAINS = {Direction.EGRESS: "EGRESS", Direction.INGRESS: "INGRESS"}


def render(node: NodeView) -> FilterTable:
    """All rules of a node."""
    established = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    chains: dict[str, list[str]] = {
        "INPUT": [established, "-j EGRESS"],
        "FORWARD": [established, "-j EGRESS", "-j INGRESS"],
        "OUTPUT": [],
        "EGRESS": [],
        "INGRESS": [],
    }
    for pod in node.pods:
        for direction, chain in _CHAINS.items():
            own = "-d" if direction is Direction.INGRESS else "-s"
            for rule in _pairs(pod, direction, node):
                chains[chain].append(rule)
            if pod.policies(direction):
                chains[chain].append(f"{own} {pod.address}/32 -j DROP")
    return FilterTable("legacy", False, chains)


def _pairs(pod: NodePod, direction: Direction, node: NodeView) -> Iterator[str]:
    for index in pod.policies(direction):
        for rule in node.policies[index].of(direction):
            yield from _rule_pairs(pod, rule)


def _rule_pairs(pod: NodePod, rule: NodeRule) -> Iterator[str]:
    inward = rule.direction is Direction.INGRESS
    own, other = ("-d", "-s") if inward else ("-s", "-d")
    start = f"{own} {pod.address}/32"
    for peer, of_pods in _peers(rule):
        match = f"{start} {other} {peer}" if peer else start
        if rule.ports is None:
            yield f"{match} -j RETURN"
            continue
        for port in rule.ports:
            yield f"{match} {_port(port)} -j RETURN"
        for named in rule.named:
            number = _port(PortRange(named.protocol, named.number, named.number))
            holder = pod.address if inward else peer.removesuffix("/32")
            if (inward or of_pods) and holder in named.holders:
                yield f"{match} {number} -j RETURN"


def _peers(rule: NodeRule) -> Iterator[tuple[str, bool]]:
    """The other ends, "" for any end, and whether each is a pod."""
    if rule.peers is None:
        yield "", False
    for peer in rule.peers or ():
        if isinstance(peer, Selected):
            for address in peer.addresses:
                yield f"{address}/32", True
        else:
            for block in _without_excepts(peer):
                yield block, False


def _without_excepts(peer: BlockPeer) -> list[str]:
    left = [ipaddress.ip_network(str(peer.block))]
    for text in map(str, peer.excepts):
        part = ipaddress.ip_network(text)
        rest: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for block in left:
            if part.supernet_of(block):  # type: ignore[arg-type]
                continue
            if part.subnet_of(block):  # type: ignore[arg-type]
                rest += block.address_exclude(part)  # type: ignore[arg-type]
            else:
                rest.append(block)
        left = rest
    return [str(block) for block in left]


def _port(port: PortRange) -> str:
    protocol = port.protocol.name.lower()
    if (port.first, port.last) == (1, 65535):
        return f"-p {protocol}"
    ports = str(port.first) if port.first == port.last else f"{port.first}:{port.last}"
    return f"-p {protocol} -m {protocol} --dport {ports}"
