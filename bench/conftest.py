"""Measures, collects the figures of all benchmarks and prints them after the run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import pytest

from bench.figures import Figure, table

_FIGURES = pytest.StashKey[list[Figure]]()

Result = TypeVar("Result")
Record = Callable[[Figure], None]


class Measure(Protocol):
    """Runs a function several times, after runs that are not counted (they load kernels)."""

    def __call__(
        self, function: Callable[..., Result], *arguments: object, rounds: int, warmup: int = 1
    ) -> tuple[Result, float]:
        """The function's result, and the median of its times in seconds."""


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    def run(
        function: Callable[..., Result], *arguments: object, rounds: int, warmup: int = 1
    ) -> tuple[Result, float]:
        result = benchmark.pedantic(function, arguments, rounds=rounds, warmup_rounds=warmup)
        return result, benchmark.stats.stats.median

    return run


@pytest.fixture
def record(request: pytest.FixtureRequest, benchmark: Any) -> Record:
    """Puts a figure into the saved results and into the table at the end."""

    def record_figure(figure: Figure) -> None:
        benchmark.extra_info[figure.name] = {
            "value": figure.value,
            "unit": figure.unit,
            "target": figure.target_text or None,
            "reached": figure.reached,
        }
        request.config.stash.setdefault(_FIGURES, []).append(figure)

    return record_figure


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash.get(_FIGURES, [])
    if not figures:
        return
    terminalreporter.section("figures against targets")
    cores = len(os.sched_getaffinity(0))
    terminalreporter.line(
        f"{cores} cores, {platform.machine()}, Python {platform.python_version()}; medians"
    )
    for line in table(figures):
        terminalreporter.line(line)
    judged = [figure.reached for figure in figures if figure.reached is not None]
    terminalreporter.line(f"{sum(judged)} of {len(judged)} reached")
