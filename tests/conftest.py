"""Settings for the whole suite."""

from __future__ import annotations

import pytest

from tests import sampling
from tests.kubernetes.fixtures import api_server, cluster, next_api_server
from tests.programs.reporting import (
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_terminal_summary,
)
from tests.sampling import pytest_addoption, pytest_collection_modifyitems
from tests.selection import ON_REQUEST, complete

# pytest finds hooks and fixtures by their names in this module.
__all__ = [
    "api_server",
    "cluster",
    "next_api_server",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_itemcollected",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "pytest_terminal_summary",
]


def pytest_configure(config: pytest.Config) -> None:
    sampling.pytest_configure(config)
    config.option.markexpr = complete(config.option.markexpr)


def pytest_itemcollected(item: pytest.Item) -> None:
    if any(map(item.get_closest_marker, ON_REQUEST)):
        item.add_marker(pytest.mark.timeout(0))  # takes as long as it takes
