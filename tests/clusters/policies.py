"""Policies made up for tests: the vocabulary of generated clusters, and rules out of it.

The vocabulary is small on purpose: labels, ports, names and addresses collide all the time, and
blocks begin and end next to addresses that are in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from itertools import combinations, product
from typing import Protocol, TypeVar

from msgspec.structs import replace

from kubeverdict.model.addresses import Block, family_of
from kubeverdict.model.cluster import (
    METADATA_NAME,
)
from kubeverdict.model.policy import (
    NETWORK_POLICY_ORDER,
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    EndSet,
    ExceptPeer,
    Layer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
    Tier,
)
from kubeverdict.model.ports import (
    MAX_PORT,
    IcmpMatch,
    NamedPort,
    PortMatch,
    PortRange,
)
from kubeverdict.model.ports import Protocol as Transport
from kubeverdict.model.selectors import Operator, Requirement, Selector
from tests.clusters.records import NOWHERE, place

T = TypeVar("T")


class Choose(Protocol):
    """Whoever decides: hypothesis or a random number generator. The first option is simplest."""

    def __call__(self, options: Sequence[T], /) -> T: ...


NAMESPACES = ("ops", "shop", "data", "lab")
# The last is one that not every CNI sees.
KEYS = ("app", "tier", "kubernetes.io/env")
VALUES = ("web", "db", "")
PORT_NAMES = ("http", "dns", "nowhere")
NUMBERS = (80, 81, 8080)


def _some(items: Sequence[T]) -> list[tuple[T, ...]]:
    """Every way to take one or more of ``items``."""
    return [each for size in range(1, len(items) + 1) for each in combinations(items, size)]


def _requirements(key: str, values: Sequence[str]) -> list[Requirement]:
    return [
        *(Requirement(key, Operator.IN, tuple(sorted(each))) for each in _some(values)),
        *(Requirement(key, Operator.NOT_IN, tuple(sorted(each))) for each in _some(values)),
        Requirement(key, Operator.EXISTS),
        Requirement(key, Operator.DOES_NOT_EXIST),
    ]


LABELS = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product((None, *VALUES), repeat=len(KEYS))
]
POD_REQUIREMENTS = [each for key in KEYS for each in _requirements(key, VALUES)]
NAMESPACE_REQUIREMENTS = [
    *_requirements(METADATA_NAME, NAMESPACES[:2]),
    *_requirements("team", VALUES),
]
NODE_REQUIREMENTS = _requirements("zone", ("a", "b"))
# What selectors of other APIs than NetworkPolicy ask beside.
PARTIAL_REQUIREMENTS = [
    Requirement(key, operator, texts)
    for key in KEYS
    for operator in (Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH)
    for texts in (("w",), ("b",), ("b", "e"), ("",), ("web",), ("x",))
]
ICMP_TYPES: tuple[PortMatch, ...] = (
    PortRange(Transport.ICMP, 0, 0),
    IcmpMatch(4),
    IcmpMatch(6),
    IcmpMatch(4, 8),
    IcmpMatch(4, 3, 4),
    IcmpMatch(4, 3),
    IcmpMatch(6, 128),
    IcmpMatch(6, 255),
)
TEAMS = [{}, *({"team": value} for value in VALUES)]

RANGES = (
    *((number, number) for number in (80, 81, 8080, 1, MAX_PORT)),
    *((1, MAX_PORT), (80, 81), (79, 80), (81, 8080), (1, 80), (80, MAX_PORT)),
)
# TCP more often, so that a rule, a container port and a flow meet on one protocol.
PROTOCOLS = (Transport.TCP, Transport.TCP, Transport.TCP, Transport.UDP, Transport.SCTP)

# Pods have 10.0.0.1, 10.0.0.2, … and fd00::1, …; nodes have 192.168.0.x and fd00:1::x.
POD_BASE = {4: int(ip_address("10.0.0.0")), 6: int(ip_address("fd00::"))}
NODE_NAMES = ("node-1", "node-2", "node-3")
EXTERNAL = ("203.0.113.9", "198.51.100.7", "2001:db8::9")
SIGNIFICANT = (
    *(f"10.0.0.{number}" for number in range(1, 9)),
    *(f"192.168.0.{number}" for number in range(1, 4)),
    *(f"fd00::{number}" for number in range(1, 9)),
    *(f"fd00:1::{number}" for number in range(1, 4)),
    *EXTERNAL,
)
PREFIXES = {4: (0, 1, 8, 24, 29, 30, 31, 32), 6: (0, 1, 16, 64, 125, 126, 127, 128)}


def _blocks() -> list[Block]:
    found = {
        ip_network(f"{text}/{prefix}", strict=False)
        for text in SIGNIFICANT
        for prefix in PREFIXES[ip_address(text).version]
    }
    blocks = [
        Block(family_of(each.version), int(each.network_address), each.prefixlen) for each in found
    ]
    return sorted(blocks, key=lambda block: (block.family, block.prefix, block.first))


BLOCKS = _blocks()
PARTS = {
    block: [
        part
        for part in BLOCKS
        if part.family == block.family
        and part.prefix > block.prefix
        and block.first <= part.first <= block.last
    ]
    for block in BLOCKS
}

ADMIN = Tier(100.0, "admin", Action.PASS)
MIDDLE = Tier(500.0, "middle", Action.DENY)
BASELINE = Tier(2_000_000.0, "baseline", Action.PASS)
MESH = Layer(1, "mesh")
# Ties in a tier's order are broken by its name. Layers come first: tiers of another layer are
# behind all of the network policies, whatever their order.
TIERS = (
    *(ADMIN, BASELINE, MIDDLE, Tier(500.0, "later", Action.PASS)),
    *(Tier(0.0, "mesh", Action.DENY, MESH), Tier(1.0, "mesh-late", Action.PASS, MESH)),
    NETWORK_POLICY_TIER,  # of other APIs, before and behind NetworkPolicy
)
DIRECTIONS = ((Direction.INGRESS,), (Direction.EGRESS,), (Direction.INGRESS, Direction.EGRESS))
OFTEN, RARELY = (True, True, True, False), (False,) * 5 + (True,)


# -- policies ---------------------------------------------------------------------------------


def selector(choose: Choose, requirements: Sequence[Requirement]) -> Selector:
    return Selector.of(choose(requirements) for _ in range(choose((0, 0, 0, 1, 1, 2))))


def _expression(choose: Choose, requirements: Sequence[Requirement], depth: int = 0) -> Selector:
    """A selector as other APIs have them: with or, not, and parts of values."""
    deeper = ("or", "not", "and") if depth < 2 else ()
    kind = choose(("plain", "plain", "plain", "partial", *deeper))
    if kind == "plain":
        return selector(choose, requirements)
    if kind == "partial":
        return Selector.of([choose(PARTIAL_REQUIREMENTS)])
    parts = [_expression(choose, requirements, depth + 1) for _ in range(choose((1, 2)))]
    combined = {"or": Selector.any_of, "not": Selector.none_of, "and": Selector.all_of}[kind]
    return combined(parts)


def any_policy(choose: Choose, namespaces: Sequence[str], number: int, tiers: bool) -> Policy:
    if tiers and choose((True, False)):
        return _tier_policy(choose, namespaces, number)
    return _network_policy(choose, namespaces, number)


def _network_policy(choose: Choose, namespaces: Sequence[str], number: int) -> Policy:
    namespace = choose(namespaces)
    isolates = choose(DIRECTIONS)
    # The name decides between policies that both allow, so it must not follow the number.
    name = f"{choose('abc')}-{number}"
    pods = selector(choose, POD_REQUIREMENTS)
    rules = tuple(
        _rule(choose, direction, index, Action.ALLOW, namespace)
        for direction in isolates
        for index in range(choose((1, 0, 2)))
    )
    return Policy(
        kind="NetworkPolicy",
        namespace=namespace,
        name=name,
        tier=NETWORK_POLICY_TIER,
        pods=pods,
        isolates=isolates,
        rules=rules,
        source=NOWHERE,
        unlisted_rules=unlisted(rules, isolates) if number % 3 == 2 else (),
        order=NETWORK_POLICY_ORDER,
        tiebreak=f"{namespace}/knp.default.{name}",
    )


def unlisted(rules: Sequence[Rule], isolates: Sequence[Direction]) -> tuple[Rule, ...]:
    """The same rules once more for the direction that a policy's types leave out, if they do.
    They bring no block and no port with them that the others have not."""
    (missing,) = set(Direction) - set(isolates) or (None,)
    if missing is None:
        return ()
    return tuple(
        replace(rule, direction=missing, source=place(missing, rule.index)) for rule in rules
    )


def _tier_policy(choose: Choose, namespaces: Sequence[str], number: int) -> Policy:
    """Of whatever API: any tier, any action, isolating or not, of a namespace or of none. What adds
    up with NetworkPolicies allows and denies."""
    namespace = choose((None, None, *namespaces))
    tier = choose((*TIERS, NETWORK_POLICY_TIER))
    actions = (Action.ALLOW, Action.DENY) if tier == NETWORK_POLICY_TIER else tuple(Action)
    return Policy(
        kind=choose(("TierPolicy", "ClusterTierPolicy")),
        namespace=namespace,
        name=f"{choose('abc')}-{number}",
        tier=tier,
        pods=_expression(choose, POD_REQUIREMENTS),
        isolates=choose(((), *DIRECTIONS)),
        rules=tuple(
            _tier_rule(choose, direction, index, actions, namespace)
            for direction in choose(DIRECTIONS)
            for index in range(choose((1, 0, 2)))
        ),
        source=NOWHERE,
        namespaces=_expression(choose, NAMESPACE_REQUIREMENTS),
        order=choose((0.0, 0.0, 10.0, 2.5, NETWORK_POLICY_ORDER, 5_000.0)),
        tiebreak=choose(("", "", "default.p", "shop/default.p")),
    )


def _rule(
    choose: Choose, direction: Direction, index: int, action: Action, namespace: str | None
) -> Rule:
    peers: tuple[Peer, ...] | None = None
    ports: tuple[PortMatch, ...] | None = None
    if choose(OFTEN):
        peers = tuple(_peer(choose, namespace) for _ in range(choose((1, 2, 3, 1, 2, 0))))
        if choose(RARELY):
            peers = _nested_blocks(choose)
    if choose(OFTEN):
        ports = tuple(_port(choose) for _ in range(choose((1, 2, 3, 1, 2, 0))))
    return Rule(direction, index, action, peers, ports, place(direction, index))


def _tier_rule(
    choose: Choose,
    direction: Direction,
    index: int,
    actions: Sequence[Action],
    namespace: str | None,
) -> Rule:
    """A rule with what NetworkPolicy cannot say."""
    plain = _rule(choose, direction, index, choose(actions), namespace)
    peers: tuple[Peer, ...] | None = plain.peers
    ports: tuple[PortMatch, ...] | None = plain.ports
    if choose((False, True)):
        peers = (*(peers or ()), *(_other_peer(choose, namespace) for _ in range(choose((1, 2)))))
    if choose(RARELY):
        ports = (*(ports or ()), choose(ICMP_TYPES))
    excluded = choose(RARELY)
    return replace(
        plain,
        peers=peers,
        ports=ports,
        excluded_ports=tuple(_excluded(choose) for _ in range(choose((1, 2)))) if excluded else (),
        subject=_subject(choose, namespace) if choose(RARELY) else None,
        precedence=choose((None, None, None, 0.0, 2.5, 5.0)),
    )


def _knows_nodes(peer: Peer) -> bool:
    """Whether it depends on the node of the subject who a peer is: that is nobody's subject."""
    parts = (peer.peer, *peer.excluded) if isinstance(peer, ExceptPeer) else ()
    own = isinstance(peer, NamedPeer) and peer.ends in (EndSet.HOST, EndSet.REMOTE_NODE)
    return own or any(map(_knows_nodes, parts))


