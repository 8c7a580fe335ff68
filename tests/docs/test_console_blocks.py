"""Every command in the pages for people: those in ``console`` blocks print what is shown, all
others exist, with their options."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kubeverdict.cli.main import cli as engine
from kubeverdict_agent.cli import cli as agent
from tests.cli.running import EXAMPLES
from tests.docs.consoles import commands, fits, is_on_a_node
from tests.docs.pages import PAGES, ROOT, Block, blocks, blocks_of, prose

COMMANDS: dict[str, click.Group] = {
    "kubeverdict": engine,
    "kubectl kubeverdict": engine,
    "./run kubeverdict": engine,
    "kubeverdict-agent": agent,
}
# A call in a line of a script, up to what the shell does with its output.
_CALL = re.compile(
    rf"(?<![\w/.-])(?P<name>{'|'.join(sorted(map(re.escape, COMMANDS), reverse=True))})"
    r"(?P<rest>(?: +[^|;&<>#\n()]*)?)"
)
_RUN = re.compile(r"(?:^|\$ )\./run ([a-z-]+)")
_PLACEHOLDER = re.compile(r"[A-Z…]*$")


def with_commands(page: Path) -> bool:
    return any(block.language == "console" for block in blocks(page))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The examples, as ``kubeverdict examples --copy`` leaves them."""
    place = tmp_path / "examples"
    shutil.copytree(EXAMPLES, place)
    return place


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which the command is found."""
    shims = tmp_path / "bin"
    shims.mkdir()
    shim = shims / "kubeverdict"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kubeverdict "$@"\n')
    shim.chmod(0o755)
    return {**os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "COLUMNS": "80"}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if with_commands(page)], ids=lambda page: page.name
)
def test_commands_print_what_is_shown(
    page: Path, folder: Path, environment: dict[str, str]
) -> None:
    """In the order of the page, so that a command may use what an earlier one wrote."""
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).write_text("".join(f"{line}\n" for line in block.lines))
        if block.language != "console" or is_on_a_node(block):
            continue
        for command in commands(block):
            done = subprocess.run(
                ["bash", "-c", command.line],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            said = f"{block}: $ {command.line}\n{done.stdout}"
            assert done.returncode == command.status, f"status {done.returncode}: {said}"
            assert fits(command.output, done.stdout), said


@pytest.mark.parametrize("block", blocks_of("sh"), ids=str)
def test_what_is_not_run_says_why(block: Block) -> None:
    assert block.lines[0].startswith("# "), "the first line says why no test runs this"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    wrong = [
        f"{call}: {error}"
        for text in shown_calls(page)
        for call in _CALL.finditer(text)
        if (error := fault(call["name"], call["rest"]))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_verbs_of_run_exist(page: Path) -> None:
    offered = re.findall(r"^  ([a-z][a-z-]+)", (ROOT / "run").read_text(), re.M)
    texts = shown_calls(page)
    assert {verb for text in texts for verb in _RUN.findall(text)} <= {*offered}


def shown_calls(page: Path) -> Iterator[str]:
    """Scripts line by line, and what the text has between backquotes."""
    for block in blocks(page):
        if block.language in ("sh", "console"):
            yield from "\n".join(block.lines).replace("\\\n", "").split("\n")
    yield from re.findall(r"`([^`\n]+)`", prose(page))


def fault(name: str, rest: str) -> str | None:
    """What is wrong with a call; capital letters stand for any value."""
    words = [word for part in rest.split() if (word := part.strip("\"'\\"))]
    group = COMMANDS[name]
    if not words or words[0] in ("VERB", "…"):
        return None
    verb, *arguments = words
    if verb in ("--version", "--help"):
        return None
    if verb not in group.commands:
        return f"no such verb: {verb}"
    known: dict[str, click.Parameter | None] = dict.fromkeys(("-h", "--help"))
    for one in group.commands[verb].params:
        known |= dict.fromkeys((*one.opts, *one.secondary_opts), one)
    for place, word in enumerate(arguments, 1):
        option, _, value = word.partition("=")
        if not option.startswith("-") or option == "-":
            continue
        if option not in known:
            return f"no such option: {option}"
        kind = getattr(known[option], "type", None)
        values = {*(value or " ".join(arguments[place : place + 1])).split("|")}
        if isinstance(kind, click.Choice) and not any(map(_PLACEHOLDER.match, values)):
            unknown = values - {*map(str, kind.choices)}
            if unknown:
                return f"{option} knows no {', '.join(sorted(unknown))}"
    return None


@pytest.mark.parametrize(
    ("name", "rest", "wrong"),
    [
        ("kubeverdict", "lint -f shop --cni A -o json", False),
        ("kubeverdict", "lynt -f shop", True),
        ("kubeverdict", "lint --fillename shop", True),
        ("kubeverdict", "lint -o jsonl", True),
        ("kubeverdict", "lint -o sarif|junit", False),
        ("kubeverdict", "VERB …", False),
        ("kubeverdict-agent", "run --fail=shut", True),
        ("kubeverdict-agent", "events --no-follow", False),
    ],
)
def test_faults_are_found(name: str, rest: str, wrong: bool) -> None:
    assert (fault(name, rest) is not None) is wrong
