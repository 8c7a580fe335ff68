"""Stage 2a: what the rules ask for, interned: distinct selectors, blocks and named ports.

One pass over the policies, before anything is evaluated. A rule becomes a :class:`LoweredRule` of
numbers; what those numbers stand for is evaluated once, however many rules share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubeverdict.compile.compiled import RuleRef
from kubeverdict.compile.ports import PortList, port_list
from kubeverdict.compile.tiers import tier_numbers
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    ReferringPeer,
    Rule,
)
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Operator, Requirement, Selector

# Where a selector looks: in one namespace (a name), or in those that a selector selects.
Where = str | Selector
# The last member tells whether hostNetwork pods may count, where the profile lets them.
Asked = tuple[Where, Selector, bool]
# Peers that NetworkPolicy does not have. They are evaluated from the others and from who nodes are.
OtherPeer = NodePeer | NamedPeer | ExceptPeer
_OTHERS = (NodePeer, NamedPeer, ExceptPeer)
_OWN_NODE = (EndSet.HOST, EndSet.REMOTE_NODE)


class LoweredRule(NamedTuple):
    """A rule in numbers. Its peers are everything where ``anyone`` says so, otherwise the union
    of ``selectors``, ``blocks`` and ``others``; ``ports`` None is every port; ``named`` are
    resolved later, and not to ports of ``excluded``; so are ``excluded_names``. One that does not
    count, because of its condition, is asked for all the same: both bounds distinguish the same
    ends and ports."""

    direction: Direction
    action: Action
    tier: int
    rule: int
    subject: int
    selectors: tuple[int, ...]
    blocks: tuple[int, ...]
    anyone: bool
    ports: PortList | None
    named: tuple[NamedPort, ...]
    others: tuple[int, ...] = ()
    excluded: PortList = ()
    counts: bool = True
    excluded_names: tuple[NamedPort, ...] = ()
    within: int = -1  # the one of ``others`` that the subject has to be in as well


@dataclass(slots=True)
class Questions:
    """Everything that the policies of a cluster ask, each distinct thing once."""

    selectors: dict[Asked, int] = field(default_factory=dict)
    blocks: dict[BlockPeer, int] = field(default_factory=dict)
    others: dict[OtherPeer, int] = field(default_factory=dict)
    named: set[NamedPort] = field(default_factory=set)
    unnamed: set[NamedPort] = field(default_factory=set)  # those of ``named`` that rules exclude
    drafts: list[LoweredRule] = field(default_factory=list)
    rules: list[RuleRef] = field(default_factory=list)
    # The place of each rule in evaluation order; empty where that is the order of ``rules``.
    ranks: list[int] = field(default_factory=list)
    # For each tier and direction, the subjects that it denies by default; and for each
    # direction, all subjects of NetworkPolicies, with the number of their tier.
    isolated: dict[tuple[int, Direction], list[int]] = field(default_factory=dict)
    network_subjects: dict[Direction, set[int]] = field(default_factory=dict)
    network_tier: int = 0
    conditional: bool = False  # some rule is
    # Port lists as rules write them, taken apart: the same few come again and again.
    ports: dict[
        tuple[tuple[PortMatch, ...] | None, tuple[PortRange | NamedPort, ...]],
        tuple[PortList, tuple[NamedPort, ...], PortList, tuple[NamedPort, ...]],
    ] = field(default_factory=dict)

    def label_keys(self) -> frozenset[str]:
        """Every label key that a pod selector asks about."""
        return frozenset(
            requirement.key for _, selector, _ in self.selectors for requirement in selector.terms()
        )

    @property
    def tells_nodes(self) -> bool:
        """Whether some peer distinguishes the addresses of nodes from others."""
        return any(not _is_everyone(peer) for peer in self.others)

    @property
    def tells_own_node(self) -> bool:
        """Whether some peer is about the node that the subject runs on."""
        return any(map(is_about_own_node, self.others))


def _is_everyone(peer: OtherPeer) -> bool:
    return isinstance(peer, NamedPeer) and peer.ends is EndSet.ALL


def is_about_own_node(peer: Peer) -> bool:
    """Whether it depends on the node of the subject who a peer is."""
    if isinstance(peer, ExceptPeer):
        return any(map(is_about_own_node, (peer.peer, *peer.excluded)))
    return isinstance(peer, NamedPeer) and peer.ends in _OWN_NODE


def lower(policies: Sequence[Policy], at_least: bool = False) -> Questions:
    """Number everything that ``policies`` (in evaluation order) ask for, with conditional rules as
    they count in one of the bounds."""
    questions = Questions()
    interleaved = False
    tiers = tier_numbers(policies)
    network_tier = tiers.get(NETWORK_POLICY_TIER)
    for policy in policies:
        where: Where = policy.namespace if policy.namespace is not None else policy.namespaces
        subject = _selector(questions, (where, policy.pods, False))
        tier = tiers[policy.tier]
        if policy.tier.default is Action.DENY:
            for direction in policy.isolates:
                questions.isolated.setdefault((tier, direction), []).append(subject)
        if tier == network_tier:
            questions.network_tier = tier
            for direction in policy.isolates:
                questions.network_subjects.setdefault(direction, set()).add(subject)
        for rule in policy.rules:
            questions.rules.append(RuleRef(policy, rule))
            interleaved = interleaved or rule.precedence is not None
            draft = _draft(questions, policy, rule, tier, subject)
            if rule.condition:
                questions.conditional = True
                action = rule.counted(at_least)
                draft = draft._replace(
                    action=rule.action if action is None else action, counts=action is not None
                )
            questions.drafts.append(draft)
    if interleaved:
        questions.ranks = ranks_of(questions.rules)
    return questions


def ranks_of(rules: Sequence[RuleRef]) -> list[int]:
    """The place of each rule in evaluation order, where some have a precedence of their own."""
    ranks = [0] * len(rules)
    keys = [ref.policy.rule_key(ref.rule) for ref in rules]
    for rank, number in enumerate(sorted(range(len(rules)), key=keys.__getitem__)):
        ranks[number] = rank
    return ranks


def _selector(questions: Questions, asked: Asked) -> int:
    return questions.selectors.setdefault(asked, len(questions.selectors))


def question(peer: PodPeer) -> Asked:
    """What a peer asks."""
    where: Where = peer.namespace if peer.namespace is not None else peer.namespaces
    written = peer.pods is not None
    return where, peer.pods if peer.pods is not None else EVERYTHING, written


def _narrowed(policy: Policy, subject: PodPeer) -> Asked:
    """The pods of a policy's subject that one of its rules is about."""
    pods = Selector.all_of((policy.pods, subject.pods or EVERYTHING))
    names = {policy.namespace, subject.namespace} - {None}
    if len(names) == 2:
        return EVERYTHING, NOTHING, False
    scopes = [peer.namespaces for peer in (policy, subject) if peer.namespace is None]
    if names and all(scope.selects_all for scope in scopes):
        return min(filter(None, names)), pods, False
    by_name = [Requirement(METADATA_NAME, Operator.IN, (name,)) for name in names if name]
    return Selector.all_of((Selector.of(by_name), *scopes)), pods, False


