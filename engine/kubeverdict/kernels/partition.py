"""Exact partition refinement: which positions can no set distinguish?

After Paige and Tarjan (1987), without the smaller-half rule, which does not pay here: each set is
walked once, so the cost is the total number of members.
"""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.bits import ONE, ZERO, bit, lowest
from kubeverdict.kernels.jit import making_kernel


@making_kernel
def refine(which, sets, part, parts):
    """Split ``part`` until the members of each part are in the same sets of ``which``.

    ``part`` (positions,) int32 holds the initial partition, numbered 0 to ``parts - 1``, and is
    changed in place; positions with part -1 take no side. Returns the new number of parts.
    """
    size = part.size
    members = np.zeros(size + 1, np.int32)
    for position in range(size):
        if part[position] >= 0:
            members[part[position]] += 1
    hits = np.zeros(size + 1, np.int32)
    renamed = np.full(size + 1, -1, np.int32)
    touched = np.empty(size + 1, np.int32)
    inside = np.empty(size + 1, np.int32)
    for k in range(which.size):
        found = 0
        seen = 0
        for at in range(sets.start[which[k]], sets.start[which[k] + 1]):
            rest = sets.bits[at]
            base = np.int64(sets.word[at]) << 6
            while rest != ZERO:
                position = base + lowest(rest)
                rest &= rest - ONE
                if position < size and part[position] >= 0:
                    old = part[position]
                    inside[found] = position
                    found += 1
                    if hits[old] == 0:
                        touched[seen] = old
                        seen += 1
                    hits[old] += 1
        for i in range(seen):
            old = touched[i]
            if hits[old] < members[old]:
                renamed[old] = parts
                members[parts] = hits[old]
                members[old] -= hits[old]
                parts += 1
        for i in range(found):
            new = renamed[part[inside[i]]]
            if new >= 0:
                part[inside[i]] = new
        for i in range(seen):
            hits[touched[i]] = 0
            renamed[touched[i]] = -1
    return parts


@making_kernel
def index_rows(key, sets, first_of, part, parts):
    """For each part, the rows whose set ``key[row]`` holds it, in row order.

    ``first_of`` is a bitmap with one position of each part, so that a part is met once a set.
    Returns compressed rows: ``start`` (parts + 1,) int64 and ``row`` int32.
    """
    start = np.zeros(parts + 1, np.int64)
    row = np.empty(0, np.int32)
    fill_at = start
    for turn in range(2):
        for r in range(key.size):
            for at in range(sets.start[key[r]], sets.start[key[r] + 1]):
                word = sets.word[at]
                if word >= first_of.size:
                    break
                rest = sets.bits[at] & first_of[word]
                base = np.int64(word) << 6
                while rest != ZERO:
                    p = part[base + lowest(rest)]
                    rest &= rest - ONE
                    if turn == 0:
                        start[p + 1] += 1
                    else:
                        row[fill_at[p]] = r
                        fill_at[p] += 1
        if turn == 0:
            for p in range(parts):
                start[p + 1] += start[p]
            fill_at = start.copy()
            row = np.empty(start[parts], np.int32)
    return start, row


@making_kernel
def representatives(part, parts, words):
    """The first position of each part, and the bitmap of these positions."""
    first = np.full(parts, -1, np.int32)
    bitmap = np.zeros(words, np.uint64)
    for position in range(part.size):
        p = part[position]
        if p >= 0 and first[p] < 0:
            first[p] = position
            bitmap[position >> 6] |= bit(position)
    return first, bitmap
