"""Handling sets as whole arrays: making, joining, choosing and renumbering them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.sets import project

ALL = 0  # the set of everything
EMPTY = 1  # the set of nothing


def offsets(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Where rows of these lengths begin when one follows the other: (rows + 1,)."""
    start = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(lengths, out=start[1:])
    return start


def from_positions(groups: Sequence[NDArray[np.int64]]) -> Sets:
    """Sets from ascending positions."""
    words: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    bits: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    start = [0]
    for positions in groups:
        word, first = np.unique(positions >> 6, return_index=True)
        ones = np.uint64(1) << (positions & 63).astype(np.uint64)
        words.append(word.astype(np.int32))
        bits.append(np.bitwise_or.reduceat(ones, first) if word.size else bits[0])
        start.append(start[-1] + word.size)
    return Sets(np.array(start, np.int64), np.concatenate(words), np.concatenate(bits))


def from_bitmaps(bitmaps: Sequence[NDArray[np.uint64]], words: int) -> Sets:
    """Sets from bitmaps (words,)."""
    table = np.array(bitmaps, np.uint64).reshape(len(bitmaps), words)
    row, word = np.nonzero(table)
    start = np.searchsorted(row, np.arange(len(bitmaps) + 1)).astype(np.int64)
    return Sets(start, word.astype(np.int32), table[row, word])


def members(sets: Sets, which: int) -> NDArray[np.int64]:
    """The positions in one set, ascending."""
    part = slice(sets.start[which], sets.start[which + 1])
    word, bits = sets.word[part], sets.bits[part]
    unpacked = np.unpackbits(bits.view(np.uint8), bitorder="little").reshape(-1, 64)
    row, column = np.nonzero(unpacked)
    positions: NDArray[np.int64] = word[row].astype(np.int64) * 64 + column
    return positions


def join(*parts: Sets) -> Sets:
    """Sets one behind the other."""
    starts = [np.zeros(1, np.int64)]
    offset = 0
    for part in parts:
        starts.append(part.start[1:] + offset)
        offset += int(part.start[-1])
    return Sets(
        np.concatenate(starts),
        np.concatenate([part.word for part in parts]),
        np.concatenate([part.bits for part in parts]),
    )


def chosen(sets: Sets, which: NDArray[np.int64]) -> Sets:
    """Some of the sets, in the order asked for."""
    lengths = sets.start[which + 1] - sets.start[which]
    start = offsets(lengths)
    index = np.arange(start[-1]) + np.repeat(sets.start[which] - start[:-1], lengths)
    return Sets(start, sets.word[index], sets.bits[index])


def moved(sets: Sets, target: NDArray[np.int32], words: int) -> Sets:
    """Sets in a new numbering, one target for each position or none (-1)."""
    start = offsets(target >= 0)
    return Sets(*project.on(sets.word.size * 64)(sets, start, target[target >= 0], words))


def bitmap(positions: NDArray[np.int64], words: int) -> NDArray[np.uint64]:
    """(words,) with the bits of ``positions``."""
    ones = np.zeros(words << 6, np.uint8)
    ones[positions] = 1
    return np.packbits(ones, bitorder="little").view(np.uint64)


def all_members(sets: Sets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every (set, position in it), ascending."""
    unpacked = np.unpackbits(sets.bits.view(np.uint8), bitorder="little").reshape(-1, 64)
    entry, column = np.nonzero(unpacked)
    owner = np.repeat(np.arange(sets.start.size - 1), np.diff(sets.start))
    return owner[entry], sets.word[entry].astype(np.int64) * 64 + column
