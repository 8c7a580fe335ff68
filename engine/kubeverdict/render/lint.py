"""What ``lint`` found: for people by rule and namespace, the worst first; for programs all."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.errors import located
from kubeverdict.model.counts import count
from kubeverdict.render.json import Json, document
from kubeverdict.render.md import cell
from kubeverdict.render.md import table as md_table
from kubeverdict.render.removal import removal
from kubeverdict.render.rows import Row
from kubeverdict.render.style import Style
from kubeverdict.render.unevaluated import content as unevaluated

if TYPE_CHECKING:
    from kubeverdict.analyses.lint import LintReport

_COLORS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_WIDTH = 80
# A rule that found no more than this is shown whole; of others one finding in each of the
# namespaces that have most.
_FEW = 8
_NAMESPACES = 3
_CLUSTER = "the cluster"
_LISTED = 10


class FindingGroup(msgspec.Struct, frozen=True):
    """What one rule found, with one severity: by namespace, those with most first."""

    rule: Check
    severity: Severity
    findings: tuple[Finding, ...]
    namespaces: dict[str, list[Finding]]

    def shown(self, whole: bool) -> dict[str, list[Finding]]:
        """What is shown of it."""
        if whole or len(self.findings) <= _FEW:
            return self.namespaces
        few = list(self.namespaces.items())[:_NAMESPACES]
        return {name: found[:1] for name, found in few}


def groups(report: LintReport) -> list[FindingGroup]:
    """The findings by severity and rule: the worst first, then what was found most often."""
    rules = {check.id: check for check in report.checks}
    found: dict[tuple[Severity, str], list[Finding]] = {}
    for one in report.findings:
        found.setdefault((one.severity, one.id), []).append(one)
    made = [
        FindingGroup(
            rules.get(rule) or Check(rule, ""), severity, tuple(several), _by_namespace(several)
        )
        for (severity, rule), several in found.items()
    ]
    worst = list(Severity)
    return sorted(
        made, key=lambda one: (worst.index(one.severity), -len(one.findings), one.rule.id)
    )


def _by_namespace(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for one in findings:
        found.setdefault(_namespace(one), []).append(one)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def _namespace(one: Finding) -> str:
    """The namespace of what a finding is about."""
    kind, _, name = one.about.partition(" ")
    if kind == "Namespace":
        return name
    namespace, slash, _ = name.partition("/")
    return namespace if slash else _CLUSTER


# --- text ------------------------------------------------------------------------------------


def table(report: LintReport, style: Style) -> str:
    """A section for each rule, and a total."""
    places = _Places(report.findings)
    sections = [_section(group, report.whole, places, style) for group in groups(report)]
    parts = ["\n".join(lines) for lines in sections]
    parts += removal(report.removable, None if report.whole else _LISTED)
    return "\n\n".join([*places.common, *parts, *_gone(report), _wrapped(summary(report))])


class _Places:
    """Where findings are, without what all of them have in common: the one file of a dump, and
    the one line of a dump without line ends. ``common`` is shown first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        files = {one.file for one in findings}
        lines = {one.line for one in findings}
        self._file = len(files) > 1
        self._line = self._file or len(lines) > 1 or len(findings) == 1
        self.common = [f"in {file}" for file in files if file and not self._file]

    def of(self, one: Finding) -> str:
        line = str(one.line) if one.line and self._line else ""
        if not self._file:
            return f"line {line}" if line else ""
        return located(one.file, one.line if self._line else 0)


def _section(group: FindingGroup, whole: bool, places: _Places, style: Style) -> list[str]:
    rule, found = group.rule, group.findings
    severity = style.paint(f"{group.severity.value}", _COLORS[group.severity])
    heading = f"{severity}  {style.paint(rule.id, 'bold')}"
    fits = len(f"{group.severity.value}  {rule.id}: {rule.title}") <= _WIDTH
    if rule.title:
        heading += f": {rule.title}" if fits else f":\n  {rule.title}"
    lines = [heading]
    shown = group.shown(whole)
    if _count(shown) < len(found):
        lines.append(
            f"  {count(len(found), 'finding')} in {count(len(group.namespaces), 'namespace')}"
        )
    # What all of them have in common is shown once.
    why, fix = ({one.why for one in found}, {one.fix for one in found})
    if len(why) == 1 and (text := why.pop()):
        lines.append(style.paint(_wrapped(f"why: {text}", "  "), "dim"))
    common = fix.pop() if len(fix) == 1 else ""
    if common:
        lines.append(_wrapped(f"fix: {common}", "  "))
    for several in shown.values():
        for one in several:
            lines += _entry(one, places.of(one), bool(why), not common, style)
    lines += _rest(group, shown)
    return lines


