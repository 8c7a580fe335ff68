"""Plots as SVG: lines over a logarithmic axis, bars on one. No library draws these as small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import log10

_COLORS = (
    "#1f6feb", "#8250df", "#1a7f37", "#bc4c00", "#cf222e", "#9a6700", "#57606a", "#0a7ea4",
    "#bf3989", "#24292f", "#6e7781",
)  # fmt: skip
_WIDTH, _LEFT, _TOP, _RIGHT, _BOTTOM, _HEIGHT = 760, 60, 44, 260, 46, 380
_LABEL, _BAR = 14, 22


def lines(title: str, axis: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Points (count, ratio) by name. Counts are on a logarithmic axis, ratios begin at 0."""
    points = [point for line in series.values() for point in line]
    lowest, highest = (log10(pick(count for count, _ in points)) for pick in (min, max))
    most = max(1.1, *(ratio for _, ratio in points))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def across(count: float) -> float:
        return _LEFT + (log10(count) - lowest) / max(highest - lowest, 1e-9) * (right - _LEFT)

    def up(ratio: float) -> float:
        return bottom - ratio / most * (bottom - _TOP)

    parts = _begin(title, _WIDTH, _HEIGHT)
    for tenth in range(0, int(most * 10) + 1, 2):
        y = up(tenth / 10)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{tenth / 10:.1f}", "end"))
    for count in sorted({count for count, _ in points}):
        parts.append(_text(across(count), bottom + 18, f"{count:,.0f}", "middle"))
    parts.append(_text((_LEFT + right) / 2, bottom + 36, axis, "middle"))
    ends = {name: up(line[-1][1]) for name, line in series.items()}
    labels = _apart(ends, _LABEL)
    for number, (name, line) in enumerate(series.items()):
        color = _COLORS[number % len(_COLORS)]
        width = 3 if name.startswith("kubeverdict") else 1.5
        places = [(across(count), up(ratio)) for count, ratio in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="{width}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        x, y = places[-1]
        parts.append(f'<path d="M{x:.1f} {y:.1f}L{right + 14} {labels[name]:.1f}" stroke="#ccc"/>')
        label = f"{name}, {line[-1][1]:.2f}"
        parts.append(_text(right + 18, labels[name] + 4, label, "start", color))
    return "\n".join([*parts, "</svg>\n"])


def _as_time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def bars(
    title: str, values: Mapping[str, float], written: Callable[[float], str] = _as_time
) -> str:
    """Values by name, seconds unless they are ``written`` otherwise, on a logarithmic axis."""
    height = _TOP + _BAR * len(values) + 10
    logs = {name: log10(max(value, 1e-7)) for name, value in values.items()}
    lowest, highest = min(logs.values()) - 0.5, max(logs.values())
    parts = _begin(title, _WIDTH, height)
    left, right = 240, _WIDTH - 80
    for number, (name, value) in enumerate(values.items()):
        y = _TOP + number * _BAR
        length = (logs[name] - lowest) / (highest - lowest) * (right - left)
        color = "#1f6feb" if name.startswith("kubeverdict") else "#8c959f"
        parts.append(_text(left - 8, y + 13, name, "end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{_BAR - 6}" fill="{color}"/>'
        )
        parts.append(_text(left + length + 6, y + 13, written(value), "start"))
    return "\n".join([*parts, "</svg>\n"])


def _begin(title: str, width: float, height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="24" font-size="14">{escape(title)}</text>',
    ]


def _text(x: float, y: float, text: str, anchor: str, color: str = "#24292f") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
    )


def _apart(places: Mapping[str, float], least: float) -> dict[str, float]:
    """Heights near the wanted ones that are ``least`` apart."""
    found: dict[str, float] = {}
    last = -least
    for name, y in sorted(places.items(), key=lambda item: item[1]):
        last = found[name] = max(y, last + least)
    # Too low is as bad as on top of each other.
    lift = max(last - (_HEIGHT - 12), 0.0)
    return {name: y - lift for name, y in found.items()}
