"""The grid of a drawing with namespaces for rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeverdict.analyses.matrix import Matrix

LETTER = 6.6  # pixels, the advance of a monospace font of size 11
MARGIN = 16
# Cells of that many rows or columns have room for the count; smaller ones leave it to the tooltip.
ROOMY = 40
SMALL_CELL = 8  # pixels, with room for the name of its row


def labels(table: Matrix, cell: int, left: float, top: float) -> Iterator[str]:
    """The names of rows and columns, for cells of that many pixels that begin at left and top."""
    sink = min(11, cell) / 3  # from the middle of a letter to its foot
    for place, name in enumerate(table.sources):
        y = top + cell * (place + 0.5) + sink
        yield (
            f'<text x="{left - 8:.1f}" y="{y:.1f}" text-anchor="end" fill="#1f2328">'
            f"{escape(name)}</text>"
        )
    for place, name in enumerate(table.destinations):
        x = left + cell * (place + 0.5) + sink
        turned = f"translate({x:.1f} {top - 8:.1f}) rotate(-90)"
        yield f'<text transform="{turned}" fill="#1f2328">{escape(name)}</text>'


def grid(rows: int, columns: int, cell: int, left: float, top: float) -> str:
    """The path of the lines between cells."""
    wide, high = cell * columns, cell * rows
    across = "".join(f"M{left:.1f} {top + cell * n:.1f}h{wide}" for n in range(rows + 1))
    down = "".join(f"M{left + cell * n:.1f} {top:.1f}v{high}" for n in range(columns + 1))
    return across + down
