"""When kernels are compiled, and that it happens once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeverdict.compile.compiler import kernels_missing
from kubeverdict.evaluate.warmup import warmup
from kubeverdict.kernels import jit
from tests.handmade import cluster, pod

MANY = cluster(tuple(pod(f"x/p-{i}") for i in range(2_000)))
FEW = cluster((pod("x/p"),))


def test_a_large_input_waits_for_kernels_that_are_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels_missing(MANY)
    assert not kernels_missing(FEW)
    jit.cache_directory().mkdir(parents=True)
    assert not kernels_missing(MANY)


def test_progress_is_reported_from_none_to_all() -> None:
    steps: list[tuple[str, int, int]] = []
    warmup(lambda what, done, total: steps.append((what, done, total)))
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert {total for _, _, total in steps} == {len(steps) - 1}
