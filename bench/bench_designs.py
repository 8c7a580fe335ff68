"""Ways to look a policy up in eBPF, on one frame, by BPF_PROG_TEST_RUN.

The time of a run is taken by the kernel; what pytest-benchmark shows is that of the whole call,
over all runs of it, so that its own comparisons work.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.comparison.scenarios import NODE, SERVER, TrafficScenario
from bench.conftest import Measure, Record
from bench.designs import DESIGNS, Designs, open_designs
from bench.figures import Figure
from bench.lab import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

REPEAT = 200_000
ROUNDS = 7
SCENARIOS = tuple(
    TrafficScenario(f"{rules} rules, {pods // 1000}k pods", 30, rules, pods=pods)
    for rules in (10, 100)
    for pods in (1_000, 10_000, 50_000)
)


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.name)
def designs(request: pytest.FixtureRequest) -> Iterator[tuple[str, Designs]]:
    scenario: TrafficScenario = request.param
    server = scenario.local_pods[SERVER]
    pod = (server.namespace, server.name)
    with open_designs(scenario.compiled("reference"), NODE, pod) as designs:
        yield scenario.name, designs


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("which", ["hot", "random"])
def bench_lookup(
    measure: Measure, record: Record, designs: tuple[str, Designs], design: str, which: str
) -> None:
    name, programs = designs
    nanoseconds: list[int] = []

    def run() -> None:
        nanoseconds.append(programs.nanoseconds(design, REPEAT, hot=which == "hot"))

    measure(run, rounds=ROUNDS)
    median = sorted(nanoseconds)[len(nanoseconds) // 2]
    record(Figure(f"{DESIGNS[design]}, {name}, {which} tuples", median, "ns"))
