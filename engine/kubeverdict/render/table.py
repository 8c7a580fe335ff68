"""Aligned columns, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeverdict.render.bulk import text as ranking_text
from kubeverdict.render.drift import text as drift_text
from kubeverdict.render.rows import aligned, connection_rows, difference_rows
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Ranking
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.drift import DriftRun


COLORS = {"added": "green", "removed": "red", "changed": "yellow"}


def connections(report: Connections, style: Style) -> str:
    heading, rows = connection_rows(report)
    if not rows:
        return "no connections"
    return "\n".join(_painted(aligned(heading, rows), style))


def differences(report: Differences, style: Style) -> str:
    heading, rows = difference_rows(report)
    if not rows:
        return "no differences"
    title, *lines = _painted(aligned(heading, rows), style)
    painted = [style.paint(line, COLORS[row[0]]) for line, row in zip(lines, rows, strict=True)]
    return "\n".join([title, *painted])


def _painted(lines: list[str], style: Style) -> list[str]:
    return [style.paint(lines[0], "bold"), *lines[1:]]


def bulk(report: Ranking, style: Style) -> str:
    return ranking_text(report, style)


def drift(report: DriftRun, style: Style) -> str:
    return drift_text(report, style)
