"""What is wrong now, and a log of what happens.

An alarm is raised until its source clears it. Status, metrics and log show the same.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Alarm:
    name: str
    text: str
    since: float  # seconds since the epoch


class EventLog:
    """One JSON object a line."""

    def __init__(self, node: str, stream: TextIO | None = None) -> None:
        self._node = node
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()

    def __call__(self, level: str, event: str, **fields: Any) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e3):03}Z"
        record = {"time": stamp, "level": level, "event": event, "node": self._node, **fields}
        line = json.dumps(record, default=str, ensure_ascii=False)
        with self._lock:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the log cannot be written; that is no reason to stop


class Alarms:
    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._standing: dict[str, Alarm] = {}
        self._lock = threading.Lock()

    def raise_(self, name: str, text: str, **details: str) -> None:
        """``details`` are for the log alone."""
        with self._lock:
            known = self._standing.get(name)
            if known is not None and known.text == text:
                return
            self._standing[name] = Alarm(name, text, known.since if known else time.time())
        self._log("error", "alarm", alarm=name, text=text, **details)

    def unexpected(self, name: str, error: Exception) -> None:
        """An unexpected error: a line in the alarm, and where it happened in the log."""
        line = " ".join(f"{type(error).__name__}: {error}".split())
        self.raise_(name, line, trace="".join(traceback.format_exception(error)))

    def clear(self, name: str) -> None:
        with self._lock:
            known = self._standing.pop(name, None)
        if known is not None:
            self._log("info", "alarm is over", alarm=name)

    def standing(self) -> list[Alarm]:
        with self._lock:
            return sorted(self._standing.values(), key=lambda alarm: alarm.since)
