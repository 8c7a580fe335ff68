"""Figures and the targets they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. ``target`` None: it is only reported."""

    name: str
    value: float
    unit: str
    target: float | None = None
    good: Literal["at most", "at least"] = "at most"

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.value <= self.target if self.good == "at most" else self.value >= self.target

    @property
    def verdict(self) -> str:
        return {None: "", True: "reached", False: "NOT reached"}[self.reached]

    @property
    def target_text(self) -> str:
        if self.target is None:
            return ""
        return f"{'≤' if self.good == 'at most' else '≥'} {self.target:g} {self.unit}".strip()

    @property
    def value_text(self) -> str:
        return f"{self.value:.3g} {self.unit}".strip()


def table(figures: Sequence[Figure]) -> list[str]:
    """The figures as lines of text, in columns."""
    rows = [("figure", "measured", "target", "")]
    rows += [(f.name, f.value_text, f.target_text, f.verdict) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {target:>{widths[2]}}  {verdict}".rstrip()
        for name, value, target, verdict in rows
    ]
