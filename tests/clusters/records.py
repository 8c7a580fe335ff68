"""Clusters written by hand: records as short to write as tests want to read them.

Labels are written ``app=web,tier=front``, a pod, a policy or a workload ``NAMESPACE/NAME``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubeverdict.model.addresses import Block, parse_block
from kubeverdict.model.cluster import (
    METADATA_NAME,
    Cluster,
    ContainerPort,
    Namespace,
    Node,
    Pod,
    Service,
    WorkloadRef,
)
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    Peer,
    PodPeer,
    Policy,
    Rule,
    Tier,
)
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from kubeverdict.model.sources import FieldPath, Source

# --- where records are from ----------------------------------------------------------------------


@dataclass(frozen=True)
class Document:
    """An origin: the document begins at ``line`` and each field is one line further down."""

    file: str = "policies.yaml"
    line: int = 1
    fields: dict[FieldPath, int] = field(default_factory=dict)

    def line_of(self, path: FieldPath) -> int:
        return self.fields.get(path, self.line + len(path))


class Nowhere:
    """The origin of policies that no file holds."""

    file = "generated"

    def line_of(self, path: FieldPath) -> int:
        return 1


NOWHERE = Source(Nowhere())


def place(direction: Direction, index: int) -> Source:
    """Where a rule is in a policy of no file: each in a field of its own."""
    return Source(NOWHERE.origin, ("spec", direction.word, index))


# --- labels and selectors ------------------------------------------------------------------------


def labels(text: str) -> dict[str, str]:
    """``app=web,tier=front``."""
    return dict(part.split("=") for part in text.split(",") if part)


def selector(text: str) -> Selector:
    """``app=web,tier=front``: every label must be as given."""
    return Selector.of(
        Requirement(key, Operator.IN, (value,)) for key, value in labels(text).items()
    )


def label(key: str, *values: str, operator: Operator = Operator.IN) -> Selector:
    """A selector of one requirement."""
    return Selector.of([Requirement(key, operator, values)])


# --- pods ----------------------------------------------------------------------------------------


def pod(
    name: str,
    label_text: str | Mapping[str, str] = "",
    *addresses: str,
    workload: str = "",
    kind: str = "Deployment",
    ports: Iterable[ContainerPort] = (),
    node: str = "",
    phase: str = "",
    host_network: bool = False,
    template: bool = False,
) -> Pod:
    """``shop/web-0``; its workload is itself unless the name of one is given. It runs where it
    has an address and nothing else is said."""
    namespace, _, short = name.partition("/")
    return Pod(
        namespace=namespace,
        name=short,
        labels=labels(label_text) if isinstance(label_text, str) else label_text,
        workload=WorkloadRef(namespace, workload or short, kind if workload else "Pod"),
        addresses=addresses,
        ports=tuple(ports),
        node=node,
        phase=phase or ("Running" if addresses else ""),
        host_network=host_network,
        template=template,
    )


def port(name: str, number: int, protocol: Protocol = Protocol.TCP) -> ContainerPort:
    return ContainerPort(name, protocol, number)


# --- peers and ports of rules --------------------------------------------------------------------


def tcp(first: int | str, last: int = 0) -> PortMatch:
    if isinstance(first, str):
        return NamedPort(Protocol.TCP, first)
    return PortRange(Protocol.TCP, first, last or first)


def udp(first: int) -> PortMatch:
    return PortRange(Protocol.UDP, first, first)


def pods_in(namespace: str, label_text: str = "") -> PodPeer:
    return PodPeer(selector(label_text), namespace)


def pods_where(namespace_labels: str, label_text: str | None = None) -> PodPeer:
    return PodPeer(
        None if label_text is None else selector(label_text),
        namespaces=selector(namespace_labels),
    )


def block(text: str, *excepts: str) -> BlockPeer:
    return BlockPeer(_block(text), tuple(map(_block, excepts)))


def _block(text: str) -> Block:
    parsed = parse_block(text)
    assert parsed is not None
    return parsed


# --- policies ------------------------------------------------------------------------------------

WrittenRule = tuple[Iterable[Peer] | None, Iterable[PortMatch] | None]


def policy(
    name: str,
    subject: str = "",
    *,
    ingress: Iterable[WrittenRule] | None = None,
    egress: Iterable[WrittenRule] | None = None,
    line: int = 1,
    file: str = "policies.yaml",
) -> Policy:
    """A NetworkPolicy as its manifest has it; a direction that is None is not in force, an empty
    one allows nothing. A rule is its peers and its ports."""
    namespace, _, short = name.partition("/")
    origin = Document(file, line)
    rules = []
    isolates = []
    for direction, wanted in ((Direction.INGRESS, ingress), (Direction.EGRESS, egress)):
        if wanted is None:
            continue
        isolates.append(direction)
        for index, (peers, ports) in enumerate(wanted):
            rules.append(
                Rule(
                    direction=direction,
                    index=index,
                    action=Action.ALLOW,
                    peers=None if peers is None else tuple(peers),
                    ports=None if ports is None else tuple(ports),
                    source=Source(origin, ("spec", direction.word, index)),
                )
            )
    return Policy(
        kind="NetworkPolicy",
        namespace=namespace,
        name=short,
        tier=NETWORK_POLICY_TIER,
        pods=selector(subject),
        isolates=tuple(isolates),
        rules=tuple(rules),
        source=Source(origin),
    )


def allow(
    direction: Direction,
    peers: tuple[Peer, ...] | None = None,
    ports: tuple[PortMatch, ...] | None = None,
    action: Action = Action.ALLOW,
    index: int = 0,
) -> Rule:
    """A rule, of whatever API."""
    return Rule(direction, index, action, peers, ports, place(direction, index))


def policy_of(
    name: str,
    *rules: Rule,
    isolates: tuple[Direction, ...] | None = None,
    pods: Selector = EVERYTHING,
    tier: Tier = NETWORK_POLICY_TIER,
    order: float = 0.0,
) -> Policy:
    """A policy of these rules, of any tier, of a namespace or (without one in its name) of all;
    it isolates in the directions of its rules unless told otherwise."""
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


# --- clusters ------------------------------------------------------------------------------------


def cluster(
    pods: Iterable[Pod],
    policies: Iterable[Policy] = (),
    *,
    namespaces: Mapping[str, str] | None = None,
    nodes: Iterable[Node] = (),
    services: Iterable[Service] = (),
) -> Cluster:
    """``namespaces`` gives labels to some; the others have their name only."""
    pods, policies = tuple(pods), tuple(policies)
    given = namespaces or {}
    names = {
        *given,
        *(one.namespace for one in pods),
        *(one.namespace for one in policies if one.namespace),
    }
    return Cluster(
        namespaces=tuple(
            Namespace(name, {METADATA_NAME: name, **labels(given.get(name, ""))})
            for name in sorted(names)
        ),
        pods=pods,
        policies=policies,
        nodes=tuple(nodes),
        services=tuple(services),
    )


def xy_cluster(pods: Iterable[Pod], *policies: Policy, nodes: Iterable[Node] = ()) -> Cluster:
    """Namespaces x and y, the label ``team`` of which is their name in capitals."""
    teams = {name: f"team={name.upper()}" for name in ("x", "y")}
    return cluster(pods, policies, namespaces=teams, nodes=nodes)
