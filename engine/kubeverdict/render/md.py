"""Markdown tables, for issues and pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kubeverdict.analyses.effects import Effect, causes
from kubeverdict.model.counts import count
from kubeverdict.render.bulk import blocks, short_rows
from kubeverdict.render.drift import rows as drift_rows
from kubeverdict.render.drift import summary, worth_showing
from kubeverdict.render.rows import Row, chunks, connection_heading, difference_rows
from kubeverdict.render.style import Style
from kubeverdict.render.tree import pair_totals

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Ranking
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.drift import DriftRun
    from kubeverdict.analyses.links import Target
    from kubeverdict.analyses.port_text import Ports
    from kubeverdict.analyses.whatif import WhatIf

_WHATIF: Row = ("change", "source", "destination", "ports", "pod pairs", "before", "after")
# Code hosts take 65,536 characters of a comment.
_SHOWN = 100


def connections(report: Connections, style: Style) -> Iterator[str]:
    heading = connection_heading(report)

    def tail(target: Target[Ports]) -> str:
        cells = (target.peer.name, str(target.value), target.family)
        return " | ".join(map(cell, cells[: len(heading) - 1])) + " |"

    yield table(heading, [])
    for chunk in chunks(report, lambda source: f"| {cell(source.name)} | ", tail):
        yield f"\n{chunk}"


def differences(report: Differences, style: Style) -> str:
    return table(*difference_rows(report))


def bulk(report: Ranking, style: Style) -> str:
    heading, rows = short_rows(report)
    found = [table(heading, rows)] if rows else []
    return "\n\n".join([*found, *map(escaped, blocks(report, len(rows)))])


def drift(report: DriftRun, style: Style) -> str:
    shown = worth_showing(report)
    found = [table(*drift_rows(report, shown))] if shown else []
    return "\n\n".join([*found, summary(report)])


def whatif(report: WhatIf, style: Style) -> str:
    """A heading with the result, the totals, and a row for each connection."""
    opened, closed = (count(len(one), "connection") for one in (report.opened, report.closed))
    title = f"Network policy: opens {opened}, closes {closed}"
    totals = "\n".join(pair_totals(one, len(report.pairs) > 1, style) for one in report.pairs)
    parts = [f"### {title}", escaped(totals)]
    effects = [("opens", one) for one in report.opened] + [("closes", one) for one in report.closed]
    if effects:
        parts.append(table(_WHATIF, [_effect(*one) for one in effects[:_SHOWN]]))
    if len(effects) > _SHOWN:
        parts.append(f"and {count(len(effects) - _SHOWN, 'more connection')} (`-o json` has all)")
    return "\n\n".join(parts)


def _effect(verb: str, one: Effect) -> Row:
    ports = f"{one.ports} over {one.family}" if one.family else str(one.ports)
    pairs = f"{one.pairs:,}" if one.pairs else ""
    ends = (str(one.source), str(one.destination))
    if one.conditions:
        verb += f" if {'; '.join(one.conditions)}"
    return (verb, *ends, ports, pairs, *causes(one))


def table(heading: Row, rows: list[Row]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """Text on one line, as a table has to have it."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Brackets and braces would be taken for links and markup by some renderers."""
    for sign in "\\|[]*_<":
        text = text.replace(sign, f"\\{sign}")
    return text
