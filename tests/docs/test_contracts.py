"""docs/json.md: its examples have the fields that the verbs print, and it names every contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kubeverdict
from kubeverdict.render import render
from kubeverdict.render.schemas import VERSIONS
from kubeverdict.render.style import Style
from tests.cli.running import EXAMPLES, run
from tests.render.watched import WATCHED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "json.md").read_text()
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
# What no input of the examples brings about.
UNSEEN = {"diff": ".changed[]", "equal": ".namespaces[]"}


def examples() -> dict[str, Any]:
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.S)]
    return {block["schema"]: block for block in blocks}


def paths(value: Any, at: str = "") -> Iterator[str]:
    """The fields of a value and of all in it. Ports are a value: protocols are no fields."""
    if isinstance(value, list):
        for one in value:
            yield from paths(one, f"{at}[]")
    elif isinstance(value, dict) and not {*value} & {"TCP", "UDP", "SCTP", "ICMP"}:
        for name, one in value.items():
            yield f"{at}.{name}"
            yield from paths(one, f"{at}.{name}")


def test_every_contract_is_on_the_page() -> None:
    names = {f"kubeverdict/{verb}/v{version}" for verb, version in VERSIONS.items()}
    assert {*COMMANDS, "watch"} == {*VERSIONS}
    assert {*examples()} == names
    sources = [
        path.read_text()
        for folder in (Path(kubeverdict.__file__).parent, ROOT / "bpf")
        for path in folder.rglob("*.py")
    ]
    written = {name for text in sources for name in re.findall(r"kubeverdict/[a-z-]+/v\d+", text)}
    assert not [name for name in written if name not in PAGE]


@pytest.mark.parametrize("verb", COMMANDS)
def test_an_example_has_the_fields_that_are_printed(verb: str) -> None:
    done = run(*COMMANDS[verb].split(), folder=EXAMPLES)
    assert done.status in (0, 1), done.err
    lines = done.out.splitlines() if COMMANDS[verb].endswith("jsonl") else [done.out]
    check_example(verb, [json.loads(line) for line in lines])


def test_what_is_watched_has_the_fields_of_the_page() -> None:
    """It takes a live cluster; the events are those of the tests of renderers."""
    check_example("watch", [json.loads(render("watch", "jsonl", one, Style())) for one in WATCHED])


def check_example(verb: str, printed: list[Any]) -> None:
    schema = f"kubeverdict/{verb}/v{VERSIONS[verb]}"
    assert {one["schema"] for one in printed} == {schema}
    shown = set(paths(examples()[schema]))
    found = {path for one in printed for path in paths(one)}
    unseen = UNSEEN.get(verb)
    assert not [path for path in shown - found if unseen is None or not path.startswith(unseen)]
    # Whatever is at the top is in the example or named in the text.
    assert not [path for path in found if path.count(".") == 1 and path[1:] not in PAGE]
