"""kube-router: a chain for each local pod, a chain for each policy, ipsets for everybody.

As of kube-router 2.1: the top chains are walked pod by pod; the pod's chain jumps to the chain of
each policy that selects the pod, one after the other, and none of them ends the walk. Chains and
sets are there for all policies of the cluster, and a change renders all of them again. Not
rendered: what :mod:`bench.baselines.differences` lists, and ``iptables-save``, which kube-router
runs before each change (in its favour).
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.baselines.iptables import BUILT_IN, FilterTable, Flavour, IpSet, net_members
from bench.baselines.node import NodePod, NodePolicy, NodeRule, NodeView, digest
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import PortRange

_ACCEPT = "0x10000/0x10000"
_DONE = "0x20000/0x20000"


def render(node: NodeView, flavour: Flavour) -> FilterTable:
    """All chains and sets of a node."""
    sets: dict[str, IpSet] = {}
    chains: dict[str, list[str]] = {
        name: [f"{_comment('kube-router netpol - ' + digest(name, length=16))} -j {_top(name)}"]
        for name in BUILT_IN
    }
    chains |= {_top(name): [] for name in BUILT_IN}
    chains["KUBE-NWPLCY-DEFAULT"] = [
        f"{_comment('rule to mark traffic matching a network policy')} "
        f"-j MARK --set-xmark {_ACCEPT}"
    ]
    for policy in node.policies:
        chains[_policy_chain(policy)] = list(_policy_rules(policy, sets))
    for pod in node.pods:
        chain = f"KUBE-POD-FW-{digest(pod.namespace, pod.name, length=16)}"
        chains[chain] = list(_pod_rules(pod, node))
        _dispatch(pod, chain, chains)
    for name in BUILT_IN:
        text = "rule to explicitly ACCEPT traffic that comply to network policies"
        chains[_top(name)].append(f"{_comment(text)} -m mark --mark {_DONE} -j ACCEPT")
    return FilterTable(flavour, False, chains, sets)


def _top(name: str) -> str:
    return f"KUBE-ROUTER-{name}"


def _policy_chain(policy: NodePolicy) -> str:
    return f"KUBE-NWPLCY-{digest(policy.namespace, policy.name, length=16)}"


def _comment(text: str) -> str:
    return f'-m comment --comment "{text}"'


def _dispatch(pod: NodePod, chain: str, chains: dict[str, list[str]]) -> None:
    who = f"POD name:{pod.name} namespace: {pod.namespace}"
    into = f"{_comment(f'rule to jump traffic destined to {who} to chain {chain}')} -j {chain}"
    out_of = f"{_comment(f'rule to jump traffic from {who} to chain {chain}')} -j {chain}"
    bridged = "-m physdev --physdev-is-bridged"
    to, by = f"-d {pod.address}/32", f"-s {pod.address}/32"
    chains[_top("FORWARD")] += [
        f"{to} {into}",
        f"{to} {bridged} {into}",
        f"{by} {out_of}",
        f"{by} {bridged} {out_of}",
    ]
    chains[_top("OUTPUT")] += [f"{to} {into}", f"{by} {out_of}"]
    chains[_top("INPUT")].append(f"{by} {out_of}")


def _pod_rules(pod: NodePod, node: NodeView) -> Iterable[str]:
    who = f"POD name:{pod.name} namespace: {pod.namespace}"
    to, by = f"-d {pod.address}/32", f"-s {pod.address}/32"
    yield (
        f"{_comment('rule for stateful firewall for pod')} "
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    )
    yield f"{_comment('rule to drop invalid state for pod')} -m conntrack --ctstate INVALID -j DROP"
    text = "rule to permit the traffic to pods when source is the pod's local node"
    yield f"{to} {_comment(text)} -m addrtype --src-type LOCAL -j ACCEPT"
    for direction, match in ((Direction.INGRESS, to), (Direction.EGRESS, by)):
        if not pod.policies(direction):
            text = f"run through default {direction.word} network policy chain"
            yield f"{match} {_comment(text)} -j KUBE-NWPLCY-DEFAULT"
    for index in sorted({*pod.ingress, *pod.egress}):
        policy = node.policies[index]
        match = ""
        if len(policy.isolates) == 1:
            match = f"{to if policy.isolates[0] is Direction.INGRESS else by} "
        text = f"run through nw policy {policy.name}"
        yield f"{match}{_comment(text)} -j {_policy_chain(policy)}"
    unmarked = f"-m mark ! --mark {_ACCEPT}"
    yield (
        f"{_comment(f'rule to log dropped traffic {who}')} {unmarked} "
        "-m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100"
    )
    yield f"{_comment(f'rule to REJECT traffic destined for {who}')} {unmarked} -j REJECT"
    yield "-j MARK --set-xmark 0x0/0x10000"
    text = "set mark to ACCEPT traffic that comply to network policies"
    yield f"{_comment(text)} -j MARK --set-xmark {_DONE}"


def _policy_rules(policy: NodePolicy, sets: dict[str, IpSet]) -> Iterable[str]:
    for direction in policy.isolates:
        inward = direction is Direction.INGRESS
        letters = ("KUBE-DST", "KUBE-SRC") if inward else ("KUBE-SRC", "KUBE-DST")
        target = f"{letters[0]}-{digest(policy.namespace, policy.name, 'target', length=16)}"
        sets[target] = IpSet("hash:ip", policy.subjects)
        for rule in policy.of(direction):
            for peer, selected in _peer_sets(policy, rule, letters[1], sets):
                yield from _accepts(policy, rule, (peer, target), selected, sets)


def _peer_sets(
    policy: NodePolicy, rule: NodeRule, letters: str, sets: dict[str, IpSet]
) -> Iterable[tuple[str, bool]]:
    """The sets that stand for a rule's peers ("": any end), and whether they are of pods."""
    if rule.peers is None:
        yield "", False
        return
    parts = (rule.direction.word, str(rule.index))
    for members, kind in ((rule.selected, "hash:ip"), (net_members(rule.blocks), "hash:net")):
        if members:
            name = f"{letters}-{digest(policy.namespace, policy.name, *parts, kind, length=16)}"
            sets[name] = IpSet(kind, members)
            yield name, kind == "hash:ip"


