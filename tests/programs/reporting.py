"""How pytest shows what was not run because something cannot be had here.

A test, or a fixture of it, that raises :class:`tests.programs.build.Unavailable` is skipped, and
the end of the run has a line "not run: …" for each reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

from tests.programs.build import Unavailable

_MARK = "not run: "


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    except Unavailable as missing:
        pytest.skip(f"{_MARK}{missing}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    except Unavailable as missing:
        pytest.skip(f"{_MARK}{missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter[str]()
    for report in terminalreporter.stats.get("skipped", ()):
        # Of a skipped test: file, line, and the reason behind a word of pytest's own.
        if isinstance(report.longrepr, tuple) and _MARK in report.longrepr[2]:
            reasons[_MARK + report.longrepr[2].partition(_MARK)[2]] += 1
    for reason, tests in sorted(reasons.items()):
        terminalreporter.write_line(f"{reason} ({tests} test{'s' * (tests != 1)})")
