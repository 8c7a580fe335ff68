"""Corners of NetworkPolicy's semantics: verdicts and what decides them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.answers import ASK
from tests.conformance.scenarios import EDGE, read_vector


@pytest.mark.parametrize("who", ASK)
@pytest.mark.parametrize("folder", EDGE, ids=lambda folder: folder.name)
def test_vector(folder: Path, who: str) -> None:
    vector = read_vector(folder)
    assert ASK[who](vector.cluster, vector.probes) == list(vector.expected)
