"""The programs of real CNIs, each started once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oracles.client import Client
from tests.programs.build import program


@pytest.fixture(scope="session")
def calico() -> Iterator[Client]:
    with Client(program("calico-oracle")) as client:
        yield client


@pytest.fixture(scope="session")
def cilium() -> Iterator[Client]:
    with Client(program("cilium-oracle")) as client:
        yield client
