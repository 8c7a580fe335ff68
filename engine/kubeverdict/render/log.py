"""How reading logs went: what every report on flows begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubeverdict.analyses.replay import Log, Lost


def lines(log: Log) -> list[str]:
    """In words; what there was none of is left out."""
    found = [f"{log.lines:,} lines hold {log.records:,} records of connections"]
    if log.malformed:
        first = "; ".join(map(str, log.malformed_first[:1]))
        found.append(f"  {log.malformed:,} malformed lines were skipped, the first is {first}")
    if log.skipped:
        kinds = ", ".join(f"{one.records:,} {one.reason}" for one in log.skipped)
        found.append(f"  skipped: {kinds}")
    if log.lost:
        found.append(f"  {log.lost_records:,} records could not be attributed")
        found += [f"    {one.records:,} {one.reason}: {_some(one)}" for one in log.lost]
    if log.by_workload:
        found.append(
            f"  {log.by_workload:,} records name pods that are gone: a pod of the same workload "
            "stands for each"
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


def _some(lost: Lost) -> str:
    return ", ".join(lost.names)
