"""Policies that can be removed together, as ``lint`` and ``bulk`` report them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kubeverdict.model.counts import count

if TYPE_CHECKING:
    from kubeverdict.analyses.redundancy import Removable

_WIDTH = 80


def removal(found: Removable | None, shown: int | None) -> list[str]:
    """Paragraphs: what can go, and what has to stay then; of each ``shown`` at most (None: all)."""
    if found is None or not (found.together or found.stay or found.default_denies):
        return []
    number = len(found.together)
    lines = [_heading(number) if number else "none of them should be removed:"]
    lines += _some([f"  {name}" for name in found.together], shown)
    if found.stay:
        has = count(len(found.stay), "policy has", "policies have")
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
    if denies:
        stay_for = "stays: it protects" if denies == 1 else "stay: they protect"
        lines.append(f"{count(denies, 'default deny')} {stay_for} pods created later")
    return ["\n".join(lines)]


def _heading(number: int) -> str:
    if number == 1:
        return "1 policy can be removed (checked: nothing changes without it):"
    return (
        f"{number:,} policies can be removed together (checked: nothing changes without all\n"
        "of them; a larger set may exist):"
    )


def _some(lines: list[str], shown: int | None) -> list[str]:
    if shown is None or len(lines) <= shown:
        return lines
    return [*lines[:shown], f"  and {len(lines) - shown:,} more"]
