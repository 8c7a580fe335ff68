"""How many connections lead from each namespace to each, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import log
from typing import TYPE_CHECKING

from kubeverdict.analyses.matrix import Matrix, matrix
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences

LETTER = 6.6  # pixels, the advance of the font below
MARGIN = 16
TITLE = 40
# Beyond that many namespaces cells shrink and carry no number; the tooltip still does.
ROOMY = 40
# From the palest shade to the deepest.
PALE, DEEP = (221, 244, 255), (9, 105, 218)


def connections(report: Connections, style: Style) -> str:
    return _text(matrix(report.connections), "connections between workloads: row to column")


def differences(report: Differences, style: Style) -> str:
    return _text(matrix(report.changes), "changed connections between workloads: row to column")


def _text(table: Matrix, title: str) -> str:
    """Rows are sources, columns destinations. The shade grows with the logarithm of the count,
    as one open namespace would otherwise leave all others white."""
    count = len(table.namespaces)
    cell = 30 if count <= ROOMY else max(6, 1200 // count)
    label = MARGIN + LETTER * max((len(name) for name in table.namespaces), default=0)
    left, top = MARGIN + label, TITLE + label
    width = max(left + cell * count, LETTER * len(title) * 14 / 11) + MARGIN
    height = top + cell * count + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="11">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="24" font-size="14" fill="#1f2328">{title}</text>',
        *_labels(table, cell, left, top),
        *_cells(table, cell, left, top),
        f'<path d="{_grid(count, cell, left, top)}" stroke="#d0d7de" fill="none"/>',
        "</svg>",
    ]
    return "\n".join(lines)


def _labels(table: Matrix, cell: int, left: float, top: float) -> Iterator[str]:
    if len(table.namespaces) > ROOMY * 3:
        return  # they would lie on top of each other
    size = min(11, cell)
    for place, name in enumerate(table.namespaces):
        middle = cell * (place + 0.5)
        text = escape(name)
        yield (
            f'<text x="{left - 8:.1f}" y="{top + middle + size / 3:.1f}" font-size="{size}" '
            f'text-anchor="end" fill="#1f2328">{text}</text>'
        )
        place_and_turn = f"translate({left + middle + size / 3:.1f} {top - 8:.1f}) rotate(-90)"
        yield f'<text transform="{place_and_turn}" font-size="{size}" fill="#1f2328">{text}</text>'


def _cells(table: Matrix, cell: int, left: float, top: float) -> Iterator[str]:
    most = max(table.counts.values(), default=1)
    for (row, column), count in sorted(table.counts.items()):
        share = log(1 + count) / log(1 + most)
        red, green, blue = (round(p + (d - p) * share) for p, d in zip(PALE, DEEP, strict=True))
        x, y = left + cell * column, top + cell * row
        source, destination = table.namespaces[row], table.namespaces[column]
        plural = "" if count == 1 else "s"
        yield (
            f"<g><title>{escape(source)} to {escape(destination)}: {count} connection{plural}"
            f'</title><rect x="{x:.1f}" y="{y:.1f}" width="{cell}" height="{cell}" '
            f'fill="rgb({red},{green},{blue})"/>'
        )
        if len(table.namespaces) <= ROOMY:
            ink = "#ffffff" if share > 0.6 else "#1f2328"
            yield (
                f'<text x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}" text-anchor="middle" '
                f'fill="{ink}">{count}</text>'
            )
        yield "</g>"


def _grid(count: int, cell: int, left: float, top: float) -> str:
    side = cell * count
    across = "".join(f"M{left:.1f} {top + cell * n:.1f}h{side}" for n in range(count + 1))
    down = "".join(f"M{left + cell * n:.1f} {top:.1f}v{side}" for n in range(count + 1))
    return across + down
