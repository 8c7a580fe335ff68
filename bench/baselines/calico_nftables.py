"""Calico on nftables: a verdict map from interface to chain, sets for pods and ports.

As of Calico 3.31: the same chains as on iptables, in a table of its own. What is not rendered is
the same too.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.baselines.calico import (
    ACCEPT,
    PASS,
    SCRATCH,
    FlatRule,
    flat_rules,
    policies_of,
    policy_chain,
)
from bench.baselines.nftables import NftSet, Ruleset
from bench.baselines.node import NodePod, NodeView, Selected, digest
from kubeverdict.model.policy import BlockPeer, Direction
from kubeverdict.model.ports import PortRange

_SET_ACCEPT = f"meta mark set meta mark | {ACCEPT:#x}"
_ACCEPTED = f"meta mark & {ACCEPT:#x} == {ACCEPT:#x}"
_POD_ADDRESSES = "type ipv4_addr; flags interval;"
_POD_PORTS = "type ipv4_addr . inet_proto . inet_service;"
_DISPATCH = "type ifname : verdict;"


def render(node: NodeView) -> Ruleset:
    """All chains, sets and maps of a node."""
    sets: dict[str, NftSet] = {}
    hook = "type filter hook {} priority filter; policy accept;"
    chains: dict[str, tuple[str, ...]] = {
        "cali-from-wl": ("iifname vmap @cali-from-wl-dispatch", "drop"),
        "cali-to-wl": ("oifname vmap @cali-to-wl-dispatch", "drop"),
        "cali-FORWARD": (
            f"meta mark set meta mark & {0xFFFFFFFF ^ (ACCEPT | PASS | SCRATCH):#x}",
            'iifname "cali*" jump cali-from-wl',
            'oifname "cali*" jump cali-to-wl',
        ),
        "cali-INPUT": ('iifname "cali*" jump cali-from-wl',),
        "filter-FORWARD": ("jump cali-FORWARD", f"{_ACCEPTED} accept"),
        "filter-INPUT": ("jump cali-INPUT",),
    }
    hooks = {"filter-FORWARD": hook.format("forward"), "filter-INPUT": hook.format("input")}
    for policy in node.enforced:
        for direction in policy.isolates:
            rules: list[str] = []
            for flat in flat_rules(policy, direction):
                rules += _rule(flat, sets)
            # At the end of a chain there is nothing left to return from.
            chains[policy_chain(policy, direction)] = tuple(rules[:-1])
    for direction, prefix, dispatch in (
        (Direction.EGRESS, "cali-fw-", "cali-from-wl-dispatch"),
        (Direction.INGRESS, "cali-tw-", "cali-to-wl-dispatch"),
    ):
        for pod in node.pods:
            chains[_profile(pod)] = (_SET_ACCEPT,)
            chains[prefix + pod.interface] = tuple(_pod_rules(pod, direction, node))
        targets = (f'"{pod.interface}" : goto {prefix}{pod.interface}' for pod in node.pods)
        sets[dispatch] = NftSet("map", _DISPATCH, tuple(targets))
    return Ruleset("calico", chains, hooks, sets)


def _profile(pod: NodePod) -> str:
    return f"cali-pri-{digest('kns', pod.namespace, length=18)}"


def _pod_rules(pod: NodePod, direction: Direction, node: NodeView) -> Iterator[str]:
    yield "ct state established,related accept"
    yield "ct state invalid drop"
    yield f"meta mark set meta mark & {0xFFFFFFFF ^ ACCEPT:#x}"
    if pod.policies(direction):
        yield f"meta mark set meta mark & {0xFFFFFFFF ^ PASS:#x}"
        for policy in policies_of(pod, direction, node):
            yield f"meta mark & {PASS:#x} == 0 jump {policy_chain(policy, direction)}"
            yield f"{_ACCEPTED} return"
        yield f"meta mark & {PASS:#x} == 0 drop"
    yield f"jump {_profile(pod)}"
    yield f"{_ACCEPTED} return"
    yield "drop"


def _rule(flat: FlatRule, sets: dict[str, NftSet]) -> Iterator[str]:
    match = "" if flat.protocol is None else f"meta l4proto {flat.protocol.name.lower()} "
    address = "ip saddr" if flat.direction is Direction.INGRESS else "ip daddr"
    if isinstance(flat.peer, Selected):
        name = f"cali40s-{flat.peer.key}"
        sets[name] = NftSet("set", _POD_ADDRESSES, flat.peer.addresses)
        match += f"{address} @{name} "
    elif isinstance(flat.peer, BlockPeer):
        # /0 is no match at all to nft.
        if flat.peer.block.prefix:
            match += f"{address} {flat.peer.block} "
        if flat.peer.excepts:
            match += f"{address} != {{ {', '.join(map(str, flat.peer.excepts))} }} "
    if flat.ports:
        match += f"th dport {{ {', '.join(map(_port, flat.ports))} }} "
    if flat.named:
        name = f"cali40n-{flat.named_key}"
        sets[name] = NftSet("set", _POD_PORTS, tuple(map(_pod_port, flat.named)))
        match += f"ip daddr . meta l4proto . th dport @{name} "
    yield match + _SET_ACCEPT
    yield f"{_ACCEPTED} return"


def _port(port: PortRange) -> str:
    return str(port.first) if port.first == port.last else f"{port.first}-{port.last}"


def _pod_port(member: str) -> str:
    address, _, rest = member.partition(",")
    protocol, _, number = rest.partition(":")
    return f"{address} . {protocol} . {number}"
