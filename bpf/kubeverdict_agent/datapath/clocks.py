"""The two clocks of the datapath, as Python reads them.

Events and totals carry nanoseconds of the coarse monotonic clock. Connections carry *ticks* of
about a second, which the datapath takes from the kernel's jiffies.
"""

from __future__ import annotations

import math
import time

_MONOTONIC_COARSE = 6  # the standard library does not name it


def now_ns() -> int:
    """Coarse monotonic nanoseconds."""
    return time.clock_gettime_ns(_MONOTONIC_COARSE)


def _jiffies_a_second() -> int:
    """The resolution of the coarse clock is one jiffy."""
    return round(1 / time.clock_getres(_MONOTONIC_COARSE))


def tick_shift() -> int:
    """How far jiffies are shifted to make ticks: of 0.7 to 1.5 s."""
    return max(0, round(_jiffies_a_second() * 0.75).bit_length())


def ticks_of(seconds: float) -> int:
    """Ticks that take ``seconds`` at least."""
    return math.ceil(seconds * _jiffies_a_second() / (1 << tick_shift()))


def tick_now() -> int:
    """About the tick of a packet that comes now: jiffies began 300 s before they overflow 32
    bits, when the monotonic clock began."""
    jiffies = (1 << 32) + (now_ns() // 1_000_000_000 - 300) * _jiffies_a_second()
    return jiffies >> tick_shift() & 0xFFFFFFFF
