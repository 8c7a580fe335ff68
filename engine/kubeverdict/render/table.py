"""Aligned columns, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kubeverdict.render.bulk import text as ranking_text
from kubeverdict.render.drift import text as drift_text
from kubeverdict.render.rows import (
    Footnotes,
    aligned,
    chunks,
    connection_heading,
    difference_rows,
)
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Ranking
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.drift import DriftRun
    from kubeverdict.analyses.links import Target
    from kubeverdict.analyses.port_text import Ports


COLORS = {"added": "green", "removed": "red", "changed": "yellow"}


def connections(report: Connections, style: Style) -> Iterator[str]:
    name = Footnotes()
    heading = [cell.upper() for cell in connection_heading(report)]
    left = len(heading[0])
    targets: dict[Target[Ports], None] = {}
    for fan in report.fans:
        left = max(left, len(name(fan.source)))
        targets.update(dict.fromkeys(fan.targets))
    if not targets:
        yield "no connections"
        return
    rows = [(name(target.peer), _ports(target.value), target.family) for target in targets]
    widths = [max(len(heading[1]), *(len(row[0]) for row in rows))]
    widths.append(max(len(heading[2]), *(len(row[1]) for row in rows)))

    def tail(*cells: str) -> str:
        padded = map(str.ljust, cells, (*widths, 0))
        return "  ".join(padded).rstrip()

    yield style.paint(f"{heading[0]:<{left}}  {tail(*heading[1:])}", "bold")
    known = {target: tail(*row) for target, row in zip(targets, rows, strict=True)}
    for chunk in chunks(
        report, lambda source: f"{name(source):<{left}}  ", lambda target: known[target]
    ):
        yield f"\n{chunk}"
    for line in name.lines():
        yield f"\n{line}"


def differences(report: Differences, style: Style) -> str:
    name = Footnotes()
    heading, rows = difference_rows(report, name, _ports)
    if not rows:
        return "no differences"
    title, *lines = aligned(heading, rows)
    painted = [style.paint(line, COLORS[row[0]]) for line, row in zip(lines, rows, strict=True)]
    return "\n".join([style.paint(title, "bold"), *painted, *name.lines()])


def _ports(ports: Ports) -> str:
    return "all" if ports.everything else str(ports)


def bulk(report: Ranking, style: Style) -> str:
    return ranking_text(report, style)


def drift(report: DriftRun, style: Style) -> str:
    return drift_text(report, style)
