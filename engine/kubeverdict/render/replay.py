"""Replayed flows: what would break, for people and for programs."""

from __future__ import annotations

import csv as comma
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kubeverdict.render import log
from kubeverdict.render.json import decision, document
from kubeverdict.render.md import table as md_table
from kubeverdict.render.rows import Row, aligned
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.decisions import Decision
    from kubeverdict.analyses.replay import Count, Group, IdleRule, Replay

# What people read; -o json has everything.
_SHOWN = 20
_HEADING: Row = ("source", "destination", "port", "records", "connections")
_REASONS = {"not-isolated": "is not isolated", "no-rule-matches": "is isolated, no rule matches"}


def table(report: Replay, style: Style) -> str:
    parts = ["\n".join(log.lines(report.log)), "\n".join(_summary(report, style))]
    for title, groups, color in (
        ("would break", report.breaks, "red"),
        ("denied when logged, allowed by the policies", report.admits, "yellow"),
    ):
        if groups:
            parts.append("\n".join([style.paint(title, color), *group_lines(groups, style)]))
    if report.groups_left_out:
        parts.append(f"{report.groups_left_out:,} smaller groups of connections are not listed")
    if report.idle:
        parts.append("\n".join(_idle(report)))
    return "\n\n".join(parts)


def md(report: Replay, style: Style) -> str:
    plain = Style(False, style.unicode)
    parts = [line.strip() for line in (*log.lines(report.log), *_summary(report, plain))]
    if report.breaks:
        rows = [_row(group) for group in report.breaks]
        parts += ["**Would break**", md_table(_HEADING, rows)]
    if report.idle:
        rows = [_idle_row(one) for one in report.idle]
        parts += ["**Rules that nothing used**", md_table(_IDLE_HEADING, rows)]
    return "\n\n".join(parts)


def csv(report: Replay, style: Style) -> str:
    """The groups of connections that break and those that are admitted."""
    text = io.StringIO()
    writer = comma.writer(text, lineterminator="\n")
    writer.writerow(("change", *_HEADING, "egress", "ingress"))
    for word, groups in (("breaks", report.breaks), ("admits", report.admits)):
        for group in groups:
            cells = (group.source_workload, group.destination_workload, group.port)
            counts = (group.records, group.connections)
            decided = (_decided(group.egress), _decided(group.ingress))
            writer.writerow((word, *cells, *counts, *decided))
    return text.getvalue().removesuffix("\n")


def json(report: Replay, style: Style) -> str:
    return document(
        "replay",
        {
            "profile": report.profile,
            "proposed": report.proposed,
            "log": log.content(report.log),
            "allowed": count(report.allowed),
            "breaking": count(report.breaking),
            **({"broken_by_change": count(report.broken_by_change)} if report.proposed else {}),
            "denied_then_and_now": count(report.refused),
            "denied_then_allowed_now": count(report.admitted),
            "breaks": [group_content(group) for group in report.breaks],
            "admits": [group_content(group) for group in report.admits],
            "groups_left_out": report.groups_left_out,
            "rules": report.rules,
            "unused_rules": [
                {
                    "policy": one.rule.policy.name,
                    "kind": one.rule.policy.kind,
                    "field": one.rule.field,
                    "file": one.rule.file,
                    "line": one.rule.line,
                    "direction": one.direction,
                    "shadowed": one.shadowed,
                }
                for one in report.idle
            ],
            "pod_pairs": {"seen": report.pairs_seen, "allowed": report.pairs_allowed},
        },
    )