def _excluded(choose: Choose) -> PortRange | NamedPort:
    if choose(RARELY):
        return PortRange(Transport.ICMP, 0, 0)
    protocol = choose(PROTOCOLS)
    known: tuple[tuple[int, int] | str, ...] = (*RANGES, *PORT_NAMES)
    what = choose(known)
    return NamedPort(protocol, what) if isinstance(what, str) else PortRange(protocol, *what)


def _subject(choose: Choose, namespace: str | None) -> Peer:
    if choose(RARELY):
        peer = _other_peer(choose, namespace)
        return _peer(choose, namespace) if _knows_nodes(peer) else peer
    pods = _expression(choose, POD_REQUIREMENTS) if choose(OFTEN) else None
    if choose((True, False)):
        return PodPeer(pods, namespace=choose((namespace, *NAMESPACES)))
    return PodPeer(pods, namespaces=_expression(choose, NAMESPACE_REQUIREMENTS))


def _other_peer(choose: Choose, namespace: str | None, depth: int = 0) -> Peer:
    kind = choose(("set", "nodes", "pods", *(("except",) * 3 if depth < 2 else ())))
    if kind == "set":
        return NamedPeer(choose(list(EndSet)))
    if kind == "nodes":
        return NodePeer(selector(choose, NODE_REQUIREMENTS))
    if kind == "pods":
        pods = _expression(choose, POD_REQUIREMENTS)
        return PodPeer(pods, namespaces=_expression(choose, NAMESPACE_REQUIREMENTS))
    several = choose((1, 2))
    plain = choose((True, False))
    inside = _peer(choose, namespace) if plain else _other_peer(choose, namespace, depth + 1)
    return ExceptPeer(
        inside, tuple(_other_peer(choose, namespace, depth + 1) for _ in range(several))
    )


