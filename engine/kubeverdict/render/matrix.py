"""How many connections lead from each namespace to each, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeverdict.analyses.matrix import Matrix, matrix
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences


def connections(report: Connections, style: Style) -> str:
    return _text(matrix(report.connections), style) or "no connections"


def differences(report: Differences, style: Style) -> str:
    return _text(matrix(report.changes), style) or "no differences"


def _text(table: Matrix, style: Style) -> str:
    """Sources are rows and destinations columns. Columns are numbered, so that any number of
    long names stays readable; the row of the same number says the name."""
    if not table.namespaces:
        return ""
    numbers = range(len(table.namespaces))
    labels = [f"{number + 1} {name}" for number, name in enumerate(table.namespaces)]
    left = max(map(len, labels))
    widths = [
        max(
            len(str(column + 1)),
            max(len(str(table.counts.get((row, column), 0))) for row in numbers),
        )
        for column in numbers
    ]
    none = "·" if style.unicode else "."
    lines = [
        style.paint(
            " " * left + "".join(f"  {column + 1:>{widths[column]}}" for column in numbers), "bold"
        )
    ]
    for row in numbers:
        cells = (
            f"  {table.counts.get((row, column)) or none:>{widths[column]}}" for column in numbers
        )
        lines.append(labels[row].ljust(left) + "".join(cells))
    return "\n".join(lines)
