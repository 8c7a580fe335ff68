"""Reports as rows of text, for the formats that are tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences

Row = tuple[str, ...]


def connection_rows(report: Connections) -> tuple[Row, list[Row]]:
    """The heading and the rows. Families have a column only where they differ."""
    rows: list[Row] = [
        (str(one.source), str(one.destination), str(one.ports), one.family)
        for one in report.connections
    ]
    return _without_families(("source", "destination", "ports", "family"), rows)


def difference_rows(report: Differences) -> tuple[Row, list[Row]]:
    rows: list[Row] = [
        (
            change.kind,
            str(change.source),
            str(change.destination),
            str(change.before),
            str(change.after),
            change.family,
        )
        for change in report.changes
    ]
    return _without_families(("change", "source", "destination", "before", "after", "family"), rows)


def _without_families(heading: Row, rows: list[Row]) -> tuple[Row, list[Row]]:
    if any(row[-1] for row in rows):
        return heading, rows
    return heading[:-1], [row[:-1] for row in rows]


def aligned(heading: Row, rows: list[Row]) -> list[str]:
    """One line a row, the heading first; columns padded to the widest cell."""
    widths = [
        max(len(heading[column]), max(len(row[column]) for row in rows))
        for column in range(len(heading))
    ]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (tuple(cell.upper() for cell in heading), *rows)
    ]
