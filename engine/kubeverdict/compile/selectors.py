"""Stage 3b: evaluate every distinct selector once, as a set of groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.labels import LabelIds
from kubeverdict.compile.sets import offsets
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


def merged_ranges(first: NDArray[np.int64], namespaces: NDArray[np.int64]) -> Scope:
    """The ranges of groups of some namespaces (ascending), neighbours joined."""
    low, high = first[namespaces], first[namespaces + 1]
    inhabited = high > low
    low, high = low[inhabited], high[inhabited]
    if not low.size:
        return ()
    gap = np.flatnonzero(low[1:] != high[:-1]) + 1
    starts = low[np.concatenate(([0], gap))]
    stops = high[np.concatenate((gap - 1, [high.size - 1]))]
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
