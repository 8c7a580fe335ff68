"""What the agent of an iptables CNI works out before it writes a rule: the pods of its node, the
policies, and the addresses that every selector stands for.

All of it comes from a compiled cluster, as its profile has the policies. IPv4 only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.lab import host_ifname
from kubeverdict import CompiledPolicy
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import BlockPeer, Direction, PodPeer, Policy, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Selector


@dataclass(frozen=True, slots=True)
class Selected:
    """The pods that one selector selects: their addresses, and a name for the selector."""

    key: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """A number that a named port resolves to, and the pods that resolve it so."""

    protocol: Protocol
    number: int
    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeRule:
    """One Allow rule. ``peers`` None: any other end. ``ports`` and ``named`` None: any port."""

    direction: Direction
    index: int
    peers: tuple[Selected | BlockPeer, ...] | None
    ports: tuple[PortRange, ...] | None
    named: tuple[NamedNumber, ...]

    @property
    def any_port(self) -> bool:
        return self.ports is None

    @property
    def selected(self) -> tuple[str, ...]:
        """The addresses that the selectors among the peers stand for."""
        peers = self.peers or ()
        found = (
            address for peer in peers if isinstance(peer, Selected) for address in peer.addresses
        )
        return tuple(dict.fromkeys(found))

    @property
    def blocks(self) -> tuple[BlockPeer, ...]:
        return tuple(peer for peer in self.peers or () if isinstance(peer, BlockPeer))


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """A policy: the addresses of its subjects in the whole cluster, and its rules."""

    namespace: str
    name: str
    isolates: tuple[Direction, ...]
    subjects: tuple[str, ...]
    rules: tuple[NodeRule, ...]

    def of(self, direction: Direction) -> tuple[NodeRule, ...]:
        return tuple(rule for rule in self.rules if rule.direction is direction)


@dataclass(frozen=True, slots=True)
class NodePod:
    """A pod of the node, and which policies isolate it: indices into ``NodeView.policies``."""

    namespace: str
    name: str
    address: str
    interface: str
    ingress: tuple[int, ...]
    egress: tuple[int, ...]

    def policies(self, direction: Direction) -> tuple[int, ...]:
        return self.ingress if direction is Direction.INGRESS else self.egress


@dataclass(frozen=True, slots=True)
class NodeView:
    """What there is to enforce on one node."""

    pods: tuple[NodePod, ...]
    policies: tuple[NodePolicy, ...]

    @property
    def enforced(self) -> tuple[NodePolicy, ...]:
        """The policies that select a pod of this node."""
        used = {index for pod in self.pods for index in (*pod.ingress, *pod.egress)}
        return tuple(policy for index, policy in enumerate(self.policies) if index in used)


def view(compiled: CompiledPolicy, node: str) -> NodeView:
    """The view of ``node``. Raises ValueError for a cluster that baselines cannot express."""
    selection = _Selection(compiled)
    policies = []
    isolated: dict[str, tuple[list[int], list[int]]] = {}
    local = [pod for pod in compiled.pods if pod.node == node and not pod.host_network]
    for pod in local:
        isolated[_address(pod)] = [], []
    for index, policy in enumerate(compiled.policies):
        if policy.namespace is None:
            raise ValueError(f"{policy}: the baselines know policies of namespaces only")
        subjects = selection.pods(policy.pods, (policy.namespace,))
        for pod in subjects:
            if (lists := isolated.get(_address(pod))) is not None:
                for direction in policy.isolates:
                    lists[direction].append(index)
        # What a profile says of a connection at its other end, where one chain is for both
        # directions, needs no rule here: the chain does it.
        own = (rule for rule in policy.rules if rule.subject is None)
        rules = tuple(selection.rule(rule, policy, subjects) for rule in own)
        policies.append(
            NodePolicy(policy.namespace, policy.name, policy.isolates, _addresses(subjects), rules)
        )
    pods = (
        NodePod(
            pod.namespace,
            pod.name,
            _address(pod),
            host_ifname(pod.namespace, pod.name),
            tuple(isolated[_address(pod)][Direction.INGRESS]),
            tuple(isolated[_address(pod)][Direction.EGRESS]),
        )
        for pod in local
    )
    return NodeView(tuple(pods), tuple(policies))


def digest(*parts: str, length: int) -> str:
    """A short name for something whose own is too long, of letters and digits."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:length].upper()


