"""What parts of a rule say of one end or one flow: the oracle's own reading of the model.

As :mod:`tests.oracle`, it shares no code with the engine: it reads records only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from msgspec.structs import replace

from kubeverdict.model.addresses import Block, Family
from kubeverdict.model.cluster import ContainerKind, ContainerPort, Pod
from kubeverdict.model.policy import (
    Action,
    BlockPeer,
    Direction,
    NodePeer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import IcmpMatch, NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.profile import PROFILES, Profile
from kubeverdict.model.selectors import Operator, Requirement, Selector

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

FAMILIES: tuple[Family, ...] = (4, 6)
PORTED = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)


@dataclass(frozen=True)
class End:
    """One end of a connection. ``pod`` is set where policies manage the pod.

    ``addresses`` holds at most one a family. None where the pod has no address yet: it then
    has every family, and no block has it.
    """

    pod: Pod | None
    addresses: Mapping[Family, IPAddress] | None

    def has(self, family: Family) -> bool:
        return self.addresses is None or family in self.addresses

    def address(self, family: Family) -> IPAddress | None:
        return None if self.addresses is None else self.addresses.get(family)


@dataclass(frozen=True)
class Flow:
    """The opening packet of a connection."""

    source: End
    destination: End
    protocol: Protocol
    port: int
    family: Family


def is_known(policy: Policy, profile: Profile) -> bool:
    """A CNI has some policy APIs and no others; one that none has is a test's own."""
    lists = [each.policy_apis or () for each in (*PROFILES.values(), profile)]
    left_out = {kind for kinds in lists for kind in kinds} - set(profile.policy_apis or ())
    return profile.policy_apis is None or policy.kind not in left_out


def lets_icmp_through(profile: Profile, flow: Flow) -> bool:
    """Does the CNI's NetworkPolicy, and no other API, leave ICMP alone?"""
    return profile.icmp == "always" and flow.protocol is Protocol.ICMP


def family_of(address: IPAddress) -> Family:
    return 4 if address.version == 4 else 6


def network(block: Block) -> IPNetwork:
    if block.family == 4:
        return IPv4Network((block.first, block.prefix))
    return IPv6Network((block.first, block.prefix))


def meets(requirement: Requirement, value: str | None) -> bool:
    """Does the value of the key, None where it is absent, meet a requirement?"""
    texts = requirement.values
    if value is None:
        return requirement.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST)
    match requirement.operator:
        case Operator.IN:
            return value in texts
        case Operator.NOT_IN:
            return value not in texts
        case Operator.CONTAINS:
            return any(value.count(text) for text in texts)
        case Operator.STARTS_WITH:
            return any(value[: len(text)] == text for text in texts)
        case Operator.ENDS_WITH:
            return any(not text or value[-len(text) :] == text for text in texts)
    return requirement.operator is Operator.EXISTS


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """A label selector: every requirement must hold, and every clause. NotIn holds where the key
    is absent."""
    if not all(meets(each, labels.get(each.key)) for each in selector.requirements):
        return False
    for clause in selector.clauses:
        chosen = [selects(part, labels) for part in clause.parts]
        if clause.negated and chosen[0]:
            return False
        if not clause.negated and True not in chosen:
            return False
    return True


_UNSEEN = ("kubernetes.io/", "k8s.io/", "pod-template-hash")


def seen_labels(pod: Pod, profile: Profile) -> Mapping[str, str]:
    """The labels of a pod that selectors see: all, or those without what Kubernetes and
    controllers write, as far as tests have any of it."""
    if profile.pod_labels == "all":
        return pod.labels
    return {key: value for key, value in pod.labels.items() if not key.startswith(_UNSEEN)}


def place_of(policy: Policy) -> tuple[float | str, ...]:
    """Where a policy comes: by layer, by tier, and in its tier."""
    tier = policy.tier
    return (
        *(tier.layer.order, tier.layer.name, tier.order, tier.name),
        *(policy.order, policy.tiebreak, policy.kind, policy.namespace or "", policy.name),
    )


def ordered_rules(
    policies: Iterable[Policy], direction: Direction, profile: Profile
) -> list[tuple[Policy, Rule]]:
    """The rules of policies of one tier by precedence; where a rule has none of its own it is that
    of its policy."""
    merged = profile.both_directions == "merged"
    rules = [
        (policy, rule)
        for policy in policies
        for rule in (
            *rules_of(policy, direction, profile),
            *(rules_at_other_end(policy, direction) if merged else ()),
        )
    ]

    def place(ref: tuple[Policy, Rule]) -> tuple[float, str, str, str, str]:
        policy, rule = ref
        order = policy.order if rule.precedence is None else rule.precedence
        return order, policy.tiebreak, policy.kind, policy.namespace or "", policy.name

    return sorted(rules, key=place)


def covers(port: PortMatch, flow: Flow) -> bool:
    """Does a numbered port, or a type of ICMP, cover a flow? The port of an ICMP flow is 0 where
    its type is not told, or else 1 + type * 256 + code, and 65536 more for ICMPv6."""
    if isinstance(port, IcmpMatch):
        if flow.protocol is not Protocol.ICMP:
            return False
        if flow.port == 0:
            return port.icmp_type is None and port.version == flow.family
        version = 6 if flow.port > 65536 else 4
        icmp_type, code = (flow.port - 1) // 256 % 256, (flow.port - 1) % 256
        return (
            version == port.version
            and port.icmp_type in (None, icmp_type)
            and port.code in (None, code)
        )
    if not isinstance(port, PortRange) or port.protocol is not flow.protocol:
        return False
    return flow.protocol not in PORTED or port.first <= flow.port <= port.last


