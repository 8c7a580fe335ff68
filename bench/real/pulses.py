"""Packets at a steady rate, each a connection of its own, that show when what is in force.

What counts is when packets were sent that arrived: how long they were on their way, and when this
program looks, changes no figure.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from bench import traffic
from bench.lab import LabPod

RATE = 500.0
"""Packets a second."""

_PAYLOAD = struct.Struct("QQ")
_SECONDS = 3600  # longer than any run
_LOOK = 0.01  # seconds between two looks at what arrived
_BUFFER = 1 << 26
# Linux's number, which the standard library does not have.
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True, slots=True)
class Heard:
    """Of ``sent`` packets: the numbers of those that arrived, and when they were sent, in seconds
    of the monotonic clock."""

    sent: int
    numbers: Sequence[int]
    times: Sequence[float]

    @property
    def lost(self) -> int:
        """Packets that did not arrive between two that did."""
        numbers = sorted(self.numbers)
        return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0

    @property
    def closed(self) -> float:
        """For how many seconds, all together, packets were lost that came before others that
        arrived."""
        pairs = sorted(zip(self.numbers, self.times, strict=True))
        # A packet that was lost stands for the time to the next one.
        return sum(
            (time - before) * (number - last - 1) / (number - last)
            for (last, before), (number, time) in pairwise(pairs)
            if number > last + 1
        )

    def whole_since(self, begin: float) -> float:
        """After how many seconds from ``begin`` the last loss was over."""
        pairs = sorted(zip(self.numbers, self.times, strict=True))
        ends = [time for (last, _), (number, time) in pairwise(pairs) if number > last + 1]
        return max((*ends, begin)) - begin

    @property
    def opened(self) -> float:
        """For how many seconds packets arrived, at the rate at which they were sent."""
        return len(self.numbers) / RATE


class Pulse:
    """Sends from ``source``, with the address ``address``, to a UDP port of ``target``, for as
    long as the block lasts."""

    def __init__(self, source: LabPod, target: LabPod, port: int, address: str) -> None:
        assert target.ipv4 is not None
        self._heard = target.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._heard.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._heard.setblocking(False)
        self._heard.bind(("", port))
        self._process = traffic.start(source, ("pulse", target.ipv4, port, _SECONDS, RATE, address))
        self._sent = 0
        self._numbers: list[int] = []
        self._times: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.finish()

    def forget(self) -> None:
        """Of what arrived so far."""
        self._drain()
        self._numbers.clear()
        self._times.clear()

    def first(self, since: float, patience: float, check: Callable[[], None]) -> float:
        """After how many seconds from ``since`` the first packet was sent that arrived.

        Raises TimeoutError where none does for ``patience`` seconds; ``check`` may raise before.
        """
        while not self._drain():
            check()
            if time.monotonic() > since + patience:
                raise TimeoutError(f"nothing arrived for {patience:.0f} s")
            time.sleep(_LOOK)
        return max(self._times[0] - since, 0.0)

    def last(
        self, since: float, patience: float, check: Callable[[], None], quiet: float = 0.3
    ) -> float:
        """After how many seconds from ``since`` the last packet was sent that arrived: none did
        for ``quiet`` seconds after it."""
        while True:
            self._drain()
            # They arrive in the order in which they were sent.
            last = max(self._times[-1], since) if self._times else since
            if time.monotonic() > last + quiet:
                return last - since
            check()
            if time.monotonic() > since + patience:
                raise TimeoutError(f"packets still arrive after {patience:.0f} s")
            time.sleep(_LOOK)

    def heard(self) -> Heard:
        """What arrived since the last :meth:`forget`, so far."""
        self._drain()
        return Heard(0, tuple(self._numbers), tuple(self._times))

    def finish(self) -> Heard:
        """End it; what arrived since the last :meth:`forget`."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            output, _ = self._process.communicate(timeout=30)
            self._sent = int(output or 0)
            # What is on its way.
            time.sleep(0.05)
            self._drain()
            self._heard.close()
        return Heard(self._sent, tuple(self._numbers), tuple(self._times))

    def _drain(self) -> bool:
        """Take what has arrived; returns whether anything ever has."""
        with contextlib.suppress(BlockingIOError):
            while True:
                number, sent_at = _PAYLOAD.unpack(self._heard.recv(64))
                self._numbers.append(number)
                self._times.append(sent_at / 1e9)
        return bool(self._times)
