"""docs/json.md: its examples have the fields that the verbs print, and it names every contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

import kubeverdict
from kubeverdict.render import render
from kubeverdict.render.schemas import VERSIONS
from kubeverdict.render.style import Style
from kubeverdict_agent.cli import CONTRACTS
from kubeverdict_agent.cli import cli as agent_cli
from kubeverdict_agent.node import checking
from kubeverdict_agent.observe import hubble
from kubeverdict_agent.observe.collecting import Denial
from kubeverdict_agent.observe.naming import DecidedBy, NamedEnd
from tests.cli.running import EXAMPLES, run
from tests.docs.contracts import PAGE, ROOT, blocks, check_example, check_fields, examples
from tests.render.watched import WATCHED

# By the part of a schema's name that is the verb, mostly.
COMMANDS = {
    "list": "list -f shop -o json",
    "diff": "diff shop/shop shop -o json",
    "explain": "explain -f shop --from shop/checkout --to data/orders-db --port 5432 -o json",
    "whatif": "whatif -f shop --apply shop-change -o json",
    "equal": "equal shop shop-change --any -o json",
    "bulk": "bulk -f shop --delete-each -o jsonl",
    "drift": "bulk --cluster a=shop --cluster b=shop --delete-each -o jsonl",
    "lint": "lint -f shop -f shop-dns -o json",
    "lint-rules": "lint --list-rules -o json",
    "verify": "verify -f shop -f shop-dns --assertions shop-assertions.yaml -o json",
    "replay": "replay -f shop -f shop-dns --flows shop-flows.jsonl -o json",
    "recommend": "recommend -f shop -f shop-dns --flows shop-flows.jsonl -o json",
}
_SCHEMA = r"kubeverdict(?:-agent)?/[a-z-]+/v\d+"
# What no input of the examples brings about.
UNSEEN = {"diff": (".changed[]",), "equal": (".namespaces[]",)}


def test_every_contract_is_on_the_page() -> None:
    names = {f"kubeverdict/{verb}/v{version}" for verb, version in VERSIONS.items()}
    assert {*COMMANDS, "watch"} == {*VERSIONS}
    agent = {f"kubeverdict-agent/{verb}/v{version}" for verb, version in CONTRACTS.items()}
    assert {*examples()} == names | agent
    sources = [
        path.read_text()
        for folder in (Path(kubeverdict.__file__).parent, ROOT / "bpf")
        for path in folder.rglob("*.py")
    ]
    written = {name for text in sources for name in re.findall(_SCHEMA, text)}
    assert not [name for name in written if name not in PAGE]


@pytest.mark.parametrize("verb", COMMANDS)
def test_an_example_has_the_fields_that_are_printed(verb: str) -> None:
    done = run(*COMMANDS[verb].split(), folder=EXAMPLES)
    assert done.status in (0, 1), done.err
    lines = done.out.splitlines() if COMMANDS[verb].endswith("jsonl") else [done.out]
    _check(verb, [json.loads(line) for line in lines])


def test_what_is_watched_has_the_fields_of_the_page() -> None:
    """It takes a live cluster; the events are those of the tests of renderers."""
    _check("watch", [json.loads(render("watch", "jsonl", one, Style())) for one in WATCHED])


def _check(verb: str, printed: list[Any]) -> None:
    check_example(f"kubeverdict/{verb}/v{VERSIONS[verb]}", printed, UNSEEN.get(verb, ()))


def test_every_json_of_the_agent_has_a_contract() -> None:
    """The outputs themselves are those of an agent: tests/agent/test_commands.py."""
    formats = {
        verb: option.type.choices
        for verb, command in agent_cli.commands.items()
        for option in command.params
        if option.name == "output" and isinstance(option.type, click.Choice)
    }
    assert {*formats} == {*CONTRACTS}


def test_what_the_agent_checks_has_the_fields_of_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [checking.NodeRequirement("hooks", True, "TCX")]
    monkeypatch.setattr(checking, "check", lambda bpffs: found)
    agent_cli.main(["check", "-o", "json"], standalone_mode=False)
    check_example("kubeverdict-agent/check/v1", [json.loads(capsys.readouterr().out)])


def test_an_event_of_the_agent_has_the_fields_of_the_page() -> None:
    client, web = (NamedEnd(f"10.1.0.{number}") for number in (3, 2))
    decider = DecidedBy("no-rule-matches", ("NetworkPolicy shop/web",), "", ("policy.yaml:1",))
    denial = Denial(
        time=0.0,
        direction="ingress",
        mode="enforce",
        reason="denied",
        protocol=6,
        family=4,
        local=web,
        remote=client,
        local_port=8080,
        remote_port=4711,
        tcp_flags=2,
        length=74,
        generation=3,
        decider=decider,
    )
    flow = hubble.flow(denial, "worker-1")
    [example] = [one for one in blocks() if "flow" in one]
    check_fields(example, [flow])
    assert {*flow["kubeverdict"]} == {*example["kubeverdict"]}