def _entry(one: Finding, place: str, with_why: bool, with_fix: bool, style: Style) -> list[str]:
    heading = "  ".join(part for part in (one.about, place) if part)
    lines = [_wrapped(heading, "    ")] if heading else []
    lines.append(_wrapped(one.message, "      "))
    if with_why and one.why:
        lines.append(style.paint(_wrapped(f"why: {one.why}", "      "), "dim"))
    if with_fix and one.fix:
        lines.append(_wrapped(f"fix: {one.fix}", "      "))
    return lines


def _rest(group: FindingGroup, shown: dict[str, list[Finding]]) -> Iterator[str]:
    """What is not shown of a rule: how many findings, and in which namespaces."""
    more = len(group.findings) - _count(shown)
    if not more:
        return
    counts = [f"{name} {len(found):,}" for name, found in group.namespaces.items()]
    listed = ", ".join(counts[: 2 * _NAMESPACES])
    others = len(counts) - 2 * _NAMESPACES
    if others > 0:
        listed += f", {others:,} more"
    yield _wrapped(f"and {more:,} more; findings by namespace: {listed}", "    ")


def _gone(report: LintReport) -> list[str]:
    """The known findings that are gone."""
    gone = report.compared.gone if report.compared else ()
    if not gone:
        return []
    lines = [f"known and gone: {count(len(gone), 'finding')}"]
    shown = gone if report.whole else gone[:_LISTED]
    lines += [_wrapped(f"{one.id}  {one.object}", "  ") for one in shown]
    if len(shown) < len(gone):
        lines.append(f"  and {len(gone) - len(shown):,} more")
    return ["\n".join(lines)]


def summary(report: LintReport) -> str:
    """How much was found, by severity, and what is not shown of it."""
    if not report.findings:
        text = "no new findings" if report.compared else "no findings"
    else:
        parts = [count(number, severity.value) for severity, number in report.counts.items()]
        files = len({one.file for one in report.findings if one.file})
        new = "new: " if report.compared else ""
        text = f"{new}{', '.join(parts)} in {count(files, 'file')}"
    if report.compared:
        text += f"; {report.compared.known:,} known"
    if report.suppressed:
        text += f"; {report.suppressed:,} turned off by annotations"
    if report.without_pods:
        rules = count(report.without_pods, "rule was", "rules were")
        text += f"; {rules} not checked: there is no pod in the input"
    shown = sum(_count(group.shown(report.whole)) for group in groups(report))
    if shown < len(report.findings):
        text += f"; {shown:,} of {len(report.findings):,} shown, --all shows every one"
    return text


def _count(shown: dict[str, list[Finding]]) -> int:
    return sum(map(len, shown.values()))


def _wrapped(text: str, indent: str = "") -> str:
    """Text in lines of 80 columns, those after the first a little further in."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- Markdown and JSON -----------------------------------------------------------------------


def md(report: LintReport, style: Style) -> str:
    heading = ("severity", "rule", "where", "object", "finding", "fix")
    rows = [
        _row(one)
        for group in groups(report)
        for several in group.shown(report.whole).values()
        for one in several
    ]
    found = [md_table(heading, rows)] if rows else []
    rest = [*removal(report.removable, None if report.whole else _LISTED), *_gone(report)]
    return "\n\n".join([*found, *map(cell, rest), cell(summary(report))])


def _row(one: Finding) -> Row:
    place = located(one.file, one.line)
    return one.severity.value, one.id, place, one.about, one.message, one.fix


def json(report: LintReport, style: Style) -> str:
    counts = {severity.value: number for severity, number in report.counts.items()}
    known: Json = {}
    if report.compared:
        gone = [msgspec.structs.asdict(one) for one in report.compared.gone]
        known = {"baseline": {"known": report.compared.known, "gone": gone}}
    return document(
        "lint",
        {
            "profile": report.profile,
            "summary": {**counts, "suppressed": report.suppressed},
            **known,
            **({"removable": msgspec.to_builtins(report.removable)} if report.removable else {}),
            "findings": [_finding(one) for one in report.findings],
            "not_checked": [
                {"id": check.id, "why": check.skipped} for check in report.checks if check.skipped
            ],
            **unevaluated(report.unevaluated),
        },
    )


def _finding(one: Finding) -> Json:
    """``file`` and ``line`` are null where they are not known."""
    return {
        "id": one.id,
        "severity": one.severity.value,
        "file": one.file or None,
        "line": one.line or None,
        "objects": list(one.objects),
        "message": one.message,
        "why": one.why,
        "fix": one.fix,
        "fingerprint": one.fingerprint,
    }
