"""Options, of every verb of both commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import pytest

from kubeverdict.cli.main import cli
from kubeverdict.command.running import Command, VerbGroup, run
from kubeverdict_agent.cli import cli as agent

Given = tuple[click.Group, str, click.Option]


def options() -> Iterator[Given]:
    for group in (cli, agent):
        for name, verb in group.commands.items():
            for option in verb.params:
                if isinstance(option, click.Option) and stands_once(option):
                    yield group, name, option


def stands_once(option: click.Option) -> bool:
    """Neither repeatable nor a flag, which says the same twice."""
    return not option.multiple and (not option.is_flag or bool(option.secondary_opts))


def values(option: click.Option) -> list[str]:
    if option.is_flag:
        return [option.opts[0], *option.secondary_opts[:1]]
    if isinstance(option.type, click.Choice):
        # Two different ones: that is when taking the last hides a mistake.
        return [f"{option.opts[0]}={choice}" for choice in option.type.choices[:2]]
    return [f"{option.opts[0]}=1", f"{option.opts[-1]}=2"]


@pytest.mark.parametrize(
    ("group", "verb", "option"),
    [pytest.param(*one, id=f"{one[0].name} {one[1]} {one[2].opts[-1]}") for one in options()],
)
def test_one_that_takes_a_value_stands_once(
    group: click.Group,
    verb: str,
    option: click.Option,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubeverdict", verb, *(values(option) * 2)[:2]])
    assert run(group, "kubeverdict") == 2
    name = max(option.opts, key=len)
    assert f"Option '{name}' is given 2 times, and takes one." in capsys.readouterr().err


def test_every_verb_is_declared_so() -> None:
    for group in (cli, agent):
        assert isinstance(group, VerbGroup)
        assert all(type(verb) is Command for verb in group.commands.values())


def test_flags_and_repeatable_options_may_be_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["list", "-f", "/nowhere/a", "-f", "/nowhere/b", "--pods", "--pods"]
    monkeypatch.setattr(sys, "argv", ["kubeverdict", *given])
    assert run(cli, "kubeverdict") == 2
    assert "takes one" not in (told := capsys.readouterr().err)
    assert "/nowhere/a" in told and "/nowhere/b" in told


@pytest.mark.parametrize(("group", "verb"), [(cli, "lint"), (cli, "explain"), (agent, "run")])
def test_a_plug_in_may_have_the_version_it_was_proved_for(
    group: click.Group,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    option = next(one for one in group.commands[verb].params if "--cni" in one.opts)
    context = click.Context(group.commands[verb])
    assert option.type.convert("calico@3.31", option, context) == "calico"
    monkeypatch.setattr(sys, "argv", ["kubeverdict", verb, "--cni", "calico@3.30"])
    assert run(group, "kubeverdict") == 2
    message = "calico was proved for 3.31.0, not for 3.30: leave the version out."
    assert message in capsys.readouterr().err
