"""The same scenarios on several clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeverdict.analyses.drift import effect
from kubeverdict.model.counts import count
from kubeverdict.render.rows import Row, aligned
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import ScenarioReport
    from kubeverdict.analyses.drift import Drift, DriftRun


def text(run: DriftRun, style: Style) -> str:
    """The scenarios that do not come out alike, and those that change most."""
    shown = worth_showing(run)
    if not shown:
        return summary(run)
    title, *lines = aligned(*rows(run, shown))
    body = [
        style.paint(line, "yellow") if one.differ else line
        for one, line in zip(shown, lines, strict=True)
    ]
    errors = [
        f"  {one.name} on {cluster}: {report.error}"
        for one in shown
        for cluster, report in one.clusters.items()
        if report.error
    ]
    return "\n".join([style.paint(title, "bold"), *body, "", *errors, summary(run)])


def rows(run: DriftRun, shown: Sequence[Drift]) -> tuple[Row, list[Row]]:
    """Scenarios with what they do to each cluster."""
    return ("scenario", *run.clusters, "differ"), [_row(run, one) for one in shown]


def worth_showing(run: DriftRun) -> list[Drift]:
    """The scenarios worth a look, as many as are wanted."""
    return [one for one in run.scenarios if one.differ or one.changes][: run.top]


def _row(run: DriftRun, one: Drift) -> Row:
    cells = (_cell(one.clusters[cluster]) for cluster in run.clusters)
    return (one.name, *cells, ", ".join(one.differ))


def _cell(report: ScenarioReport) -> str:
    found = report.figures
    numbers = [
        f"{sign}{count:,}"
        for sign, count in (("+", found.pairs_opened), ("-", found.pairs_closed))
        if count
    ]
    return f"{effect(report)} {' '.join(numbers)}".rstrip()


def summary(run: DriftRun) -> str:
    """A line about all of them."""
    differ = sum(bool(one.differ) for one in run.scenarios)
    scenarios, clusters = count(len(run.scenarios), "scenario"), count(len(run.clusters), "cluster")
    differs = "1 has" if differ == 1 else f"{differ:,} have" if differ else "none has"
    return (
        f"{scenarios} on {clusters}: {differs} another effect on some of them"
        " (opens, closes, both or nothing; how much is not compared)"
    )
