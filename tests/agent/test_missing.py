"""Where something that the agent needs is not installed, it is told in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def agent(without: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / f"{without}.py").write_text(
        f"raise ModuleNotFoundError('it is hidden', name={without!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "kubeverdict_agent", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{hidden}:{os.environ.get('PYTHONPATH', '')}"},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("package", ["pyroute2", "prometheus_client"])
def test_check_says_which_package_is_missing(package: str, tmp_path: Path) -> None:
    done = agent(package, tmp_path, "check", "--bpffs", str(tmp_path))
    assert done.returncode == 1
    told = f"MISSING  Python packages: {package} is not installed: pip install 'kubeverdict[agent]'"
    assert told in done.stdout.splitlines()
    # The other needs are reported with it.
    assert "kernel: Linux" in done.stdout and "BPF file system" in done.stdout


def test_detach_without_pyroute2(tmp_path: Path) -> None:
    places = ("--bpffs", str(tmp_path / "pins"), "--state", str(tmp_path / "state"))
    done = agent("pyroute2", tmp_path, "detach", *places)
    assert done.returncode == 2
    assert "error: pyroute2 is not installed: pip install 'kubeverdict[agent]'" in done.stderr


@pytest.mark.parametrize("package", ["msgspec", "numpy"])
def test_what_even_the_check_needs(package: str, tmp_path: Path) -> None:
    done = agent(package, tmp_path, "check")
    assert done.returncode == 2
    assert f"the Python package {package} is not installed" in done.stderr
