"""What is not needed is not imported: help and small answers come at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.running import SHOP

HEAVY = {"numpy", "yaml", "ryml", "numba", "socket", "traceback", "importlib.metadata"}
NOT_FOR_SMALL = {"numba", "shutil", "traceback", "importlib.metadata", "distributed", "pyarrow"}
ASKED = ("explain", "-f", str(SHOP), "--from", "shop/cart", "--to", "shop/cart", "--port", "80")


@pytest.mark.parametrize(
    ("arguments", "heavy"), [(("--help",), HEAVY), (ASKED, NOT_FOR_SMALL)], ids=["help", "explain"]
)
def test_what_is_not_needed_is_not_imported(arguments: tuple[str, ...], heavy: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kubeverdict", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kubeverdict.cli.main" in imported
    assert imported & heavy == set()
