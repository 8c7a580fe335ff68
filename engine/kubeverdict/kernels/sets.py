"""Making sets out of sets: unions, intersections, and moves to another numbering."""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.bits import ONE, ZERO, bit, clear, fill, lowest
from kubeverdict.kernels.jit import making_kernel


@making_kernel
def grown(word, bits, needed):
    """Both arrays with room for ``needed`` entries, their content kept."""
    size = max(needed, 2 * word.size)
    new_word = np.empty(size, np.int32)
    new_bits = np.empty(size, np.uint64)
    new_word[: word.size] = word
    new_bits[: bits.size] = bits
    return new_word, new_bits


@making_kernel
def flush(buffer, low, high, word, bits, used):
    """Append the non-zero words of ``buffer[low:high]`` and clear them.

    Returns the arrays, which may have moved, and how much of them is used.
    """
    if used + high - low > word.size:
        word, bits = grown(word, bits, used + high - low)
    for at in range(low, high):
        if buffer[at] != ZERO:
            word[used] = at
            bits[used] = buffer[at]
            used += 1
            buffer[at] = ZERO
    return word, bits, used


@making_kernel
def combine(union_start, union, mask, sets, words):
    """New sets: the union of ``union[union_start[k]:union_start[k+1]]``, and, where
    ``mask[k] >= 0``, only what set ``mask[k]`` also holds. Sets span ``words`` words."""
    count = mask.size
    start = np.zeros(count + 1, np.int64)
    word = np.empty(max(64, 2 * count), np.int32)
    bits = np.empty(word.size, np.uint64)
    buffer = np.zeros(words, np.uint64)
    used = 0
    for k in range(count):
        low = words
        high = 0
        for u in range(union_start[k], union_start[k + 1]):
            first = sets.start[union[u]]
            stop = sets.start[union[u] + 1]
            for at in range(first, stop):
                buffer[sets.word[at]] |= sets.bits[at]
            if first < stop:
                low = min(low, np.int64(sets.word[first]))
                high = max(high, np.int64(sets.word[stop - 1]) + 1)
        if mask[k] >= 0:
            at = sets.start[mask[k]]
            stop = sets.start[mask[k] + 1]
            for w in range(low, high):
                while at < stop and sets.word[at] < w:
                    at += 1
                if at < stop and sets.word[at] == w:
                    buffer[w] &= sets.bits[at]
                else:
                    buffer[w] = ZERO
        word, bits, used = flush(buffer, low, high, word, bits, used)
        start[k + 1] = used
    return start, word[:used].copy(), bits[:used].copy()


@making_kernel
def project(sets, target_start, target, words):
    """Every set in a new numbering of ``words`` words: position ``p`` becomes the positions
    ``target[target_start[p]:target_start[p+1]]`` (none drops it)."""
    count = sets.start.size - 1
    start = np.zeros(count + 1, np.int64)
    word = np.empty(max(64, sets.word.size), np.int32)
    bits = np.empty(word.size, np.uint64)
    buffer = np.zeros(words, np.uint64)
    used = 0
    for s in range(count):
        low = words
        high = 0
        for at in range(sets.start[s], sets.start[s + 1]):
            rest = sets.bits[at]
            base = np.int64(sets.word[at]) << 6
            while rest != ZERO:
                position = base + lowest(rest)
                rest &= rest - ONE
                for t in range(target_start[position], target_start[position + 1]):
                    new = np.int64(target[t])
                    buffer[new >> 6] |= bit(new)
                    low = min(low, new >> 6)
                    high = max(high, (new >> 6) + 1)
        word, bits, used = flush(buffer, low, high, word, bits, used)
        start[s + 1] = used
    return start, word[:used].copy(), bits[:used].copy()


@making_kernel
def spans(start, low, high, take, words):
    """Sets from ranges of positions: set ``k`` is made of the ranges ``start[k]`` to
    ``start[k+1]``, in turn added where ``take`` says so and taken away where not."""
    count = start.size - 1
    set_start = np.zeros(count + 1, np.int64)
    word = np.empty(max(64, 2 * count), np.int32)
    bits = np.empty(word.size, np.uint64)
    buffer = np.zeros(words, np.uint64)
    used = 0
    for k in range(count):
        first = words
        stop = 0
        for i in range(start[k], start[k + 1]):
            if high[i] <= low[i]:
                continue
            if take[i]:
                fill(buffer, low[i], high[i])
                first = min(first, low[i] >> 6)
                stop = max(stop, ((high[i] - 1) >> 6) + 1)
            else:
                clear(buffer, low[i], high[i])
        word, bits, used = flush(buffer, first, stop, word, bits, used)
        set_start[k + 1] = used
    return set_start, word[:used].copy(), bits[:used].copy()
