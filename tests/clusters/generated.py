"""Clusters, profiles and flows made up for tests.

One builder serves two kinds of test. Given hypothesis to choose, it makes small clusters that
shrink; given a seeded ``random.Random`` it makes larger ones, so that thousands of flows can be
compared on one of them. The vocabulary is small on purpose: labels, ports, names and addresses
collide all the time, and blocks begin and end next to addresses that are in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import product
from random import Random
from typing import Literal, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.model.addresses import BITS, Family, family_of
from kubeverdict.model.cluster import (
    METADATA_NAME,
    Cluster,
    ContainerKind,
    ContainerPort,
    Namespace,
    Node,
    Pod,
    WorkloadRef,
)
from kubeverdict.model.policy import BlockPeer, Policy, Rule
from kubeverdict.model.ports import (
    MAX_PORT,
    PORT_PROTOCOLS,
    IcmpMatch,
    PortRange,
    icmp_port,
)
from kubeverdict.model.ports import Protocol as Transport
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.clusters.policies import (
    EXTERNAL,
    LABELS,
    NAMESPACES,
    NODE_NAMES,
    NUMBERS,
    POD_BASE,
    POD_REQUIREMENTS,
    PROTOCOLS,
    RARELY,
    TEAMS,
    Choose,
    T,
    any_policy,
    selector,
)

# -- the builder -----------------------------------------------------------------------------


def build_cluster(choose: Choose, pods: int, policies: int, tiers: bool = False) -> Cluster:
    """A cluster of ``pods`` pods and ``policies`` policies; with ``tiers``, some of these are in
    other tiers than NetworkPolicy's, with Deny and Pass rules."""
    namespaces = NAMESPACES[: choose((2, 2, 3, 4))]
    return Cluster(
        namespaces=tuple(
            Namespace(name, {METADATA_NAME: name, **choose(TEAMS)}) for name in namespaces
        ),
        pods=tuple(_pod(choose, namespaces, number) for number in range(pods)),
        policies=tuple(any_policy(choose, namespaces, number, tiers) for number in range(policies)),
        nodes=tuple(_node(choose, name) for name in NODE_NAMES[: choose((0, 1, 2))]),
    )


def _node(choose: Choose, name: str) -> Node:
    number = name[-1]
    addresses = [f"192.168.0.{number}", f"fd00:1::{number}", f"203.0.113.{number}"]
    labels = choose(({}, {"zone": "a"}, {"zone": "b"}))
    return Node(name, tuple(addresses[: choose((1, 2, 3))]), labels)


def _pod(choose: Choose, namespaces: Sequence[str], number: int) -> Pod:
    namespace, name = choose(namespaces), f"pod-{number}"
    kind = choose(("plain",) * 8 + ("host", "host", "template", "finished", "no address"))
    node = choose(("node-1", "node-2", "node-3", ""))
    if kind == "template":
        node = ""
    if kind == "host":
        host = node[-1:] or "9"
        both = [f"192.168.0.{host}", f"fd00:1::{host}"]
    else:
        # Now and then two pods have one address: status is a snapshot and addresses move on.
        place = 1 if choose(RARELY) else number + 1
        both = [str(ip_address(POD_BASE[4] + place)), str(ip_address(POD_BASE[6] + place))]
    addresses = choose((both, both, both[::-1], both[:1], both[1:]))
    phase = "" if kind == "template" else choose(("Running", "Running", "Running", "Pending", ""))
    if kind == "finished" or (kind == "host" and choose(RARELY)):
        phase = choose(("Succeeded", "Failed"))
    if kind in ("template", "no address") or (kind == "host" and choose(RARELY)):
        addresses = []
    return Pod(
        namespace=namespace,
        name=name,
        labels=choose(LABELS),
        workload=WorkloadRef(namespace, name, "Pod"),
        addresses=tuple(addresses),
        ports=tuple(_container_port(choose) for _ in range(choose((0, 1, 2, 3)))),
        node=node,
        phase=phase,
        host_network=kind == "host",
        template=kind == "template",
    )


def _container_port(choose: Choose) -> ContainerPort:
    name = choose(("http", "http", "dns", ""))
    return ContainerPort(name, choose(PROTOCOLS), choose(NUMBERS), choose(list(ContainerKind)))


