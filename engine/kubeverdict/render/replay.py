"""Replayed flows: what would break, for people and for programs."""

from __future__ import annotations

import csv as comma
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kubeverdict.analyses.decisions import because
from kubeverdict.errors import located
from kubeverdict.model.counts import count
from kubeverdict.render import log
from kubeverdict.render.json import decision, document
from kubeverdict.render.md import cell
from kubeverdict.render.md import table as md_table
from kubeverdict.render.rows import Row, aligned
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content as unevaluated

if TYPE_CHECKING:
    from kubeverdict.analyses.flow_groups import FlowGroup
    from kubeverdict.analyses.judged_traffic import Count
    from kubeverdict.analyses.replay import IdleRule, Replay

# What people read; -o json has everything.
_SHOWN = 20
_BREAKS = "would break"
_ADMITS = "denied when logged, allowed by the policies"
_HEADING: Row = ("source", "destination", "port", "records", "connections")


def table(report: Replay, style: Style) -> str:
    parts = ["\n".join(log.lines(report.log)), "\n".join(_summary(report, style))]
    for title, groups, color in (
        (_BREAKS, report.breaks, "red"),
        (_ADMITS, report.admits, "yellow"),
    ):
        if groups:
            parts.append("\n".join([style.paint(title, color), *group_lines(groups, style)]))
    parts += _left_out(report)
    if report.idle:
        parts.append("\n".join(_idle(report)))
    return "\n\n".join(parts)


def md(report: Replay, style: Style) -> str:
    plain = Style(False, style.unicode)
    parts = [cell(line) for line in (*log.lines(report.log), *_summary(report, plain))]
    for title, groups in ((_BREAKS, report.breaks), (_ADMITS, report.admits)):
        if groups:
            rows = [(*_row(group), "; ".join(_because(group, plain))) for group in groups]
            parts += [f"**{title.capitalize()}**", md_table((*_HEADING, "why"), rows)]
    parts += _left_out(report)
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
            decided = (because(group.egress), because(group.ingress))
            writer.writerow((word, *cells, *counts, *decided))
    return text.getvalue().removesuffix("\n")


def remarks(report: Replay) -> list[tuple[str, str]]:
    """What a table of connections has no room for, as remarks: a kind and a text each."""
    return [
        ("log", "\n".join(log.lines(report.log))),
        *(("note", line) for line in _left_out(report)),
    ]


def json(report: Replay, style: Style) -> str:
    return document(
        "replay",
        {
            "profile": report.profile,
            "proposed": report.proposed,
            "log": log.content(report.log),
            "allowed": counted(report.allowed),
            "breaking": counted(report.breaking),
            **({"broken_by_change": counted(report.broken_by_change)} if report.proposed else {}),
            "denied_then_and_now": counted(report.refused),
            "denied_then_allowed_now": counted(report.admitted),
            **({"conditional": counted(report.conditional)} if report.conditional.records else {}),
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
                    "action": one.rule.action,
                    "shadowed": one.shadowed,
                }
                for one in report.idle
            ],
            "pod_pairs": {"seen": report.pairs_seen, "allowed": report.pairs_allowed},
            **unevaluated(report.unevaluated),
        },
    )


def _left_out(report: Replay) -> list[str]:
    if not report.groups_left_out:
        return []
    return [f"not listed: {count(report.groups_left_out, 'smaller group')} of connections"]


def _summary(report: Replay, style: Style) -> list[str]:
    found = [f"{words(report.allowed)} got through when logged, and the policies allow them"]
    if report.breaking.records:
        text = f"{words(report.breaking)} got through when logged, and would break"
        if report.proposed:
            text += f"; {words(report.broken_by_change)} of them because of the proposed policies"
        found.append(style.paint(text, "red"))
    else:
        found.append(style.paint("no connection that was seen would break", "green"))
    if report.conditional.records:
        found.append(f"{words(report.conditional)} allowed only under the conditions of rules")
    if report.refused.records:
        found.append(f"{words(report.refused)} denied when logged, and still denied")
    if report.admitted.records:
        text = "denied when logged, and the policies allow them"
        found.append(f"{words(report.admitted)} {text}")
    if report.pairs_allowed is not None:
        found.append(
            f"policies allow {count(report.pairs_allowed, 'pod pair')}, "
            f"{report.pairs_seen:,} of them seen connecting"
        )
    return found


def words(of: Count) -> str:
    """``1 connection (2 records)``."""
    return f"{count(of.connections, 'connection')} ({count(of.records, 'record')})"


def group_lines(groups: Sequence[FlowGroup], style: Style) -> list[str]:
    """A table of groups, each with what decides it."""
    title, *lines = aligned(_HEADING, [_row(group) for group in groups[:_SHOWN]])
    found = [style.paint(title, "bold")]
    for group, line in zip(groups, lines, strict=False):
        found += [line, *(f"    {text}" for text in _because(group, style))]
    if len(groups) > _SHOWN:
        found.append(f"and {len(groups) - _SHOWN:,} more (-o json)")
    return found


def _row(group: FlowGroup) -> Row:
    counts = f"{group.records:,}", f"{group.connections:,}"
    return (group.source_workload, group.destination_workload, group.port, *counts)


def _because(group: FlowGroup, style: Style) -> list[str]:
    sides = (("egress", group.egress), ("ingress", group.ingress))
    allowed = all(one.allowed for _, one in sides)
    lines = [f"{name} {because(one)}" for name, one in sides if one.allowed is allowed]
    if group.source != group.source_workload or group.destination != group.destination_workload:
        lines.append(f"as {group.source} {style.arrow} {group.destination}")
    if group.before is False:
        lines.append("the present policies deny it as well")
    return lines


_IDLE_HEADING: Row = ("policy", "rule", "direction", "place", "why")


def _idle_row(one: IdleRule) -> Row:
    why = "others decide what it matches" if one.shadowed else "nothing that was seen matches it"
    rule = one.rule
    name = rule.field if rule.action == "allow" else f"{rule.field} ({rule.action})"
    return (rule.policy.title, name, one.direction, located(rule.file, rule.line), why)


def _idle(report: Replay) -> list[str]:
    title = f"nothing that was seen used {len(report.idle):,} of {report.rules:,} rules"
    rows = [_idle_row(one) for one in report.idle[:_SHOWN]]
    found = [title, *aligned(_IDLE_HEADING, rows)]
    if len(report.idle) > _SHOWN:
        found.append(f"and {len(report.idle) - _SHOWN:,} more (-o json)")
    return found


def counted(given: Count) -> dict[str, int]:
    return {"records": given.records, "connections": given.connections}


def group_content(group: FlowGroup) -> dict[str, Any]:
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
