"""Aligned columns, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeverdict.render.rows import Row, connection_rows, difference_rows
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences


COLORS = {"added": "green", "removed": "red", "changed": "yellow"}


def connections(report: Connections, style: Style) -> str:
    heading, rows = connection_rows(report)
    if not rows:
        return "no connections"
    return "\n".join(aligned(heading, rows, style))


def differences(report: Differences, style: Style) -> str:
    heading, rows = difference_rows(report)
    if not rows:
        return "no differences"
    title, *lines = aligned(heading, rows, style)
    painted = [style.paint(line, COLORS[row[0]]) for line, row in zip(lines, rows, strict=True)]
    return "\n".join([title, *painted])


def aligned(heading: Row, rows: list[Row], style: Style) -> list[str]:
    """One line a row, columns padded to the widest cell."""
    widths = [
        max(len(heading[column]), max(len(row[column]) for row in rows))
        for column in range(len(heading))
    ]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (tuple(cell.upper() for cell in heading), *rows)
    ]
    return [style.paint(lines[0], "bold"), *lines[1:]]
