"""Which tests run: what takes minutes, or needs programs of others, only where it is asked for."""

from __future__ import annotations

ON_REQUEST = ("long", "programs")


def complete(expression: str) -> str:
    """The expression of ``-m`` without the tests of a mark that it does not name: ``-m programs``
    does not mean the long ones of them. An empty one means every test."""
    if not expression:
        return ""
    others = [f"not {mark}" for mark in ON_REQUEST if mark not in expression]
    return " and ".join([f"({expression})", *others]) if others else expression
