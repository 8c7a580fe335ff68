"""The command as a user runs it: a new process each time, with a warm cache of kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import kubeverdict
from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.workloads import cluster, dump_file

ROOT = Path(__file__).parents[1]
SHOP = Path(kubeverdict.__file__).parent / "examples" / "shop"
CHANGE = ROOT / "bench" / "mixed-change.yaml"
COMMAND = (sys.executable, "-m", "kubeverdict")
# As Python is by default: it keeps the bytecode of what it imports. With that switched off, as
# some containers do, each run would compile our sources anew, unlike an installed package.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
FOUND = {0, 1}  # statuses of a question that was answered


@pytest.fixture(scope="session", autouse=True)
def warm_kernels() -> None:
    subprocess.run([*COMMAND, "warmup"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def dumps() -> dict[str, Path]:
    """One cluster as the API server sends it (240 MB) and as kubectl prints it (680 MB)."""
    folder = ROOT / "build" / "workloads"
    return {
        "compact": dump_file(folder, "mixed", 50_000, 5_000, compact=True),
        "indented": dump_file(folder, "mixed", 50_000, 5_000),
    }


# A process inherits the peak of the one it was forked from, so that a large one cannot measure
# its children: this small one runs a command and prints the peak of that, in kilobytes.
PEAK = """
import os, subprocess, sys
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss)
sys.exit(process.returncode)
"""


class CommandRuns:
    """Runs one command: once a call, or once for its memory."""

    def __init__(self, *arguments: str | Path) -> None:
        self._command: Sequence[str | Path] = (*COMMAND, *arguments)

    def __call__(self) -> None:
        self._run(self._command)

    def peak_mb(self) -> float:
        return int(self._run((sys.executable, "-c", PEAK, *self._command))) / 1024

    def _run(self, command: Sequence[str | Path]) -> bytes:
        done = subprocess.run(command, stdout=subprocess.PIPE, env=ENVIRONMENT, check=False)
        assert done.returncode in FOUND, f"{self._command} ended with {done.returncode}"
        return done.stdout


def bench_help(measure: Measure, record: Record) -> None:
    _, median = measure(CommandRuns("--help"), rounds=15, warmup=2)
    record(Figure("kubeverdict --help", median, "s", 0.2))


def bench_explain_on_the_shop(measure: Measure, record: Record) -> None:
    ends = ("--from", "deployment/shop/checkout", "--to", "svc/data/orders-db")
    runs = CommandRuns("explain", "-f", SHOP, *ends, "--port", "5432/TCP")
    _, median = measure(runs, rounds=15, warmup=2)
    record(Figure("kubeverdict explain on the shop", median, "s", 0.2))


def bench_interpreter_alone(measure: Measure, record: Record) -> None:
    """What Python itself takes of the figures above."""
    command = [sys.executable, "-c", "pass"]
    _, median = measure(subprocess.run, command, rounds=15, warmup=2)
    record(Figure("python -c pass, for comparison", median, "s"))


@pytest.mark.parametrize("layout", ["compact", "indented"])
@pytest.mark.parametrize("verb", ["whatif", "explain"])
def bench_cold_command(
    measure: Measure,
    record: Record,
    dumps: dict[str, Path],
    verb: str,
    layout: str,
) -> None:
    dump = dumps[layout]
    dump.read_bytes()  # into the page cache: this is not about the disk
    if verb == "whatif":
        runs = CommandRuns("whatif", "-f", dump, "--apply", CHANGE)
    else:
        pods = cluster("mixed", 50_000, 5_000).pods
        ends = ("--from", str(pods[0]), "--to", str(pods[-1]))
        runs = CommandRuns("explain", "-f", dump, *ends, "--port", "80/TCP")
    _, median = measure(runs, rounds=5)
    size = dump.stat().st_size / 1e6
    held = layout == "compact"  # the targets are for this one
    name = f"cold {verb}, mixed 50k/5k, {size:.0f} MB {layout} JSON"
    record(Figure(name, median, "s", 3.0 if held else None))
    record(Figure(f"{name}, memory", runs.peak_mb(), "MB", 600.0 if held else None))


def bench_memory_of_a_large_dump(measure: Measure, record: Record) -> None:
    """From the dump of 100,000 pods to what a change does."""
    dump = dump_file(ROOT / "build" / "workloads", "mixed", 100_000, 10_000, compact=True)
    dump.read_bytes()
    runs = CommandRuns("whatif", "-f", dump, "--apply", CHANGE)
    _, median = measure(runs, rounds=2)
    record(Figure("cold whatif, mixed 100k/10k, compact JSON", median, "s"))
    record(Figure("cold whatif, mixed 100k/10k, memory", runs.peak_mb(), "MB", 900.0))


@pytest.mark.parametrize("form", ["json", "matrix", "table"])
@pytest.mark.parametrize(("shape", "policies"), [("dense", 8), ("mixed", 24)])
def bench_list_of_pods(
    measure: Measure, record: Record, shape: str, policies: int, form: str
) -> None:
    """A thousand pods with more than half a million allowed pod pairs, each a row: ``dense`` with
    547 identities, ``mixed`` with 28."""
    dump = dump_file(ROOT / "build" / "workloads", shape, 1_000, policies, compact=True)
    dump.read_bytes()
    runs = CommandRuns("list", "-f", dump, "--pods", "-o", form)
    _, median = measure(runs, rounds=7)
    pairs = "550k" if shape == "dense" else "644k"
    name = f"list --pods -o {form}, {shape} 1,000 pods, {pairs} pod pairs"
    record(Figure(name, median, "s", {"json": 1.2, "matrix": 1.0}.get(form)))
    if form == "json":
        record(Figure(f"{name}, memory", runs.peak_mb(), "MB", 200.0))
