"""Tests on request are left out unless an expression names their mark."""

from __future__ import annotations

import pytest

from tests.selection import complete


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ""),
        ("not long and not programs", "not long and not programs"),
        ("long", "(long) and not programs"),
        ("programs", "(programs) and not long"),
        ("long or slow", "(long or slow) and not programs"),
        ("programs and long", "programs and long"),
        ("slow", "(slow) and not long and not programs"),
    ],
)
def test_marks_that_are_not_named(given: str, meant: str) -> None:
    assert complete(given) == meant
    # Each process of a run completes it.
    assert complete(meant) == meant
