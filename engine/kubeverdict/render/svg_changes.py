"""What a change or a difference does, drawn.

Few ends are rows and columns of their own, and a cell has the ports; many are counted by namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from kubeverdict.analyses.matrix import EXTERNAL, Matrix, counted
from kubeverdict.render import svg_ends
from kubeverdict.render.style import Style
from kubeverdict.render.svg_ends import DrawnChange
from kubeverdict.render.svg_grid import LETTER, MARGIN, ROOMY, SMALL_CELL, grid, labels
from kubeverdict.render.svg_kinds import (
    HEAD,
    KINDS,
    band,
    caption,
    counted_by,
    head,
    head_width,
    line,
)

if TYPE_CHECKING:
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.whatif import WhatIf

ROOMY_CELL = 44  # pixels, with room for three counts, one above the other

Key = tuple[str, str, str]
"""Source and destination namespace, and kind of change."""


def differences(report: Differences, style: Style) -> str:
    found = [
        DrawnChange(one.source, one.destination, one.kind, one.after or one.before)
        for one in report.changes
    ]
    title = "changed connections, from row to column"
    return _text(found, ("added", "removed", "changed"), title, "no differences")


def whatif(report: WhatIf, style: Style) -> str:
    sides = (("opened", report.opened), ("closed", report.closed))
    found = [
        DrawnChange(one.source, one.destination, kind, one.ports)
        for kind, effects in sides
        for one in effects
    ]
    title = "connections that the change opens and closes, from row to column"
    return _text(found, ("opened", "closed"), title, "nothing changes")


def _text(found: Sequence[DrawnChange], kinds: tuple[str, ...], title: str, nothing: str) -> str:
    numbers = counted_by(kinds, Counter(one.kind for one in found))
    if found and svg_ends.fits(found):
        return svg_ends.text(found, numbers, title)
    counts = Counter((one.source.namespace, one.destination.namespace, one.kind) for one in found)
    table = counted(Counter(key[:2] for key in counts.elements()))
    rows, columns = len(table.sources), len(table.destinations)
    cell = ROOMY_CELL if max(rows, columns) <= ROOMY else SMALL_CELL
    size = min(11, cell)
    advance = LETTER * size / 11
    left = 2 * MARGIN + advance * max(map(len, table.sources), default=0)
    top = HEAD + MARGIN + advance * max(map(len, table.destinations), default=0)
    width = max(left + cell * columns + MARGIN, head_width(title, numbers))
    height = top + cell * rows + MARGIN
    lines = [
        head(title, width, height, size, numbers),
        *([] if found else [line(MARGIN, nothing)]),
        f'<path d="{grid(rows, columns, cell, left, top)}" stroke="#d0d7de" fill="none"/>',
        *labels(table, cell, left, top),
        *_cells(table, counts, kinds, cell, left, top),
        "</svg>",
    ]
    return "\n".join(lines)


def _cells(
    table: Matrix,
    counts: Counter[Key],
    kinds: tuple[str, ...],
    cell: int,
    left: float,
    top: float,
) -> Iterator[str]:
    """A band for each kind that a cell has."""
    shown: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for kind in kinds:
        for key, count in counts.items():
            if key[2] == kind:
                ends = (key[0] or EXTERNAL, key[1] or EXTERNAL)
                shown.setdefault(ends, []).append((kind, count))
    for row, column in sorted(table.counts):
        x, y = left + cell * column, top + cell * row
        ends = table.sources[row], table.destinations[column]
        found = shown[ends]
        words = ", ".join(f"{count:,} {KINDS[kind].words}" for kind, count in found)
        yield f"<g><title>{escape(ends[0])} to {escape(ends[1])}: {words}</title>"
        height = cell / len(found)
        for place, (kind, count) in enumerate(found):
            above = y + height * place
            yield band(kind, x, above, cell, height)
            if cell == ROOMY_CELL:
                text = f"{KINDS[kind].sign}{count:,}"
                yield caption(x + cell / 2, above + height / 2 + 4, text)
        yield "</g>"
