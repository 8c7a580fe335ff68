"""Changing single members of sets that share their arrays; each call makes new arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.sets import offsets
from kubeverdict.kernels.bits import Sets


def holding(sets: Sets, position: int) -> NDArray[np.int64]:
    """The numbers of the sets that hold ``position``, ascending."""
    found = _entries_with(sets, position)
    return _owners(sets, found)


def with_member(sets: Sets, which: NDArray[np.int64], position: int) -> Sets:
    """``position`` put into the sets ``which`` (ascending)."""
    word, one = position >> 6, np.uint64(1 << (position & 63))
    # Sets one behind the other, words ascending in each: so these keys ascend.
    width = max(int(sets.word.max(initial=0)), word) + 1
    owner = np.repeat(np.arange(sets.start.size - 1), np.diff(sets.start))
    keys = owner * width + sets.word
    wanted = which * width + word
    at = np.searchsorted(keys, wanted)
    there = np.zeros(at.size, np.bool_)
    inside = at < keys.size
    there[inside] = keys[at[inside]] == wanted[inside]
    bits = sets.bits.copy()
    bits[at[there]] |= one
    new = at[~there]
    lengths = np.diff(sets.start)
    lengths[which[~there]] += 1
    return Sets(
        offsets(lengths),
        np.insert(sets.word, new, np.int32(word)),
        np.insert(bits, new, one),
    )


def without_member(sets: Sets, position: int) -> Sets:
    """``position`` taken out of every set."""
    found = _entries_with(sets, position)
    bits = sets.bits.copy()
    bits[found] &= ~np.uint64(1 << (position & 63))
    empty = found[bits[found] == 0]
    owner = _owners(sets, empty)
    lengths = np.diff(sets.start)
    np.subtract.at(lengths, owner, 1)
    return Sets(offsets(lengths), np.delete(sets.word, empty), np.delete(bits, empty))


def with_set(sets: Sets, number: int, made: Sets) -> Sets:
    """The only set of ``made`` in the place of set ``number``."""
    first, end = sets.start[number : number + 2].tolist()
    lengths = np.diff(sets.start)
    lengths[number] = made.word.size
    return Sets(
        offsets(lengths),
        np.concatenate((sets.word[:first], made.word, sets.word[end:])),
        np.concatenate((sets.bits[:first], made.bits, sets.bits[end:])),
    )


def with_copies(sets: Sets, copies: Sequence[tuple[int, int]]) -> Sets:
    """For each (old, new), position ``new`` put into every set that holds ``old``, in turn."""
    for old, new in copies:
        sets = with_member(sets, holding(sets, old), new)
    return sets


def with_gap(sets: Sets, first: int, words: int) -> Sets:
    """Positions from word ``first`` on moved up by ``words`` words."""
    word = sets.word.copy()
    word[word >= first] += words
    return Sets(sets.start, word, sets.bits)


def _owners(sets: Sets, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The set that each of these words belongs to."""
    found: NDArray[np.int64] = np.searchsorted(sets.start, entries, side="right") - 1
    return found


def _entries_with(sets: Sets, position: int) -> NDArray[np.int64]:
    entries = np.flatnonzero(sets.word == position >> 6)
    has = (sets.bits[entries] >> np.uint64(position & 63)) & np.uint64(1)
    found: NDArray[np.int64] = entries[has != 0]
    return found
