"""What a change opens and closes, by the rule or policy that is responsible: findings for CI."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import msgspec

from kubeverdict.analyses.decisions import ConnectionVerdict, Decision, RuleView, because
from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.analyses.misses import PolicyView
from kubeverdict.analyses.peers import Peer
from kubeverdict.analyses.port_text import Ports
from kubeverdict.model.counts import count

OPENED = Check(
    "connection-opened",
    "the change opens a connection",
    Severity.WARNING,
    why="What is denied today would be allowed.",
)
CLOSED = Check(
    "connection-closed",
    "the change closes a connection",
    Severity.WARNING,
    why="What is allowed today would be denied.",
)
# Connections that a finding names; code hosts cut long texts off.
_NAMED = 10


# A policy by its kind and its name with the namespace.
PolicyName = tuple[str, str]


class Effect(msgspec.Struct, frozen=True):
    """A connection between workloads that the change opens or closes.

    ``ports`` are those that open or close, ``pairs`` the number of pod pairs it concerns; 0
    where one end is an address. ``before`` and ``after`` say what decides on the first of these
    ports between the first of these pods; None where an end does not exist at that time.

    With ``conditions`` it depends on those of rules: either it comes only where as much as
    possible is allowed, or only where as little, and ``before`` and ``after`` are of that case.
    """

    source: Peer
    destination: Peer
    ports: Ports
    pairs: int
    before: ConnectionVerdict | None
    after: ConnectionVerdict | None
    family: str = ""
    conditions: tuple[str, ...] = ()


class Responsible(NamedTuple):
    """A rule or policy, and its place; empty where an end comes or goes and no policy does it."""

    file: str = ""
    line: int = 0
    policy: str = ""


def findings_of(
    opened: Sequence[Effect], closed: Sequence[Effect], changed: Container[PolicyName]
) -> tuple[Finding, ...]:
    """One for each place that opens or closes connections, in the order of these: code hosts
    show few findings, and each of their places once. ``changed`` as for :func:`responsible`."""
    found: dict[tuple[Check, Responsible], list[Effect]] = {}
    for check, effects in ((OPENED, opened), (CLOSED, closed)):
        for effect in effects:
            found.setdefault((check, responsible(effect, changed)), []).append(effect)
    return tuple(
        Finding(
            check.id,
            check.severity,
            _message("opens" if check is OPENED else "closes", effects),
            place.file,
            place.line,
            (place.policy,) if place.policy else (),
        )
        for (check, place), effects in found.items()
    )


def responsible(effect: Effect, changed: Container[PolicyName] = ()) -> Responsible:
    """What one would look at, or change, to have it otherwise; ``changed`` are the policies that
    the change is about.

    The rule that decides afterwards. Where none does: the policy that isolates, best the one
    whose rule allowed it before; or, where nothing isolates any more, the one that did. Or a rule
    that passes it on, and did not before. A policy that changed goes before others, which only
    come to decide.
    """
    suspects = [one for was, now in _turned(effect) for one in _suspects(was, now)]
    touched = (place for policy, place in suspects if (policy.kind, policy.name) in changed)
    return next(touched, suspects[0][1] if suspects else Responsible())


def _suspects(was: Decision | None, now: Decision) -> Iterator[tuple[PolicyView, Responsible]]:
    """Who may be responsible for one direction, with the place to look at, the likeliest first."""
    rules = [now.rule, *(rule for rule in now.passed if was is None or rule not in was.passed)]
    isolating = [miss.policy for miss in now.isolated_by]
    before = was.rule if was is not None else None
    yield from (_of_rule(rule) for rule in rules if rule is not None)
    if before is not None:
        owner = (before.policy.kind, before.policy.name)
        isolating.sort(key=lambda one: (one.kind, one.name) != owner)
        if isolating and (isolating[0].kind, isolating[0].name) != owner:
            yield _of_rule(before)  # its policy is gone, and others isolate
    yield from map(_of_policy, isolating)
    if before is not None:
        yield _of_rule(before)
    if was is not None:
        yield from (_of_rule(rule) for rule in was.passed if rule not in now.passed)
        yield from (_of_policy(miss.policy) for miss in was.isolated_by)


def _of_policy(policy: PolicyView) -> tuple[PolicyView, Responsible]:
    return policy, Responsible(policy.file, policy.line, f"{policy.kind} {policy.name}")


def _of_rule(rule: RuleView) -> tuple[PolicyView, Responsible]:
    policy = rule.policy
    return policy, Responsible(rule.file, rule.line, f"{policy.kind} {policy.name}")


def _turned(effect: Effect) -> Iterator[tuple[Decision | None, Decision]]:
    """The directions that the change reversed, as decided before and after; all of them where an
    end was not there before."""
    before, after = effect.before, effect.after
    if after is None:
        return
    if before is None:
        yield from ((None, after.ingress), (None, after.egress))
        return
    for was, now in ((before.ingress, after.ingress), (before.egress, after.egress)):
        if was.allowed != now.allowed:
            yield was, now


def _message(verb: str, effects: list[Effect]) -> str:
    first = effects[0]
    lines = [f"{verb} {connection(first)}"]
    if len(effects) > 1:
        lines = [f"{verb} {len(effects):,} connections:"]
        lines += [f"  {connection(effect)}" for effect in effects[:_NAMED]]
        if len(effects) > _NAMED:
            lines.append(f"  and {len(effects) - _NAMED:,} more")
    before, after = causes(first)
    of = "" if len(effects) == 1 else " (the first)"
    return "\n".join([*lines, f"before{of}: {before}", f"after{of}: {after}"])


def length(source: Peer, destination: Peer, ports: Ports) -> tuple[int, str, str]:
    """Orders connections by the letters of their ends and ports, then by name: the first of
    several is the quickest to read."""
    texts = source.name, destination.name, str(ports)
    return sum(map(len, texts)), source.name, destination.name


def connection(effect: Effect) -> str:
    """Ends, ports, how many pod pairs, and the conditions that it depends on."""
    family = f" over {effect.family}" if effect.family else ""
    pairs = f" ({count(effect.pairs, 'pod pair')})" if effect.pairs else ""
    depends = f", depending on: {'; '.join(effect.conditions)}" if effect.conditions else ""
    return f"{effect.source} to {effect.destination}, {effect.ports}{family}{pairs}{depends}"


def causes(effect: Effect) -> tuple[str, str]:
    """The verdicts before and after, and what decides them: of the directions that change only."""
    return _cause(effect.before, effect.after), _cause(effect.after, effect.before)


def _cause(verdict: ConnectionVerdict | None, other: ConnectionVerdict | None) -> str:
    if verdict is None:
        return "an end is not there"
    causes = [
        f"{name} {because(own)}"
        for name, own, counterpart in (
            ("egress", verdict.egress, other and other.egress),
            ("ingress", verdict.ingress, other and other.ingress),
        )
        if own.allowed is verdict.allowed
        and (counterpart is None or counterpart.allowed is not own.allowed)
    ]
    return f"{'allowed' if verdict.allowed else 'denied'}: {', '.join(causes)}"
