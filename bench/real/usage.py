"""What a program takes: memory and CPU time of its processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.enclosure import Daemon

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """``memory`` is the proportional set size in bytes, ``cpu`` the seconds that were used so far,
    those of children that ended included."""

    memory: int
    cpu: float


def usage(daemons: Sequence[Daemon]) -> Usage:
    """What programs use, all together."""
    memory, cpu = 0, 0.0
    for daemon in daemons:
        for pid in daemon.pids:
            for process in _tree(pid):
                # One that ends meanwhile is its parent's from then on.
                with contextlib.suppress(OSError):
                    memory += _memory(process)
                    cpu += _cpu(process)
    return Usage(memory, cpu)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu(pid: int) -> float:
    # The name, in parentheses, may have spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS
