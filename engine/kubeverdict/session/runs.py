"""A run: scenarios judged here or on workers, on one cluster or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kubeverdict.errors import UsageError
from kubeverdict.manifests.scenarios import Scenario
from kubeverdict.session.journal import Journal
from kubeverdict.session.pipeline import ReportOptions, pieces, reports
from kubeverdict.session.version import Version

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import ScenarioReport
    from kubeverdict.distributed.client import Judged

Done = Callable[[int], None]
"""Called with the number of scenarios that were done since the last call."""


def judged_here(
    versions: Mapping[str, Version],
    scenarios: Sequence[Scenario],
    options: ReportOptions,
    journal: Journal,
    done: Done,
) -> Iterator[Judged]:
    """Every scenario on every cluster, in this process; what the journal has comes from it."""
    for piece in pieces(scenarios):
        for name, version in versions.items():
            new = [one for one in piece if journal.known(name, one) is None]
            fresh = dict(
                zip(
                    (one.name for one in new),
                    reports(version, new, options),
                    strict=True,
                )
            )
            for scenario in piece:
                report = fresh.get(scenario.name) or journal.known(name, scenario)
                assert report is not None
                if scenario.name in fresh:
                    journal.keep(name, scenario, report)
                yield name, scenario, report
            done(len(piece))


def judged_on(
    scheduler: str,
    versions: Mapping[str, Version],
    scenarios: Sequence[Scenario],
    options: ReportOptions,
    journal: Journal,
    done: Done,
) -> Iterator[Judged]:
    """The same on the workers of a Dask cluster, in the order in which they are done."""
    try:
        from kubeverdict.distributed.client import DaskCluster
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--scheduler needs {error.name}: pip install 'kubeverdict[distributed]'"
        ) from None
    from kubeverdict import snapshots

    for name in versions:
        for scenario in scenarios:
            known = journal.known(name, scenario)
            if known is not None:
                yield name, scenario, known
                done(1)
    left = {
        name: [one for one in scenarios if journal.known(name, one) is None] for name in versions
    }
    with DaskCluster(scheduler) as dask:
        for name, version in versions.items():
            if not left[name]:
                continue
            shipped = snapshots.to_bytes(version.compiled, version.workbench)
            for judged in dask.judge({name: shipped}, left[name], options):
                journal.keep(*judged)
                yield judged
                done(1)


def by_scenario(
    judged: Iterator[Judged], clusters: int
) -> Iterator[tuple[str, dict[str, ScenarioReport]]]:
    """What all clusters say about a scenario, when the last of them has."""
    waiting: dict[str, dict[str, ScenarioReport]] = {}
    for name, scenario, report in judged:
        found = waiting.setdefault(scenario.name, {})
        found[name] = report
        if len(found) == clusters:
            yield scenario.name, waiting.pop(scenario.name)
