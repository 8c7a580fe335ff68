"""How far a run is."""

from __future__ import annotations

import sys
import time


class RunProgress:
    """Says on standard error what is being done, and how far a run is."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._on_terminal = sys.stderr.isatty()

    def restart(self) -> None:
        """What was before is not part of the run."""
        self._begin = time.monotonic()

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._begin) / 60

    def say(self, text: str) -> None:
        passed = time.monotonic() - self._begin
        print(f"[{passed // 60:2.0f}:{passed % 60:02.0f}] {text}", file=sys.stderr, flush=True)

    def step(self, done: int, of: int) -> None:
        if self._on_terminal:
            end = "\n" if done == of else "\r"
            print(f"        {done} of {of}", end=end, file=sys.stderr, flush=True)
