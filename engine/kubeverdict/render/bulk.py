"""Many scenarios: a ranking for people, rows for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.errors import located
from kubeverdict.model.counts import count
from kubeverdict.render.removal import removal
from kubeverdict.render.rows import Row, aligned
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import ChangedConnection, Ranking, ScenarioReport
    from kubeverdict.analyses.decisions import ConnectionVerdict, Decision

_HEADING: Row = (
    "scenario",
    "pairs opened",
    "pairs closed",
    "ports opened",
    "ports closed",
    "workloads",
    "namespaces",
    "outside",
)
# What people read: the pod pairs stand for the ports.
_TITLE: Row = ("scenario", "opens", "closes", "workloads", "namespaces", "outside")
_REASONS = {"not-isolated": "is not isolated", "no-rule-matches": "is isolated, no rule matches"}
# Longer lists of covering policies are cut short, with a count.
_SHOWN = 3


def text(ranking: Ranking, style: Style) -> str:
    """The scenarios that change most, an example of each, and totals of the others."""
    parts: list[str] = []
    failed = [one for one in ranking.reports if one.error]
    if failed:
        lines = [style.paint(f"{len(failed)} could not be judged", "red")]
        parts.append("\n".join([*lines, *(f"  {one.name}: {one.error}" for one in failed)]))
    shown = [one for one in ranking.reports if one.changes][: ranking.top]
    if ranking.rollout:
        shown = [one for one in ranking.reports if not one.error]
    if shown:
        title, *lines = aligned(_TITLE, [_row(one) for one in shown])
        title = style.paint(title, "bold")
        body = [title]
        for one, line in zip(shown, lines, strict=True):
            body.append(style.paint(line, "red") if one.breaks else line)
            body += _least(one)
            body += _examples(one, style)
        parts.append("\n".join(body))
    parts += blocks(ranking, len(shown))
    return "\n\n".join(parts) if parts else "no scenario to show"


def full_rows(ranking: Ranking) -> tuple[Row, list[Row]]:
    """Every scenario with every figure."""
    rows = [
        (*_cells(one), *_least_cells(one), _why_idle(one), one.error) for one in ranking.reports
    ]
    least = (f"{name} at least" for name in _HEADING[1:5])
    return (*_HEADING, *least, "redundant", "error"), rows


def short_rows(ranking: Ranking) -> tuple[Row, list[Row]]:
    """The scenarios that change most, with the figures that people read."""
    return _TITLE, [_row(one) for one in ranking.reports if one.changes][: ranking.top]


def blocks(ranking: Ranking, shown: int) -> list[str]:
    """Totals of the scenarios that are not shown."""
    return _rest(ranking, shown) + _covered(ranking) + _together(ranking)


def _cells(one: ScenarioReport) -> Row:
    found = one.figures
    outside = "+".join(
        word
        for word, given in (("opened", one.outside_opened), ("closed", one.outside_closed))
        if given
    )
    numbers = (
        found.pairs_opened,
        found.pairs_closed,
        found.ports_opened,
        found.ports_closed,
        one.workloads,
        one.namespaces,
    )
    return (one.name, *map(str, numbers), outside)


def _least_cells(one: ScenarioReport) -> Row:
    """The figures of what is allowed at least, where rules are conditional."""
    if one.at_least is None:
        return ("",) * 4
    return tuple(map(str, msgspec.structs.astuple(one.at_least.figures)))


def _row(one: ScenarioReport) -> Row:
    found = one.figures
    numbers = (found.pairs_opened, found.pairs_closed, one.workloads, one.namespaces)
    return (one.name, *(f"{number:,}" if number else "-" for number in numbers), _cells(one)[-1])


def _least(one: ScenarioReport) -> Iterator[str]:
    """How much of a scenario depends on conditions."""
    if one.at_least is not None and one.conditional:
        found = one.at_least.figures
        pairs = f"opens {found.pairs_opened:,} and closes {found.pairs_closed:,} pod pairs"
        yield f"    conditional: {pairs} where rules with a condition allow as little as possible"


def _examples(one: ScenarioReport, style: Style) -> Iterator[str]:
    """The first connection that opens and the first that closes."""
    for opens in (True, False):
        change = next((each for each in one.examples if each.opens is opens), None)
        if change is not None:
            word = style.paint("opens", "green") if opens else style.paint("closes", "red")
            yield f"    {word} {_connection(change, style)}"
            yield f"      before {_because(change.before)}"
            yield f"      after {_because(change.after)}"
    if one.breaks:
        pairs = count(one.broken, "pod pair that is", "pod pairs that are")
        yield f"    breaks {pairs} connected before the first step and after the last"


def _connection(change: ChangedConnection, style: Style) -> str:
    family = f" ({change.family})" if change.family else ""
    return f"{change.source} {style.arrow} {change.destination} {change.port}{family}"


def _because(verdict: ConnectionVerdict | None) -> str:
    """The verdict, and what decides it: of a denial, the sides that deny."""
    if verdict is None:
        return "it is not there"
    sides = (("egress", verdict.egress), ("ingress", verdict.ingress))
    if verdict.condition:
        return f"conditional: {verdict.condition}"
    causes = [f"{name} {_decided(one)}" for name, one in sides if one.allowed is verdict.allowed]
    return f"{'allowed' if verdict.allowed else 'denied'}: {', '.join(causes)}"


def _decided(decision: Decision) -> str:
    rule = decision.rule
    if rule is None:
        return _REASONS.get(decision.reason, decision.reason)
    return f"by {rule.policy.title} {rule.field} ({located(rule.file, rule.line)})"


def _rest(ranking: Ranking, shown: int) -> list[str]:
    total = ranking.summary
    lines = []
    more = total.changed - shown
    if more > 0:
        lines.append(f"{count(more, 'more scenario changes', 'more scenarios change')} something")
    idle = total.scenarios - total.changed - total.failed
    if idle:
        verb = "changes" if idle == 1 else "change"
        lines.append(f"{idle:,} of {count(total.scenarios, 'scenario')} {verb} nothing")
    return ["\n".join(lines)] if lines else []


def _why_idle(one: ScenarioReport) -> str:
    if one.redundant is None:
        return ""
    names, unmodelled = one.redundant.covered_by, one.redundant.unmodelled
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    if one.redundant.selects_nothing:
        text = "selects no pod"
    elif names:
        text = f"covered by {', '.join(names[:_SHOWN])}{more}"
    else:
        text = "nothing it allows gets through at the other end"
    if unmodelled:
        text += f"; it may select pods of {', '.join(unmodelled[:_SHOWN])}, which are not modelled"
    return text


def _covered(ranking: Ranking) -> list[str]:
    certain = [one for one in ranking.reports if one.is_redundant]
    others = [one for one in ranking.reports if one.redundant is not None and not one.is_redundant]
    blocks = []
    for idle, many, single in (
        (
            certain,
            "policies are redundant: removing any single one changes nothing",
            "1 policy is redundant: removing it changes nothing",
        ),
        (
            others,
            "policies change nothing for the pods that are known",
            "1 policy changes nothing for the pods that are known",
        ),
    ):
        if idle:
            lines = [f"{len(idle):,} {many}" if len(idle) > 1 else single]
            lines += [f"  {one.name}: {_why_idle(one)}" for one in idle[: ranking.top]]
            if len(idle) > ranking.top:
                lines.append(f"  and {len(idle) - ranking.top:,} more (--top, or -o jsonl)")
            blocks.append("\n".join(lines))
    if certain:
        blocks[1:1] = removal(ranking.removable, ranking.top)
    return blocks


def _together(ranking: Ranking) -> list[str]:
    blocks = []
    if ranking.pairs:
        lines = ["candidates that interact"]
        for pair in ranking.pairs[: ranking.top]:
            words = []
            if pair.overlap:
                words.append(f"both change {pair.overlap:,} (pair, port)")
            if pair.conflict:
                words.append(f"together {pair.conflict:,} (pair, port) differ from each alone")
            lines.append(f"  {pair.first} / {pair.second}: {'; '.join(words)}")
        if len(ranking.pairs) > ranking.top:
            lines.append(f"  and {count(len(ranking.pairs) - ranking.top, 'more pair')} (--top)")
        blocks.append("\n".join(lines))
    if ranking.rollout:
        blocks.append(_order(ranking))
    return blocks


def _order(ranking: Ranking) -> str:
    if not any(one.breaks for one in ranking.reports):
        return "no step breaks a connection"
    order = ranking.safe_order
    if order is None or not order.steps:
        if order is not None and not order.complete:
            return "too many orders of these steps to try: in those that were, some step breaks one"
        return "there is no order of these steps in which none breaks a connection"
    steps: Sequence[str] = [f"  {n}. {name}" for n, name in enumerate(order.steps, 1)]
    return "\n".join(["an order in which no step breaks a connection", *steps])
