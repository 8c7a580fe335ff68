"""Reports as rows of text, for the formats that are tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from kubeverdict.model.address_text import shortened
from kubeverdict.model.counts import count
from kubeverdict.render.style import WIDTH

if TYPE_CHECKING:
    from kubeverdict.analyses.connections import Connections
    from kubeverdict.analyses.differences import Differences
    from kubeverdict.analyses.links import Target
    from kubeverdict.analyses.peers import Peer
    from kubeverdict.analyses.port_text import Ports

Row = tuple[str, ...]

# Longer ends are cut short in what people read.
END_WIDTH = 34


def chunks(
    report: Connections,
    head: Callable[[Peer], str],
    tail: Callable[[Target[Ports]], str],
    separator: str = "\n",
) -> Iterator[str]:
    """A line for each connection: what ``head`` makes of its source and ``tail`` of the rest.

    The lines of each source come together, with ``separator`` between them. Sources share their
    targets, so each is put into words once: a million lines take little more than to be written.
    """
    known = _Known(tail)
    for fan in report.fans:
        start = head(fan.source)
        yield start + f"{separator}{start}".join([known[target] for target in fan.targets])


class _Known(dict["Target[Ports]", str]):
    def __init__(self, make: Callable[[Target[Ports]], str]) -> None:
        self._make = make

    def __missing__(self, target: Target[Ports]) -> str:
        text = self[target] = self._make(target)
        return text


def connection_heading(report: Connections) -> Row:
    """Families have a column only where they differ."""
    heading = ("source", "destination", "ports")
    differ = any(target.family for fan in report.fans for target in fan.targets)
    return (*heading, "family") if differ else heading


def difference_rows(
    report: Differences,
    name: Callable[[Peer], str] = str,
    ports: Callable[[Ports], str] = str,
) -> tuple[Row, list[Row]]:
    """The heading and the rows."""
    heading = ("change", "source", "destination", "before", "after", "family")
    rows: list[Row] = [
        (
            change.kind,
            name(change.source),
            name(change.destination),
            ports(change.before),
            ports(change.after),
            change.family,
        )
        for change in report.changes
    ]
    if any(row[-1] for row in rows):
        return heading, rows
    return heading[:-1], [row[:-1] for row in rows]


class Footnotes:
    """Names of ends, those that are long cut short: the whole is a note below."""

    def __init__(self) -> None:
        self._short: dict[str, str] = {}
        self._whole: list[str] = []

    def __call__(self, peer: Peer) -> str:
        if len(peer.name) <= END_WIDTH or not (peer.spans or len(peer.pods) > 1):
            return peer.name
        known = self._short.get(peer.name)
        if known is None:
            self._whole.append(peer.name.replace(",", ", ") if peer.pods else peer.name)
            room = END_WIDTH - len(f" [{len(self._whole)}]")
            known = (
                f"{peer.whole}{{{count(len(peer.pods), 'pod')}}}"
                if peer.pods
                else shortened(peer.name, room)
            )
            known = self._short[peer.name] = f"{known} [{len(self._whole)}]"
        return known

    def lines(self) -> list[str]:
        """The notes, after an empty line, if there are any."""
        found = [
            line
            for number, whole in enumerate(self._whole, 1)
            for line in wrap(
                f"[{number}] {whole}", WIDTH, subsequent_indent="    ", break_on_hyphens=False
            )
        ]
        return ["", *found] if found else []


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
