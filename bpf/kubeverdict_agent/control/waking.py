"""One thread that waits for others and for descriptors at once."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable


class Wakeup:
    """A flag that any thread may set and one waits for. Its descriptor stays open: some thread may
    set it for as long as the process lives."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        os.eventfd_write(self._fd, 1)

    def take(self) -> bool:
        """Whether it was set since the last call."""
        try:
            return os.eventfd_read(self._fd) > 0
        except BlockingIOError:
            return False

    def wait(self, seconds: float, descriptors: Iterable[int] = ()) -> None:
        """Until it is set, one of ``descriptors`` is readable, or ``seconds`` have passed."""
        poll = select.poll()
        for fd in (self._fd, *descriptors):
            poll.register(fd, select.POLLIN)
        poll.poll(1e3 * max(seconds, 0.0))
