"""A plot of how figures grow with the cluster, from the results of a run of the benchmarks.

python -m bench.growth RESULTS.json growth.svg
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import log10
from pathlib import Path

# Lines of the plot: their name, the figure that each point is, and its unit in seconds.
LINES = (
    ("compile", re.compile(r"compile, mixed (\d+)k/"), 1.0),
    ("all pairs with ports", re.compile(r"all pairs, mixed (\d+)k/"), 1e-3),
    ("compiling anew", re.compile(r"compiling anew, mixed (\d+)k/"), 1e-3),
    ("a kept edit", re.compile(r"a kept edit, mixed (\d+)k/"), 1e-3),
    ("a policy in force", re.compile(r"policy saved to in force, mixed (\d+)k/"), 1e-3),
    ("a pod in force", re.compile(r"pod saved to in force, mixed (\d+)k/"), 1e-3),
    ("one of many what-ifs", re.compile(r"one of many what-ifs, mixed (\d+)k"), 1e-6),
)
_COLORS = ("#1f6feb", "#1a7f37", "#8250df", "#cf222e", "#bc4c00", "#6e7781", "#0550ae")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 400, 70, 40, 190, 50

Points = list[tuple[int, float]]
"""Pods and seconds."""


def points(results: Mapping[str, object]) -> dict[str, Points]:
    """The points of each line that the results have."""
    found: dict[str, Points] = {}
    benchmarks = results["benchmarks"]
    assert isinstance(benchmarks, list)
    for benchmark in benchmarks:
        for name, figure in benchmark["extra_info"].items():
            for line, pattern, unit in LINES:
                if match := pattern.match(name):
                    pods = int(match.group(1)) * 1000
                    found.setdefault(line, []).append((pods, figure["value"] * unit))
    return {line: sorted(found[line]) for line, _, _ in LINES if len(found.get(line, ())) > 1}


def draw(lines: Mapping[str, Points]) -> str:
    """The lines as SVG, on logarithmic scales."""
    everything = [point for line in lines.values() for point in line]
    across = _Scale((pods for pods, _ in everything), _LEFT, _WIDTH - _RIGHT)
    up = _Scale((seconds for _, seconds in everything), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">Time against pods, mixed, one pod in ten '
        "a policy</text>",
    ]
    for value in up.decades():
        y = up(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_time(value)}</text>'
        )
    for value in sorted({pods for pods, _ in everything}):
        x = across(value)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">'
            f"{value // 1000}k</text>"
        )
    for color, (name, line) in zip(_COLORS, lines.items(), strict=False):
        place = [(across(pods), up(seconds)) for pods, seconds in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in place)
        parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in place]
        x, y = place[-1]
        label = f"{escape(name)}, {_time(line[-1][1])}"
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{color}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """Values to pixels, logarithmically, over whole decades."""

    def __init__(self, values: Iterable[float], first: float, last: float) -> None:
        logs = [log10(value) for value in values]
        self._low = min(logs) - 0.15
        self._high = max(logs) + 0.15
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        part = (log10(value) - self._low) / (self._high - self._low)
        return self._first + part * (self._last - self._first)

    def decades(self) -> list[float]:
        return [10.0**power for power in range(-9, 9) if self._low <= power <= self._high]


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def main(arguments: Sequence[str]) -> int:
    results, plot = map(Path, arguments)
    lines = points(json.loads(results.read_text()))
    if lines:
        plot.write_text(draw(lines))
        print(f"drawn: {plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
