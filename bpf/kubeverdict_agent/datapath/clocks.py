"""The two clocks of the datapath, as Python reads them.

Events and totals carry nanoseconds of the coarse monotonic clock. Connections carry *ticks* of
about a second, which the datapath takes from the kernel's jiffies.
"""

from __future__ import annotations

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
