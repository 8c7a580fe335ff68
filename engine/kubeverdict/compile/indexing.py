"""Rules indexed by the ends that find them, and summed up where only what they allow counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.sets import ALL, EMPTY, join, members, offsets
from kubeverdict.compile.tiers import ordered_tiers
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import Rows
from kubeverdict.kernels.partition import index_rows, refine, representatives
from kubeverdict.kernels.reach import BEFORE, View
from kubeverdict.kernels.sets import combine
from kubeverdict.model.policy import Direction


def bit_slices(weight: NDArray[np.int64], words: int) -> NDArray[np.uint64]:
    """(bits, words): word ``w`` of slice ``b`` has the bits of the identities whose weight has
    bit ``b``, so that weights are summed by counting ones."""
    padded = np.zeros(words << 6, np.int64)
    padded[: weight.size] = weight
    depth = max(1, int(padded.max(initial=0)).bit_length())
    slices = np.empty((depth, words), np.uint64)
    for b in range(depth):
        ones = ((padded >> b) & 1).astype(np.uint8)
        slices[b] = np.packbits(ones, bitorder="little").view(np.uint64)
    return slices


def of_direction(rows: Rows, ingress_rows: int, direction: Direction) -> Rows:
    part = slice(ingress_rows) if direction is Direction.INGRESS else slice(ingress_rows, None)
    return _taken(rows, part)


def _taken(rows: Rows, which: slice | NDArray[np.int64]) -> Rows:
    return Rows._make(column[which] for column in rows)


def occurring(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """The numbers from 0 on that occur, ascending: without sorting, as they are never large."""
    return np.flatnonzero(np.bincount(numbers))


def distinct_sets(numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """The set numbers that occur, without ALL and EMPTY, which distinguish nothing."""
    used = occurring(numbers)
    return used[used > EMPTY]


def parts_of(keys: NDArray[np.int32], sets: Sets, taking_part: int, size: int) -> NDArray[np.int32]:
    """Identities below ``taking_part`` in parts that no set of ``keys`` distinguishes; -1 above."""
    part = np.full(size, -1, np.int32)
    there = members(sets, ALL)
    part[there[there < taking_part]] = 0
    refine.on(int(sets.word.size) * 64)(distinct_sets(keys), sets, part, 1)
    return part


def indexed(
    keys: NDArray[np.int32], sets: Sets, part: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    parts = int(part.max(initial=-1)) + 1
    words = (part.size + 63) >> 6
    _, bitmap = representatives.on(part.size * 8)(part, parts, words)
    work = keys.size * 8 + int(sets.word.size)
    start, row = index_rows.on(work)(keys, sets, bitmap, part, parts)
    return start, row


def merged(
    rows: Rows,
    found_by: NDArray[np.int32],
    about: NDArray[np.int32],
    sets: Sets,
    size: int,
) -> tuple[Rows, NDArray[np.int32], NDArray[np.int32], Sets]:
    """Rows for the reachability matrix, where it does not matter which rule decides.

    ``found_by`` and ``about`` (rows,) are the sets of either end. In a tier that only allows,
    rules that the same ends find on the same ports become one, about all of their other ends:
    the DNS rule of five hundred namespaces is one row. Returns the rows that are left, their
    ends, and the sets with the new ones behind.
    """
    mixed = list(ordered_tiers(rows.tier, rows.action, rows.rule))
    apart = np.isin(rows.tier, mixed) | (rows.rule < 0)
    index = np.arange(rows.rule.size)
    # Tier, ports and set in one number: sorting by columns takes ten times as long.
    keys = rows.tier.astype(np.int64) * (int(rows.ports.max(initial=0)) + 1) + rows.ports
    keys = keys * (sets.start.size - 1) + found_by
    _, first, group = np.unique(
        np.where(apart, -1 - index, keys), return_index=True, return_inverse=True
    )
    # Groups in the order of their first rows.
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    group = rank[group.ravel()]
    first = np.sort(first)
    new_about = about[first].copy()
    lengths = np.bincount(group, minlength=first.size)
    joined = np.flatnonzero(lengths > 1)
    if joined.size:
        order = np.argsort(group, kind="stable")
        union = about[order[(lengths > 1)[group[order]]]]
        made = Sets(
            *combine.on(union.size * 8)(
                offsets(lengths[joined]),
                union.astype(np.int64),
                np.full(joined.size, -1, np.int64),
                sets,
                (size + 63) >> 6,
            )
        )
        new_about[joined] = np.arange(joined.size) + (sets.start.size - 1)
        sets = join(sets, made)
    return _taken(rows, first), found_by[first], new_about, sets


def view(
    rows: Rows,
    found_by: NDArray[np.int32],
    about: NDArray[np.int32],
    sets: Sets,
    taking_part: int,
    size: int,
) -> View:
    """Rows listed by the ends below ``taking_part`` that find them."""
    part = parts_of(found_by, sets, taking_part, size)
    start, row = indexed(found_by, sets, part)
    return View(
        part=part,
        start=start,
        row=row,
        found_by=found_by,
        sources=about,
        ports=rows.ports,
        action=rows.action,
        tier=rows.tier,
        rule=rows.rule,
        version=np.full(rows.rule.size, BEFORE, np.uint8),
    )


def matrix_views(
    rows: Rows, ingress_rows: int, sets: Sets, pods: int, size: int
) -> tuple[View, View, Sets]:
    """Ingress and egress rules by destination, and ``sets`` with the unions that they need. Pods
    are the identities below ``pods`` of ``size``."""
    views: list[View] = []
    for direction in Direction:
        part = of_direction(rows, ingress_rows, direction)
        found_by, about, taking_part = (
            (part.subject, part.peer, pods)
            if direction is Direction.INGRESS
            else (part.peer, part.subject, size)
        )
        kept, found_by, about, sets = merged(part, found_by, about, sets, size)
        views.append(view(kept, found_by, about, sets, taking_part, size))
    return views[0], views[1], sets
