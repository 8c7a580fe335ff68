"""A lab ends with whoever made it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cni_programs.lab import PREFIX
from tests.kubernetes import enclosure
from tests.programs.build import cache

HELD = """
import time
from tests.cni_programs.lab import engine_lab
with engine_lab("killed", (4, 6)):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.programs
def test_nothing_is_left_of_a_lab_whose_maker_is_killed() -> None:
    maker = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    with maker, maker.stdout:
        assert maker.stdout.readline() == "up\n"
        folder = Path(cache().parent / f"{PREFIX}killed-{maker.pid}")
        assert processes_of(folder)
        os.kill(maker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []
    # The next who makes a lab clears away its files.
    enclosure.clean(cache().parent, PREFIX)
    assert not folder.exists()


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes that speak of a lab's folder, or hold its namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            found.append(told[:200].decode(errors="replace"))
    return found
