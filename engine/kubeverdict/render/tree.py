"""Explanations and what-ifs as indented trees, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.errors import located
from kubeverdict.model.address_text import shortened
from kubeverdict.model.counts import count
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.decisions import ConnectionVerdict, Decision, RuleView
    from kubeverdict.analyses.effects import Effect
    from kubeverdict.analyses.explain import Answer, Explanation
    from kubeverdict.analyses.misses import PolicyMiss
    from kubeverdict.analyses.whatif import PairTotals, WhatIf

# Longer lists of pods are cut short, with a count.
SHOWN = 4
# So are sets of addresses that take more room; JSON has them in full.
_END = 64

# What decided where no rule did, of a subject.
REASONS = {
    "not-isolated": "no policy isolates {subject} here",
    "no-rule-matches": "{subject} is isolated and no rule matches",
    "not-a-pod": "{subject} is not a pod that policies select",
    "self": "a pod always reaches itself",
    "own-node": "a pod and its own node always reach each other",
    "no-address": "the two ends share no address family",
    "icmp": "this CNI always lets ICMP through",
    "hairpin": "this CNI lets a pod reach itself through a Service",
    "no-local-backend": "its node has no backend (internalTrafficPolicy Local) and drops it, "
    "whatever policies say",
}


class Branch(msgspec.Struct, frozen=True):
    text: str
    branches: tuple[Branch, ...] = ()


def explanation(report: Explanation, style: Style) -> str:
    return "\n\n".join(draw(_answer(report, answer, style), style) for answer in report.answers)


def whatif(report: WhatIf, style: Style) -> str:
    """The totals, then each connection that opens or closes with the rules behind it."""
    parts = ["\n".join(pair_totals(pairs, len(report.pairs) > 1, style) for pairs in report.pairs)]
    for effects, title, color in (
        (report.opened, "opens", "green"),
        (report.closed, "closes", "red"),
    ):
        branches = tuple(_effect(effect, style) for effect in effects)
        if branches:
            connections = count(len(branches), "connection")
            parts.append(
                draw(Branch(style.paint(f"{title} {connections}", color), branches), style)
            )
    return "\n\n".join(parts)


def pair_totals(pairs: PairTotals, apart: bool, style: Style) -> str:
    """Pod pairs opened and closed, in a line; of one family where they are shown ``apart``."""
    family = f"IPv{pairs.families[0]}: " if apart else ""
    before, after = pairs.before, pairs.after
    if not pairs.opened and not pairs.closed:
        return f"{family}nothing changes between pods: {count(after, 'pod pair')} connected"
    return (
        f"{family}opens ports between {count(pairs.opened, 'pod pair')}, closes ports between "
        f"{pairs.closed}; {before} {style.arrow} {after} connected"
    )


def _answer(report: Explanation, answer: Answer, style: Style) -> Branch:
    source = report.source if answer.whole_source else _names(answer.sources)
    destination = report.destination if answer.whole_destination else _names(answer.destinations)
    port = f" {answer.port}" if answer.port else ""
    family = f" over IPv{answer.family}" if answer.family else ""
    through = f" (through {report.destination} {answer.through})" if answer.through else ""
    dropped = answer.egress.reason == "no-local-backend"
    verdict = style.paint("dropped", "red") if dropped else style.verdict(answer.allowed)
    if answer.condition:
        verdict = f"{style.paint('conditional', 'yellow')} ({answer.condition})"
    title = (
        f"{verdict}: {source} {style.arrow} {destination} on "
        f"{answer.protocol}{port}{family}{through}"
    )
    if dropped:
        return Branch(title, (Branch(REASONS[answer.egress.reason]),))
    return Branch(
        title,
        (
            *_hairpin(answer),
            _direction(answer.egress, f"egress from {source}", source, style),
            _direction(answer.ingress, f"ingress to {destination}", destination, style),
        ),
    )


def _hairpin(answer: Answer) -> Iterator[Branch]:
    if answer.hairpins:
        which = "a hairpin" if len(answer.sources) == 1 else "a hairpin among them"
        pods = _names(answer.hairpins)
        reaches = "comes back to itself" if len(answer.hairpins) == 1 else "come back to themselves"
        yield Branch(f"{which}: {pods} {reaches} through the Service")


def _direction(decision: Decision, title: str, subject: str, style: Style) -> Branch:
    branches: tuple[Branch, ...]
    if decision.bounds:
        most, least = decision.bounds
        return Branch(
            f"{title}: {style.paint('conditional', 'yellow')}",
            (
                _direction(most, "at most", subject, style),
                _direction(least, "at least", subject, style),
            ),
        )
    if decision.layers:
        return Branch(
            f"{title}: {style.verdict(decision.allowed)}",
            tuple(
                _direction(each.decision, f"{each.layer} layer", subject, style)
                for each in decision.layers
            ),
        )
    if decision.rule is not None:
        branches = (Branch(_rule(decision.rule)),)
    elif decision.isolated_by:
        branches = tuple(_miss(miss) for miss in decision.isolated_by)
    else:
        branches = (Branch(REASONS[decision.reason].format(subject=subject)),)
    passed = tuple(Branch(_rule(rule)) for rule in decision.passed)
    return Branch(f"{title}: {style.verdict(decision.allowed)}", passed + branches)


def _rule(rule: RuleView) -> str:
    condition = f", condition: {rule.condition}" if rule.condition else ""
    place = f"{rule.policy.title} {rule.field} ({located(rule.file, rule.line)})"
    return f"{rule.action} by policy {place}{condition}"


def _miss(miss: PolicyMiss) -> Branch:
    policy = miss.policy
    title = f"policy {policy.title} ({located(policy.file, policy.line)}) isolates it"
    nearest = miss.nearest
    if nearest is None:
        return Branch(f"{title} and no rule of it allows anything in this direction")
    adapted = ", as this CNI reads it" if nearest.adapted else ""
    return Branch(
        title,
        (
            Branch(
                f"nearest rule {nearest.field} (line {nearest.line}){adapted}",
                tuple(Branch(failure.message) for failure in nearest.failures),
            ),
        ),
    )


def _effect(effect: Effect, style: Style) -> Branch:
    family = f" over {effect.family}" if effect.family else ""
    pairs = f"  ({count(effect.pairs, 'pod pair')})" if effect.pairs else ""
    ends = effect.source, effect.destination
    source, destination = (shortened(end.name, _END) if end.spans else end.name for end in ends)
    depends = f"  {style.paint('conditional', 'yellow')}" if effect.conditions else ""
    title = f"{source} {style.arrow} {destination}  {effect.ports}{family}{pairs}{depends}"
    if effect.conditions:
        title += f" ({'; '.join(effect.conditions)})"
    return Branch(
        title,
        (
            Branch(f"before: {connection_verdict(effect.before, style)}"),
            Branch(f"after: {connection_verdict(effect.after, style)}"),
        ),
    )


def connection_verdict(verdict: ConnectionVerdict | None, style: Style) -> str:
    """What allows it, or only what denies it: in a denial the other direction has no part."""
    if verdict is None:
        return "does not exist"
    parts = [
        f"{direction} {_cause(decision)}"
        for direction, decision in (("egress", verdict.egress), ("ingress", verdict.ingress))
        if decision.allowed == verdict.allowed
    ]
    return f"{style.verdict(verdict.allowed)}; {'; '.join(parts)}"


def _cause(decision: Decision) -> str:
    if decision.rule is not None:
        rule = decision.rule
        return f"by {rule.policy.title} {rule.field} ({located(rule.file, rule.line)})"
    if decision.isolated_by:
        policies = [
            f"{miss.policy.title} ({located(miss.policy.file, miss.policy.line)})"
            for miss in decision.isolated_by
        ]
        return f"isolated by {_names(policies)}"
    return {"not-isolated": "not isolated", "not-a-pod": "not a pod"}.get(
        decision.reason, decision.reason
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    listed = ", ".join(names[:SHOWN])
    return f"{listed} and {more} more" if more > 0 else listed


def draw(branch: Branch, style: Style) -> str:
    marks = ("├─ ", "└─ ", "│  ", "   ") if style.unicode else ("|- ", "`- ", "|  ", "   ")
    return "\n".join([branch.text, *_lines(branch.branches, marks)])


def _lines(branches: tuple[Branch, ...], marks: tuple[str, str, str, str]) -> Iterator[str]:
    inner, last, bar, blank = marks
    for place, branch in enumerate(branches, start=1):
        ends = place == len(branches)
        yield (last if ends else inner) + branch.text
        for line in _lines(branch.branches, marks):
            yield (blank if ends else bar) + line
