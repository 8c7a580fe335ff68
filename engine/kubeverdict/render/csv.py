"""Comma-separated values, as in RFC 4180, but with Unix line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kubeverdict.render.bulk import full_rows
from kubeverdict.render.drift import rows as drift_rows
from kubeverdict.render.rows import Row, chunks, connection_heading, difference_rows
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Ranking
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.drift import DriftRun
    from kubeverdict.analyses.links import Target
    from kubeverdict.analyses.port_text import Ports


def connections(report: Connections, style: Style) -> Iterator[str]:
    heading = connection_heading(report)

    def tail(target: Target[Ports]) -> str:
        cells = (target.peer.name, str(target.value), target.family)
        return ",".join(map(_cell, cells[: len(heading) - 1]))

    yield ",".join(heading)
    for chunk in chunks(report, lambda source: f"{_cell(source.name)},", tail):
        yield f"\n{chunk}"


def differences(report: Differences, style: Style) -> str:
    return _text(*difference_rows(report))


def bulk(report: Ranking, style: Style) -> str:
    return _text(*full_rows(report))


def drift(report: DriftRun, style: Style) -> str:
    return _text(*drift_rows(report, report.scenarios))


def _cell(text: str) -> str:
    if any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _text(heading: Row, rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return text.getvalue().removesuffix("\n")
