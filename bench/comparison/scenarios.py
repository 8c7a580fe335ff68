"""The clusters that dataplanes are compared on: one node with tens of pods, in a large cluster.

A scenario is a number of policies that select pods of the node, dealt evenly, and a number of
rules in each. Policies are about ingress and egress in turn. The connection that is timed, from
``CLIENT`` to ``SERVER``, is allowed by exactly one rule a direction, in the middle of the middle
policy of each end: a dataplane that walks rules in order walks half of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from bench.shapes.sketch import RuleSketch, Sketch, labelled
from kubeverdict import Cluster, CompiledPolicy, compile_cluster
from kubeverdict.model.addresses import Block, format_address, parse_block
from kubeverdict.model.cluster import ContainerPort, Node, Pod, WorkloadRef
from kubeverdict.model.policy import BlockPeer, Peer, PodPeer, Policy
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.profile import PROFILES

NODE = "node-a"
NODE_ADDRESS = "10.1.0.1"
SHOP = "shop"
SERVER, CLIENT, FLOODER = 0, 1, 2
TCP_PORT, UDP_PORT = 8080, 8081
ADDED_PEER, ADDED_PORT = "172.16.77.7", 7000
"""Who may reach the server, over UDP, after :func:`with_policy`, and by no other rule."""

_TEAMS, _APPS = 20, 50
# Clusters have many policies and few kinds of services.
_SERVICES = (80, 443, 3306, 5432, 5672, 6379, 7000, 8443, 9042, 9092, 9200, 27017)
# The policy that selects what :func:`with_pod` adds, where there is no crowd.
_SELECTS_NEW_POD = 3
_PODS_A_NODE = 50
_LOCAL_NETWORK = (10 << 24) + (1 << 16)
_REMOTE_NETWORK = (10 << 24) + (2 << 16)


@dataclass(frozen=True)
class TrafficScenario:
    """``policies`` policies with ``rules`` rules each; ``local`` pods on the node,
    ``pods`` elsewhere. ``crowd`` pods more are what the rules of a set of that size select."""

    name: str
    policies: int
    rules: int = 1
    local: int = 30
    pods: int = 10_000
    crowd: int = 0
    seed: int = 1

    @cached_property
    def cluster(self) -> Cluster:
        return _cluster(self)

    def compiled(
        self, profile: str = "reference", cluster: Cluster | None = None
    ) -> CompiledPolicy:
        return compile_cluster(cluster or self.cluster, PROFILES[profile])

    @property
    def local_pods(self) -> tuple[Pod, ...]:
        return tuple(self.cluster.pods[: self.local])

    @property
    def description(self) -> str:
        """What it is, in words."""
        text = (
            f"{self.policies:,} policies on {self.local} pods, rules in each: {self.rules:,}; "
            f"{self.pods + self.crowd:,} pods elsewhere"
        )
        return text + (f", {self.crowd:,} of them in every rule's set" if self.crowd else "")


def local_names(count: int) -> Iterator[tuple[str, str]]:
    """Namespace and name of each pod of the node."""
    return ((SHOP, f"pod-{number:02d}") for number in range(count))


def local_address(number: int) -> str:
    """The address of a pod of the node."""
    return format_address(4, _LOCAL_NETWORK + 2 + number)


POLICY_COUNTS = (10, 100, 1_000, 10_000)
POD_COUNTS = (1_000, 10_000, 50_000)
RULE_COUNTS = (1, 10, 100, 1_000)

SCENARIOS: dict[str, TrafficScenario] = {
    scenario.name: scenario
    for scenario in (
        *(TrafficScenario(f"policies-{count}", count) for count in POLICY_COUNTS),
        # On ten pods: kube-router needs a minute and a half to install 30 times 1,000 rules.
        *(TrafficScenario(f"rules-{count}", 10, count) for count in RULE_COUNTS),
        TrafficScenario("change", 5_000),
        TrafficScenario("crowd", 30, crowd=10_000, pods=1_000),
        *(TrafficScenario(f"pods-{count}", 1_000, pods=count) for count in POD_COUNTS),
        # Small enough that one pair a rule can be written out, and all kinds of rules occur.
        TrafficScenario("proof", 60, 4, pods=400),
        TrafficScenario("proof-wide", 10, 40, pods=400),
    )
}


def with_policy(scenario: TrafficScenario) -> Cluster:
    """The cluster after one policy more, which lets ``ADDED_PEER`` reach ``ADDED_PORT``."""
    sketch = Sketch("comparison", 0)
    peer = BlockPeer(_block(f"{ADDED_PEER}/32"))
    ports = (PortRange(Protocol.UDP, ADDED_PORT, ADDED_PORT),)
    server = labelled("app", local_app(SERVER))
    sketch.policy(SHOP, "z-added", server, ingress=[((peer,), ports)])
    old = scenario.cluster
    return Cluster(old.namespaces, old.pods, (*old.policies, *sketch.policies), old.nodes)


def with_pod(scenario: TrafficScenario) -> Cluster:
    """The cluster after one more pod elsewhere: of the crowd, where there is one."""
    old = scenario.cluster
    index = scenario.pods + scenario.crowd
    pod = _remote_pod(scenario, index)
    if not scenario.crowd:
        address = format_address(4, _REMOTE_NETWORK + index)
        pod = _pod("team-00", "newest", {"app": "app-00"}, address, "node-0000")
    return Cluster(old.namespaces, (*old.pods, pod), old.policies, old.nodes)


def rewritten(scenario: TrafficScenario) -> Cluster:
    """A cluster with the same pods where almost every rule is another one."""
    old = scenario.cluster
    return Cluster(
        old.namespaces,
        old.pods,
        replace(scenario, seed=scenario.seed + 1).cluster.policies,
        old.nodes,
    )


def elsewhere(count: int, seed: int) -> list[Policy]:
    """Policies of one rule that select pods of other nodes."""
    sketch = Sketch("comparison", 0)
    chance = random.Random(seed)
    for number in range(count):
        peers = [peer for peer in (_peer(chance), _peer(chance)) if _is_written_anywhere(peer)]
        rules = [(tuple(peers) or None, _ports(chance))]
        inward = number % 2 == 0
        sketch.policy(
            f"team-{number % _TEAMS:02d}",
            f"elsewhere-{number:05d}",
            labelled("app", f"app-{number // _TEAMS % _APPS:02d}"),
            ingress=rules if inward else None,
            egress=None if inward else rules,
        )
    return sketch.policies


def remote_pod(namespace: str, name: str, app: str, offset: int) -> Pod:
    """A pod elsewhere, with an address that is ``offset`` behind the first of them."""
    return _pod(
        namespace, name, {"app": app}, format_address(4, _REMOTE_NETWORK + offset), "node-0000"
    )


def local_pod(name: str, app: str, address: str) -> Pod:
    """A pod of the node."""
    return _pod(SHOP, name, {"app": app}, address, NODE)


def _is_written_anywhere(peer: Peer) -> bool:
    """Whether a policy of any namespace can say it."""
    return not isinstance(peer, PodPeer) or peer.namespace is None


def _cluster(scenario: TrafficScenario) -> Cluster:
    sketch = Sketch("comparison", 0)
    sketch.namespace(SHOP, {"team": "shop"})
    for team in range(_TEAMS):
        sketch.namespace(f"team-{team:02d}", {"team": f"team-{team:02d}"})
    if scenario.crowd:
        sketch.namespace("crowd", {"team": "crowd"})
    for number, (namespace, name) in enumerate(local_names(scenario.local)):
        labels = {"app": local_app(number)}
        sketch.pods.append(_pod(namespace, name, labels, local_address(number), NODE))
    sketch.pods += [_remote_pod(scenario, index) for index in range(scenario.pods + scenario.crowd)]
    chance = random.Random(scenario.seed)
    for number in range(scenario.policies):
        round_, subject = divmod(number, scenario.local)
        rules = list(_rules(scenario, chance))
        if subject in (SERVER, CLIENT) and round_ == _middle(scenario):
            rules[scenario.rules // 2] = (
                (_local_peer(CLIENT + SERVER - subject),),
                (
                    PortRange(Protocol.TCP, TCP_PORT, TCP_PORT),
                    PortRange(Protocol.UDP, UDP_PORT, UDP_PORT),
                ),
            )
        if number == _SELECTS_NEW_POD and not scenario.crowd:
            newest = labelled("app", "app-00")
            rules[0] = (PodPeer(newest, namespaces=labelled("team", "team-00")),), _ports(chance)
        inward = (round_ + subject) % 2 == 0
        sketch.policy(
            SHOP,
            f"policy-{number:05d}",
            labelled("app", local_app(subject)),
            ingress=rules if inward else None,
            egress=None if inward else rules,
        )
    nodes = [Node(NODE, (NODE_ADDRESS,))]
    for index in range(-(-(scenario.pods + scenario.crowd) // _PODS_A_NODE)):
        nodes.append(Node(f"node-{index:04d}", (format_address(4, (172 << 24) + index + 1),)))
    return Cluster(
        tuple(sketch.namespaces), tuple(sketch.pods), tuple(sketch.policies), tuple(nodes)
    )


def _middle(scenario: TrafficScenario) -> int:
    """The round of the policies in the middle of those that isolate the server's ingress, which
    is that of the client's egress too."""
    return -(-scenario.policies // scenario.local) // 2 & ~1


def local_app(number: int) -> str:
    """The value of the label by which policies select a pod of the node."""
    return f"local-{number:02d}"


def _local_peer(number: int) -> Peer:
    return PodPeer(labelled("app", local_app(number)), SHOP)


def _remote_pod(scenario: TrafficScenario, index: int) -> Pod:
    address = format_address(4, _REMOTE_NETWORK + index)
    node = f"node-{index // _PODS_A_NODE:04d}"
    if scenario.crowd and index >= scenario.pods:
        return _pod("crowd", f"pod-{index}", {"app": "crowd"}, address, node)
    team, app = index % _TEAMS, index // _TEAMS % _APPS
    return _pod(f"team-{team:02d}", f"pod-{index}", {"app": f"app-{app:02d}"}, address, node)


def _pod(namespace: str, name: str, labels: dict[str, str], address: str, node: str) -> Pod:
    # One name, two numbers, as during a migration that one team has finished.
    number = 9001 if namespace == "team-01" else 9000
    return Pod(
        namespace,
        name,
        labels,
        WorkloadRef(namespace, name, "Pod"),
        (address,),
        (ContainerPort("metrics", Protocol.TCP, number),),
        node=node,
        phase="Running",
    )


def _rules(scenario: TrafficScenario, chance: random.Random) -> Iterator[RuleSketch]:
    """Rules that allow no pod of this node to reach another pod of it on the ports that are
    timed."""
    for _ in range(scenario.rules):
        if scenario.crowd:
            yield (PodPeer(None, "crowd"),), _ports(chance)
            continue
        peers = [_peer(chance)]
        if chance.random() < 0.1:
            peers.append(_peer(chance))
        yield (tuple(peers), _ports(chance))


def _peer(chance: random.Random) -> Peer:
    kind = chance.random()
    team = f"team-{chance.randrange(_TEAMS):02d}"
    app = labelled("app", f"app-{chance.randrange(_APPS):02d}")
    if kind < 0.75:
        return PodPeer(app, namespaces=labelled("team", team))
    if kind < 0.78:
        return PodPeer(app)
    if kind < 0.8:
        return PodPeer(labelled("app", f"local-{chance.randrange(5, 30):02d}"), SHOP)
    if kind < 0.9:
        first = _block(f"10.2.{chance.randrange(4)}.0/24")
        return BlockPeer(first)
    if kind < 0.95:
        return BlockPeer(_block("0.0.0.0/0"), (_block("10.0.0.0/8"), _block("172.16.0.0/12")))
    number = chance.randrange(250)
    return BlockPeer(
        _block(f"198.18.{number}.0/24"),
        (_block(f"198.18.{number}.{16 * chance.randrange(16)}/28"),),
    )


def _ports(chance: random.Random) -> tuple[PortMatch, ...] | None:
    kind = chance.random()
    first = chance.choice(_SERVICES)
    if kind < 0.6:
        return (PortRange(Protocol.TCP, first, first),)
    if kind < 0.75:
        return (PortRange(Protocol.TCP, first, first), PortRange(Protocol.UDP, 53, 53))
    if kind < 0.85:
        low = 30000 + 100 * chance.randrange(4)
        return (PortRange(Protocol.TCP, low, low + 99),)
    if kind < 0.9:
        return (NamedPort(Protocol.TCP, "metrics"),)
    if kind < 0.93:
        return (PortRange(Protocol.SCTP, 3868, 3868), PortRange(Protocol.UDP))
    if kind < 0.96:
        # More than one multiport match can hold.
        return tuple(PortRange(Protocol.TCP, 20000 + 7 * n, 20000 + 7 * n) for n in range(18))
    return None


def _block(text: str) -> Block:
    block = parse_block(text)
    assert block is not None
    return block
