"""The programs of CNIs, each on a node of its own for all tests of a run that ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cni_programs.programs import ENGINES, Running, running


@pytest.fixture(scope="session", params=ENGINES.values(), ids=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(request.param) as started:
        yield started
