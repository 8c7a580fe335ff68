"""Which selectors a pod can meet together, against trying out every label set."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.analyses.verify import classes
from kubeverdict.analyses.verify.classes import TooManyError, combinations
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector
from tests.analyses.clusters import selector
from tests.generated_policies import KEYS, POD_REQUIREMENTS, VALUES
from tests.oracle_parts import selects

# Every label set as far as these selectors can tell: one value that none of them names.
LABEL_SETS = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product((None, *VALUES, "unnamed"), repeat=len(KEYS))
]
selectors = st.lists(
    st.lists(st.sampled_from(POD_REQUIREMENTS), max_size=3).map(Selector.of), max_size=6
)


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
