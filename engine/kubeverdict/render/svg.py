"""How many connections lead from each namespace to each, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import log
from typing import TYPE_CHECKING

from kubeverdict.analyses.matrix import Matrix, matrix
from kubeverdict.model.counts import count
from kubeverdict.render.style import Style
from kubeverdict.render.svg_changes import differences, whatif
from kubeverdict.render.svg_grid import LETTER, MARGIN, ROOMY, SMALL_CELL, grid, labels

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections

__all__ = ["connections", "differences", "whatif"]

TITLE = 40
ROOMY_CELL = 30  # pixels
# From the palest shade to the deepest.
PALE, DEEP = (221, 244, 255), (9, 105, 218)


def connections(report: Connections, style: Style) -> str:
    return _text(matrix(report), "connections, from row to column")


def _text(table: Matrix, title: str) -> str:
    """Rows are sources, columns destinations. The shade grows with the logarithm of the count,
    as one open namespace would otherwise leave all others white."""
    rows, columns = len(table.sources), len(table.destinations)
    cell = ROOMY_CELL if max(rows, columns) <= ROOMY else SMALL_CELL
    size = min(11, cell)
    advance = LETTER * size / 11
    left = 2 * MARGIN + advance * max(map(len, table.sources), default=0)
    top = TITLE + MARGIN + advance * max(map(len, table.destinations), default=0)
    width = max(left + cell * columns, LETTER * len(title) * 14 / 11) + MARGIN
    height = top + cell * rows + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="{size}">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="24" font-size="14" fill="#1f2328">{title}</text>',
        f'<path d="{grid(rows, columns, cell, left, top)}" stroke="#d0d7de" fill="none" '
        f'stroke-width="{cell / ROOMY_CELL:.2g}"/>',
        *labels(table, cell, left, top),
        *_cells(table, cell, left, top),
        "</svg>",
    ]
    return "\n".join(lines)


def _cells(table: Matrix, cell: int, left: float, top: float) -> Iterator[str]:
    most = max(table.counts.values(), default=1)
    for (row, column), number in sorted(table.counts.items()):
        share = log(1 + number) / log(1 + most)
        red, green, blue = (round(p + (d - p) * share) for p, d in zip(PALE, DEEP, strict=True))
        x, y = left + cell * column, top + cell * row
        source, destination = table.sources[row], table.destinations[column]
        yield (
            f"<g><title>{escape(source)} to {escape(destination)}: {count(number, 'connection')}"
            f'</title><rect x="{x:.1f}" y="{y:.1f}" width="{cell}" height="{cell}" '
            f'fill="rgb({red},{green},{blue})"/>'
        )
        if cell == ROOMY_CELL:
            ink = "#ffffff" if share > 0.6 else "#1f2328"
            yield (
                f'<text x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}" text-anchor="middle" '
                f'fill="{ink}">{number}</text>'
            )
        yield "</g>"
