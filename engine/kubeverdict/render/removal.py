"""Policies that can be removed together, as ``lint`` and ``bulk`` tell of them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeverdict.analyses.redundancy import Removable

_WIDTH = 80


def removal(found: Removable | None, shown: int | None) -> list[str]:
    """Paragraphs: what can go, and what has to stay then; of each ``shown`` at most (None: all)."""
    if found is None or not (found.together or found.stay or found.default_denies):
        return []
    number = len(found.together)
    lines = [_heading(number) if number else "none of them can be removed, for the others' sake"]
    lines += _some([f"  {name}" for name in found.together], shown)
    if found.stay:
        has = "1 policy has" if len(found.stay) == 1 else f"{len(found.stay):,} policies have"
        lines.append(f"{has} to stay then, though nothing changes without one alone:")
        stay = [
            textwrap.fill(
                f"{one.policy}: {one.reason}",
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            for one in found.stay
        ]
        lines += _some(stay, shown)
    denies = len(found.default_denies)
    if denies == 1:
        lines.append("1 default deny stays: it guards pods that are still to come")
    elif denies:
        lines.append(f"{denies:,} default denies stay: they guard pods that are still to come")
    return ["\n".join(lines)]


def _heading(number: int) -> str:
    if number == 1:
        return "1 policy can be removed, judged without it:"
    return (
        f"{number:,} policies can be removed together, judged without all of them (taken from\n"
        "last to first; there may be a larger set):"
    )


def _some(lines: list[str], shown: int | None) -> list[str]:
    if shown is None or len(lines) <= shown:
        return lines
    return [*lines[:shown], f"  and {len(lines) - shown:,} more"]
