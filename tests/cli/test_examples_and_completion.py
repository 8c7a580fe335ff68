"""What helps to begin: examples to copy, and shells that complete."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from kubeverdict.cli.examples import FOLDER
from kubeverdict.cli.main import cli
from kubeverdict.command.running import FILES
from tests.cli.running import command, run


def test_examples_are_listed_with_commands_that_work_where_they_are_copied(tmp_path: Path) -> None:
    told = run("examples")
    assert told.status == 0 and str(FOLDER) in told.out
    done = run("examples", "--copy", tmp_path / "here")
    assert max(map(len, done.out.splitlines()[:-1])) <= 80
    assert done.status == 0 and f"Copied to {tmp_path / 'here'}" in done.out
    named = {line for line in done.out.splitlines() if line and " " not in line}
    there = {path.name for path in FOLDER.iterdir() if not path.name.startswith("_")}
    assert named == there == {path.name for path in (tmp_path / "here").iterdir()}
    commands = [line.split("$ kubeverdict ")[1] for line in done.out.splitlines() if "$" in line]
    assert len(commands) == len(there)
    for line in commands:
        asked = shlex.split(line.partition(" > ")[0])
        answer = run(*asked, folder=tmp_path / "here")
        assert answer.status in (0, 1) and answer.out, line


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "shop-flows.jsonl").write_text("mine")
    done = run("examples", "--copy", tmp_path)
    assert done.status == 2 and "is there already" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["shop-flows.jsonl"]
    assert run("examples", "--copy", tmp_path / "shop-flows.jsonl").status == 2
    assert (tmp_path / "shop-flows.jsonl").read_text() == "mine"
    assert run("examples", "--copy", tmp_path / "new" / "folder").status == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    done = run("completion", shell)
    assert done.status == 0 and done.err == ""
    assert "_KUBEVERDICT_COMPLETE" in done.out and f"{shell}_complete" in done.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.out, text=True, check=True)


def completed(*words: str) -> list[str]:
    done = run(
        COMP_WORDS=shlex.join(("kubeverdict", *words)),
        COMP_CWORD=str(len(words)),
        _KUBEVERDICT_COMPLETE="bash_complete",
    )
    assert done.status == 0 and done.err == ""
    return done.out.split()


def test_verbs_options_and_choices_complete() -> None:
    assert {f"plain,{verb}" for verb in ("explain", "examples")} == set(completed("ex"))
    assert completed("list", "--foc") == ["plain,--focus"]
    assert completed("list", "--cni", "cal") == ["plain,calico", "plain,calico@3.32"]
    assert completed("list", "-f", "some/where") == ["file,some/where"]


def test_every_option_for_files_completes_files() -> None:
    for name, verb in cli.commands.items():
        for one in verb.params:
            if one.name in {"files", "applied", "old", "new", "out", "resume", "paths", "logs"}:
                assert one.type is FILES, (name, one.name)


def test_bash_asks_and_gets_files(tmp_path: Path) -> None:
    """In a shell, as a user has it."""
    (tmp_path / "cluster.yaml").touch()
    program = Path(command()[0])
    script = f"""
        PATH={shlex.quote(str(program.parent))}:$PATH
        eval "$(kubeverdict completion bash)"
        COMP_WORDS=(kubeverdict list --ou); COMP_CWORD=2
        _kubeverdict_completion kubeverdict --ou list
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == ["--output"]
    assert isinstance(cli, click.Group)
