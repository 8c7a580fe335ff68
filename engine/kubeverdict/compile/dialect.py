"""What a CNI makes of policies, rewritten into plain rules before they are compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from kubeverdict.model.cluster import ContainerKind, Pod
from kubeverdict.model.counts import count
from kubeverdict.model.policy import NETWORK_POLICY_TIER, BlockPeer, Direction, Policy, Rule
from kubeverdict.model.ports import MAX_PORT, NamedPort, PortMatch, PortRange
from kubeverdict.model.profile import Profile, implements
from kubeverdict.model.selectors import EVERYTHING, Selector

NAMED_PORT_CONTAINERS: Mapping[str, frozenset[ContainerKind]] = {
    "containers": frozenset({ContainerKind.CONTAINER}),
    "sidecars": frozenset({ContainerKind.CONTAINER, ContainerKind.SIDECAR}),
    "all-init": frozenset(ContainerKind),
}


def in_force(
    policies: Sequence[Policy],
    profile: Profile,
    pods: Sequence[Pod] = (),
    namespaces: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> tuple[tuple[Policy, ...], tuple[str, ...]]:
    """The policies as this CNI has them, in evaluation order, and notes on what it leaves out.

    ``pods`` are the managed ones and ``namespaces`` the labels of namespaces by name: some CNIs
    turn the name of a port into numbers before they know which pod a packet is for.
    """
    if not profile.enforces:
        if not policies:
            return (), ()
        have = count(len(policies), "policy has", "policies have")
        return (), (f"{profile.title} enforces no network policy: {have} no effect",)
    kept: list[Policy] = []
    notes: list[str] = []
    in_order = sorted(policies, key=lambda policy: policy.sort_key)
    ignored: Counter[str] = Counter()
    for policy, adapted in zip(in_order, adapt(in_order, profile, pods, namespaces), strict=True):
        if adapted is not None:
            kept.append(adapted)
        elif implements(profile, policy.kind):
            notes.append(f"{profile.title} refuses {policy.kind} {policy}: it has a named port")
        else:
            ignored[policy.kind] += 1
    for kind, number in ignored.items():
        have = count(number, "policy has", "policies have")
        notes.append(f"{profile.title} does not implement {kind}: {have} no effect")
    return tuple(kept), tuple(notes)


def adapt(
    policies: Iterable[Policy],
    profile: Profile,
    pods: Sequence[Pod],
    namespaces: Mapping[str, Mapping[str, str]],
) -> list[Policy | None]:
    """Each policy as this CNI has it; None where it refuses it, or does not implement its API.

    What a profile says of rules is how the CNI reads NetworkPolicy; policies of other APIs are
    taken as written.
    """
    if _takes_rules_as_written(profile):
        if profile.policy_apis is None:
            return list(policies)
        return [one if implements(profile, one.kind) else None for one in policies]
    names = _Names(profile, pods, namespaces)
    return [_in_force(policy, profile, names) for policy in policies]


def _in_force(policy: Policy, profile: Profile, names: _Names) -> Policy | None:
    if not profile.enforces or not implements(profile, policy.kind):
        return None
    if policy.tier != NETWORK_POLICY_TIER:
        return policy
    if profile.named_ports == "reject-policy" and _names_ports(policy):
        return None
    return _adapted(names.resolved(policy), profile)


def _takes_rules_as_written(profile: Profile) -> bool:
    return (
        profile.enforces
        and profile.named_ports == "resolve"
        and not profile.named_port_union
        and profile.named_port_to_anyone == "per-pod"
        and profile.end_port
        and profile.except_scope == "element"
    )


def _names_ports(policy: Policy) -> bool:
    return any(isinstance(port, NamedPort) for rule in policy.rules for port in rule.ports or ())


class _Names:
    """Names of ports, resolved over all the pods that a policy is about."""

    def __init__(
        self,
        profile: Profile,
        pods: Sequence[Pod],
        namespaces: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._profile = profile
        self._namespaces = namespaces
        self._pods: dict[str, list[Pod]] = {}
        if profile.named_port_union or profile.named_port_to_anyone == "own-namespace":
            for pod in pods:
                self._pods.setdefault(pod.namespace, []).append(pod)

    def resolved(self, policy: Policy) -> Policy:
        if not self._pods or not _names_ports(policy):
            return policy
        return replace(policy, rules=tuple(self._rule(policy, rule) for rule in policy.rules))

    def _rule(self, policy: Policy, rule: Rule) -> Rule:
        ingress = rule.direction is Direction.INGRESS
        to_anyone = not ingress and rule.peers is None
        if ingress and self._profile.named_port_union:
            known = self._subjects(policy, policy.pods)
        elif to_anyone and self._profile.named_port_to_anyone == "own-namespace":
            known = self._subjects(policy, EVERYTHING)
        else:
            return rule
        if rule.ports is None:
            return rule
        ports: set[PortMatch] = {port for port in rule.ports if isinstance(port, PortRange)}
        kinds = NAMED_PORT_CONTAINERS[self._profile.named_port_containers]
        named = {port for port in rule.ports if isinstance(port, NamedPort)}
        for pod in known:
            ports.update(
                PortRange(port.protocol, port.number, port.number)
                for port in pod.ports
                if port.container in kinds and NamedPort(port.protocol, port.name) in named
            )
        return replace(rule, ports=tuple(sorted(ports, key=str)))

    def _subjects(self, policy: Policy, selector: Selector) -> Iterator[Pod]:
        for namespace, pods in self._pods.items():
            if policy.namespace is None:
                inside = policy.namespaces.matches(self._namespaces[namespace])
            else:
                inside = namespace == policy.namespace
            if inside:
                yield from (pod for pod in pods if selector.matches(pod.labels))


def _adapted(policy: Policy, profile: Profile) -> Policy:
    rules = tuple(_adapted_rule(rule, profile) for rule in policy.rules)
    if all(new is old for new, old in zip(rules, policy.rules, strict=True)):
        return policy
    return replace(policy, rules=rules)


def _adapted_rule(rule: Rule, profile: Profile) -> Rule:
    ports, peers = rule.ports, rule.peers
    if ports is not None:
        adapted = ports
        if not profile.end_port:
            adapted = tuple(map(_first_port_only, adapted))
        if profile.named_ports == "any-port":
            adapted = _names_lost(adapted)
        to_anyone = rule.direction is Direction.EGRESS and peers is None
        if to_anyone and profile.named_port_to_anyone == "never":
            adapted = tuple(port for port in adapted if isinstance(port, PortRange))
        if adapted != ports:
            ports = adapted
    if peers is not None and profile.except_scope == "rule":
        blocks = [peer for peer in peers if isinstance(peer, BlockPeer)]
        if any(block.excepts for block in blocks) and len(blocks) > 1:
            peers = tuple(
                _with_sibling_excepts(peer, blocks) if isinstance(peer, BlockPeer) else peer
                for peer in peers
            )
    if ports is rule.ports and peers is rule.peers:
        return rule
    return replace(rule, ports=ports, peers=peers)


def _first_port_only(port: PortMatch) -> PortMatch:
    if not isinstance(port, PortRange) or (port.first, port.last) == (1, MAX_PORT):
        return port
    return PortRange(port.protocol, port.first, port.first)


def _names_lost(ports: tuple[PortMatch, ...]) -> tuple[PortMatch, ...]:
    """A named port covers its protocol, unless the rule has a number of that protocol too."""
    numbered = {port.protocol for port in ports if isinstance(port, PortRange)}
    return tuple(
        PortRange(port.protocol) if isinstance(port, NamedPort) else port
        for port in ports
        if not isinstance(port, NamedPort) or port.protocol not in numbered
    )


def _with_sibling_excepts(peer: BlockPeer, siblings: list[BlockPeer]) -> BlockPeer:
    """One set for all blocks of a rule, longest prefix first: an address counts where a block
    that holds it is longer than every except that does."""
    block = peer.block
    excepts = {
        part
        for sibling in siblings
        for part in sibling.excepts
        if part.family == block.family
        and part.prefix >= block.prefix
        and block.first <= part.first <= block.last
    }
    return BlockPeer(block, tuple(sorted(excepts)))
