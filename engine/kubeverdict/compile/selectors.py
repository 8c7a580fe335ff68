"""Stage 3b: evaluate every distinct selector once, as a set of groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.labels import LabelIds
from kubeverdict.compile.sets import all_members, offsets
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.selectors import Queries, select
from kubeverdict.model.selectors import Operator, Selector

# Ranges of groups in which a selector looks for members.
Scope = Sequence[tuple[int, int]]

_NEGATIVE = (Operator.NOT_IN, Operator.DOES_NOT_EXIST)


def evaluate_selectors(
    labels: LabelIds, selectors: Iterable[Selector], scopes: Sequence[Scope], words: int
) -> Sets:
    """The groups that each selector selects inside its scope."""
    requirement_start = [0]
    negative: list[bool] = []
    value_start = [0]
    value: list[int] = []
    pairs, keys = labels.pairs, labels.keys
    encoded: dict[Selector, tuple[list[bool], list[list[int]]]] = {}
    for selector in selectors:
        known = encoded.get(selector)
        if known is None:
            signs = [requirement.operator in _NEGATIVE for requirement in selector.requirements]
            ids = [
                [pairs.get((requirement.key, text), -1) for text in requirement.values]
                if requirement.values
                else [keys.get(requirement.key, -1)]
                for requirement in selector.requirements
            ]
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
