"""Which selectors a pod can meet together, against trying out every label set."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.analyses.verify import classes, values
from kubeverdict.analyses.verify.classes import combinations
from kubeverdict.analyses.verify.values import TooManyError, label_values
from kubeverdict.model.selectors import (
    EVERYTHING,
    NOTHING,
    PARTIAL,
    Clause,
    Operator,
    Requirement,
    Selector,
)
from tests.clusters.policies import KEYS, POD_REQUIREMENTS, VALUES
from tests.clusters.records import selector
from tests.oracle_parts import selects

# Every label set as far as these selectors can tell: one value that none of them names.
LABEL_SETS = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product((None, *VALUES, "unnamed"), repeat=len(KEYS))
]
plain = st.lists(st.sampled_from(POD_REQUIREMENTS), max_size=3).map(Selector.of)
boolean = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3).flatmap(
        lambda parts: st.sampled_from([Selector.any_of, Selector.none_of, Selector.all_of]).map(
            lambda combined: combined(parts)
        )
    ),
    max_leaves=5,
)
selectors = st.lists(plain | boolean, max_size=6)
# Requirements on one key that look at parts of values, and every value of these letters.
partial = st.lists(
    st.builds(
        Requirement,
        st.just("app"),
        st.sampled_from(PARTIAL),
        st.lists(st.sampled_from(["", "a", "b", "ab", "ba", "aa", "a-b"]), min_size=1, max_size=2)
        .map(sorted)
        .map(tuple),
    )
    | st.sampled_from([one for one in POD_REQUIREMENTS if one.key == "app"])
    | st.just(Requirement("app", Operator.NOT_IN, ("ab", "b"))),
    max_size=4,
    unique=True,
)
SPELT = [
    "".join(letters)
    for size in range(7)
    for letters in product("abx-", repeat=size)
    if not letters or "-" not in (letters[0], letters[-1])
]


def met(known: list[Selector], labels: dict[str, str]) -> int:
    return sum(1 << number for number, one in enumerate(known) if selects(one, labels))


@given(selectors)
def test_every_combination_is_found_and_no_other(known: list[Selector]) -> None:
    found = combinations(known)
    assert found.keys() == {met(known, labels) for labels in LABEL_SETS}


@given(selectors)
def test_the_labels_of_a_combination_meet_it(known: list[Selector]) -> None:
    for mask, labels in combinations(known).items():
        assert met(known, dict(labels)) == mask


@given(selectors, st.integers(0, 63))
def test_those_that_are_not_needed_are_left_out(known: list[Selector], needed: int) -> None:
    expected = {mask for mask in combinations(known) if not needed or mask & needed}
    assert combinations(known, needed).keys() == expected


@settings(deadline=None)
@given(partial)
def test_values_meet_requirements_on_parts_in_every_way(asked: list[Requirement]) -> None:
    known = [Selector.of([one]) for one in asked]
    possible = [{}, *({"app": value} for value in (*SPELT, *VALUES, "ababa-ba"))]
    found = combinations(known)
    assert found.keys() >= {met(known, labels) for labels in possible}
    for mask, labels in found.items():
        assert met(known, dict(labels)) == mask


def test_values_are_ones_that_labels_can_have() -> None:
    asked = [Requirement("app", Operator.ENDS_WITH, (text,)) for text in ("a-", "a b", "-a")]
    valid = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
    found = [one or "" for one in label_values(asked)]
    assert all(map(valid.fullmatch, found))
    assert [any(one.matches({"app": value}) for value in found) for one in asked] == [0, 0, 1]
    longest = Requirement("app", Operator.CONTAINS, ("a" * 64,))
    assert not any(longest.matches({"app": one or ""}) for one in label_values([longest]))


def test_too_many_kinds_of_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MOST", 100)
    asked = [Requirement("app", Operator.CONTAINS, (f"{number}",)) for number in range(8)]
    with pytest.raises(TooManyError, match="kinds of values of the label app"):
        label_values(asked)


def test_selectors_without_terms() -> None:
    never = Selector(clauses=(Clause((EVERYTHING,), negated=True),))
    assert combinations([NOTHING, EVERYTHING, never]) == {0b010: ()}


def test_labels_are_as_few_as_can_be() -> None:
    found = combinations([selector("app=web"), Selector.of([Requirement("env", Operator.EXISTS)])])
    assert found == {
        0b00: (),
        0b01: (("app", "web"),),
        0b10: (("env", "other"),),
        0b11: (("app", "web"), ("env", "other")),
    }


def test_no_selectors_is_one_kind_of_pod() -> None:
    assert combinations([]) == {0: ()}
    assert combinations([EVERYTHING]) == {1: ()}


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MOST", 100)
    independent = [selector(f"key-{number}=yes") for number in range(7)]
    with pytest.raises(TooManyError):
        combinations(independent)
    # The same number of selectors on one key: a pod meets one of them at most.
    assert len(combinations([selector(f"key=v{number}") for number in range(7)])) == 8
