"""Lines: exact in YAML and in JSON, for single documents and for items of lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.manifests.origins import JsonOrigin, JsonText, YamlOrigin
from kubeverdict.model.sources import FieldPath
from tests.manifests.reading import load_text

YAML = """# a comment
apiVersion: v1
kind: List
items:
- kind: Pod
  metadata:
    name: a

    # another
    labels: {app: web,
      tier: "x
        y"}
- kind: Pod
  spec:
    containers:
    - name: main
      ports:
      - containerPort: 80
      - {containerPort: 81}
    list:
    -
      - 1
      - 2
"""
EXPECTED: list[tuple[FieldPath, int]] = [
    ((), 1),
    (("kind",), 3),
    (("items", 0), 5),
    (("items", 0, "metadata", "name"), 7),
    (("items", 0, "metadata", "labels", "app"), 10),
    (("items", 0, "metadata", "labels", "tier"), 11),
    (("items", 1, "spec", "containers", 0, "name"), 16),
    (("items", 1, "spec", "containers", 0, "ports", 1, "containerPort"), 19),
    (("items", 1, "spec", "list", 0, 1), 23),
    (("items", 1, "spec", "missing", "more"), 14),
    (("nothing",), 1),
]


@pytest.mark.parametrize(("path", "line"), EXPECTED)
def test_yaml_lines(path: FieldPath, line: int) -> None:
    assert YamlOrigin("f", YAML, 0, len(YAML), 1).line_of(path) == line


def numbered(value: Any, lines: list[str], path: FieldPath, found: dict[FieldPath, int]) -> None:
    """Write JSON, one token a line, and note the line of each field."""
    if isinstance(value, dict):
        lines.append("{")
        for at, (key, inner) in enumerate(value.items()):
            found[(*path, key)] = len(lines) + 1
            lines.append(json.dumps(key) + "\t:")
            numbered(inner, lines, (*path, key), found)
            if at < len(value) - 1:
                lines.append(",")
        lines.append("}")
    elif isinstance(value, list):
        lines.append("[")
        for at, inner in enumerate(value):
            found[(*path, at)] = len(lines) + 1
            numbered(inner, lines, (*path, at), found)
            if at < len(value) - 1:
                lines.append(",")
        lines.append("]")
    else:
        lines.append(json.dumps(value))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\\n{}[]:,é'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('b"\\{:', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("xy", max_size=2), values, max_size=4))
def test_json_lines(value: dict[str, Any]) -> None:
    lines: list[str] = []
    found: dict[FieldPath, int] = {}
    numbered(value, lines, (), found)
    data = "\n".join(lines).encode()
    origin = JsonOrigin(JsonText("f", data, 0, len(data), listed=False))
    assert {path: origin.line_of(path) for path in found} == found


@given(st.lists(st.dictionaries(st.text("xy", max_size=2), values, max_size=3), max_size=4))
def test_lines_of_items_of_a_json_list(items: list[dict[str, Any]]) -> None:
    lines: list[str] = []
    found: dict[FieldPath, int] = {}
    numbered({"kind": "List", "items": items}, lines, (), found)
    data = "\n".join(lines).encode()
    text = JsonText("f", data, 0, len(data), listed=True)
    for path, line in found.items():
        if len(path) > 1:
            assert JsonOrigin(text, int(path[1])).line_of(path[2:]) == line


@given(st.dictionaries(st.sampled_from("abcd"), values, min_size=1))
def test_yaml_agrees_with_json_on_json(value: dict[str, Any]) -> None:
    lines: list[str] = []
    found: dict[FieldPath, int] = {}
    numbered(value, lines, (), found)
    text = "\n".join(lines).replace("\t:", ":")  # a tab there is no YAML
    origin = YamlOrigin("f", text, 0, len(text), 1)
    try:
        list(yaml.parse(text, yaml.CSafeLoader))
    except yaml.YAMLError:
        return
    for path, line in found.items():
        if all(isinstance(step, int) or "\n" not in step for step in path):
            assert origin.line_of(path) == line


def test_lines_of_more_items_than_are_kept() -> None:
    items = [{"metadata": {"na\\me": number, "name": str(number)}} for number in range(2500)]
    data = json.dumps({"items": items}, indent=1).encode()
    text = JsonText("dump.json", data, 0, len(data), listed=True)
    lines = data.decode().splitlines()
    for number in (*range(2500), 0, 1500):
        line = JsonOrigin(text, number).line_of(("metadata", "name"))
        assert f'"name": "{number}"' in lines[line - 1]
        assert JsonOrigin(text, number).line_of(("metadata", "na\\me")) == line - 1


def test_text_with_a_bracket_too_many_still_has_lines() -> None:
    data = b'{"a":\n 1}]}\n{"b": 2}'
    origin = JsonOrigin(JsonText("f", data, 0, len(data), listed=False))
    assert (origin.line_of(("a",)), origin.line_of(("b",))) == (1, 1)


def test_problems_in_a_pretty_json_list_have_their_line() -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "a"},
        "spec": {"ingres": []},
    }
    items = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}, policy, policy]
    items[2] = {**policy, "metadata": {"name": "b"}}
    text = json.dumps({"apiVersion": "v1", "items": items, "kind": "List"}, indent=4)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if "ingres" in line]
    assert [warning.line for warning in load_text(text).warnings] == lines
