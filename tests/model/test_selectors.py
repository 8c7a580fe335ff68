"""Selectors as boolean expressions: one form for all that mean the same."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.model.selectors import EVERYTHING, NOTHING, Operator, Requirement, Selector
from tests.oracle_parts import selects

WEB = Selector.of([Requirement("app", Operator.IN, ("web",))])
DB = Selector.of([Requirement("app", Operator.IN, ("db",))])
HAS_TIER = Selector.of([Requirement("tier", Operator.EXISTS)])
STARTS = Selector.of([Requirement("app", Operator.STARTS_WITH, ("w",))])
LABELS = [
    {key: value for key, value in (("app", app), ("tier", tier)) if value is not None}
    for app, tier in product((None, "web", "db", "wide"), (None, "x"))
]
terms = st.sampled_from([WEB, DB, HAS_TIER, STARTS, EVERYTHING, NOTHING])
combined = st.sampled_from([Selector.all_of, Selector.any_of, Selector.none_of])
expressions = st.recursive(
    terms,
    lambda inner: st.builds(
        lambda make, parts: make(parts), combined, st.lists(inner, min_size=0, max_size=3)
    ),
    max_leaves=8,
)


def test_the_order_and_repetition_of_parts_do_not_matter() -> None:
    one = Selector.any_of([HAS_TIER, Selector.all_of([WEB, STARTS]), HAS_TIER])
    other = Selector.any_of([Selector.all_of([STARTS, WEB, WEB]), HAS_TIER])
    assert one == other and hash(one) == hash(other)
    nested = Selector.any_of([Selector.any_of([HAS_TIER]), Selector.any_of([STARTS, HAS_TIER])])
    assert nested == Selector.any_of([STARTS, HAS_TIER])


def test_what_requirements_can_say_becomes_requirements() -> None:
    assert str(Selector.any_of([WEB, DB])) == "app in (db, web)"
    assert str(Selector.none_of([Selector.any_of([WEB, DB]), HAS_TIER])) == (
        "app not in (db, web), no tier"
    )
    assert Selector.none_of([Selector.none_of([STARTS])]) == STARTS
    assert Selector.any_of([STARTS, EVERYTHING]) == EVERYTHING
    assert Selector.any_of([]) == NOTHING == Selector.none_of([EVERYTHING])
    assert Selector.none_of([]) == EVERYTHING == Selector.none_of([NOTHING])


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (STARTS, "app starts with w"),
        (Selector.none_of([STARTS]), "not (app starts with w)"),
        (Selector.any_of([STARTS, HAS_TIER]), "(app starts with w or tier exists)"),
        (NOTHING, "nothing"),
        (EVERYTHING, "everything"),
    ],
)
def test_in_words(selector: Selector, text: str) -> None:
    assert str(selector) == text


@given(st.lists(expressions, max_size=3))
def test_expressions_select_what_their_parts_say(parts: list[Selector]) -> None:
    for labels in LABELS:
        held = [selects(part, labels) for part in parts]
        assert Selector.all_of(parts).matches(labels) is all(held)
        assert Selector.any_of(parts).matches(labels) is any(held)
        assert Selector.none_of(parts).matches(labels) is not any(held)


@given(expressions)
def test_expressions_can_be_stored(selector: Selector) -> None:
    assert msgspec.json.decode(msgspec.json.encode(selector), type=Selector) == selector
