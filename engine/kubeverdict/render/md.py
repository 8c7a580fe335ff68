"""Markdown tables, for issues and pull requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeverdict.render.rows import Row, connection_rows, difference_rows
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences


def connections(report: Connections, style: Style) -> str:
    return markdown(*connection_rows(report))


def differences(report: Differences, style: Style) -> str:
    return markdown(*difference_rows(report))


def markdown(heading: Row, rows: list[Row]) -> str:
    """A table."""
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Brackets and braces would be taken for links and markup by some renderers."""
    for sign in "\\|[]*_<":
        text = text.replace(sign, f"\\{sign}")
    return text
