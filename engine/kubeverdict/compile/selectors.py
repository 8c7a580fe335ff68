"""Stage 3b: evaluate every distinct selector once, as a set of groups.

The kernel knows conjunctions of requirements. What a selector has besides them, its clauses, is
taken apart into such conjunctions, each evaluated once in each scope, and put together again as set
operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.labels import LabelIds
from kubeverdict.compile.sets import all_members, chosen, from_bitmaps, join, offsets
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.selectors import Queries, select
from kubeverdict.model.selectors import PARTIAL, Clause, Operator, Requirement, Selector

# Ranges of groups in which a selector looks for members.
Scope = Sequence[tuple[int, int]]

_NEGATIVE = (Operator.NOT_IN, Operator.DOES_NOT_EXIST)


def evaluate_selectors(
    labels: LabelIds, selectors: Iterable[Selector], scopes: Sequence[Scope], words: int
) -> Sets:
    """The groups that each selector selects inside its scope."""
    asked = list(selectors)
    if not any(selector.clauses for selector in asked):
        return _conjunctions(labels, asked, scopes, words)
    return _Expressions(asked, scopes).evaluate(labels, words)


class _Expressions:
    """Selectors with clauses, as set operations over the conjunctions in them."""

    def __init__(self, asked: Sequence[Selector], scopes: Sequence[Scope]) -> None:
        self._asked = asked
        self._numbers: dict[tuple[tuple[Requirement, ...], tuple[tuple[int, int], ...]], int] = {}
        self._terms: list[Selector] = []
        self._scopes: list[Scope] = []
        # The conjunction that each selector begins with, then those of its clauses.
        self._first = [
            self._term(selector, tuple(scope))
            for selector, scope in zip(asked, scopes, strict=True)
        ]

    def _term(self, selector: Selector, scope: tuple[tuple[int, int], ...]) -> int:
        key = (selector.requirements, scope)
        number = self._numbers.setdefault(key, len(self._terms))
        if number == len(self._terms):
            self._terms.append(Selector(selector.requirements))
            self._scopes.append(scope)
        for clause in selector.clauses:
            for part in clause.parts:
                self._term(part, scope)
        return number

    def evaluate(self, labels: LabelIds, words: int) -> Sets:
        found = _conjunctions(labels, self._terms, self._scopes, words)
        made: list[NDArray[np.uint64]] = []
        places = np.array(self._first, np.int64)
        for place, selector in enumerate(self._asked):
            if selector.clauses:
                scope = tuple(self._scopes[self._first[place]])
                places[place] = len(self._terms) + len(made)
                made.append(self._selected(selector, scope, found, words))
        return chosen(join(found, from_bitmaps(made, words)), places)

    def _selected(
        self,
        selector: Selector,
        scope: tuple[tuple[int, int], ...],
        found: Sets,
        words: int,
    ) -> NDArray[np.uint64]:
        """(words,) what a selector selects in a scope."""
        which = self._numbers[selector.requirements, scope]
        part = slice(found.start[which], found.start[which + 1])
        selected = np.zeros(words, np.uint64)
        selected[found.word[part]] = found.bits[part]
        for clause in selector.clauses:
            held = self._held(clause, scope, found, words)
            selected &= ~held if clause.negated else held
        return selected

    def _held(
        self, clause: Clause, scope: tuple[tuple[int, int], ...], found: Sets, words: int
    ) -> NDArray[np.uint64]:
        held = np.zeros(words, np.uint64)
        for part in clause.parts:
            held |= self._selected(part, scope, found, words)
        return held


def _conjunctions(
    labels: LabelIds, selectors: Sequence[Selector], scopes: Sequence[Scope], words: int
) -> Sets:
    """The groups that each selector without clauses selects inside its scope."""
    requirement_start = [0]
    negative: list[bool] = []
    value_start = [0]
    value: list[int] = []
    encoded: dict[Selector, tuple[list[bool], list[list[int]]]] = {}
    for selector in selectors:
        known = encoded.get(selector)
        if known is None:
            signs = [requirement.operator in _NEGATIVE for requirement in selector.requirements]
            ids = [_label_ids(labels, requirement) for requirement in selector.requirements]
            known = encoded[selector] = signs, ids
        negative += known[0]
        for values in known[1]:
            value += values
            value_start.append(len(value))
        requirement_start.append(len(negative))
    scope_start = offsets(np.fromiter(map(len, scopes), np.int64, len(scopes)))
    ranges = np.array([part for scope in scopes for part in scope], np.int64).reshape(-1, 2)
    queries = Queries(
        scope_start=scope_start,
        scope_low=np.ascontiguousarray(ranges[:, 0]),
        scope_high=np.ascontiguousarray(ranges[:, 1]),
        requirement_start=np.array(requirement_start, np.int64),
        negative=np.array(negative, np.bool_),
        value_start=np.array(value_start, np.int64),
        value=np.array(value, np.int64),
    )
    work = len(ranges) * 8 + int(np.minimum(ranges[:, 1] - ranges[:, 0], 256).sum()) * 4
    return Sets(*select.on(work)(labels.index, queries, words))


def _label_ids(labels: LabelIds, requirement: Requirement) -> list[int]:
    """The labels one of which a requirement wants, or wants to be absent; -1 for one that
    nothing carries."""
    if not requirement.values:
        return [labels.keys.get(requirement.key, -1)]
    if requirement.operator in PARTIAL:
        # Over the distinct values, however many pods have them.
        return [
            number
            for (key, value), number in labels.pairs.items()
            if key == requirement.key
            and any(requirement.operator.accepts(value, text) for text in requirement.values)
        ] or [-1]
    return [labels.pairs.get((requirement.key, text), -1) for text in requirement.values]


def merged_ranges(first: NDArray[np.int64], namespaces: Sets) -> list[Scope]:
    """The ranges of groups of each set of namespaces, neighbours joined. ``first`` (namespaces
    + 1,) is where the groups of each begin."""
    row, namespace = all_members(namespaces)
    low, high = first[namespace], first[namespace + 1]
    inhabited = high > low
    row, low, high = row[inhabited], low[inhabited], high[inhabited]
    new = np.ones(row.size, np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (low[1:] != high[:-1])
    heads = np.flatnonzero(new)
    tails = np.append(heads[1:], row.size)[: heads.size] - 1
    spans = list(zip(low[heads].tolist(), high[tails].tolist(), strict=True))
    start = np.searchsorted(row[heads], np.arange(namespaces.start.size)).tolist()
    return [spans[begin:end] for begin, end in pairwise(start)]
