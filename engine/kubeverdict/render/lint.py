"""What ``lint`` found, grouped by file."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kubeverdict.analyses.findings import Finding, Severity
from kubeverdict.render.json import Json, document
from kubeverdict.render.md import cell
from kubeverdict.render.md import table as md_table
from kubeverdict.render.rows import Row
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content as unevaluated

if TYPE_CHECKING:
    from kubeverdict.analyses.lint import LintReport

_COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_ELSEWHERE = "not in a file"


def table(report: LintReport, style: Style) -> str:
    """Grouped by file. Why a rule matters is said where it is met first."""
    said: set[str] = set()
    lines: list[str] = []
    for file, found in groupby(report.findings, key=lambda one: one.file):
        lines.append(style.paint(file or _ELSEWHERE, "bold"))
        for one in found:
            lines += _entry(one, one.id not in said, style)
            said.add(one.id)
        lines.append("")
    lines.append(summary(report))
    return "\n".join(lines)


def _entry(one: Finding, first: bool, style: Style) -> list[str]:
    severity = style.paint(f"{one.severity.value:7}", _COLORS[one.severity])
    line = str(one.line) if one.line else "-"
    about = one.objects[0] if one.objects else ""
    return [
        f"{line:>6}  {severity}  {one.id}  {about}".rstrip(),
        f"{'':8}{one.message}",
        *([style.paint(f"{'':8}why: {one.why}", "dim")] if first and one.why else []),
        f"{'':8}fix: {one.fix}",
    ]


def summary(report: LintReport) -> str:
    """A line by severity."""
    if not report.findings:
        text = "no findings"
    else:
        parts = [
            f"{number:,} {severity.value}{'' if number == 1 else 's'}"
            for severity, number in report.counts.items()
        ]
        files = len({one.file for one in report.findings if one.file})
        text = f"{', '.join(parts)} in {files:,} file{'' if files == 1 else 's'}"
    if report.suppressed:
        text += f"; {report.suppressed:,} turned off by annotations"
    if report.without_pods:
        text += f"; {report.without_pods:,} rules were not checked: there is no pod in the input"
    return text


def md(report: LintReport, style: Style) -> str:
    heading = ("severity", "rule", "where", "object", "finding", "fix")
    found = [md_table(heading, list(map(_row, report.findings)))] if report.findings else []
    return "\n\n".join([*found, cell(summary(report))])


def _row(one: Finding) -> Row:
    place = f"{one.file}:{one.line}" if one.line else one.file
    about = ", ".join(one.objects[:1])
    return one.severity.value, one.id, place, about, one.message, one.fix


def json(report: LintReport, style: Style) -> str:
    counts = {severity.value: number for severity, number in report.counts.items()}
    return document(
        "lint",
        {
            "profile": report.profile,
            "summary": {**counts, "suppressed": report.suppressed},
            "findings": [_finding(one) for one in report.findings],
            "not_checked": [
                {"id": check.id, "why": check.skipped} for check in report.checks if check.skipped
            ],
            **unevaluated(report.unevaluated),
        },
    )


def _finding(one: Finding) -> Json:
    """``file`` and ``line`` are null where the input does not tell."""
    return {
        "id": one.id,
        "severity": one.severity.value,
        "file": one.file or None,
        "line": one.line or None,
        "objects": list(one.objects),
        "message": one.message,
        "why": one.why,
        "fix": one.fix,
    }