def _other(questions: Questions, peer: OtherPeer) -> int:
    for part in (peer.peer, *peer.excluded) if isinstance(peer, ExceptPeer) else ():
        if isinstance(part, PodPeer):
            _selector(questions, question(part))
        elif isinstance(part, _OTHERS):
            _other(questions, part)
        else:
            assert not isinstance(part, ReferringPeer)
            questions.blocks.setdefault(part, len(questions.blocks))
    return questions.others.setdefault(peer, len(questions.others))


def _as_other(peer: Peer) -> OtherPeer:
    return peer if isinstance(peer, _OTHERS) else ExceptPeer(peer, ())


def _draft(
    questions: Questions, policy: Policy, rule: Rule, tier: int, subject: int
) -> LoweredRule:
    selectors: list[int] = []
    blocks: list[int] = []
    others: list[int] = []
    known_selectors = questions.selectors
    for peer in rule.peers or ():
        if isinstance(peer, PodPeer):
            # As `question` says; there are as many of these as rules.
            pods = peer.pods
            where: Where = peer.namespace if peer.namespace is not None else peer.namespaces
            asked = (where, EVERYTHING, False) if pods is None else (where, pods, True)
            selectors.append(known_selectors.setdefault(asked, len(known_selectors)))
        elif isinstance(peer, _OTHERS):
            others.append(_other(questions, peer))
        else:
            # A block, or the union of several that an overlay has in place of them.
            assert not isinstance(peer, ReferringPeer)
            blocks.append(questions.blocks.setdefault(peer, len(questions.blocks)))
    named: tuple[NamedPort, ...] = ()
    ports: PortList | None = None
    excluded: PortList = ()
    excluded_names: tuple[NamedPort, ...] = ()
    if rule.ports is not None or rule.excluded_ports:
        written = rule.ports, rule.excluded_ports
        known = questions.ports.get(written)
        if known is None:
            known = questions.ports[written] = _taken_apart(*written)
            questions.named.update(known[1], known[3])
            questions.unnamed.update(known[3])
        ports, named, excluded, excluded_names = known
    within = -1
    if isinstance(rule.subject, PodPeer):
        subject = _selector(questions, _narrowed(policy, rule.subject))
    elif rule.subject is not None:
        within = _other(questions, _as_other(rule.subject))
    # By position: there are hundreds of thousands of these.
    return LoweredRule(
        rule.direction,
        rule.action,
        tier,
        len(questions.rules) - 1,
        subject,
        _distinct(selectors),
        _distinct(blocks),
        rule.peers is None,
        ports,
        named,
        _distinct(others) if others else (),
        excluded,
        True,
        excluded_names,
        within,
    )


def _taken_apart(
    ports: tuple[PortMatch, ...] | None, excluded: tuple[PortRange | NamedPort, ...]
) -> tuple[PortList, tuple[NamedPort, ...], PortList, tuple[NamedPort, ...]]:
    """Places and names of a port list, and the places and names that are excluded."""
    named, without = (
        tuple(sorted({port for port in some or () if isinstance(port, NamedPort)}))
        for some in (ports, excluded)
    )
    return port_list(ports, excluded), named, port_list(excluded), without


def _distinct(numbers: list[int]) -> tuple[int, ...]:
    return tuple(numbers) if len(numbers) < 2 else tuple(sorted(set(numbers)))
