"""Label selectors over an inverted index of labels.

Members (groups of pods, or namespaces) are numbered so that a namespace is a contiguous range. A
*label id* stands for a (key, value) pair or for a key alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.bits import FULL, ZERO, bit, first_at_least
from kubeverdict.kernels.jit import kernel, making_kernel
from kubeverdict.kernels.sets import flush


class LabelIndex(NamedTuple):
    """Labels by member, each pair and then its key; and members by label, ascending."""

    label_start: NDArray[np.int64]  # (members + 1,)
    label: NDArray[np.int32]
    posting_start: NDArray[np.int64]  # (label ids + 1,)
    posting: NDArray[np.int32]


class Queries(NamedTuple):
    """Selectors as compressed rows: scopes (ranges of members) and requirements.

    A requirement holds where the member has one of its labels; where it has none if negative.
    A label that no member carries is -1.
    """

    scope_start: NDArray[np.int64]  # (selectors + 1,)
    scope_low: NDArray[np.int64]
    scope_high: NDArray[np.int64]
    requirement_start: NDArray[np.int64]  # (selectors + 1,)
    negative: NDArray[np.bool_]  # (requirements,)
    value_start: NDArray[np.int64]  # (requirements + 1,)
    value: NDArray[np.int64]


@making_kernel
def invert(label_start, label, ids):
    """Members by label id, by counting: (ids + 1,) starts and the members, ascending."""
    start = np.zeros(ids + 1, np.int64)
    for i in range(label.size):
        start[label[i] + 1] += 1
    for i in range(ids):
        start[i + 1] += start[i]
    at = start.copy()
    member = np.empty(label.size, np.int32)
    for m in range(label_start.size - 1):
        for i in range(label_start[m], label_start[m + 1]):
            member[at[label[i]]] = m
            at[label[i]] += 1
    return start, member


@kernel
def _carries(index, member, label):
    for i in range(index.label_start[member], index.label_start[member + 1]):
        if index.label[i] == label:
            return True
    return False


@kernel
def _holds(index, queries, requirement, member):
    for v in range(queries.value_start[requirement], queries.value_start[requirement + 1]):
        if queries.value[v] >= 0 and _carries(index, member, queries.value[v]):
            return not queries.negative[requirement]
    return queries.negative[requirement]


@kernel
def _rarest(index, queries, selector, low, high):
    """The positive requirement with fewest members in the range, and how many; -1 if none."""
    best = -1
    fewest = high - low
    for r in range(queries.requirement_start[selector], queries.requirement_start[selector + 1]):
        if queries.negative[r]:
            continue
        found = 0
        for v in range(queries.value_start[r], queries.value_start[r + 1]):
            label = queries.value[v]
            if label >= 0:
                first = index.posting_start[label]
                stop = index.posting_start[label + 1]
                found += first_at_least(index.posting, first, stop, high)
                found -= first_at_least(index.posting, first, stop, low)
        if best < 0 or found < fewest:
            best = r
            fewest = found
    return best, fewest


@kernel
def _walk(index, queries, selector, rarest, low, high, buffer):
    """Few candidates: visit them and look the other requirements up on their own labels."""
    for v in range(queries.value_start[rarest], queries.value_start[rarest + 1]):
        label = queries.value[v]
        if label < 0:
            continue
        stop = index.posting_start[label + 1]
        at = first_at_least(index.posting, index.posting_start[label], stop, low)
        while at < stop and index.posting[at] < high:
            member = np.int64(index.posting[at])
            at += 1
            good = True
            for r in range(
                queries.requirement_start[selector], queries.requirement_start[selector + 1]
            ):
                if r != rarest and not _holds(index, queries, r, member):
                    good = False
                    break
            if good:
                buffer[member >> 6] |= bit(member)


@kernel
def _sweep(index, queries, selector, low, high, buffer, result, marked):
    """Many candidates: intersect whole bitmaps of the range."""
    first = low >> 6
    words = ((high - 1) >> 6) + 1 - first
    for w in range(words):
        result[w] = FULL
    result[0] &= FULL << np.uint64(low & 63)
    result[words - 1] &= FULL >> np.uint64(63 - ((high - 1) & 63))
    for r in range(queries.requirement_start[selector], queries.requirement_start[selector + 1]):
        for w in range(words):
            marked[w] = ZERO
        for v in range(queries.value_start[r], queries.value_start[r + 1]):
            label = queries.value[v]
            if label < 0:
                continue
            stop = index.posting_start[label + 1]
            at = first_at_least(index.posting, index.posting_start[label], stop, low)
            while at < stop and index.posting[at] < high:
                member = np.int64(index.posting[at])
                marked[(member >> 6) - first] |= bit(member)
                at += 1
        if queries.negative[r]:
            for w in range(words):
                result[w] &= ~marked[w]
        else:
            for w in range(words):
                result[w] &= marked[w]
    for w in range(words):
        buffer[first + w] |= result[w]


@making_kernel
def select(index, queries, words):
    """The members of every selector, as sets over ``words`` words: (start, word, bits)."""
    count = queries.scope_start.size - 1
    start = np.zeros(count + 1, np.int64)
    word = np.empty(max(64, 2 * count), np.int32)
    bits = np.empty(word.size, np.uint64)
    buffer = np.zeros(words, np.uint64)
    result = np.empty(words + 1, np.uint64)
    marked = np.empty(words + 1, np.uint64)
    used = 0
    for s in range(count):
        span_low = words
        span_high = 0
        for scope in range(queries.scope_start[s], queries.scope_start[s + 1]):
            low = queries.scope_low[scope]
            high = queries.scope_high[scope]
            if high <= low:
                continue
            rarest, candidates = _rarest(index, queries, s, low, high)
            if rarest >= 0 and candidates == 0:
                continue
            span_low = min(span_low, low >> 6)
            span_high = max(span_high, ((high - 1) >> 6) + 1)
            # Eight: a lookup on a member's own labels costs about that many marked bits.
            if rarest >= 0 and (candidates * 8 < high - low or high - low <= 64):
                _walk(index, queries, s, rarest, low, high, buffer)
            else:
                _sweep(index, queries, s, low, high, buffer, result, marked)
        word, bits, used = flush(buffer, span_low, span_high, word, bits, used)
        start[s + 1] = used
    return start, word[:used].copy(), bits[:used].copy()