def _accepts(
    policy: NodePolicy,
    rule: NodeRule,
    ends: tuple[str, str],
    of_pods: bool,
    sets: dict[str, IpSet],
) -> Iterable[str]:
    inward = rule.direction is Direction.INGRESS
    peer, target = ends
    source, destination = (peer, target) if inward else (target, peer)
    if rule.any_port:
        yield from _accept(policy, source, destination, "")
        return
    for port in rule.ports or ():
        yield from _accept(policy, source, destination, _port(port))
    if not inward and not of_pods:
        return
    for named in rule.named:
        parts = (rule.direction.word, str(rule.index), str(named.number), named.protocol.name)
        name = f"KUBE-DST-{digest(policy.namespace, policy.name, *parts, length=16)}"
        sets[name] = IpSet("hash:ip", named.holders)
        number = PortRange(named.protocol, named.number, named.number)
        yield from _accept(policy, source, name, _port(number))


def _accept(policy: NodePolicy, source: str, destination: str, port: str) -> Iterable[str]:
    text = (
        "rule to ACCEPT traffic from source pods to dest pods selected by policy name "
        f"{policy.name} namespace {policy.namespace}"
    )
    # The kernel looks at matches in this order: the port, though cheapest, comes last.
    match = _comment(text)
    if source:
        match += f" -m set --match-set {source} src"
    if destination:
        match += f" -m set --match-set {destination} dst"
    match += port
    yield f"{match} -j MARK --set-xmark {_ACCEPT}"
    yield f"{match} -m mark --mark {_ACCEPT} -j RETURN"


def _port(port: PortRange) -> str:
    protocol = port.protocol.name.lower()
    if (port.first, port.last) == (1, 65535):
        return f" -p {protocol}"
    ports = str(port.first) if port.first == port.last else f"{port.first}:{port.last}"
    return f" -p {protocol} -m {protocol} --dport {ports}"
