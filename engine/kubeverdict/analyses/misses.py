"""The nearest miss: of a policy that allowed nothing, the rule that came closest."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import msgspec

from kubeverdict.analyses.conditions import (
    Context,
    UnmetCondition,
    peer_failures,
    port_failures,
    rule_failures,
)
from kubeverdict.analyses.questions import Flow
from kubeverdict.model.policy import NETWORK_POLICY, Action, Direction, Policy, Rule
from kubeverdict.model.sources import field_text


class PolicyView(msgspec.Struct, frozen=True):
    """A policy and its place in the input."""

    kind: str
    name: str
    file: str
    line: int

    @property
    def title(self) -> str:
        """The name, with its kind unless it is a NetworkPolicy, as most policies are."""
        return self.name if self.kind == NETWORK_POLICY else f"{self.kind} {self.name}"


class RuleMiss(msgspec.Struct, frozen=True):
    """A rule, its place, and the conditions that did not hold at its nearest peer.

    ``adapted`` is true where the CNI applies the rule otherwise than the manifest says.
    """

    field: str
    file: str
    line: int
    failures: tuple[UnmetCondition, ...]
    adapted: bool


class PolicyMiss(msgspec.Struct, frozen=True):
    """A policy that isolates the pod. ``nearest`` is None where it has no rule to miss, or where
    none was looked for."""

    policy: PolicyView
    nearest: RuleMiss | None = None

    @property
    def distance(self) -> float:
        """How far the policy is from allowing: the weights of what failed, summed."""
        if self.nearest is None:
            return inf
        return sum(failure.weight for failure in self.nearest.failures)


def policy_miss(context: Context, policy: Policy, direction: Direction, flow: Flow) -> PolicyMiss:
    """Which of the policy's rules that allow, or pass on to a later tier, came nearest to the
    flow, and what was missing.

    Nearest is the smallest sum of the weights of the failed conditions, over all rules and, in
    a rule, over all its peers; the first in the manifest where several are as near.
    """
    nearest: tuple[float, Rule, list[UnmetCondition]] | None = None
    for rule in policy.rules:
        denies = Action.DENY in (rule.action, rule.counted(context.at_least))
        if rule.direction is not direction or denies:
            continue
        subject = flow.source if direction is Direction.EGRESS else flow.destination
        always = rule_failures(context, rule, subject)
        for attempt in _attempts(context, policy, rule, flow):
            failures = [*always, *attempt]
            if not failures:
                continue  # it matches in the other address family, which another tier denies
            weight = sum(failure.weight for failure in failures)
            if nearest is None or weight < nearest[0]:
                nearest = weight, rule, failures
    miss = None
    if nearest is not None:
        _, rule, failures = nearest
        source = rule.source
        miss = RuleMiss(
            field_text(source.path),
            source.file,
            source.line,
            tuple(failures),
            context.is_adapted(rule),
        )
    return PolicyMiss(policy_view(policy), miss)


def policy_view(policy: Policy) -> PolicyView:
    source = policy.source
    return PolicyView(policy.kind, str(policy), source.file, source.line)


def _attempts(
    context: Context, policy: Policy, rule: Rule, flow: Flow
) -> Iterator[list[UnmetCondition]]:
    """The failures at each peer of the rule."""
    other = flow.destination if rule.direction is Direction.EGRESS else flow.source
    if rule.peers is None:
        yield port_failures(context, policy, rule, None, flow)
    elif not rule.peers:
        message = f"{context.profile.title} drops this rule"
        yield [UnmetCondition("profile", message, "a peer", "none", weight=3.0)]
    else:
        for peer in rule.peers:
            yield [
                *peer_failures(context, peer, rule, other, flow.family),
                *port_failures(context, policy, rule, peer, flow),
            ]
