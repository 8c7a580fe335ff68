"""From samples of interleaved rounds to figures that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Closer than this is equal on any machine we have seen.
LEAST_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure as a ratio to another of the same round: median, and the quartiles around it."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half of what lies between the quartiles."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.median:.2f} ± {self.spread:.2f}"


def ratio(samples: Sequence[float], base: Sequence[float]) -> Ratio:
    """``samples`` to ``base``, round by round. Both (rounds,)."""
    ratios = np.asarray(samples, np.float64) / np.asarray(base, np.float64)
    low, median, high = np.percentile(ratios, (25, 50, 75))
    return Ratio(float(median), float(low), float(high))


def noise(control: Ratio) -> float:
    """What a difference must exceed to be one, from what should have been 1."""
    return max(LEAST_NOISE, abs(control.median - 1) + control.spread)


def compare(one: Ratio, other: Ratio, noise: float) -> int:
    """1 where ``one`` is ahead, -1 where it is behind, 0 where they are equal."""
    difference = one.median - other.median
    if abs(difference) <= max(noise, one.spread, other.spread):
        return 0
    return 1 if difference > 0 else -1


def ratios(samples: Mapping[str, Sequence[float]], base: str) -> dict[str, Ratio]:
    """The ratio of each entrant to ``base``; of rounds that both took part in."""
    return {name: ratio(own, samples[base][: len(own)]) for name, own in samples.items() if own}
