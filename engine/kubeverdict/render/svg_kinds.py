"""The kinds of change in a drawing.

Each has a sign and a hatching, so that a black-and-white print distinguishes them as well as a
screen. Colours are those of Okabe and Ito, which colour-blind people distinguish
(https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from kubeverdict.render.svg_grid import LETTER, MARGIN

HEAD = 60  # pixels, for the title and the legend below it
INK = "#1f2328"


class DrawnKind(msgspec.Struct, frozen=True):
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
    "added": DrawnKind("+", "added", _RISING),
    "removed": DrawnKind(_MINUS, "removed", _CROSSED),
    "changed": DrawnKind("±", "on other ports", _DOTTED),
    "opened": DrawnKind("+", "opened", _RISING),
    "closed": DrawnKind(_MINUS, "closed", _CROSSED),
}


def head(title: str, width: float, height: float, size: float, counts: Mapping[str, int]) -> str:
    """The beginning of a drawing of that many pixels: title and legend. ``counts`` has the
    number of changes of each kind that there may be; letters have ``size``."""
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" '
            f'font-size="{size}" fill="{INK}">',
            f"<title>{title}</title>",
            *_patterns(counts),
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
            f'<text x="{MARGIN}" y="24" font-size="14">{title}</text>',
            *_legend(counts),
        )
    )


def head_width(title: str, counts: Mapping[str, int]) -> float:
    """What title and legend need, in pixels."""
    entries = sum(len(_entry(kind, number)) + 6 for kind, number in counts.items())
    return LETTER * max(len(title) * 14 / 11, entries) + 2 * MARGIN


def line(x: float, text: str) -> str:
    """A line where the legend is."""
    return f'<text x="{x:.1f}" y="49" font-size="11">{text}</text>'


def counted_by(kinds: tuple[str, ...], found: Counter[str]) -> dict[str, int]:
    """The count of each of these kinds, in their order."""
    return {kind: found[kind] for kind in kinds}


def band(kind: str, x: float, y: float, width: float, height: float) -> str:
    """A part of a cell that shows one kind."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="url(#{kind})" stroke="{INK}" stroke-width="0.5"/>'
    )


def caption(x: float, y: float, text: str) -> str:
    """Text on a band, with a rim that keeps the hatching off it."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-weight="bold" stroke="#ffffff" '
        f'stroke-width="4" paint-order="stroke">{text}</text>'
    )


def _patterns(kinds: Mapping[str, int]) -> Iterator[str]:
    yield "<defs>"
    for kind in kinds:
        yield (
            f'<pattern id="{kind}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="#ffffff"/>{KINDS[kind].hatching}</pattern>'
        )
    yield "</defs>"


def _entry(kind: str, count: int) -> str:
    return f"{KINDS[kind].sign} {KINDS[kind].words}: {count:,}"


def _legend(counts: Mapping[str, int]) -> Iterator[str]:
    if not any(counts.values()):
        return
    x = float(MARGIN)
    for kind, number in counts.items():
        text = _entry(kind, number)
        place = f'x="{x:.1f}" y="38" width="14" height="14"'
        yield f'<rect {place} fill="url(#{kind})" stroke="{INK}"/>'
        yield line(x + 20, text)
        x += 20 + LETTER * (len(text) + 3)
