"""JSON text: strict values, and texts of several values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.manifests.json_text import JsonError, concatenated, parse

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_what_json_writes_is_read(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert parse(text.encode()) == value


@given(st.dictionaries(st.text('ab:\\"\n ', max_size=4), st.text('":\\ ', max_size=4), min_size=1))
def test_a_duplicate_key_is_found_whatever_is_around_it(pairs: dict[str, str]) -> None:
    written = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs.items()]
    once = f"{{{', '.join(written)}}}".encode()
    twice = f"{{{', '.join([*written, written[0]])}}}".encode()
    assert parse(once) == pairs
    with pytest.raises(JsonError, match="duplicate key"):
        parse(twice)


def test_a_duplicate_deep_inside_is_named() -> None:
    with pytest.raises(JsonError, match="duplicate key 'b'"):
        parse(b'{"a": [{"b": 1, "c": {}, "b": 2}]}')


def test_blanks_before_a_colon_are_no_duplicate() -> None:
    assert parse(b'{"a" : 1, "b"\n:2}') == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": }', b"{'a': 1}", b"[" * 100_000, b'"\xff"'])
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(JsonError):
        parse(text)


@given(st.lists(st.dictionaries(st.text("aé\n"), values, max_size=2), min_size=1, max_size=5))
def test_several_values_are_distinguished(objects: list[dict[str, Any]]) -> None:
    texts = [json.dumps(value, ensure_ascii=True) for value in objects]
    for joined in ("\n".join(texts), " \n\n".join(texts), "".join(texts)):
        data = joined.encode()
        assert [json.loads(data[start:end]) for start, end in concatenated(data)] == objects
    pretty = "\n".join(json.dumps(value, indent=1) for value in objects).encode()
    assert [json.loads(pretty[start:end]) for start, end in concatenated(pretty)] == objects


def test_an_error_after_good_values_is_placed() -> None:
    data = b'{"a": 1}\n{"b": }'
    found = concatenated(data)
    assert next(found) == (0, 8)
    with pytest.raises(JsonError) as caught:
        next(found)
    assert caught.value.at == 9
