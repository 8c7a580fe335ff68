"""What cannot be had is a line at the end of a run, and never a pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFTEST = """\
from tests.programs.reporting import *
"""
TESTS = """\
import pytest
from tests.programs.build import Unavailable

@pytest.fixture(scope="session")
def server():
    raise Unavailable("kube-apiserver: there is no Go on this machine")

def test_one(server): pass
def test_two(server): pass
def test_three(): raise Unavailable("felix: module is not served")
def test_four(): pytest.skip("of another kind")
def test_five(): pass
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_each_reason_has_one_line(tmp_path: Path) -> None:
    for workers in ("0", "2"):
        done = run(tmp_path, "-n", workers)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed, 4 skipped" in done.stdout
        assert [line for line in done.stdout.splitlines() if line.startswith("not run: ")] == [
            "not run: felix: module is not served (1 test)",
            "not run: kube-apiserver: there is no Go on this machine (2 tests)",
        ]
