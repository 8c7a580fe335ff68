"""What decided one direction of a connection, in the words of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from kubeverdict.analyses.conditions import Context
from kubeverdict.analyses.ends import party_id
from kubeverdict.analyses.misses import PolicyMiss, PolicyView, policy_miss, policy_view
from kubeverdict.analyses.questions import Flow
from kubeverdict.compile.compiled import BEFORE_TIERS, DENYING, Reason
from kubeverdict.compile.isolation import Isolation
from kubeverdict.compile.tiers import tiers_of
from kubeverdict.errors import located
from kubeverdict.evaluate.flows import LayerTrace, Trace, trace
from kubeverdict.model.policy import Action, Direction, Policy
from kubeverdict.model.sources import field_text

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy, RuleRef


# What decided where no rule did, as reports say it.
WORDS = {
    Reason.NOT_ISOLATED: "not-isolated",
    Reason.NO_RULE_MATCHES: "no-rule-matches",
    Reason.SELF: "self",
    Reason.OWN_NODE: "own-node",
    Reason.NO_ADDRESS: "no-address",
    Reason.ALWAYS_ICMP: "icmp",
    Reason.HAIRPIN: "hairpin",
}

# The same in a sentence about one direction.
_SENTENCES = {
    "not-isolated": "is open: no policy isolates the pod",
    "not-a-pod": "is open: no policy is about an address",
    "no-rule-matches": "is isolated and no rule matches",
    "self": "is open: a pod reaches itself",
    "own-node": "is open: the node of a pod reaches it",
    "no-address": "is not possible: the ends share no address family",
    "icmp": "is open: this network plug-in lets ICMP through",
    "hairpin": "is open: a pod reaches itself through a Service",
    "conditional": "depends on a condition",
    "no-local-backend": "is dropped: no backend on this node (internalTrafficPolicy Local)",
}
# Policies that a sentence names.
_NAMED = 3


class RuleView(msgspec.Struct, frozen=True):
    """A rule that decided: its policy, its place in it, and its place in the input."""

    policy: PolicyView
    field: str
    file: str
    line: int
    action: str
    condition: str = ""


class Decision(msgspec.Struct, frozen=True):
    """One direction. ``reason`` is ``rule`` where a rule decided, or a word for what else did.
    ``passed`` are the rules of earlier tiers that passed the connection on, in order.

    ``isolated_by`` is filled where nothing matched: the policies that isolate the pod, each with
    its nearest miss, the nearest of all first. ``layers`` is filled where policies are of more than
    one layer: what each of them decides; the direction itself is what they decide together. Where
    it depends on a condition, ``reason`` is ``conditional`` and ``bounds`` are what is decided
    where as much as possible is allowed, and where as little.
    """

    allowed: bool
    reason: str
    rule: RuleView | None = None
    isolated_by: tuple[PolicyMiss, ...] = ()
    passed: tuple[RuleView, ...] = ()
    layers: tuple[LayerDecision, ...] = ()
    bounds: tuple[Decision, ...] = ()

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of the rules behind it, each once."""
        inside = (*self.bounds, *(each.decision for each in self.layers))
        own = [self.rule.condition] if self.rule is not None else []
        own += [rule.condition for rule in self.passed]
        found = (*filter(None, own), *(text for one in inside for text in one.conditions))
        return tuple(dict.fromkeys(found))


class LayerDecision(msgspec.Struct, frozen=True):
    """What one of several layers decides for itself."""

    layer: str
    decision: Decision


class ConnectionVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Both directions of one connection, at one time. ``condition`` is what the verdict depends
    on, where it does; such a connection counts as not allowed."""

    allowed: bool
    egress: Decision
    ingress: Decision
    condition: str = ""


def by_rule(ref: RuleRef, at_least: bool = False) -> Decision:
    """What a rule decides, in one of the two bounds where it is conditional."""
    return Decision(ref.rule.counted(at_least) is Action.ALLOW, "rule", _rule_view(ref))


def between(most: Decision, least: Decision) -> Decision:
    """One direction, from what both bounds decide."""
    if most.allowed == least.allowed:
        return least if least.allowed else most
    return Decision(False, "conditional", bounds=(most, least))


def _rule_view(ref: RuleRef) -> RuleView:
    source = ref.rule.source
    return RuleView(
        policy_view(ref.policy),
        field_text(source.path),
        source.file,
        source.line,
        ref.rule.action.name.lower(),
        ref.rule.condition,
    )


def by_reason(reason: Reason) -> Decision:
    """What is decided where no rule does it; the isolating policies are not looked up."""
    return Decision(reason not in DENYING, WORDS[reason])


def because(decision: Decision) -> str:
    """What decides one direction, with its place: "allowed by …", "is isolated by …"."""
    if decision.rule is not None:
        rule = decision.rule
        verb = "allowed" if decision.allowed else "denied"
        return f"{verb} by {rule.policy.title} {rule.field} ({located(rule.file, rule.line)})"
    if decision.bounds and decision.conditions:
        return f"depends on a condition: {', '.join(decision.conditions)}"
    if not decision.isolated_by:
        return _SENTENCES[decision.reason]
    parts = []
    for number, miss in enumerate(decision.isolated_by[:_NAMED]):
        text = f"{miss.policy.title} ({located(miss.policy.file, miss.policy.line)})"
        # The nearest of all comes first, and is most likely what was meant to match.
        if number == 0 and miss.nearest is not None and miss.nearest.failures:
            near = miss.nearest
            failed = ", ".join(one.message for one in near.failures)
            text += (
                f", whose {near.field} ({located(near.file, near.line)}) comes nearest: {failed}"
            )
        parts.append(text)
    more = len(decision.isolated_by) - _NAMED
    if more > 0:
        parts.append(f"{more:,} more")
    return f"is isolated by {'; '.join(parts)}; no rule matches"


class Decider:
    """Puts names and places to what the engine decided."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        self._compiled = compiled
        self._context = Context(
            compiled.cluster, compiled.profile, compiled.policies, compiled.at_least
        )
        self._isolation = Isolation(compiled.cluster.namespaces, compiled.policies)
        self._tiers = tiers_of(compiled.policies)
        # Reports of many connections name the same few rules and policies.
        self._by_rule: dict[int, Decision] = {}
        self._misses: dict[int, PolicyMiss] = {}  # without the nearest rule, by id of the policy

    def decision(
        self,
        decided: int,
        direction: Direction,
        flow: Flow,
        misses: bool = True,
        ends: tuple[int, int] | None = None,
    ) -> Decision:
        """The decision behind ``decided``, a rule id or a :class:`Reason`.

        ``ends`` are the endpoint ids of source and destination, where the parties of the flow do
        not determine them.

        Looking for near misses costs a walk over the rules of each isolating policy; without
        ``misses`` only the policies are named.
        """
        way = self._way(decided, direction, flow, ends)
        plain = self._plain(decided, direction, flow, way, misses)
        plain = self._with_passed(plain, way)
        if len(way.layers) < 2:
            return plain
        names = list(dict.fromkeys(tier.layer.name for tier in self._tiers.values()))
        layers = [
            self._with_passed(self._plain(one.decided, direction, flow, one, misses), one)
            for one in way.layers
        ]
        return replace(plain, layers=tuple(map(LayerDecision, names, layers)))

    def _with_passed(self, plain: Decision, way: LayerTrace) -> Decision:
        passed = tuple(_rule_view(self._compiled.rules[rule]) for rule in way.passed)
        return replace(plain, passed=passed) if passed else plain

    def _way(
        self, decided: int, direction: Direction, flow: Flow, ends: tuple[int, int] | None
    ) -> Trace:
        """Through which tiers the flow came. One tier alone has nothing to pass on to."""
        unknown = Trace((), None, decided)
        if len(self._tiers) == 1 or decided in BEFORE_TIERS:
            return unknown
        compiled = self._compiled
        if ends is None:
            ends = party_id(compiled, flow.source), party_id(compiled, flow.destination)
        found = trace(compiled, direction, *ends, flow.protocol, flow.port, flow.family)
        # Behind a Service the profile may have judged another end than this one.
        return found if found is not None and found.decided == decided else unknown

    def _plain(
        self, decided: int, direction: Direction, flow: Flow, way: LayerTrace, misses: bool
    ) -> Decision:
        if decided >= 0:
            if decided not in self._by_rule:
                rule = self._compiled.rules[decided]
                self._by_rule[decided] = by_rule(rule, self._compiled.at_least)
            return self._by_rule[decided]
        reason = Reason(decided)
        subject = flow.source if direction is Direction.EGRESS else flow.destination
        if reason is Reason.NO_RULE_MATCHES:
            assert subject.pod is not None
            tier = None if way.tier is None else self._tiers[way.tier]
            policies = self._isolation.of(subject.pod, direction, tier)
            if misses:
                isolated_by = [
                    policy_miss(self._context, policy, direction, flow) for policy in policies
                ]
                # What was meant to allow it is most likely what came nearest.
                isolated_by.sort(key=lambda miss: miss.distance)
            else:
                isolated_by = [self._named(policy) for policy in policies]
            return Decision(False, WORDS[reason], isolated_by=tuple(isolated_by))
        if reason is Reason.NOT_ISOLATED and not subject.managed:
            return Decision(True, "not-a-pod")
        return by_reason(reason)

    def _named(self, policy: Policy) -> PolicyMiss:
        key = id(policy)
        if key not in self._misses:
            self._misses[key] = PolicyMiss(policy_view(policy))
        return self._misses[key]