def _port(choose: Choose) -> PortMatch:
    protocol = choose(PROTOCOLS)
    if choose((True, False)):
        return PortRange(protocol, *choose(RANGES))
    return NamedPort(protocol, choose(PORT_NAMES))


def _peer(choose: Choose, namespace: str | None) -> Peer:
    if choose((True, False)):
        if namespace is not None and choose((True, False)):
            return PodPeer(selector(choose, POD_REQUIREMENTS), namespace=namespace)
        pods = selector(choose, POD_REQUIREMENTS) if choose((True, False)) else None
        return PodPeer(pods, namespaces=selector(choose, NAMESPACE_REQUIREMENTS))
    return _block_peer(choose, choose(BLOCKS))


def _block_peer(choose: Choose, block: Block) -> BlockPeer:
    parts = PARTS[block]
    excepts = choose((0, 0, 1, 2)) if parts else 0
    return BlockPeer(block, tuple(choose(parts) for _ in range(excepts)))


def _nested_blocks(choose: Choose) -> tuple[Peer, ...]:
    """A block and others inside it: what one of them excepts, another may hold."""
    outer = choose([block for block in BLOCKS if PARTS[block]])
    inner = [choose(PARTS[outer]) for _ in range(choose((1, 2)))]
    return tuple(_block_peer(choose, block) for block in (outer, *inner))
