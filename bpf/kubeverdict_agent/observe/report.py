"""Which connections policy denied, or would deny if a namespace were enforced."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from kubeverdict_agent.observe.collecting import Key, LedgerEntry


class Line(msgspec.Struct, frozen=True):
    """One kind of connection. ``reasons`` are why its packets were denied: ``denied`` as the
    first of a connection, ``revoked`` as one of a connection that is there. ``decided_by`` says
    which rule, or which policies isolate. What is ``conditional`` passes: policy allows it under a
    condition that the node cannot see."""

    source: str
    destination: str
    protocol: str
    port: int
    direction: str
    mode: str
    reasons: tuple[str, ...]
    packets: int
    bytes: int
    first_seen: str
    last_seen: str
    decided_by: tuple[str, ...]
    conditional: bool = False


class NamespaceReport(msgspec.Struct, frozen=True):
    """The connections that policies of one namespace deny: ``would_break`` of them in audit. Of
    those ``conditional`` it depends on a condition whether policy allows them."""

    namespace: str
    would_break: int
    dropped: int
    lines: tuple[Line, ...]
    conditional: int = 0


class Report(msgspec.Struct, frozen=True):
    """``events_lost`` counts single events that followers did not see; counts are exact.
    ``uncovered`` says which pods and links no report is about."""

    node: str
    since: str
    until: str
    events_lost: int
    totals_lost: int
    namespaces: tuple[NamespaceReport, ...]
    uncovered: tuple[str, ...] = ()
    version: int = 1


def make(
    node: str,
    since: float,
    entries: Iterable[tuple[Key, LedgerEntry]],
    events_lost: int,
    totals_lost: int,
    namespace: str | None = None,
    uncovered: Iterable[str] = (),
) -> Report:
    """The report over ledger entries; of one namespace's policies where it is given."""
    grouped: dict[str, list[tuple[Key, LedgerEntry]]] = {}
    for key, entry in entries:
        if namespace in (None, key.namespace):
            grouped.setdefault(key.namespace, []).append((key, entry))
    return Report(
        node,
        _clock(since),
        _clock(time.time()),
        events_lost,
        totals_lost,
        tuple(_namespace(name, grouped[name]) for name in sorted(grouped)),
        tuple(uncovered),
    )


def _namespace(name: str, found: list[tuple[Key, LedgerEntry]]) -> NamespaceReport:
    found.sort(key=lambda pair: (-pair[1].packets, msgspec.structs.astuple(pair[0])))
    depends = {_connection(key) for key, _ in found if key.conditional}
    denied = [key for key, _ in found if not key.conditional]
    audited = {_connection(key) for key in denied if key.mode == "audit"}
    dropped = {_connection(key) for key in denied if key.mode == "enforce"}
    lines = tuple(_line(key, entry) for key, entry in found)
    return NamespaceReport(name, len(audited), len(dropped), lines, len(depends))


def _connection(key: Key) -> tuple[str, str, str, int]:
    return key.source, key.destination, key.protocol, key.port


def _line(key: Key, entry: LedgerEntry) -> Line:
    return Line(
        **msgspec.structs.asdict(key),
        reasons=entry.reasons,
        packets=entry.packets,
        bytes=entry.bytes,
        first_seen=_clock(entry.first),
        last_seen=_clock(entry.last),
        decided_by=tuple(line for decider in entry.deciders for line in decider.lines),
    )


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def text(report: Report) -> list[str]:
    """The report for a person."""
    lines = [f"node {report.node}: what policy denies, from {report.since} to {report.until}"]
    if report.totals_lost:
        lines.append(f"{report.totals_lost} packets were not counted: too many kinds of denials")
    lines += report.uncovered
    if not report.namespaces:
        lines.append("nothing: no packet that policy denies was seen")
    for part in report.namespaces:
        lines.append("")
        if part.would_break:
            what = _connections(part.would_break, "breaks", "break")
            lines.append(f"turn namespace {part.namespace or '?'} to enforce and {what}")
        if part.dropped:
            what = _connections(part.dropped, "is dropped", "are dropped")
            lines.append(f"namespace {part.namespace or '?'}: {what}")
        if part.conditional:
            what = _connections(part.conditional, "depends", "depend")
            lines.append(f"namespace {part.namespace or '?'}: {what} on a condition of a rule")
        for line in part.lines:
            port = f"{line.protocol} {line.port}" if line.port else line.protocol
            verb = "drops" if line.mode == "enforce" else "would drop"
            if line.conditional:
                verb = "lets through in every mode"
            packets = "1 packet" if line.packets == 1 else f"{line.packets} packets"
            lines.append(f"  {line.source} -> {line.destination} {port}")
            lines.append(
                f"    {line.direction} {verb} {packets} from {line.first_seen} to {line.last_seen}"
            )
            lines += [f"      {decided}" for decided in line.decided_by]
    return lines


def _connections(count: int, one: str, many: str) -> str:
    return f"this connection {one}" if count == 1 else f"these {count} connections {many}"
