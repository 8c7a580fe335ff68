"""Where compiled kernels are kept: one compilation serves every installation of a version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import kubeverdict

PACKAGE = Path(kubeverdict.__file__).parent

COMPILE_ONE = """
import numpy as np
from kubeverdict.kernels.bits import count_ones
compiled = count_ones.compiled
compiled(np.uint64(5))
print(sum(compiled.stats.cache_hits.values()), sum(compiled.stats.cache_misses.values()))
"""


def _hits_and_misses(installation: Path, cache: Path, wrapped: Sequence[str] = ()) -> list[int]:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(installation), "XDG_CACHE_HOME": str(cache)}
    # numba would fall back to the cache of the user.
    environment["HOME"] = "/nowhere"
    run = [*wrapped, sys.executable, "-c", COMPILE_ONE]
    answer = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return [int(word) for word in answer.stdout.split()]


def test_another_installation_of_the_same_version_does_not_compile_again(tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(PACKAGE, tmp_path / name / "kubeverdict")
    first = _hits_and_misses(tmp_path / "first", tmp_path / "cache")
    shutil.rmtree(tmp_path / "first")
    second = _hits_and_misses(tmp_path / "second", tmp_path / "cache")
    assert (first, second) == ([0, 1], [1, 0])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("warm", [True, False])
def test_a_read_only_file_system(tmp_path: Path, warm: bool) -> None:
    """What an image has compiled is used there, and what it lacks is compiled anew."""
    shutil.copytree(PACKAGE, tmp_path / "image" / "kubeverdict")
    if warm:
        assert _hits_and_misses(tmp_path / "image", tmp_path / "image" / "cache") == [0, 1]
    mount = f'mount --bind -o ro {tmp_path}/image {tmp_path}/image && exec "$@"'
    read_only = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    asked = _hits_and_misses(tmp_path / "image", tmp_path / "image" / "cache", read_only)
    assert asked == ([1, 0] if warm else [0, 1])


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "only" / "kubeverdict")
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert _hits_and_misses(tmp_path / "only", tmp_path / "cache") == [0, 1]
