"""Records for tests that work a case out by hand: short to write, short to read."""

from __future__ import annotations

from kubeverdict.model.addresses import parse_block
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
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    Peer,
    Policy,
    Rule,
    Tier,
)
from kubeverdict.model.ports import PortMatch
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from tests.clusters.policies import NOWHERE
from tests.oracle import Decider, OracleVerdict, Reason


def pod(
    name: str,
    *addresses: str,
    labels: dict[str, str] | None = None,
    ports: tuple[ContainerPort, ...] = (),
    node: str = "",
    phase: str = "Running",
    host_network: bool = False,
    template: bool = False,
) -> Pod:
    namespace, name = name.split("/")
    return Pod(
        namespace,
        name,
        labels or {},
        WorkloadRef(namespace, name, "Pod"),
        addresses,
        ports,
        node,
        phase,
        host_network,
        template,
    )


def allow(
    direction: Direction,
    peers: tuple[Peer, ...] | None = None,
    ports: tuple[PortMatch, ...] | None = None,
    action: Action = Action.ALLOW,
    index: int = 0,
) -> Rule:
    return Rule(direction, index, action, peers, ports, NOWHERE)


def policy(
    name: str,
    *rules: Rule,
    isolates: tuple[Direction, ...] | None = None,
    pods: Selector = EVERYTHING,
    tier: Tier = NETWORK_POLICY_TIER,
    order: float = 0.0,
) -> Policy:
    """A policy that isolates in the directions of its rules unless told otherwise."""
    namespace, _, name = name.rpartition("/")
    if isolates is None:
        isolates = tuple(sorted({rule.direction for rule in rules}))
    return Policy(
        kind="NetworkPolicy",
        namespace=namespace or None,
        name=name,
        tier=tier,
        pods=pods,
        isolates=isolates,
        rules=rules,
        source=NOWHERE,
        order=order,
    )


def cluster(pods: tuple[Pod, ...], *policies: Policy, nodes: tuple[Node, ...] = ()) -> Cluster:
    return Cluster(
        namespaces=tuple(
            Namespace(name, {METADATA_NAME: name, "team": name.upper()}) for name in ("x", "y")
        ),
        pods=pods,
        policies=policies,
        nodes=nodes,
    )


def block(text: str, *excepts: str) -> BlockPeer:
    parsed = [parse_block(each) for each in (text, *excepts)]
    blocks = [each for each in parsed if each is not None]
    assert len(blocks) == len(parsed)
    return BlockPeer(blocks[0], tuple(blocks[1:]))


def label(key: str, *values: str, operator: Operator = Operator.IN) -> Selector:
    return Selector.of([Requirement(key, operator, values)])


def name_of(decider: Decider) -> str:
    if isinstance(decider, Reason):
        return decider.value
    return f"{decider[0].name}[{decider[1].index}]"


def said(verdict: OracleVerdict) -> tuple[bool, str, str]:
    return verdict.allowed, name_of(verdict.egress), name_of(verdict.ingress)
