"""What the page about Services shows is what comes out."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.running import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "services.md").read_text()
BLOCKS = PAGE.split("```console\n")[1:]
SHOWN = [
    command.partition("\n")
    for block in BLOCKS
    for command in block.partition("```")[0].split("$ kubeverdict ")[1:]
]


@pytest.mark.parametrize(("command", "output"), [(one, text) for one, _, text in SHOWN])
def test_commands_print_what_is_shown(command: str, output: str) -> None:
    result = run(*shlex.split(command), folder=ROOT)
    printed = f"{result.out}\n{result.err}".splitlines()
    for line in output.splitlines():
        if line != "…":
            assert line in printed


def test_there_are_commands() -> None:
    assert len(SHOWN) == 2
