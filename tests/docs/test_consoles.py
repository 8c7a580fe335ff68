"""How shown output is compared with what a command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.consoles import Command, commands, fits
from tests.docs.pages import Block


def test_commands_of_a_block() -> None:
    lines = ["$ one --two \\", "  three  # status 1", "", "output", "$ four"]
    assert commands(Block(Path("page"), 1, "console", lines, None)) == [
        Command("one --two  three", 1, ["", "output"]),
        Command("four", 0, []),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a", "a\nb\n", False),
        ("b", "a\nb\n", False),
        ("a\n…", "a\nb\nc\n", True),
        ("…\nc", "a\nb\nc\n", True),
        ("a\n…\nc", "a\nc\n", True),
        ("a\n…\nb", "b\na\n", False),
        ("a …/x (y)", "a long/x (y)\n", True),
        ("a …/x", "a long/z\n", False),
        ("", "", True),
        ("…", "", True),
        ("", "a\n", False),
        ("took 3.5 ms", "took 14 ms\n", True),
        ("3 pods", "4 pods\n", False),
        ("at 2026-01-02T03:04:05Z", "at 2027-01-02T03:04:05.6Z\n", True),
    ],
)
def test_what_fits(shown: str, printed: str, same: bool) -> None:
    assert fits(shown.splitlines(), printed) is same
