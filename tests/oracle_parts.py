"""What parts of a rule say of one end or one flow: the oracle's own reading of the model.

As :mod:`tests.oracle`, it shares no code with the engine: it reads records only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from kubeverdict.model.addresses import Block, Family
from kubeverdict.model.cluster import ContainerPort, Pod
from kubeverdict.model.policy import Action, BlockPeer, Direction, Policy, Rule
from kubeverdict.model.ports import IcmpMatch, NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.selectors import Operator, Selector

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


def family_of(address: IPAddress) -> Family:
    return 4 if address.version == 4 else 6


def network(block: Block) -> IPNetwork:
    if block.family == 4:
        return IPv4Network((block.first, block.prefix))
    return IPv6Network((block.first, block.prefix))


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """A label selector: every requirement must hold, and every clause. NotIn holds where the key
    is absent."""
    for requirement in selector.requirements:
        present = requirement.key in labels
        value = labels.get(requirement.key, "")
        listed = present and value in requirement.values
        ends = [present and value[-len(text) :] == text for text in requirement.values if text]
        begins = [present and value[: len(text)] == text for text in requirement.values]
        holds = {
            Operator.IN: listed,
            Operator.NOT_IN: not listed,
            Operator.EXISTS: present,
            Operator.DOES_NOT_EXIST: not present,
            Operator.CONTAINS: present and any(value.count(one) for one in requirement.values),
            Operator.STARTS_WITH: any(begins),
            Operator.ENDS_WITH: any(ends) or (present and "" in requirement.values),
        }
        if not holds[requirement.operator]:
            return False
    for clause in selector.clauses:
        chosen = [selects(part, labels) for part in clause.parts]
        if clause.negated and chosen[0]:
            return False
        if not clause.negated and True not in chosen:
            return False
    return True


def place_of(ref: tuple[Policy, Rule]) -> tuple[float, str, str, str]:
    """Where a rule comes in its tier."""
    policy, rule = ref
    order = policy.order if rule.precedence is None else rule.precedence
    return order, policy.kind, policy.namespace or "", policy.name


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
    """The blocks of one rule as one set: of all that hold the address the longest prefix
    decides, and of equal prefixes the except."""
    holding = [
        (part.prefix, is_except)
        for peer in blocks
        for part, is_except in [(peer.block, False), *((each, True) for each in peer.excepts)]
        if address in network(part)
    ]
    return bool(holding) and not max(holding)[1]


def isolates(policy: Policy, direction: Direction) -> bool:
    """Is a subject of the policy denied in this direction where nothing matches?"""
    return policy.tier.default is Action.DENY and direction in policy.isolates


def speaks_of(policy: Policy, direction: Direction) -> bool:
    """Has the policy anything to say about this direction?"""
    return isolates(policy, direction) or any(rule.direction is direction for rule in policy.rules)
