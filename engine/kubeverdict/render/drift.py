"""The same scenarios on several clusters."""

from __future__ import annotations

import csv as csv_
import io
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.analyses.drift import effect
from kubeverdict.render.md import markdown
from kubeverdict.render.rows import Row
from kubeverdict.render.style import Style
from kubeverdict.render.table import aligned

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import ScenarioReport
    from kubeverdict.analyses.drift import Drift, DriftRun

SCHEMA = "kubeverdict/drift/v1"


def jsonl(one: Drift, style: Style) -> str:
    """One scenario as a line."""
    fields = msgspec.to_builtins(one)
    return msgspec.json.encode({"schema": SCHEMA, **fields}).decode()


def table(run: DriftRun, style: Style) -> str:
    shown = _shown(run)
    if not shown:
        return _summary(run)
    title, *lines = aligned(_heading(run), [_row(run, one) for one in shown], style)
    body = [
        style.paint(line, "yellow") if one.differ else line
        for one, line in zip(shown, lines, strict=True)
    ]
    errors = [
        f"  {one.name} on {cluster}: {report.error}"
        for one in shown
        for cluster, report in one.clusters.items()
        if report.error
    ]
    return "\n".join([title, *body, "", *errors, _summary(run)])


def csv(run: DriftRun, style: Style) -> str:
    text = io.StringIO()
    writer = csv_.writer(text, lineterminator="\n")
    writer.writerow(_heading(run))
    writer.writerows(_row(run, one) for one in run.scenarios)
    return text.getvalue().removesuffix("\n")


def md(run: DriftRun, style: Style) -> str:
    shown = _shown(run)
    rows = [markdown(_heading(run), [_row(run, one) for one in shown])] if shown else []
    return "\n\n".join([*rows, _summary(run)])


def _shown(run: DriftRun) -> list[Drift]:
    return [one for one in run.scenarios if one.differ or one.changes][: run.top]


def _heading(run: DriftRun) -> Row:
    return ("scenario", *run.clusters, "differ")


def _row(run: DriftRun, one: Drift) -> Row:
    cells = (_cell(one.clusters[cluster]) for cluster in run.clusters)
    return (one.name, *cells, ", ".join(one.differ))


def _cell(report: ScenarioReport) -> str:
    found = report.figures
    numbers = [
        f"{sign}{count:,}"
        for sign, count in (("+", found.pairs_opened), ("-", found.pairs_closed))
        if count
    ]
    return f"{effect(report)} {' '.join(numbers)}".rstrip()


def _summary(run: DriftRun) -> str:
    differ = sum(bool(one.differ) for one in run.scenarios)
    total = f"{len(run.scenarios):,} scenarios on {len(run.clusters)} clusters"
    return f"{total}: {differ:,} do not come out alike"
