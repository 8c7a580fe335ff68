"""The datapath of ``shop/web``, compiled once for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.web import Web, one_pod


@pytest.fixture(scope="module")
def shared_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with one_pod(tmp_path_factory) as web:
        yield web


@pytest.fixture
def web(shared_web: Web) -> Web:
    """The pod as it has just been started."""
    shared_web.fresh()
    return shared_web
