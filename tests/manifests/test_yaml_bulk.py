"""Large YAML: whatever the fast reader takes, it reads as PyYAML does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubeverdict.errors import Problem
from kubeverdict.manifests import documents, formats, load, yaml_bulk, yaml_text
from kubeverdict.manifests.documents import Document
from kubeverdict.manifests.findings import Findings
from tests.manifests.reading import meaning


def described(found: Iterable[Document], findings: Findings) -> list[Any]:
    result: list[Any] = []
    for document in found:
        value = document.value
        if document.body is not None:
            value = msgspec.json.decode(document.body)
        origin = document.origin
        # JSON text tells 1, 1.0, true and "1" apart.
        text = json.dumps(value, sort_keys=True)
        lines = [origin.line_of(()), origin.line_of(("metadata",))]
        result.append((text, lines, document.kind, document.api_version, document.listed))
    return [*result, *findings.errors]


def agree(text: str) -> bool:
    """Both readers say the same; of a broken list the fast one may give what precedes the error."""
    quick, strict = quickly(text), strictly(text)
    errors = [item for item in strict if isinstance(item, Problem)]
    if errors:
        return errors == [item for item in quick if isinstance(item, Problem)]
    return quick == strict


def strictly(text: str) -> list[Any]:
    findings = Findings()
    parts = yaml_text.documents(text)
    found = [d for part in parts for d in documents.from_yaml("f", text, part, findings)]
    return described(found, findings)


def quickly(text: str) -> list[Any]:
    findings = Findings()
    found = list(yaml_bulk.read("f", text, findings))
    return described(found, findings)


# Scalars as people and programs write them, most of them harmless, some treacherous.
SCALARS = [
    *("web", "v1", "a b c", "10.0.0.1", "fd00::1", "100m", "1.2.3", "5432", "0", "-1", "--log=x"),
    *("http://x:80/y", "a:b", "a#b", "$(X)", "-c", "2026-03-01T10:00:00Z", "12:30", "1:30:00"),
    *("true", "false", "null", "{}", "[]", "''", '""', "'it''s'", '"a\\"b\\\\"', '"\\n"'),
    *("yes", "No", "on", "OFF", "y", "n", "True", "FALSE", "~", "Null", "NULL", "tRue", "nULL"),
    *("010", "0x1F", "0b11", "0o17", "1_000", "+1", "-0", "1e3", "1.5e3", ".5", "1.", "1.0", "00"),
    *(".inf", "-.INF", ".nan", "inf", "nan", "Infinity", "0123456789e3", "12e", "e3", "-", "--"),
    *("!!str 1", "!x y", "&a 1", "*a", "@x", "`x", "%x", "? x", "a: b", "a:", ": a", "a #c", "#c"),
    *("{a: 1}", "[1, yes]", '{"a": "b"}', "[", "'x", '"x', "|", ">", "|-", "|+", "a\tb", "\tb"),
    *('"\\x41"', '"\\u00e9"', "é", "a\u2028b", "a\x85b", "a\ufeffb", "<<", "=", "x ", "  x", "a,b"),
    *("123456789012345678901234567890", "9223372036854775808", "-01", "0.10", "a]", "{{ x }}"),
    *("0485c1b0f9", "0e1f", "1-2", "(a)", "a|b", "a>b", "x: 'y", "NetworkPolicy", "/a/b", "_a"),
]
KEYS = ["a", "kind", "metadata", "name", "items", "a.b/c", "f:x", "'q'", '"r"', "yes", "1", "<<"]
KEYS += ["null", "true", "apiVersion", "? k", "é", "a b", "-k", ".", "'a: b'", '"\\x41"', "List"]

scalars = st.sampled_from(SCALARS)
keys = st.sampled_from(KEYS[:7] * 4 + KEYS)
indents = st.sampled_from(["", "", "  ", "  ", "    ", " ", "   ", "      "])


@st.composite
def lines(draw: st.DrawFn) -> str:
    indent = draw(indents)
    match draw(st.integers(0, 9)):
        case 0 | 1 | 2:
            return f"{indent}{draw(keys)}: {draw(scalars)}"
        case 3 | 4:
            return f"{indent}{draw(keys)}:"
        case 5:
            return f"{indent}- {draw(keys)}: {draw(scalars)}"
        case 6:
            return f"{indent}- {draw(scalars)}"
        case 7:
            return f"{indent}{draw(keys)}: |{draw(st.sampled_from(['', '-', '+', '2']))}"
        case 8:
            return f"{indent}{draw(scalars)}"
        case _:
            return draw(
                st.sampled_from(["", "# c", "  ", "- a: b", "---", "...", "- ", "-", "- - x"])
            )


def as_list(body: str) -> str:
    return f"apiVersion: v1\nitems:\n{body}\nkind: List\n"


@settings(max_examples=1500)
@given(st.lists(lines(), max_size=8))
@example(["- a: 1", "   b: 2"])
@example(["- a: 'x", "- b: 1'"])
@example(["a: |", "  b"])
@example([".0: a"])
def test_any_lines_read_the_same(body: list[str]) -> None:
    text = "\n".join(body)
    for whole in (text, as_list(text), f"# c\n---\n{text}\n---\na: b\n"):
        assert agree(whole)


@settings(max_examples=500)
@given(st.lists(st.tuples(st.integers(0, 3), keys, scalars), min_size=1, max_size=10))
def test_regular_nesting_reads_the_same(rows: list[tuple[int, str, str]]) -> None:
    body: list[str] = []
    for depth, key, scalar in rows:
        body.append(f"{'  ' * (depth + 1)}{key}{len(body)}: {scalar}")
        if depth == 3:
            body[-1] = f"{'  ' * (depth + 1)}{key}{len(body)}:"
    text = as_list("- kind: Pod\n" + "\n".join(body) + "\n- kind: Pod")
    assert agree(text)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from([text for text in SCALARS if text.isprintable()]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(min_size=1, max_size=6) | st.sampled_from(KEYS), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@settings(max_examples=500)
@given(st.lists(st.dictionaries(st.text(max_size=6), values, max_size=4), max_size=5))
def test_what_a_program_writes_reads_the_same(items: list[dict[str, Any]]) -> None:
    objects = [{"kind": "Pod", "metadata": {"name": f"p{n}"}, **x} for n, x in enumerate(items)]
    for unicode in (True, False):
        text = yaml.dump({"items": objects, "kind": "List"}, allow_unicode=unicode)
        assert agree(text)
        text = yaml.dump_all(objects, allow_unicode=unicode)
        assert agree(text)


def test_plain_items_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("PyYAML was asked")

    item = "- kind: Pod\n  metadata:\n    labels:\n      app: 'true'\n    name: web-{}\n"
    item += '    annotations:\n      a: |\n        {{"x": "y"}}\n'
    text = as_list("".join(item.format(n) for n in range(3)).rstrip())
    expected = strictly(text)
    monkeypatch.setattr(documents, "item_from_yaml", never)
    assert quickly(text) == expected
    assert len(expected) == 3


def test_a_large_file_is_read_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = """
- apiVersion: v1
  kind: Pod
  metadata: {{name: p{n}, namespace: shop}}
  spec:
    containers:
    - name: main
      image: x:1
      ports:
      - containerPort: {port}
        name: http
  status:
    podIP: 10.0.0.{n}
"""
    items = "".join(pod.format(n=n, port=port) for n, port in enumerate([80, "0x50", 8080, "0o17"]))
    path = tmp_path / "pods.yaml"
    path.write_text(as_list(items))
    small = meaning(load([str(path)]))
    monkeypatch.setattr(formats, "BULK", 0)
    assert meaning(load([str(path)])) == small
    assert [pod["ports"][0]["number"] for pod in small["pods"]] == [80, 80, 8080, 15]
