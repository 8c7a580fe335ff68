"""What a CNI makes of policies, rewritten into plain rules before they are compiled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType

from msgspec.structs import replace

from kubeverdict.compile.admin_dialect import (
    fails_closed,
    in_admin_dialect,
    understands_admin_rules,
)
from kubeverdict.model.addresses import Block
from kubeverdict.model.cluster import ContainerKind, ContainerPort, Pod
from kubeverdict.model.counts import count
from kubeverdict.model.policy import (
    NETWORK_POLICY,
    NETWORK_POLICY_TIER,
    BlockPeer,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
    parts_of,
)
from kubeverdict.model.ports import MAX_PORT, NamedPort, PortMatch, PortRange
from kubeverdict.model.profile import CLUSTER_KIND, Profile, implements
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Operator, Requirement, Selector

NAMED_PORT_CONTAINERS: Mapping[str, frozenset[ContainerKind]] = {
    "containers": frozenset({ContainerKind.CONTAINER}),
    "sidecars": frozenset({ContainerKind.CONTAINER, ContainerKind.SIDECAR}),
    "all-init": frozenset(ContainerKind),
}


def named_ports(ports: Iterable[ContainerPort], profile: Profile) -> list[ContainerPort]:
    """Those ports of a pod that the CNI knows by a name."""
    kinds = NAMED_PORT_CONTAINERS[profile.named_port_containers]
    named = [port for port in ports if port.name and port.container in kinds]
    if profile.named_port_repeated == "last":
        return list({port.name: port for port in named}.values())
    return named


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
    notes = list(_widened(policies, profile))
    in_order = sorted(policies, key=lambda policy: policy.sort_key)
    ignored: Counter[str] = Counter()
    in_part: Counter[str] = Counter()
    for policy, adapted in zip(in_order, adapt(in_order, profile, pods, namespaces), strict=True):
        if adapted is not None:
            kept.append(adapted)
            if policy.tier != NETWORK_POLICY_TIER and fails_closed(policy, profile):
                in_part[policy.kind] += 1
        elif implements(profile, policy.kind):
            what = "a named port" if policy.kind == NETWORK_POLICY else "the peer nodes"
            notes.append(f"{profile.title} refuses {policy.kind} {policy}: it has {what}")
        else:
            ignored[policy.kind] += 1
    for kind, number in ignored.items():
        have = count(number, "policy has", "policies have")
        notes.append(f"{profile.title} does not implement {kind}: {have} no effect")
    for kind, number in in_part.items():
        have = count(number, "policy has", "policies have")
        not_understood = "understands neither nodes nor named ports"
        if kind == CLUSTER_KIND:
            not_understood = "does not understand the peer nodes"
        notes.append(
            f"{profile.title} {not_understood} of {kind}: {have} rules that deny or allow other "
            "connections than written"
        )
    return tuple(kept), tuple(notes)


def adapt(
    policies: Iterable[Policy],
    profile: Profile,
    pods: Sequence[Pod],
    namespaces: Mapping[str, Mapping[str, str]],
) -> list[Policy | None]:
    """Each policy as this CNI has it; None where it refuses it, or does not implement its API.

    Most of what a profile says of rules is how the CNI reads NetworkPolicy; policies of other APIs
    are taken as written, but for what it says of those.
    """
    if _takes_rules_as_written(profile) and _understands_all(profile):
        if profile.policy_apis is None:
            return list(policies)
        return [one if implements(profile, one.kind) else None for one in policies]
    names = _Names(profile, pods, namespaces)
    return [_in_force(policy, profile, names) for policy in policies]


def _in_force(policy: Policy, profile: Profile, names: _Names) -> Policy | None:
    if not profile.enforces or not implements(profile, policy.kind):
        return None
    if policy.tier != NETWORK_POLICY_TIER:
        adapted = in_admin_dialect(policy, profile)
        if adapted is not None and profile.pod_labels == "identity":
            adapted = _with_labels_seen(adapted) if asks_for_unseen_labels(adapted) else adapted
        return adapted
    policy = as_understood(policy, profile)
    if policy.kind != NETWORK_POLICY or _takes_rules_as_written(profile):
        return policy
    if profile.named_ports == "reject-policy" and _names_ports(policy):
        return None
    return _adapted(names.resolved(policy), profile)


def _takes_rules_as_written(profile: Profile) -> bool:
    return (
        profile.enforces
        and profile.named_ports == "resolve"
        and not profile.resolves_names_early
        and profile.named_port_to_anyone == "per-pod"
        and profile.both_directions == "apart"
        and profile.end_port
        and profile.except_scope == "element"
    )


def _understands_all(profile: Profile) -> bool:
    everything = profile.unlisted_rules == "ignored" and profile.pod_labels == "all"
    return everything and understands_admin_rules(profile)


def as_understood(policy: Policy, profile: Profile) -> Policy:
    """A NetworkPolicy, or what adds up with it, in the directions that the CNI takes it to have,
    with selectors that ask for labels which it sees. What its rules do is not looked at yet."""
    if policy.tier == NETWORK_POLICY_TIER and implements(profile, policy.kind):
        if policy.kind != NETWORK_POLICY and _blocks_are_outside(profile):
            policy = _with_plain_blocks(policy)
        if policy.unlisted_rules and profile.unlisted_rules == "applied":
            policy = _in_all_its_directions(policy)
        if profile.pod_labels == "identity" and asks_for_unseen_labels(policy):
            policy = _with_labels_seen(policy)
    return policy


def _blocks_are_outside(profile: Profile) -> bool:
    return not profile.ipblock_matches_pods and not profile.ipblock_matches_nodes


def _with_plain_blocks(policy: Policy) -> Policy:
    """The policy without saying of blocks that pods and nodes are not meant, where none ever is."""
    cluster = (NamedPeer(EndSet.CLUSTER),)

    def plain(peer: Peer) -> Peer:
        outside = isinstance(peer, ExceptPeer) and peer.excluded == cluster
        return peer.peer if outside and isinstance(peer.peer, BlockPeer) else peer  # type: ignore

    return _with_peers(policy, plain)


def _with_peers(policy: Policy, change: Callable[[Peer], Peer]) -> Policy:
    """The policy with other peers; itself, and its rules themselves, where they are the same."""

    def rule(one: Rule) -> Rule:
        peers = tuple(map(change, one.peers or ()))
        if all(new is old for new, old in zip(peers, one.peers or (), strict=True)):
            return one
        return replace(one, peers=peers)

    rules = tuple(map(rule, policy.rules))
    if all(new is old for new, old in zip(rules, policy.rules, strict=True)):
        return policy
    return replace(policy, rules=rules)


def _in_all_its_directions(policy: Policy) -> Policy:
    rules = sorted((*policy.rules, *policy.unlisted_rules), key=lambda rule: rule.direction)
    directions = {*policy.isolates, *(rule.direction for rule in policy.unlisted_rules)}
    return replace(
        policy, isolates=tuple(sorted(directions)), rules=tuple(rules), unlisted_rules=()
    )


# Keys that Cilium 1.20.2 leaves out by default (its option "labels" says others).
_UNSEEN = re.compile(
    r"io\.kubernetes|kubernetes\.io|k8s\.io|.*beta\.kubernetes\.io|topology\.kubernetes\.io"
    r"|statefulset\.kubernetes\.io/pod-name|apps\.kubernetes\.io/pod-index"
    r"|batch\.kubernetes\.io/(job-completion-index|controller-uid)|controller-uid"
    r"|pod-template-(generation|hash)|controller-revision-hash|annotation|etcd_node"
)


@cache
def _is_seen(key: str) -> bool:
    """Whether a label of a pod is one of its identity."""
    return _UNSEEN.match(key) is None


def labels_seen(labels: Mapping[str, str], profile: Profile) -> Mapping[str, str]:
    """Those labels of a pod that selectors of a NetworkPolicy see under a CNI."""
    if profile.pod_labels == "all":
        return labels
    return {key: value for key, value in labels.items() if _is_seen(key)}


def asks_for_unseen_labels(policy: Policy) -> bool:
    """Whether a policy in NetworkPolicy's tier selects pods by labels that are no part of an
    identity."""
    for requirement in policy.pods.requirements:
        if not _is_seen(requirement.key):
            return True
    for rule in policy.rules:
        for peer in rule.peers or ():
            if isinstance(peer, PodPeer) and peer.pods is not None:
                for requirement in peer.pods.requirements:
                    if not _is_seen(requirement.key):
                        return True
    if policy.kind == NETWORK_POLICY:
        return False
    subjects = (rule.subject for rule in policy.rules if isinstance(rule.subject, PodPeer))
    selectors = (policy.pods, *(one.pods for one in subjects if one.pods is not None))
    return any(not _is_seen(term.key) for one in selectors for term in one.terms())


def unseen_labels(policy: Policy) -> list[str]:
    """The labels that a policy selects pods by and that are no part of an identity."""
    asked = [policy.pods]
    for rule in policy.rules:
        for peer in (*(rule.peers or ()), *([rule.subject] if rule.subject else ())):
            asked += [
                part.pods
                for part in parts_of(peer)
                if isinstance(part, PodPeer) and part.pods is not None
            ]
    keys = (term.key for selector in asked for term in selector.terms())
    return sorted({key for key in keys if not _is_seen(key)})


def _with_labels_seen(policy: Policy) -> Policy:
    def peer(one: Peer) -> Peer:
        if not isinstance(one, PodPeer) or one.pods is None:
            return one
        pods = _as_seen(one.pods)
        return one if pods is one.pods else replace(one, pods=pods)

    def subject(one: Rule) -> Rule:
        if not isinstance(one.subject, PodPeer) or one.subject.pods is None:
            return one
        return replace(one, subject=replace(one.subject, pods=_as_seen(one.subject.pods)))

    policy = _with_peers(policy, peer)
    rules = tuple(map(subject, policy.rules))
    return replace(policy, pods=_as_seen(policy.pods), rules=rules)


def _as_seen(selector: Selector) -> Selector:
    """What a selector selects if no pod has the labels that are not seen."""
    if all(_is_seen(one.key) for one in selector.terms()):
        return selector
    parts = [_requirement_as_seen(one) for one in selector.requirements]
    for clause in selector.clauses:
        inner = map(_as_seen, clause.parts)
        parts.append(Selector.none_of(inner) if clause.negated else Selector.any_of(inner))
    return NOTHING if NOTHING in parts else Selector.all_of(parts)


def _requirement_as_seen(requirement: Requirement) -> Selector:
    if _is_seen(requirement.key):
        return Selector.of([requirement])
    absent = requirement.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST)
    return EVERYTHING if absent else NOTHING


def _widened(policies: Iterable[Policy], profile: Profile) -> Iterator[str]:
    """A note where a CNI applies rules that count for nothing by the API."""
    if profile.unlisted_rules == "applied":
        number = sum(bool(policy.unlisted_rules) for policy in policies)
        if number:
            have = count(number, "policy has", "policies have")
            yield f"{profile.title} applies rules that policyTypes leaves out: {have} some"


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
        if profile.resolves_names_early:
            for pod in pods:
                self._pods.setdefault(pod.namespace, []).append(pod)

    def resolved(self, policy: Policy) -> Policy:
        if not self._pods or not _names_ports(policy):
            return policy
        return replace(policy, rules=tuple(self._rule(policy, rule) for rule in policy.rules))

    def _rule(self, policy: Policy, rule: Rule) -> Rule:
        if self._profile.named_port_unknown == "any-port":
            rule = self._opened(policy, rule)
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
        named = {port for port in rule.ports if isinstance(port, NamedPort)}
        for pod in known:
            ports.update(
                PortRange(port.protocol, port.number, port.number)
                for port in named_ports(pod.ports, self._profile)
                if NamedPort(port.protocol, port.name) in named
            )
        return replace(rule, ports=tuple(sorted(ports, key=str)))

    def _opened(self, policy: Policy, rule: Rule) -> Rule:
        """The rule for its peers that are pods alone, and every port, where it has nothing but
        names that none of the pods has on which they are looked up."""
        peers = tuple(peer for peer in rule.peers or () if isinstance(peer, PodPeer))
        if not peers or not rule.ports:
            return rule
        named = {port for port in rule.ports if isinstance(port, NamedPort)}
        if len(named) < len(set(rule.ports)):
            return rule
        if rule.direction is Direction.INGRESS:
            known = self._subjects(policy, policy.pods)
        else:
            known = (pod for peer in peers for pod in self._peers(peer))
        have = {
            NamedPort(port.protocol, port.name)
            for pod in known
            for port in named_ports(pod.ports, self._profile)
        }
        return rule if named & have else replace(rule, peers=peers, ports=None)

    def _peers(self, peer: PodPeer) -> Iterator[Pod]:
        for namespace, pods in self._pods.items():
            if peer.namespace is not None:
                inside = namespace == peer.namespace
            else:
                inside = peer.namespaces.matches(self._namespaces[namespace])
            if inside:
                wanted = peer.pods or EVERYTHING
                yield from (pod for pod in pods if wanted.matches(pod.labels))

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
    if profile.both_directions == "merged" and len(policy.isolates) == len(Direction):
        return replace(policy, rules=(*rules, *_for_the_other_direction(policy, rules)))
    if all(new is old for new, old in zip(rules, policy.rules, strict=True)):
        return policy
    return replace(policy, rules=rules)


def _for_the_other_direction(policy: Policy, rules: Iterable[Rule]) -> Iterator[Rule]:
    """What rules allow besides between two pods that the policy selects: such a connection at its
    other end. Peers that are blocks are left out: no rule can have a subject by its address."""
    selected = PodPeer(policy.pods, policy.namespace)
    for rule in rules:
        (direction,) = set(Direction) - {rule.direction}
        for peer in (None,) if rule.peers is None else rule.peers:
            if peer is None or isinstance(peer, PodPeer):
                yield replace(rule, direction=direction, subject=peer, peers=(selected,))


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
            excepts = _excepts_of_set(blocks)
            peers = tuple(
                _with_excepts_inside(peer, excepts) if isinstance(peer, BlockPeer) else peer
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


def _excepts_of_set(blocks: list[BlockPeer]) -> list[Block]:
    """What is excepted where one set stands for all blocks of a rule: of equal entries the last
    counts, and a set has no /0 of IPv4 but both its halves."""
    entries: dict[Block, bool] = {}
    for peer in blocks:
        parts = _HALVES if peer.block == _ALL_IPV4 else (peer.block,)
        entries |= dict.fromkeys(parts, False)
        entries |= dict.fromkeys(peer.excepts, True)
    return [block for block, is_except in entries.items() if is_except]


_ALL_IPV4 = Block(4, 0, 0)
_HALVES = (Block(4, 0, 1), Block(4, 1 << 31, 1))


def _with_excepts_inside(peer: BlockPeer, excepts: Iterable[Block]) -> BlockPeer:
    """The longest prefix decides: an address counts where a block that holds it is longer than
    every except that does."""
    block = peer.block
    inside = {
        part
        for part in excepts
        if part.family == block.family
        and part.prefix >= block.prefix
        and block.first <= part.first <= block.last
    }
    return BlockPeer(block, tuple(sorted(inside)))
