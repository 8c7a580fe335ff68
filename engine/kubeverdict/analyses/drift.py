"""The same scenarios on several clusters, and where they come out differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from kubeverdict.analyses.bulk import ScenarioReport, unevaluated_of
from kubeverdict.model.unevaluated import Unevaluated

# What a scenario does on a cluster.
FAILED, NOTHING, OPENS, CLOSES, BOTH = "not possible", "nothing", "opens", "closes", "both"


class Drift(msgspec.Struct, frozen=True):
    """One scenario on each cluster, by name. ``differ`` are the clusters on which it does
    something else (opens, closes, both, nothing, not possible) than on most of them; all of
    them where there is no majority. How much it opens or closes is not compared, as clusters
    have pods in different numbers."""

    name: str
    clusters: dict[str, ScenarioReport]
    differ: tuple[str, ...]

    @property
    def changes(self) -> bool:
        return any(report.changes for report in self.clusters.values())


class DriftRun(msgspec.Struct, frozen=True):
    """The report of a run on several clusters."""

    clusters: tuple[str, ...]
    scenarios: tuple[Drift, ...]
    top: int

    @property
    def unevaluated(self) -> tuple[Unevaluated, ...]:
        return unevaluated_of(report for one in self.scenarios for report in one.clusters.values())


def effect(report: ScenarioReport) -> str:
    """What a scenario does to a cluster, in a word."""
    if report.error:
        return FAILED
    if report.opens and report.closes:
        return BOTH
    return OPENS if report.opens else CLOSES if report.closes else NOTHING


def drift(name: str, clusters: Mapping[str, ScenarioReport]) -> Drift:
    """Compare what a scenario does to clusters."""
    effects = {cluster: effect(report) for cluster, report in clusters.items()}
    (most, count), *others = Counter(effects.values()).most_common()
    tied = bool(others) and others[0][1] == count
    differ = tuple(cluster for cluster, own in effects.items() if tied or own != most)
    return Drift(name, dict(clusters), differ)


def ranked(scenarios: list[Drift]) -> list[Drift]:
    """Those that differ first, then the largest blast radius on any cluster."""

    def radius(one: Drift) -> tuple[int, int, int]:
        return max(report.blast_radius for report in one.clusters.values())

    return sorted(
        scenarios, key=lambda one: (not one.differ, *(-part for part in radius(one)), one.name)
    )
