"""Values of our own files: every field keeps the line it has, also when it is cut out."""

from __future__ import annotations

import json

import pytest

from kubeverdict.errors import Problem
from kubeverdict.manifests.origins import json_tokens, lines_by_path
from kubeverdict.manifests.values import Entry, entries

YAML = """# first
- name: a
  list:
    - x
    -
      - y
    - {p: 1,
       q: "r
         s"}
- plain
---
name: b

empty: {}
none: []
"""


def read(text: str, file: str = "f.yaml") -> list[Entry]:
    found = list(entries(file, text))
    assert not [one for one in found if isinstance(one, Problem)]
    return [one for one in found if isinstance(one, Entry)]


def test_lists_are_taken_apart_and_documents_are_not() -> None:
    assert [(one.at, one.value if one.at == (1,) else "") for one in read(YAML)] == [
        ((0,), ""),
        ((1,), "plain"),
        ((), ""),
    ]


def test_lines() -> None:
    first, second, third = read(YAML)
    lines = first.text.line_of
    assert [lines((0,)), lines((0, "list")), lines((0, "list", 1, 0))] == [2, 3, 6]
    assert [lines((0, "list", 2, "q")), lines((0, "nothing", 3))] == [8, 2]
    assert second.text.line_of((1,)) == 10
    assert [third.text.line_of(path) for path in ((), ("name",), ("none",))] == [11, 12, 15]


@pytest.mark.parametrize("path", [(0,), (0, "list"), (0, "list", 1)])
def test_an_excerpt_keeps_the_lines_of_its_fields(path: tuple[str | int, ...]) -> None:
    text = read(YAML)[0].text
    value = text.value
    for step in path:
        value = value[step]
    excerpt, first = text.excerpt(path)
    assert json.loads(excerpt) == value
    assert first == text.line_of(path)
    for at, line in lines_by_path(json_tokens(excerpt), first).items():
        assert line == text.line_of((*path, *at))


def test_an_excerpt_with_more_in_front() -> None:
    text = read(YAML)[0].text
    excerpt, first = text.excerpt((0,), kind="K", apiVersion="v1")
    value = json.loads(excerpt)
    assert list(value) == ["kind", "apiVersion", "name", "list"]
    lines = lines_by_path(json_tokens(excerpt), first)
    assert (lines[("kind",)], lines[("list", 2, "q")]) == (2, 8)


def test_a_whole_document_is_its_own_excerpt() -> None:
    text = read(YAML)[2].text
    assert text.excerpt(()) == (text.text, 11)


def test_empty_collections_and_odd_texts_survive() -> None:
    value: dict[str, object] = {"a": {}, "b": [], "c": 'q"\\\n', "d": None, "é": [1.5, True]}
    text = read(f"[{json.dumps(value)}]", "f.json")[0].text
    assert json.loads(text.excerpt((0,))[0]) == value


def test_aliases_stand_on_the_line_of_their_use() -> None:
    text = read("a: &x {k: [1,\n  2]}\nb:\n  *x\n")[0].text
    excerpt, first = text.excerpt(("b",))
    assert (json.loads(excerpt), first) == ({"k": [1, 2]}, 3)


@pytest.mark.parametrize("file", ["f.json", "f.yaml"])
def test_several_json_values_in_a_row(file: str) -> None:
    found = read('{"a": 1}\n\n[{"b":\n 2}, 3]\n', file)
    assert [one.value for one in found] == [{"a": 1}, {"b": 2}, 3]
    assert found[1].text.line_of((0, "b")) == 3


def test_flow_style_is_not_taken_for_json() -> None:
    assert [one.value for one in read("[{name: a}, b]")] == [{"name": "a"}, "b"]


def test_a_broken_line_hides_no_other() -> None:
    found = list(entries("f.jsonl", '{"a": 1}\n{"a" 1}\n\n{"a": 1, "a": 2}\n{"a": 3}\n'))
    assert [one.value if isinstance(one, Entry) else one.line for one in found] == [
        {"a": 1},
        2,
        4,
        {"a": 3},
    ]


def test_a_broken_document_hides_no_other() -> None:
    found = list(entries("f.yaml", "a: 1\n---\na: [\n---\na: 3\n"))
    assert [type(one) for one in found] == [Entry, Problem, Entry]
    assert isinstance(found[1], Problem) and found[1].line in (3, 4)


@pytest.mark.parametrize(
    ("text", "line"), [('{"a": 1}\n{"b" 2}\n', 2), ('{"a": 1}\n{"a": 1, "a": 2}', 2)]
)
def test_broken_json(text: str, line: int) -> None:
    *_, last = entries("f.json", text)
    assert isinstance(last, Problem) and last.line == line