def _address(pod: Pod) -> str:
    return next((text for text in pod.addresses if ":" not in text), "")


def _addresses(pods: Iterable[Pod]) -> tuple[str, ...]:
    return tuple(address for pod in pods if (address := _address(pod)))


class _Selection:
    """Evaluates selectors over the pods of a cluster, each once."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        self._labels = {item.name: item.labels for item in compiled.cluster.namespaces}
        self._by_namespace: dict[str, list[Pod]] = {name: [] for name in self._labels}
        self._by_label: dict[tuple[str, str, str], list[Pod]] = {}
        for pod in compiled.pods:
            if pod.host_network:
                continue
            self._by_namespace[pod.namespace].append(pod)
            for key, value in pod.labels.items():
                self._by_label.setdefault((pod.namespace, key, value), []).append(pod)
        self._namespaces: dict[Selector, tuple[str, ...]] = {}
        self._peers: dict[PodPeer, Selected] = {}
        self._pods: dict[tuple[Selector, tuple[str, ...]], list[Pod]] = {}

    def pods(self, selector: Selector, namespaces: Sequence[str]) -> list[Pod]:
        """The pods of ``namespaces`` that ``selector`` selects."""
        key = selector, tuple(namespaces)
        if (known := self._pods.get(key)) is None:
            known = self._pods[key] = [
                pod
                for namespace in namespaces
                for pod in self._candidates(selector, namespace)
                if selector.matches(pod.labels)
            ]
        return known

    def _candidates(self, selector: Selector, namespace: str) -> Iterable[Pod]:
        for wanted in selector.requirements:
            if wanted.operator is Operator.IN:
                return [
                    pod
                    for value in wanted.values
                    for pod in self._by_label.get((namespace, wanted.key, value), ())
                ]
        return self._by_namespace.get(namespace, ())

    def rule(self, rule: Rule, policy: Policy, subjects: Sequence[Pod]) -> NodeRule:
        peers = None
        reached: list[Pod] = []
        if rule.peers is not None:
            known = [peer for peer in rule.peers if isinstance(peer, PodPeer | BlockPeer)]
            peers = tuple(self._peer(peer, reached) for peer in known)
        if rule.ports is None:
            return NodeRule(rule.direction, rule.index, peers, None, ())
        holders = subjects if rule.direction is Direction.INGRESS else reached
        return NodeRule(
            rule.direction,
            rule.index,
            peers,
            tuple(port for port in rule.ports if isinstance(port, PortRange)),
            tuple(_named(rule.ports, holders)),
        )

    def _peer(self, peer: PodPeer | BlockPeer, reached: list[Pod]) -> Selected | BlockPeer:
        if isinstance(peer, BlockPeer):
            return peer
        if peer.namespace is not None:
            namespaces: tuple[str, ...] = (peer.namespace,)
        elif (known := self._namespaces.get(peer.namespaces)) is None:
            namespaces = self._namespaces[peer.namespaces] = tuple(
                name for name, labels in self._labels.items() if peer.namespaces.matches(labels)
            )
        else:
            namespaces = known
        pods = self.pods(peer.pods or EVERYTHING, namespaces)
        reached += pods
        if (selected := self._peers.get(peer)) is None:
            text = f"{peer.namespace} {peer.namespaces} {peer.pods}"
            selected = self._peers[peer] = Selected(digest(text, length=20), _addresses(pods))
        return selected


def _named(ports: Iterable[object], holders: Iterable[Pod]) -> Iterable[NamedNumber]:
    wanted = [port for port in ports if isinstance(port, NamedPort)]
    if not wanted:
        return
    found: dict[tuple[Protocol, int], list[str]] = {}
    for pod in holders:
        for port in pod.ports:
            if any((port.name, port.protocol) == (name.name, name.protocol) for name in wanted):
                found.setdefault((port.protocol, port.number), []).append(_address(pod))
    for (protocol, number), addresses in sorted(found.items()):
        yield NamedNumber(protocol, number, tuple(dict.fromkeys(addresses)))
