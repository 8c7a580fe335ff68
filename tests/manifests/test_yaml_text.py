"""YAML text to values: scalars as Kubernetes types them, strict keys, bounded work."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kubeverdict.manifests.yaml_text import MAX_DEPTH, TextError, documents, parse

SCALARS: list[tuple[str, Any]] = [
    *((word, True) for word in ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "y", "Y")),
    *((word, False) for word in ("false", "no", "NO", "off", "Off", "n", "N")),
    *((word, None) for word in ("", "~", "null", "Null", "NULL")),
    *((word, word) for word in ("tRue", "yEs", "nuLL", "truefalse", "web", "<<<")),
    *(("0", 0), ("80", 80), ("-1", -1), ("+1", 1), ("0x1F", 31), ("010", 8), ("0o10", 8)),
    *(("0b11", 3), ("1_000", 1000), ("08", 8), ("8.0", 8), ("1e3", 1000), ("-0", 0)),
    *(("1.5", 1.5), (".5", 0.5), ("-1.5e-3", -0.0015), (".inf", math.inf), ("-.INF", -math.inf)),
    *((text, text) for text in ("1:30", "2026-03-01", "2026-03-01T10:00:00Z", "10.0.0.1", "1.2.3")),
    *((text, text) for text in ("100m", "1e", "0x", "--", "1-2", "0b2", "0485c1b0f9", "inf")),
    *(("'yes'", "yes"), ('"80"', "80"), ("!!str 80", "80"), ("! yes", "yes"), ("!!int 80", 80)),
    *(("!!float 1", 1), ("!!bool yes", True), ("!!null ~", None)),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars(text: str, value: Any) -> None:
    found, _ = parse(f"- {text}\n")
    assert found == [value]
    assert type(found[0]) is type(value)


def test_keys_are_strings() -> None:
    assert parse("1: a\ntrue: b\n'x': c\n1.5: d\n") == (
        {"1": "a", "true": "b", "x": "c", "1.5": "d"},
        [],
    )


def test_anchors_and_merge_keys() -> None:
    text = "base: &b {a: 1, c: 2}\nmine:\n  <<: *b\n  a: 3\nboth:\n  <<: [*b, {d: 4}]\nsame: *b\n"
    value, _ = parse(text)
    assert value["mine"] == {"a": 3, "c": 2}
    assert value["both"] == {"a": 1, "c": 2, "d": 4}
    assert value["same"] == value["base"]


WRONG = [
    ("a: 1\nb: 2\na: 3\n", 2, "duplicate key 'a'"),
    ("a: 1\n'a': 3\n", 1, "duplicate key 'a'"),
    ("x:\n- {b: 1, b: 2}\n", 1, "duplicate key 'b'"),
    ("true: 1\nyes: 2\n", 1, "duplicate key 'true'"),
    ("? [a]\n: 1\n", 0, "a key must be a string"),
    ("~: 1\n", 0, "a key must be a string"),
    ("a: *x\n", 0, "unknown anchor 'x'"),
    ("a: &x [*x]\n", 0, "unknown anchor 'x'"),
    ("a: !Ref b\n", 0, "unsupported tag !Ref"),
    ("a: !!binary aGk=\n", 0, "unsupported tag tag:yaml.org,2002:binary"),
    ("a: !!int b\n", 0, "'b' is not of its tag tag:yaml.org,2002:int"),
    ("a: !!set {b}\n", 0, "unsupported tag tag:yaml.org,2002:set"),
    ("<<: 1\n", 0, "only mappings can be merged"),
    # What is wrong is said in the YAML library's words, which are not ours to test.
    ("a: 1\n  b: 2\n", 1, "not YAML: "),
    ("a:\n\tb: 1\n", 1, "not YAML: "),
    ("a: [1,\nb: {\n", 2, "not YAML: "),
    ("a: \x07\n", 0, "not YAML: "),
    (f"a: {'[' * (MAX_DEPTH + 1)}", 0, f"nested more than {MAX_DEPTH} levels deep"),
    ("- " * 5000, 0, f"nested more than {MAX_DEPTH} levels deep"),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_errors_have_a_line(text: str, line: int, message: str) -> None:
    with pytest.raises(TextError) as caught:
        parse(text)
    assert caught.value.message.startswith(message)
    assert caught.value.line == line
    assert not caught.value.message.endswith(": ")


def test_text_of_any_depth_is_refused() -> None:
    """The library may have a limit of its own, and meet it before ours."""
    with pytest.raises(TextError, match="nest") as caught:
        parse(f"a: {'[' * 100_000}")
    assert caught.value.line == 0


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(TextError, match="aliases stand for too many values"):
        parse("\n".join(lines))


def test_a_number_of_a_million_digits_does_not_take_long() -> None:
    value, _ = parse("a: " + "9" * 1_000_000)
    assert value == {"a": math.inf}


def test_items_of_a_list_are_placed() -> None:
    text = "kind: List\nitems:\n- a: 1\n  b: 2\n\n# c\n- {a: 3}\n-\n  a: 4\n"
    value, spans = parse(text)
    assert len(value["items"]) == len(spans) == 3
    for item, span in zip(value["items"], spans, strict=True):
        assert parse(" " * span.column + text[span.start : span.end])[0] == item
    assert [(span.line, span.column) for span in spans] == [(2, 2), (6, 2), (8, 2)]


def test_offsets_count_characters() -> None:
    text = "é: ü\nitems:\n- a: 1\n"
    _, (span,) = parse(text)
    assert text[span.start : span.end] == "a: 1\n"


def test_documents_are_cut_at_their_marks() -> None:
    text = "# c\n%YAML 1.1\n---\na: 1\n--- # x\n\n---\n--- {b: 2}\n...\n# end\n---\nc: |\n  ---\n"
    parts = list(documents(text))
    assert [(text[part.start : part.end], part.line) for part in parts] == [
        ("---\na: 1\n", 3),
        ("--- {b: 2}\n...", 8),
        ("---\nc: |\n  ---\n", 11),
    ]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only\n", "---\n", "---\n---\n", "--- # x", "  # x"]
)
def test_a_stream_may_hold_nothing(text: str) -> None:
    assert not list(documents(text))