def change_cluster(choose: Choose, cluster: Cluster, tiers: bool = False) -> Cluster:
    """Another version of a cluster: some pods, policies and namespace labels are new, some
    gone, most as they were."""
    names = [namespace.name for namespace in cluster.namespaces]
    changes = ("keep",) * 6 + ("drop", "relabel", "replace")

    def pods() -> Iterator[Pod]:
        for number, pod in enumerate((*cluster.pods, None)):
            change = "replace" if pod is None else choose(changes)
            if pod is None or change == "replace":
                # A new pod for the last, at a name and address of its own.
                yield _pod(choose, names, number)
            elif change != "drop":
                yield replace(pod, labels=choose(LABELS)) if change == "relabel" else pod

    def policies() -> Iterator[Policy]:
        for number, policy in enumerate((*cluster.policies, None)):
            change = "replace" if policy is None else choose(changes)
            if policy is None or change == "replace":
                yield any_policy(choose, names, number, tiers)
            elif change != "drop":
                relabelled = replace(policy, pods=selector(choose, POD_REQUIREMENTS))
                yield relabelled if change == "relabel" else policy

    return replace(
        cluster,
        namespaces=tuple(
            replace(each, labels={METADATA_NAME: each.name, **choose(TEAMS)})
            if choose(RARELY)
            else each
            for each in cluster.namespaces
        ),
        pods=tuple(pods()),
        policies=tuple(policies()),
    )


# -- flows worth asking about ----------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """One question. A family of None leaves the choice to whoever answers."""

    source: Pod | str
    destination: Pod | str
    protocol: Transport
    port: int
    family: Family | None


def ends(cluster: Cluster, managed: Sequence[Pod]) -> list[Pod | str]:
    """The managed pods, and addresses: all that are in use and those at the edges of the blocks
    that policies name, inside and outside. IPv6 is spelt in full: texts need not be canonical."""
    numbers: set[tuple[Family, int]] = set()
    for text in (
        *(text for pod in cluster.pods for text in pod.addresses),
        *(text for node in cluster.nodes for text in node.addresses),
        *EXTERNAL,
    ):
        address = ip_address(text)
        numbers.add((family_of(address.version), int(address)))
    for policy in cluster.policies:
        for rule in policy.rules:
            for peer in rule.peers or ():
                if isinstance(peer, BlockPeer):
                    for block in (peer.block, *peer.excepts):
                        edges = (block.first - 1, block.first, block.last, block.last + 1)
                        numbers.update((block.family, edge) for edge in edges)
    texts = [
        IPv4Address(number).compressed if family == 4 else IPv6Address(number).exploded
        for family, number in sorted(numbers)
        if 0 <= number < 1 << BITS[family]
    ]
    return [*managed, *texts]


def services(cluster: Cluster) -> list[tuple[Transport, int]]:
    """Protocols and ports: the edges of every range and every container port, a port of another
    protocol than the range's now and then, and what has no port at all."""
    found = set(product(PORT_PROTOCOLS, (0, 80, MAX_PORT)))
    for policy in cluster.policies:
        for rule in policy.rules:
            for port in (*(rule.ports or ()), *rule.excluded_ports):
                if isinstance(port, IcmpMatch):
                    types = (0, port.icmp_type or 8), (1, port.icmp_type or 8)
                    codes = {port.code or 0, 1}
                    found.update(
                        (Transport.ICMP, icmp_port(port.version, kind + more, code))
                        for more, kind in types
                        for code in codes
                        if kind + more < 256
                    )
                elif isinstance(port, PortRange) and port.protocol.has_ports:
                    edges = (port.first - 1, port.first, port.last, port.last + 1)
                    found.update((port.protocol, edge) for edge in edges if edge <= MAX_PORT)
    for pod in cluster.pods:
        found.update((port.protocol, port.number) for port in pod.ports)
    return [*sorted(found), (Transport.ICMP, 0), (Transport.OTHER, 0)]


