"""Selectors evaluated over labels and inside scopes."""

from __future__ import annotations

import numpy as np
import pytest

from kubeverdict.compile.labels import index_labels
from kubeverdict.compile.selectors import Scope, evaluate_selectors, merged_ranges
from kubeverdict.compile.sets import from_positions, members
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Operator, Selector
from tests.clusters.records import label, selector

LABELS = [
    {"app": "web", "env": "prod"},
    {"app": "web", "env": "test"},
    {"app": "db"},
    {},
    {"app": "webhook", "env": ""},
]
INDEX = index_labels([each.items() for each in LABELS], np.arange(len(LABELS), dtype=np.int32))
WEB, PROD = selector("app=web"), selector("env=prod")


def selected(*asked: Selector, scope: Scope = ((0, 5),)) -> list[list[int]]:
    found = evaluate_selectors(INDEX, asked, [scope] * len(asked), 1)
    return [members(found, which).tolist() for which in range(len(asked))]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (EVERYTHING, [0, 1, 2, 3, 4]),
        (NOTHING, []),
        (WEB, [0, 1]),
        (label("app", "web", "db"), [0, 1, 2]),
        (label("app", "web", operator=Operator.NOT_IN), [2, 3, 4]),
        (label("env", operator=Operator.EXISTS), [0, 1, 4]),
        (label("env", operator=Operator.DOES_NOT_EXIST), [2, 3]),
        (label("env", "", operator=Operator.IN), [4]),
        (label("nowhere", "x"), []),
        (label("nowhere", "x", operator=Operator.NOT_IN), [0, 1, 2, 3, 4]),
        (label("app", "we", operator=Operator.STARTS_WITH), [0, 1, 4]),
        (label("app", "b", operator=Operator.ENDS_WITH), [0, 1, 2]),
        (label("app", "ook", "db", operator=Operator.CONTAINS), [2, 4]),
        (selector("app=web,env=test"), [1]),
        (Selector.any_of((PROD, selector("app=db"))), [0, 2]),
        (Selector.none_of((WEB,)), [2, 3, 4]),
        (Selector.all_of((WEB, Selector.none_of((PROD,)))), [1]),
        (Selector.none_of((Selector.any_of((WEB, selector("app=db"))),)), [3, 4]),
    ],
)
def test_a_selector(asked: Selector, expected: list[int]) -> None:
    assert selected(asked) == [expected]


def test_many_at_once_with_and_without_clauses() -> None:
    assert selected(WEB, Selector.none_of((WEB,)), WEB, PROD) == [[0, 1], [2, 3, 4], [0, 1], [0]]


def test_a_scope_is_ranges() -> None:
    negated = label("app", "web", operator=Operator.NOT_IN)
    assert selected(EVERYTHING, negated, scope=((1, 3), (4, 5))) == [[1, 2, 4], [2, 4]]
    assert selected(Selector.none_of((WEB,)), scope=((1, 3),)) == [[2]]
    assert selected(EVERYTHING, scope=()) == [[]]


def test_ranges_of_neighbouring_namespaces_are_one() -> None:
    first = np.array([0, 2, 2, 5, 6], np.int64)  # the second namespace has no groups
    namespaces = from_positions([np.array(each, np.int64) for each in ([0, 2], [0, 3], [1], [])])
    assert merged_ranges(first, namespaces) == [[(0, 5)], [(0, 2), (5, 6)], [], []]
