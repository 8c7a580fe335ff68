"""Of the tests of each file some: for machines on which what was left out ran elsewhere."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sample",
        type=int,
        default=1,
        metavar="N",
        help="run every Nth test of a file, and an Nth of generated examples",
    )


def pytest_configure(config: pytest.Config) -> None:
    every = config.getoption("--sample")
    if every < 1:
        raise pytest.UsageError("--sample: a number from 1 on")
    # The first example may compile kernels, and machines are shared: no deadlines.
    settings.register_profile(
        "kubeverdict", deadline=None, max_examples=max(1, settings().max_examples // every)
    )
    settings.load_profile("kubeverdict")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    every = config.getoption("--sample")
    if every == 1:
        return
    seen: Counter[str] = Counter()
    left_out: list[pytest.Item] = []
    kept: list[pytest.Item] = []
    for item in items:
        file = item.nodeid.partition("::")[0]
        (left_out if seen[file] % every else kept).append(item)
        seen[file] += 1
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
