"""What Ctrl-C does to the command line: it ends the process, in order.

Python would raise KeyboardInterrupt wherever the process is, also in what compiled code calls:
the callbacks of LLVM, the destructors of its objects, numpy in the middle of an import. There
it is not propagated, so it is lost, or the process continues in a broken state until it crashes.
So nothing is raised and no stack unwound here. The few things that would be left behind are undone.

In: nothing. Out: imports nothing of ours, as it is in place before all else is imported.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# As shells report a process that this signal ended.
INTERRUPTED = 128 + signal.SIGINT

_left_to_do: list[Callable[[], object]] = []


def end_at_interrupt() -> None:
    """From here on SIGINT ends this process, with :data:`INTERRUPTED` for its status.

    Unless it is ignored, as shells have it for what they run in the background. Only the main
    thread may call this.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


@contextmanager
def at_interrupt(undo: Callable[[], object]) -> Iterator[None]:
    """Call ``undo`` if an interrupt ends the process meanwhile."""
    _left_to_do.append(undo)
    try:
        yield
    finally:
        _left_to_do.remove(undo)


def _end(number: int, frame: object) -> None:
    try:
        while _left_to_do:
            _left_to_do.pop()()
        os.write(2, b"Aborted!\n")
    finally:
        os._exit(INTERRUPTED)
