"""Changes between few ends, drawn: a row for each source, a column for each destination, and the
ports that open or close between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from kubeverdict.model.address_text import shortened
from kubeverdict.render.svg_grid import LETTER, MARGIN
from kubeverdict.render.svg_kinds import HEAD, INK, KINDS, band, head, head_width

if TYPE_CHECKING:
    from kubeverdict.analyses.peers import Peer
    from kubeverdict.analyses.port_text import Ports

# More rows or columns are hard to read, and wider than a page.
FEW = 12
BAND = 22  # pixels, the height of one kind of change in a cell
SWATCH = 14  # pixels, the width of its hatching
_LONGEST = 26  # letters


class DrawnChange(NamedTuple):
    """One connection that is there before a change and not after it, or the other way round, or
    on other ports. ``kind`` is one of :data:`~kubeverdict.render.svg_kinds.KINDS`."""

    source: Peer
    destination: Peer
    kind: str
    ports: Ports


def fits(changes: Sequence[DrawnChange]) -> bool:
    """Whether each end can have a row or column of its own."""
    return all(len(ends) <= FEW for ends in _ends(changes))


def text(changes: Sequence[DrawnChange], counts: Mapping[str, int], title: str) -> str:
    """``counts`` has the number of changes of each kind, in the order in which they are drawn."""
    sources, destinations = (sorted(ends, key=lambda peer: peer.order) for ends in _ends(changes))
    cells: dict[tuple[Peer, Peer], list[DrawnChange]] = {}
    for kind in counts:
        for one in changes:
            if one.kind == kind:
                cells.setdefault((one.source, one.destination), []).append(one)
    rows, columns = _names(sources), _names(destinations)
    heights = [
        BAND * max(len(cells.get((source, one), ())) for one in destinations) for source in sources
    ]
    wide = max(
        *(len(part) for name in columns for part in name),
        *(len(_caption(one)) for one in changes),
    )
    width = SWATCH + LETTER * wide + MARGIN
    left = 2 * MARGIN + LETTER * max(len("/".join(filter(None, name))) for name in rows)
    top = HEAD + 2 * BAND
    whole = max(left + width * len(columns) + MARGIN, head_width(title, counts))
    lines = [head(title, whole, top + sum(heights) + MARGIN, 11, counts)]
    for column, name in enumerate(columns):
        x = left + width * (column + 0.5)
        lines += [
            f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(part)}</text>'
            for part, y in zip(name, (top - 22, top - 8), strict=True)
            if part
        ]
    y = float(top)
    for source, name, height in zip(sources, rows, heights, strict=True):
        middle = f'y="{y + height / 2 + 4:.1f}" text-anchor="end"'
        label = escape("/".join(filter(None, name)))
        lines.append(f'<text x="{left - 8:.1f}" {middle}>{label}</text>')
        for column, destination in enumerate(destinations):
            x = left + width * column
            lines.append(_frame(x, y, width, height, 'stroke="#d0d7de" fill="none"'))
            found = cells.get((source, destination), ())
            for place, one in enumerate(found):
                lines += _band(one, x, y + height / len(found) * place, width, height / len(found))
        y += height
    return "\n".join((*lines, "</svg>"))


def _ends(changes: Sequence[DrawnChange]) -> tuple[set[Peer], set[Peer]]:
    return {one.source for one in changes}, {one.destination for one in changes}


def _names(peers: Sequence[Peer]) -> list[tuple[str, str]]:
    """Namespace and name of each, short where that leaves them distinct; addresses have no
    namespace."""
    short = [(peer.namespace, _cut(_without_kind(peer))) for peer in peers]
    if len({*short}) == len(short):
        return short
    return [(peer.namespace, peer.name.removeprefix(f"{peer.namespace}/")) for peer in peers]


def _without_kind(peer: Peer) -> str:
    if peer.spans:
        return shortened(peer.name, _LONGEST)
    name = peer.name.removeprefix(f"{peer.namespace}/")
    return name.partition("[")[0] + name.partition("]")[2]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _caption(one: DrawnChange) -> str:
    return f"{KINDS[one.kind].sign} {_cut(str(one.ports))}"


def _band(one: DrawnChange, x: float, y: float, width: float, height: float) -> tuple[str, ...]:
    words = f"{one.source} to {one.destination}: {KINDS[one.kind].words}, {one.ports}"
    return (
        f"<g><title>{escape(words)}</title>",
        _frame(x, y, width, height, f'fill="#ffffff" stroke="{INK}" stroke-width="0.5"'),
        band(one.kind, x, y, SWATCH, height),
        f'<text x="{x + SWATCH + 8:.1f}" y="{y + height / 2 + 4:.1f}" font-weight="bold">'
        f"{escape(_caption(one))}</text>",
        "</g>",
    )


def _frame(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {style}/>'
