"""How many connections lead from each namespace to each, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from kubeverdict.analyses.matrix import Matrix, matrix
from kubeverdict.render.style import WIDTH, Style

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences


def connections(report: Connections, style: Style) -> str:
    return _text(matrix(report), style) or "no connections"


def differences(report: Differences, style: Style) -> str:
    return _text(matrix(report), style) or "no differences"


def _text(table: Matrix, style: Style) -> str:
    """Sources are rows and destinations columns. Columns are numbered, so that any number of
    long names stays readable: the row of the same number says the name, or a line above.

    What is wider than a terminal is cut into parts, each with some of the columns and the rows
    that have anything in them.
    """
    number = {name: place + 1 for place, name in enumerate(table.destinations)}
    digits = len(str(len(number)))
    labels = [f"{number.get(name, ''):>{digits}} {name}" for name in table.sources]
    left = max(map(len, labels), default=0)
    rows: list[dict[int, str]] = [{} for _ in labels]
    widths = [len(str(place)) for place in number.values()]
    for (row, column), count in table.counts.items():
        rows[row][column] = str(count)
        widths[column] = max(widths[column], len(str(count)))
    return "\n\n".join(
        "\n".join(_part(table, columns, rows, labels, widths, left, style))
        for columns in _parts(widths, WIDTH - left)
    )


def _parts(widths: Sequence[int], room: int) -> Iterator[range]:
    """Columns that fit into one line, two blanks before each; at least one."""
    first, used = 0, 0
    for column, width in enumerate(widths):
        if used + width + 2 > room and column > first:
            yield range(first, column)
            first, used = column, 0
        used += width + 2
    if widths:
        yield range(first, len(widths))


def _part(
    table: Matrix,
    columns: range,
    rows: Sequence[dict[int, str]],
    labels: Sequence[str],
    widths: Sequence[int],
    left: int,
    style: Style,
) -> Iterator[str]:
    shown = [row for row, cells in enumerate(rows) if not cells.keys().isdisjoint(columns)]
    named = {table.sources[row] for row in shown}
    nameless = [
        f"{column + 1} {table.destinations[column]}"
        for column in columns
        if table.destinations[column] not in named
    ]
    if nameless:
        yield from wrap(f"columns: {', '.join(nameless)}", WIDTH, subsequent_indent="  ")
    heading = "".join(f"  {column + 1:>{widths[column]}}" for column in columns)
    yield style.paint(" " * left + heading, "bold")
    none = "·" if style.unicode else "."
    for row in shown:
        cells = (f"  {rows[row].get(column, none):>{widths[column]}}" for column in columns)
        yield labels[row].ljust(left) + "".join(cells)