def _summary(report: Replay, style: Style) -> list[str]:
    found = [f"{_words(report.allowed)} got through when logged, and the policies allow them"]
    if report.breaking.records:
        text = f"{_words(report.breaking)} got through when logged, and would break"
        if report.proposed:
            text += f"; {_words(report.broken_by_change)} of them by what is proposed"
        found.append(style.paint(text, "red"))
    else:
        found.append(style.paint("no connection that was seen would break", "green"))
    if report.refused.records:
        found.append(f"{_words(report.refused)} were denied when logged, and still are")
    if report.admitted.records:
        text = "were denied when logged, and the policies allow them"
        found.append(f"{_words(report.admitted)} {text}")
    if report.pairs_allowed is not None:
        found.append(
            f"{report.pairs_allowed:,} pod pairs are allowed to connect, "
            f"{report.pairs_seen:,} of them were seen to"
        )
    return found


def _words(count: Count) -> str:
    connections = "connection" if count.connections == 1 else "connections"
    records = "record" if count.records == 1 else "records"
    return f"{count.connections:,} {connections} ({count.records:,} {records})"


def group_lines(groups: Sequence[Group], style: Style) -> list[str]:
    """A table of groups, each with what decides."""
    title, *lines = aligned(_HEADING, [_row(group) for group in groups[:_SHOWN]])
    found = [style.paint(title, "bold")]
    for group, line in zip(groups, lines, strict=False):
        found += [line, *_because(group, style)]
    if len(groups) > _SHOWN:
        found.append(f"and {len(groups) - _SHOWN:,} more (-o json)")
    return found


def _row(group: Group) -> Row:
    counts = f"{group.records:,}", f"{group.connections:,}"
    return (group.source_workload, group.destination_workload, group.port, *counts)


def _because(group: Group, style: Style) -> list[str]:
    sides = (("egress", group.egress), ("ingress", group.ingress))
    allowed = all(one.allowed for _, one in sides)
    told = [f"    {name} {_decided(one)}" for name, one in sides if one.allowed is allowed]
    if group.source != group.source_workload or group.destination != group.destination_workload:
        told.append(f"    as {group.source} {style.arrow} {group.destination}")
    if group.before is False:
        told.append("    the present policies deny it as well")
    return told


def _decided(one: Decision) -> str:
    if one.rule is not None:
        word = "allowed" if one.allowed else "denied"
        return (
            f"{word} by {one.rule.policy.name} {one.rule.field} ({one.rule.file}:{one.rule.line})"
        )
    if not one.isolated_by:
        return _REASONS.get(one.reason, one.reason)
    first = one.isolated_by[0]
    text = f"is isolated by {', '.join(miss.policy.name for miss in one.isolated_by[:3])}"
    nearest = first.nearest
    if nearest is not None and nearest.failures:
        place = f"{nearest.file}:{nearest.line}"
        text += f"; nearest is {first.policy.name} {nearest.field} ({place}): "
        text += "; ".join(failure.message for failure in nearest.failures)
    return text


_IDLE_HEADING: Row = ("policy", "rule", "direction", "place", "why")


def _idle_row(one: IdleRule) -> Row:
    why = "another rule allows the same" if one.shadowed else "nothing was seen"
    rule = one.rule
    return (rule.policy.name, rule.field, one.direction, f"{rule.file}:{rule.line}", why)


def _idle(report: Replay) -> list[str]:
    title = f"{len(report.idle):,} of {report.rules:,} rules allowed nothing that was seen"
    rows = [_idle_row(one) for one in report.idle[:_SHOWN]]
    found = [title, *aligned(_IDLE_HEADING, rows)]
    if len(report.idle) > _SHOWN:
        found.append(f"and {len(report.idle) - _SHOWN:,} more (-o json)")
    return found


def count(given: Count) -> dict[str, int]:
    return {"records": given.records, "connections": given.connections}


def group_content(group: Group) -> dict[str, Any]:
    return {
        "source_workload": group.source_workload,
        "destination_workload": group.destination_workload,
        "port": group.port,
        "records": group.records,
        "connections": group.connections,
        "source": group.source,
        "destination": group.destination,
        "egress": decision(group.egress),
        "ingress": decision(group.ingress),
        **({} if group.before is None else {"allowed_before": group.before}),
    }
