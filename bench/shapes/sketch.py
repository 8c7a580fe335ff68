"""A cluster while it is being made, and short names for what shapes are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubeverdict.model.addresses import Block, format_address, parse_block
from kubeverdict.model.cluster import (
    METADATA_NAME,
    Cluster,
    ContainerPort,
    Namespace,
    Node,
    Pod,
    WorkloadRef,
)
from kubeverdict.model.policy import (
    NETWORK_POLICY_ORDER,
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from kubeverdict.model.sources import FieldPath, Source

PODS_A_NODE = 50
_POD_NETWORK = 10 << 24  # 10.0.0.0; each node has a /25 of it
_NODE_NETWORK = (172 << 24) + (16 << 16)  # 172.16.0.0
_ADDRESSES_A_NODE = 128

RuleSketch = tuple[Sequence[Peer] | None, Sequence[PortMatch] | None]
"""Peers and ports of a rule; None where the rule does not restrict them."""


class Generated:
    """Where generated policies come from: no file, so always its first line."""

    def __init__(self, shape: str) -> None:
        self.file = f"<generated {shape}>"

    def line_of(self, path: FieldPath) -> int:
        return 1


class Sketch:
    """Collects a cluster of ``pods`` pods, and gives each its node and address.

    Pods are dealt to the nodes in turn, as a scheduler that spreads would do, so neighbours in a
    namespace do not have neighbouring addresses.
    """

    def __init__(self, shape: str, pods: int) -> None:
        self._origin = Generated(shape)
        self._nodes = -(-pods // PODS_A_NODE)
        self.namespaces: list[Namespace] = []
        self.pods: list[Pod] = []
        self.policies: list[Policy] = []

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        self.namespaces.append(Namespace(name, {METADATA_NAME: name, **(labels or {})}))

    def pod(
        self,
        namespace: str,
        name: str,
        labels: Mapping[str, str],
        ports: tuple[ContainerPort, ...] = (),
        workload: WorkloadRef | None = None,
    ) -> None:
        """A running pod; without ``workload`` a bare one."""
        round_, node = divmod(len(self.pods), self._nodes)
        # The first two addresses of a node's block are the network and its gateway.
        address = _POD_NETWORK + node * _ADDRESSES_A_NODE + 2 + round_
        self.pods.append(
            Pod(
                namespace,
                name,
                labels,
                workload or WorkloadRef(namespace, name, "Pod"),
                (format_address(4, address),),
                ports,
                node=_node_name(node),
                phase="Running",
            )
        )

    def policy(
        self,
        namespace: str,
        name: str,
        pods: Selector,
        *,
        ingress: Sequence[RuleSketch] | None = None,
        egress: Sequence[RuleSketch] | None = None,
    ) -> None:
        """A NetworkPolicy that isolates in each direction that is not None."""
        isolates = []
        rules = []
        for direction, sketches in ((Direction.INGRESS, ingress), (Direction.EGRESS, egress)):
            if sketches is None:
                continue
            isolates.append(direction)
            for index, (peers, ports) in enumerate(sketches):
                rules.append(
                    Rule(
                        direction,
                        index,
                        Action.ALLOW,
                        None if peers is None else tuple(peers),
                        None if ports is None else tuple(ports),
                        Source(self._origin, ("spec", direction.word, index)),
                    )
                )
        self.policies.append(
            Policy(
                "NetworkPolicy",
                namespace,
                name,
                NETWORK_POLICY_TIER,
                pods,
                tuple(isolates),
                tuple(rules),
                Source(self._origin),
                order=NETWORK_POLICY_ORDER,
                tiebreak=f"{namespace}/knp.default.{name}",
                listed=tuple(sorted({rule.direction for rule in rules})),
            )
        )

    def cluster(self) -> Cluster:
        nodes = (
            Node(_node_name(index), (format_address(4, _NODE_NETWORK + 10 + index),))
            for index in range(self._nodes)
        )
        return Cluster(tuple(self.namespaces), tuple(self.pods), tuple(self.policies), tuple(nodes))


def _node_name(index: int) -> str:
    return f"node-{index:05d}"


def labelled(key: str, *values: str) -> Selector:
    """Label ``key`` has one of ``values``."""
    return Selector((one_of(key, values),))


def one_of(key: str, values: Iterable[str]) -> Requirement:
    return Requirement(key, Operator.IN, tuple(sorted(set(values))))


def exists(key: str) -> Requirement:
    return Requirement(key, Operator.EXISTS)


def here(namespace: str, pods: Selector = EVERYTHING) -> PodPeer:
    """Pods of the policy's own namespace."""
    return PodPeer(pods, namespace)


def there(namespaces: Selector, pods: Selector | None = None) -> PodPeer:
    """Pods of the namespaces selected; all of them where ``pods`` is None."""
    return PodPeer(pods, None, namespaces)


def block(cidr: str, *excepts: str) -> BlockPeer:
    return BlockPeer(_block(cidr), tuple(map(_block, excepts)))


def _block(text: str) -> Block:
    parsed = parse_block(text)
    assert parsed is not None, text
    return parsed


def tcp(first: int, last: int | None = None) -> PortRange:
    return PortRange(Protocol.TCP, first, first if last is None else last)


def udp(port: int) -> PortRange:
    return PortRange(Protocol.UDP, port, port)


def named(protocol: Protocol, name: str) -> NamedPort:
    return NamedPort(protocol, name)
