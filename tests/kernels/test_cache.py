"""Where compiled kernels are kept: one compilation serves every installation of a version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import kubeverdict

COMPILE_ONE = """
import numpy as np
from kubeverdict.kernels.bits import count_ones
compiled = count_ones.compiled
compiled(np.uint64(5))
print(sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values()))
"""


def _hits_and_misses(installation: Path, cache: Path) -> list[int]:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(installation), "XDG_CACHE_HOME": str(cache)}
    run = [sys.executable, "-c", COMPILE_ONE]
    answer = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return [int(word) for word in answer.stdout.split()]


def test_another_installation_of_the_same_version_does_not_compile_again(tmp_path: Path) -> None:
    package = Path(kubeverdict.__file__).parent
    for name in ("first", "second"):
        shutil.copytree(package, tmp_path / name / "kubeverdict")
    first = _hits_and_misses(tmp_path / "first", tmp_path / "cache")
    shutil.rmtree(tmp_path / "first")
    second = _hits_and_misses(tmp_path / "second", tmp_path / "cache")
    assert (first, second) == ([0, 1], [1, 0])


def test_a_cache_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    package = Path(kubeverdict.__file__).parent
    shutil.copytree(package, tmp_path / "only" / "kubeverdict")
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert _hits_and_misses(tmp_path / "only", tmp_path / "cache")[0] == 0