def random_probes(cluster: Cluster, managed: Sequence[Pod], count: int, seed: int) -> list[Probe]:
    """``count`` flows of a cluster, half of their ends managed pods, many to container ports."""
    random = Random(seed)
    anyone, ports = ends(cluster, managed), services(cluster)
    crowds: list[Sequence[Pod | str]] = [managed, anyone] if managed else [anyone]
    families: tuple[Family | None, ...] = (None, None, 4, 6)

    def probe() -> Probe:
        source, destination = (random.choice(random.choice(crowds)) for _ in range(2))
        protocol, port = random.choice(ports)
        if isinstance(destination, Pod) and destination.ports and random.random() < 0.5:
            declared = random.choice(destination.ports)
            protocol, port = declared.protocol, declared.number
        return Probe(source, destination, protocol, port, random.choice(families))

    return [probe() for _ in range(count)]


def random_cluster(seed: int, pods: int = 150, policies: int = 40, tiers: bool = False) -> Cluster:
    """The cluster of this seed: the same one every time."""
    return build_cluster(Random(seed).choice, pods, policies, tiers)


def without_icmp_types(cluster: Cluster) -> Cluster:
    """The cluster without rules that name types of ICMP, which not everybody can distinguish."""

    def plain(rule: Rule) -> Rule:
        ports = rule.ports and tuple(one for one in rule.ports if not isinstance(one, IcmpMatch))
        return replace(rule, ports=ports)

    return replace(
        cluster,
        policies=tuple(
            replace(policy, rules=tuple(map(plain, policy.rules))) for policy in cluster.policies
        ),
    )


# -- strategies ------------------------------------------------------------------------------


def _drawing(draw: st.DrawFn) -> Choose:
    def choose(options: Sequence[T], /) -> T:
        return options[draw(st.integers(0, len(options) - 1))]

    return choose


@st.composite
def clusters(draw: st.DrawFn, tiers: bool = False, max_pods: int = 8) -> Cluster:
    pods, policies = draw(st.integers(0, max_pods)), draw(st.integers(0, 6))
    return build_cluster(_drawing(draw), pods, policies, tiers)


@st.composite
def changes(draw: st.DrawFn, tiers: bool = False, max_pods: int = 5) -> tuple[Cluster, Cluster]:
    """A cluster and another version of it."""
    cluster = draw(clusters(tiers, max_pods))
    return cluster, change_cluster(_drawing(draw), cluster, tiers)


@st.composite
def probes(draw: st.DrawFn, cluster: Cluster, managed: Sequence[Pod]) -> list[Probe]:
    """Every flow between a few ends, on a few ports."""
    anyone, ports = ends(cluster, managed), services(cluster)
    someone = st.sampled_from(anyone)
    if managed:
        someone = st.sampled_from(managed) | someone
    few_ends = st.lists(someone, min_size=1, max_size=8)
    few_ports = st.lists(st.sampled_from(ports), min_size=1, max_size=5)
    families: st.SearchStrategy[list[Family | None]] = st.sampled_from([[None], [None, 4, 6]])
    return [
        Probe(source, destination, protocol, port, family)
        for source, destination, (protocol, port), family in product(
            draw(few_ends), draw(few_ends), draw(few_ports), draw(families)
        )
    ]


def knob_positions() -> dict[str, tuple[object, ...]]:
    """Every knob of a profile and all its positions, the reference's first."""
    positions: dict[str, tuple[object, ...]] = {}
    for name, hint in get_type_hints(Profile).items():
        values = get_args(hint) if get_origin(hint) is Literal else (False, True)
        if hint is bool or get_origin(hint) is Literal:
            reference = getattr(REFERENCE, name)
            positions[name] = (reference, *(each for each in values if each != reference))
    return positions


# Knobs that concern Services, open connections, or what a user is told.
NOT_OF_FLOWS = ("service_egress", "hairpin", "deny", "established")
# These clusters have no policies of these kinds; those of generated_documents.py have.
OF_ADMIN_POLICIES = ("admin_nodes", "admin_named_ports")
OF_CLUSTER_POLICIES = ("cluster_nodes", "cluster_ties", "cluster_baseline", "cluster_exclusions")
# A rule of NetworkPolicy denies nothing.
OF_DENIALS = ("own_node_deniable",)

SINGLE_KNOB_PROFILES = [
    replace(REFERENCE, name=f"{name}={value}", **{name: value})
    for name, values in knob_positions().items()
    for value in values[1:]
]


def profiles() -> st.SearchStrategy[Profile]:
    """The reference, every named profile, and the reference with one knob turned."""
    return st.sampled_from([*PROFILES.values(), *SINGLE_KNOB_PROFILES])
