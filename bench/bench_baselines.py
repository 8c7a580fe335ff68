"""Rules of iptables CNIs: rendering them, and putting them where nothing is."""

from __future__ import annotations

from functools import lru_cache

import pytest

from bench.baselines import BASELINES
from bench.baselines.loading import run
from bench.baselines.node import NodeView, view
from bench.comparison.scenarios import NODE, SCENARIOS
from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.lab import Lab, missing

ROUNDS = 5
NAMES = ("policies-10", "policies-1000")
ENFORCING = [name for name, baseline in BASELINES.items() if baseline.enforces]


@lru_cache
def seen(scenario: str, profile: str) -> NodeView:
    return view(SCENARIOS[scenario].compiled(profile), NODE)


@pytest.mark.parametrize("name", ENFORCING)
@pytest.mark.parametrize("scenario", NAMES)
def bench_rendering(measure: Measure, record: Record, scenario: str, name: str) -> None:
    baseline = BASELINES[name]
    node = seen(scenario, baseline.profile)
    _, median = measure(lambda: baseline.render(node).install(), rounds=ROUNDS)
    record(Figure(f"rendering {baseline.title}, {scenario}", median * 1e3, "ms"))


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
@pytest.mark.parametrize("name", ENFORCING)
@pytest.mark.parametrize("scenario", NAMES)
def bench_installing(measure: Measure, record: Record, scenario: str, name: str) -> None:
    baseline = BASELINES[name]
    commands = baseline.render(seen(scenario, baseline.profile)).install()

    def install() -> None:
        with Lab() as lab:
            run(lab.node_netns, commands)

    _, median = measure(install, rounds=ROUNDS)
    record(Figure(f"installing {baseline.title}, {scenario}", median * 1e3, "ms"))
