"""Where reflectors hand over what they see, in the order in which it arrives."""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from typing import Generic, TypeVar

_Item = TypeVar("_Item")

_MOST = 64  # that wait: a list that is read faster than it is taken would fill the memory
_TURN_SECONDS = 0.5


class Arrivals(Generic[_Item]):
    """A queue between threads, with a descriptor to wait for it beside other things."""

    def __init__(self) -> None:
        self._items: queue.Queue[_Item] = queue.Queue(_MOST)
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def put(self, item: _Item, ended: threading.Event) -> None:
        """Hand over, as soon as there is room; nothing once ``ended`` is set."""
        while not ended.is_set():
            try:
                self._items.put(item, timeout=_TURN_SECONDS)
            except queue.Full:
                continue
            with self._lock:
                if not self._closed:
                    os.eventfd_write(self.descriptor, 1)
            return

    def get(self, seconds: float = 0.0) -> _Item | None:
        """The next; None where there is none for so many ``seconds``."""
        try:
            return self._items.get(seconds > 0, seconds)
        except queue.Empty:
            return None

    def clear(self) -> None:
        """The descriptor is readable once something arrives after this."""
        with self._lock, suppress(BlockingIOError):  # which says that nothing did
            if not self._closed:
                os.eventfd_read(self.descriptor)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self.descriptor)
