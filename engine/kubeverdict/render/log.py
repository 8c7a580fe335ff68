"""How reading logs went: what every report on flows begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubeverdict.model.counts import count

if TYPE_CHECKING:
    from kubeverdict.analyses.replay import Log, Unjudged


def lines(log: Log) -> list[str]:
    """In words, without counts that are zero."""
    hold = "holds" if log.lines == 1 else "hold"
    records = count(log.records, "record")
    found = [f"{count(log.lines, 'line')} {hold} {records} of connections"]
    if log.malformed:
        first = "; ".join(map(str, log.malformed_first[:1]))
        were = "was skipped:" if log.malformed == 1 else "were skipped, the first is"
        found.append(f"  {count(log.malformed, 'malformed line')} {were} {first}")
    if log.skipped:
        kinds = ", ".join(f"{one.reason} ({one.records:,})" for one in log.skipped)
        found.append(f"  skipped: {kinds}")
    if log.lost:
        found.append(f"  {count(log.lost_records, 'record')} could not be attributed")
        found += [f"    {one.reason} ({one.records:,}): {_some(one)}" for one in log.lost]
    if log.by_workload:
        names = "names" if log.by_workload == 1 else "name"
        found.append(
            f"  {count(log.by_workload, 'record')} {names} pods that are gone: a pod of the same "
            "workload stands for each"
        )
    return found


def content(log: Log) -> dict[str, Any]:
    """For JSON."""
    return {
        "lines": log.lines,
        "records": log.records,
        "skipped": {one.reason: one.records for one in log.skipped},
        "malformed": log.malformed,
        "malformed_first": [
            {"file": one.file, "line": one.line, "message": one.message}
            for one in log.malformed_first
        ],
        "not_attributed": [
            {"reason": one.reason, "records": one.records, "names": list(one.names)}
            for one in log.lost
        ],
        "by_workload": log.by_workload,
    }


def _some(lost: Unjudged) -> str:
    return ", ".join(lost.names)
