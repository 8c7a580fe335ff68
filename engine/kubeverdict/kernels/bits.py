"""64-bit words and sets of them.

A *set* of small integers is sparse: the words that are not zero, in ascending order. Many sets
share three arrays (compressed rows), so that most sets of a large cluster take one or two words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.jit import Instruction, kernel

ONE = np.uint64(1)
ZERO = np.uint64(0)
FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


class Sets(NamedTuple):
    """Sets in compressed rows: set ``s`` is ``word[start[s]:start[s+1]]`` with the ``bits`` of
    each."""

    start: NDArray[np.int64]  # (sets + 1,)
    word: NDArray[np.int32]  # (words that are not zero,) ascending inside a set
    bits: NDArray[np.uint64]  # the same length


_ones = Instruction("ctpop", lambda word: int(word).bit_count())
_zeros_below = Instruction("cttz", lambda word: (int(word) & -int(word)).bit_length() - 1)
_zeros_above = Instruction("ctlz", lambda word: 64 - int(word).bit_length())


@kernel
def count_ones(value):
    """Bits set in a word."""
    return np.int64(_ones(value))


@kernel
def lowest(value):
    """Index of the lowest bit set of a word that is not zero."""
    return np.int64(_zeros_below(value))


@kernel
def highest(value):
    """Index of the highest bit set of a word that is not zero."""
    return np.int64(63 - _zeros_above(value))


@kernel
def bit(position):
    """The word with the bit of ``position`` inside its word."""
    return ONE << np.uint64(position & 63)


@kernel
def first_at_least(values, low, high, wanted):
    """First index in the ascending ``values[low:high]`` whose value is ``>= wanted``."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def sort(values, count):
    """Put the first ``count`` values in ascending order, in place (after Shell, 1959: numba's own
    sort makes a list, and there are few)."""
    gap = 1
    while 3 * gap < count:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            value = values[i]
            at = i
            while at >= gap and values[at - gap] > value:
                values[at] = values[at - gap]
                at -= gap
            values[at] = value
        gap //= 3


@kernel
def weight_in(word, bits, slices):
    """The weights of some bits of a word, summed: ones of these bits against those of the weights
    (``slices`` (bits, words))."""
    total = np.int64(0)
    for b in range(slices.shape[0]):
        total += count_ones(bits & slices[b, word]) << b
    return total


@kernel
def has(sets, which, position):
    """Whether ``position`` is in set ``which``."""
    word = position >> 6
    end = sets.start[which + 1]
    at = first_at_least(sets.word, sets.start[which], end, word)
    return at < end and sets.word[at] == word and (sets.bits[at] & bit(position)) != ZERO


@kernel
def _edges(low, high):
    """First and last word of a range that is not empty, and the masks of its ends."""
    first = low >> 6
    last = (high - 1) >> 6
    head = FULL << np.uint64(low & 63)
    tail = FULL >> np.uint64(63 - ((high - 1) & 63))
    if first == last:
        head &= tail
        tail = head
    return first, last, head, tail


@kernel
def fill(words, low, high):
    """Set the bits of positions ``low`` to ``high - 1``."""
    if high <= low:
        return
    first, last, head, tail = _edges(low, high)
    words[first] |= head
    words[last] |= tail
    for word in range(first + 1, last):
        words[word] = FULL


@kernel
def clear(words, low, high):
    """Clear the bits of positions ``low`` to ``high - 1``."""
    if high <= low:
        return
    first, last, head, tail = _edges(low, high)
    words[first] &= ~head
    words[last] &= ~tail
    for word in range(first + 1, last):
        words[word] = ZERO