def excludes(rule: Rule, flow: Flow, declared: Iterable[ContainerPort]) -> bool:
    """Does a rule exclude the port of a flow, by its number or by the name that it has among the
    ports that the destination declares?"""
    names = {
        port.name for port in declared if (port.protocol, port.number) == (flow.protocol, flow.port)
    }
    return any(
        port.protocol is flow.protocol and port.name in names
        if isinstance(port, NamedPort)
        else covers(port, flow)
        for port in rule.excluded_ports
    )


def longest_prefix_matches(blocks: Iterable[BlockPeer], address: IPAddress) -> bool:
    """The blocks of one rule as one set: of all entries that hold the address the longest prefix
    decides, and of equal ones the last. Half of IPv4 is the most that an entry can be."""
    holding = [
        (max(part.prefix, 1) if part.family == 4 else part.prefix, number, is_except)
        for number, peer in enumerate(blocks)
        for part, is_except in [(peer.block, False), *((each, True) for each in peer.excepts)]
        if address in network(part)
    ]
    # The excepts of a block come after it.
    return bool(holding) and not max(holding)[2]


def rules_of(policy: Policy, direction: Direction, profile: Profile) -> list[Rule]:
    """The rules of a direction, in order, as the CNI understands them; also those that the types of
    the policy leave out, where it applies them."""
    known = policy.rules
    if profile.unlisted_rules == "applied":
        known += policy.unlisted_rules
    rules = sorted(known, key=lambda rule: rule.index)
    if policy.kind == "AdminNetworkPolicy":
        rules = [part for rule in rules for part in _admin_rule(rule, profile)]
    return [rule for rule in rules if rule.direction is direction]


def rules_at_other_end(policy: Policy, direction: Direction) -> Iterator[Rule]:
    """The rules of the other direction of a NetworkPolicy that has both, for peers that are no
    blocks."""
    if len(policy.isolates) < 2 or policy.kind != "NetworkPolicy":
        return
    for rule in policy.rules:
        if rule.direction is not direction:
            peers = rule.peers and tuple(one for one in rule.peers if isinstance(one, PodPeer))
            yield replace(rule, peers=peers)


def _admin_rule(rule: Rule, profile: Profile) -> list[Rule]:
    """What the CNI understands of a rule of an AdminNetworkPolicy: one rule or none."""
    if not profile.admin_nodes and any(isinstance(peer, NodePeer) for peer in rule.peers or ()):
        closed = Rule(rule.direction, rule.index, Action.DENY, None, None, rule.source)
        return [] if rule.action is Action.ALLOW else [closed]
    named = any(isinstance(port, NamedPort) for port in rule.ports or ())
    if named and profile.admin_named_ports == "any-port":
        return [replace(rule, ports=None)]
    return [rule]


def isolates(policy: Policy, direction: Direction, profile: Profile) -> bool:
    """Is a subject of the policy denied in this direction where nothing matches?"""
    directions = set(policy.isolates)
    if profile.unlisted_rules == "applied":
        directions.update(rule.direction for rule in policy.unlisted_rules)
    return policy.tier.default is Action.DENY and direction in directions


def speaks_of(policy: Policy, direction: Direction, profile: Profile) -> bool:
    """Has the policy anything to say about this direction?"""
    return isolates(policy, direction, profile) or bool(rules_of(policy, direction, profile))


def number_ranges(rule: Rule, profile: Profile) -> Iterator[PortMatch]:
    """The numeric ports of a rule, as the CNI understands them, and types of ICMP."""
    ports = rule.ports or ()
    for port in ports:
        if isinstance(port, IcmpMatch):
            yield port
        elif isinstance(port, PortRange):
            whole = (port.first, port.last) == (1, 65535)
            if profile.end_port or whole:
                yield port
            else:
                yield PortRange(port.protocol, port.first, port.first)
        elif profile.named_ports == "any-port" and not any(
            isinstance(each, PortRange) and each.protocol is port.protocol for each in ports
        ):
            yield PortRange(port.protocol, 1, 65535)


def named_ports(pod: Pod, profile: Profile) -> Iterator[ContainerPort]:
    """The ports of a pod that have names for the CNI."""
    kinds = {
        "containers": {ContainerKind.CONTAINER},
        "sidecars": {ContainerKind.CONTAINER, ContainerKind.SIDECAR},
        "all-init": set(ContainerKind),
    }[profile.named_port_containers]
    known = [port for port in pod.ports if port.name and port.container in kinds]
    repeated = profile.named_port_repeated == "each"
    return iter(known if repeated else {port.name: port for port in known}.values())


def has_names_of_nobody(rule: Rule, pods: Iterable[Pod], profile: Profile) -> bool:
    """Are the ports of a rule all names, none of which one of the pods has?"""
    names = {(each.name, each.protocol) for each in rule.ports or () if isinstance(each, NamedPort)}
    if not names or any(not isinstance(each, NamedPort) for each in rule.ports or ()):
        return False
    known = {(port.name, port.protocol) for pod in pods for port in named_ports(pod, profile)}
    return names.isdisjoint(known)
