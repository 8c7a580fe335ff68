"""What SIGINT does, wherever it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubeverdict.command.interrupts import INTERRUPTED
from tests.cli.running import INTERRUPTIBLE

INTERRUPT = "signal.raise_signal(signal.SIGINT)"


def run(*lines: str, before: tuple[str, ...] = INTERRUPTIBLE) -> subprocess.CompletedProcess[str]:
    """Run a program that a SIGINT is to end: what it prints says that it went on."""
    program = "\n".join(
        (
            "import ctypes, signal, sys",
            "from kubeverdict.command.interrupts import at_interrupt, end_at_interrupt",
            "end_at_interrupt()",
            *lines,
            "print('went on')",
        )
    )
    return subprocess.run(
        [*before, sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


# Where KeyboardInterrupt is printed and dropped by what called Python, and the process goes on.
@pytest.mark.parametrize(
    "lines",
    [
        ("class Last:", f"    def __del__(self): {INTERRUPT}; len('')", "Last()"),
        (
            "@ctypes.CFUNCTYPE(None)",
            f"def back(): {INTERRUPT}; len('')",
            "back()",
        ),
        ("try:", f"    {INTERRUPT}; len('')", "except BaseException: pass"),
    ],
    ids=["in a destructor", "in a callback", "where all is caught"],
)
def test_it_ends_the_process_wherever_it_comes(lines: tuple[str, ...]) -> None:
    done = run(*lines)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "Aborted!\n")


def test_what_would_be_left_behind_is_undone() -> None:
    done = run(
        "def undo(name): return lambda: print(name, flush=True)",
        "with at_interrupt(undo('over')): pass",
        "with at_interrupt(undo('outer')), at_interrupt(undo('inner')):",
        f"    {INTERRUPT}; len('')",
    )
    assert (done.returncode, done.stdout) == (INTERRUPTED, "inner\nouter\n")


def test_half_a_snapshot_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "kept.kvs"
    target.write_bytes(b"old")
    done = run(
        "from kubeverdict.snapshots.container import replace_file",
        "def parts():",
        "    yield b'half'",
        f"    {INTERRUPT}; len('')",
        f"replace_file({str(target)!r}, parts())",
    )
    assert done.returncode == INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == ["kept.kvs"]
    assert target.read_bytes() == b"old"


def test_one_that_the_shell_ignores_stays_ignored() -> None:
    done = run(INTERRUPT, before=("env", "--ignore-signal=INT"))
    assert (done.returncode, done.stdout) == (0, "went on\n")
