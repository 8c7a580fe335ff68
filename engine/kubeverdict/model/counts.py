"""Counts in words, and lists that are cut short with a count."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int, thing: str, things: str = "") -> str:
    """``1 policy``, ``1,234 policies``: ``things`` is the plural where it takes more than an s."""
    return f"{number:,} {thing if number == 1 else things or plural(thing)}"


def plural(thing: str) -> str:
    """The regular plural of the last word."""
    if thing.endswith("y") and thing[-2:-1] not in "aeiou":
        return f"{thing[:-1]}ies"
    return f"{thing}es" if thing.endswith(("s", "x", "ch", "sh")) else f"{thing}s"


def listed(names: Sequence[str], most: int) -> str:
    """At most so many names, and how many more there are: ``a, b and 1,234 more``."""
    more = len(names) - most
    text = ", ".join(names[:most])
    return f"{text} and {more:,} more" if more > 0 else text
