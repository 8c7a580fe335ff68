"""Markdown tables, for issues and pull requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeverdict.render.bulk import blocks, short_rows
from kubeverdict.render.drift import rows as drift_rows
from kubeverdict.render.drift import summary, telling
from kubeverdict.render.rows import Row, connection_rows, difference_rows
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Ranking
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.drift import DriftRun


def connections(report: Connections, style: Style) -> str:
    return table(*connection_rows(report))


def differences(report: Differences, style: Style) -> str:
    return table(*difference_rows(report))


def bulk(report: Ranking, style: Style) -> str:
    heading, rows = short_rows(report)
    found = [table(heading, rows)] if rows else []
    return "\n\n".join([*found, *map(escaped, blocks(report, len(rows)))])


def drift(report: DriftRun, style: Style) -> str:
    shown = telling(report)
    found = [table(*drift_rows(report, shown))] if shown else []
    return "\n\n".join([*found, summary(report)])


def table(heading: Row, rows: list[Row]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """Text on one line, as a table has to have it."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Brackets and braces would be taken for links and markup by some renderers."""
    for sign in "\\|[]*_<":
        text = text.replace(sign, f"\\{sign}")
    return text
