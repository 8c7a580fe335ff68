"""How many connections come and go between namespaces, drawn.

Kinds of change have a sign and a hatching each, so that a black-and-white print tells them apart
as well as a screen. Colours are those of Okabe and Ito, which colour-blind people tell apart
(https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

import msgspec

from kubeverdict.analyses.matrix import EXTERNAL, Matrix, counted
from kubeverdict.render.style import Style
from kubeverdict.render.svg_grid import LETTER, MARGIN, ROOMY, SMALL_CELL, grid, labels

if TYPE_CHECKING:
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.whatif import WhatIf

HEAD = 60  # pixels, for the title and the legend below it
ROOMY_CELL = 44  # with room for three counts, one above the other
INK = "#1f2328"

Key = tuple[str, str, str]
"""Source and destination namespace, and kind of change."""


class _Kind(msgspec.Struct, frozen=True):
    """One kind of change: its sign, and its hatching as the content of an 8 × 8 pattern."""

    sign: str
    words: str
    hatching: str


_BLUE, _RED, _GREY = "#0072b2", "#d55e00", "#57606a"
_RISING = f'<path d="M-2 2l4 -4M0 8l8 -8M6 10l4 -4" stroke="{_BLUE}" stroke-width="1.5"/>'
_CROSSED = f'<path d="M0 0l8 8M0 8l8 -8" stroke="{_RED}" stroke-width="1.5"/>'
_DOTTED = f'<circle cx="4" cy="4" r="1.5" fill="{_GREY}"/>'
_MINUS = "\u2212"  # as wide as a plus
# What is drawn, in the order from top to bottom of a cell.
KINDS = {
    "added": _Kind("+", "added", _RISING),
    "removed": _Kind(_MINUS, "removed", _CROSSED),
    "changed": _Kind("±", "on other ports", _DOTTED),
    "opened": _Kind("+", "opened", _RISING),
    "closed": _Kind(_MINUS, "closed", _CROSSED),
}


def differences(report: Differences, style: Style) -> str:
    found = ((one.source.namespace, one.destination.namespace, one.kind) for one in report.changes)
    title = "changed connections, from row to column"
    return _text(found, ("added", "removed", "changed"), title, "no differences")


def whatif(report: WhatIf, style: Style) -> str:
    sides = (("opened", report.opened), ("closed", report.closed))
    found = (
        (one.source.namespace, one.destination.namespace, kind)
        for kind, effects in sides
        for one in effects
    )
    title = "connections that the change opens and closes, from row to column"
    return _text(found, ("opened", "closed"), title, "nothing changes")


def _text(found: Iterable[Key], kinds: tuple[str, ...], title: str, nothing: str) -> str:
    counts = Counter(found)
    table = counted(Counter(key[:2] for key in counts.elements()))
    rows, columns = len(table.sources), len(table.destinations)
    cell = ROOMY_CELL if max(rows, columns) <= ROOMY else SMALL_CELL
    size = min(11, cell)
    advance = LETTER * size / 11
    left = 2 * MARGIN + advance * max(map(len, table.sources), default=0)
    top = HEAD + MARGIN + advance * max(map(len, table.destinations), default=0)
    letters = max(len(title) * 14 / 11, sum(len(_entry(kind, 0)) + 8 for kind in kinds))
    width = max(left + cell * columns, LETTER * letters) + MARGIN
    height = top + cell * rows + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="{size}" '
        f'fill="{INK}">',
        f"<title>{title}</title>",
        *_patterns(kinds),
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="24" font-size="14">{title}</text>',
        *(_legend(counts, kinds) if counts else [_line(MARGIN, nothing)]),
        f'<path d="{grid(rows, columns, cell, left, top)}" stroke="#d0d7de" fill="none"/>',
        *labels(table, cell, left, top),
        *_cells(table, counts, kinds, cell, left, top),
        "</svg>",
    ]
    return "\n".join(lines)


def _line(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="49" font-size="11">{text}</text>'


def _patterns(kinds: tuple[str, ...]) -> Iterator[str]:
    yield "<defs>"
    for kind in kinds:
        yield (
            f'<pattern id="{kind}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="#ffffff"/>{KINDS[kind].hatching}</pattern>'
        )
    yield "</defs>"


def _entry(kind: str, count: int) -> str:
    return f"{KINDS[kind].sign} {KINDS[kind].words}: {count:,}"


def _legend(counts: Counter[Key], kinds: tuple[str, ...]) -> Iterator[str]:
    x = float(MARGIN)
    for kind in kinds:
        text = _entry(kind, sum(count for key, count in counts.items() if key[2] == kind))
        place = f'x="{x:.1f}" y="38" width="14" height="14"'
        yield f'<rect {place} fill="url(#{kind})" stroke="{INK}"/>'
        yield _line(x + 20, text)
        x += 20 + LETTER * (len(text) + 3)


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
        told = ", ".join(f"{count:,} {KINDS[kind].words}" for kind, count in found)
        yield f"<g><title>{escape(ends[0])} to {escape(ends[1])}: {told}</title>"
        height = cell / len(found)
        for place, (kind, count) in enumerate(found):
            above = y + height * place
            yield (
                f'<rect x="{x:.1f}" y="{above:.1f}" width="{cell}" height="{height:.1f}" '
                f'fill="url(#{kind})" stroke="{INK}" stroke-width="0.5"/>'
            )
            if cell == ROOMY_CELL:
                yield (
                    f'<text x="{x + cell / 2:.1f}" y="{above + height / 2 + 4:.1f}" '
                    f'text-anchor="middle" font-weight="bold" stroke="#ffffff" stroke-width="4" '
                    f'paint-order="stroke">{KINDS[kind].sign}{count:,}</text>'
                )
        yield "</g>"
