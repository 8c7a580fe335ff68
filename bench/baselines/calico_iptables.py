"""Calico on iptables: a tree of interface names finds the pod's chain, its policies follow.

As of Calico 3.31: accept, pass and scratch marks, a comment on every rule, one tier ("default"),
the namespace's profile for pods that no policy isolates. What is not rendered, and what is rendered
otherwise, stands in :mod:`bench.baselines.differences`. Rules with more than 15 ports become
several instead of a block under a scratch mark, which is the same work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.baselines.calico import (
    ACCEPT,
    PASS,
    SCRATCH,
    FlatRule,
    dispatch_tree,
    flat_rules,
    policies_of,
    policy_chain,
)
from bench.baselines.iptables import BUILT_IN, FilterTable, IpSet
from bench.baselines.node import NodePod, NodeView, Selected, digest
from kubeverdict.model.policy import BlockPeer, Direction
from kubeverdict.model.ports import PortRange

_SET_ACCEPT = f"-j MARK --set-xmark {ACCEPT:#x}/{ACCEPT:#x}"
_RETURN_IF_ACCEPTED = f"-m mark --mark {ACCEPT:#x}/{ACCEPT:#x} -j RETURN"


def render(node: NodeView) -> FilterTable:
    """All chains and sets of a node."""
    sets: dict[str, IpSet] = {}
    chains: dict[str, list[str]] = {}
    for name in BUILT_IN:
        chains[name] = [f"-j cali-{name}"]
    accepted = f"-m mark --mark {ACCEPT:#x}/{ACCEPT:#x} -j ACCEPT"
    chains["FORWARD"].append(accepted)
    chains["cali-FORWARD"] = [
        f"-j MARK --set-xmark 0x0/{ACCEPT | PASS | SCRATCH:#x}",
        "-i cali+ -j cali-from-wl-dispatch",
        "-o cali+ -j cali-to-wl-dispatch",
    ]
    chains["cali-INPUT"] = ["-i cali+ -g cali-wl-to-host"]
    chains["cali-OUTPUT"] = ["-o cali+ -j RETURN"]
    chains["cali-wl-to-host"] = ["-j cali-from-wl-dispatch", "-j ACCEPT"]
    _dispatch(node, "cali-from-wl-dispatch", "-i", "cali-fw-", chains)
    _dispatch(node, "cali-to-wl-dispatch", "-o", "cali-tw-", chains)
    for pod in node.pods:
        chains[f"cali-fw-{pod.interface}"] = list(_pod_rules(pod, Direction.EGRESS, node))
        chains[f"cali-tw-{pod.interface}"] = list(_pod_rules(pod, Direction.INGRESS, node))
        chains[_profile(pod)] = [_SET_ACCEPT]
    for policy in node.enforced:
        for direction in policy.isolates:
            rules: list[str] = []
            for flat in flat_rules(policy, direction):
                rules += _rule(flat, sets)
            # At the end of a chain there is nothing left to return from.
            chains[policy_chain(policy, direction)] = rules[:-1]
    return FilterTable("legacy", True, {name: _signed(name, chains[name]) for name in chains}, sets)


def _signed(chain: str, rules: Iterable[str]) -> tuple[str, ...]:
    """The rules with the comment by which Calico knows each of them again."""
    return tuple(
        f'-m comment --comment "cali:{digest(chain, str(index), rule, length=16)}" {rule}'
        for index, rule in enumerate(rules)
    )


def _profile(pod: NodePod) -> str:
    return f"cali-pri-{digest('kns', pod.namespace, length=18)}"


def _dispatch(
    node: NodeView, root: str, option: str, prefix: str, chains: dict[str, list[str]]
) -> None:
    top = chains[root] = []
    for branch, names in dispatch_tree(node.pods).items():
        if len(names) == 1:
            top += [f"{option} {name} -g {prefix}{name}" for name in names]
            continue
        inner = f"{root}-{branch[-1]}"
        top.append(f"{option} {branch}+ -g {inner}")
        chains[inner] = [f"{option} {name} -g {prefix}{name}" for name in names]
        chains[inner].append(_drop("Unknown interface"))
    top.append(_drop("Unknown interface"))


def _drop(why: str) -> str:
    return f'-m comment --comment "{why}" -j DROP'


def _pod_rules(pod: NodePod, direction: Direction, node: NodeView) -> Iterator[str]:
    yield "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    yield "-m conntrack --ctstate INVALID -j DROP"
    yield f"-j MARK --set-xmark 0x0/{ACCEPT:#x}"
    if pod.policies(direction):
        yield f'-m comment --comment "Start of tier default" -j MARK --set-xmark 0x0/{PASS:#x}'
        for policy in policies_of(pod, direction, node):
            yield f"-m mark --mark 0x0/{PASS:#x} -j {policy_chain(policy, direction)}"
            yield f'-m comment --comment "Return if policy accepted" {_RETURN_IF_ACCEPTED}'
        yield (
            '-m comment --comment "End of tier default. Drop if no policies passed packet" '
            f"-m mark --mark 0x0/{PASS:#x} -j DROP"
        )
    yield f"-j {_profile(pod)}"
    yield f'-m comment --comment "Return if profile accepted" {_RETURN_IF_ACCEPTED}'
    yield _drop("Drop if no profiles matched")


def _rule(flat: FlatRule, sets: dict[str, IpSet]) -> Iterator[str]:
    inward = flat.direction is Direction.INGRESS
    match = "" if flat.protocol is None else f"-p {flat.protocol.name.lower()} "
    end = "src" if inward else "dst"
    option = "-s" if inward else "-d"
    if isinstance(flat.peer, Selected):
        name = f"cali40s:{flat.peer.key}"
        sets[name] = IpSet("hash:net", flat.peer.addresses)
        match += f"-m set --match-set {name} {end} "
    elif isinstance(flat.peer, BlockPeer):
        match = f"{option} {flat.peer.block} {match}"
        if flat.peer.excepts:
            # One negation fits into a rule; Calico takes a scratch mark for any number.
            yield f"-j MARK --set-xmark {SCRATCH:#x}/{SCRATCH:#x}"
            for part in flat.peer.excepts:
                yield f"{option} {part} -j MARK --set-xmark 0x0/{SCRATCH:#x}"
            match += f"-m mark --mark {SCRATCH:#x}/{SCRATCH:#x} "
    if flat.ports:
        match += f"-m multiport --dports {','.join(map(_port, flat.ports))} "
    if flat.named:
        name = f"cali40n:{flat.named_key}"
        sets[name] = IpSet("hash:ip,port", flat.named)
        match += f"-m set --match-set {name} dst,dst "
    yield match + _SET_ACCEPT
    yield _RETURN_IF_ACCEPTED


def _port(port: PortRange) -> str:
    return str(port.first) if port.first == port.last else f"{port.first}:{port.last}"
