"""Stage 2a: what the rules ask for, interned: distinct selectors, blocks and named ports.

One pass over the policies, before anything is evaluated. A rule becomes a :class:`LoweredRule` of
numbers; what those numbers stand for is evaluated once, however many rules share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubeverdict.compile.compiled import RuleRef
from kubeverdict.compile.ports import PortList
from kubeverdict.compile.tiers import tiers_of
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange
from kubeverdict.model.selectors import EVERYTHING, Selector

# Where a selector looks: in one namespace (a name), or in those that a selector selects.
Where = str | Selector
# The last member tells whether hostNetwork pods may count, where the profile lets them.
Asked = tuple[Where, Selector, bool]


class LoweredRule(NamedTuple):
    """A rule in numbers. Its peers are everything where ``anyone`` says so, otherwise the union
    of ``selectors`` and ``blocks``; ``ports`` None is every port; ``named`` are resolved later."""

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


@dataclass(slots=True)
class Questions:
    """Everything that the policies of a cluster ask, each distinct thing once."""

    selectors: dict[Asked, int] = field(default_factory=dict)
    blocks: dict[BlockPeer, int] = field(default_factory=dict)
    named: set[NamedPort] = field(default_factory=set)
    drafts: list[LoweredRule] = field(default_factory=list)
    rules: list[RuleRef] = field(default_factory=list)
    # For each tier and direction, the subjects that it denies by default; and for each
    # direction, all subjects of NetworkPolicies, with the number of their tier.
    isolated: dict[tuple[int, Direction], list[int]] = field(default_factory=dict)
    network_subjects: dict[Direction, set[int]] = field(default_factory=dict)
    network_tier: int = 0
    # Port lists as rules write them, taken apart: the same few come again and again.
    ports: dict[tuple[PortMatch, ...], tuple[PortList, tuple[NamedPort, ...]]] = field(
        default_factory=dict
    )

    def label_keys(self) -> frozenset[str]:
        """Every label key that a pod selector asks about."""
        return frozenset(
            requirement.key
            for _, selector, _ in self.selectors
            for requirement in selector.requirements
        )


def lower(policies: Sequence[Policy]) -> Questions:
    """Number everything that ``policies`` (in evaluation order) ask for."""
    questions = Questions()
    tiers = {tier: number for number, tier in enumerate(tiers_of(policies))}
    for policy in policies:
        where: Where = policy.namespace if policy.namespace is not None else policy.namespaces
        subject = _selector(questions, (where, policy.pods, False))
        tier = tiers[policy.tier]
        if policy.tier.default is Action.DENY:
            for direction in policy.isolates:
                questions.isolated.setdefault((tier, direction), []).append(subject)
        if policy.tier == NETWORK_POLICY_TIER:
            questions.network_tier = tier
            for direction in policy.isolates:
                questions.network_subjects.setdefault(direction, set()).add(subject)
        for rule in policy.rules:
            questions.rules.append(RuleRef(policy, rule))
            questions.drafts.append(_draft(questions, policy, rule, tier, subject))
    return questions


def _selector(questions: Questions, asked: Asked) -> int:
    return questions.selectors.setdefault(asked, len(questions.selectors))


def _draft(
    questions: Questions, policy: Policy, rule: Rule, tier: int, subject: int
) -> LoweredRule:
    selectors: list[int] = []
    blocks: list[int] = []
    for peer in rule.peers or ():
        if isinstance(peer, PodPeer):
            where: Where = peer.namespace if peer.namespace is not None else peer.namespaces
            written = peer.pods is not None
            asked = (where, peer.pods if peer.pods is not None else EVERYTHING, written)
            selectors.append(_selector(questions, asked))
        else:
            blocks.append(questions.blocks.setdefault(peer, len(questions.blocks)))
    named: tuple[NamedPort, ...] = ()
    ports: PortList | None = None
    if rule.ports is not None:
        known = questions.ports.get(rule.ports)
        if known is None:
            known = questions.ports[rule.ports] = _taken_apart(rule.ports)
            questions.named.update(known[1])
        ports, named = known
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
    )


def _taken_apart(ports: tuple[PortMatch, ...]) -> tuple[PortList, tuple[NamedPort, ...]]:
    """Ranges and names of a port list."""
    return (
        tuple(sorted({port for port in ports if isinstance(port, PortRange)})),
        tuple(sorted({port for port in ports if isinstance(port, NamedPort)})),
    )


def _distinct(numbers: list[int]) -> tuple[int, ...]:
    return tuple(numbers) if len(numbers) < 2 else tuple(sorted(set(numbers)))
