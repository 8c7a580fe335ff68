"""What changed between two compiled clusters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.aligned import Aligned, AlignedEnds, Joint, align_ends, align_planes
from kubeverdict.evaluate.changed_rows import DeltaCounts, DeltaRow, counted
from kubeverdict.evaluate.near import near
from kubeverdict.evaluate.pairs import (
    DestinationGroups,
    RowReader,
    by_column,
    destination_groups,
    follow_pairs,
    summed,
    unpacked,
)
from kubeverdict.kernels import reach
from kubeverdict.kernels.reach import AFTER, BEFORE, View
from kubeverdict.model.addresses import Family

_BOTH = BEFORE | AFTER


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """Two versions compared. ``counts[i]`` belongs to ``planes[i]``, and so does ``found[i]``:
    the changed rows, where they were read when the versions were compared."""

    old: CompiledPolicy
    new: CompiledPolicy
    ends: AlignedEnds
    planes: tuple[Joint, ...]
    counts: tuple[DeltaCounts, ...]
    found: tuple[tuple[DeltaRow, ...], ...] = ()

    def rows(self, plane: Joint) -> Iterator[DeltaRow]:
        """What changed in a plane, over pods and addresses."""
        if not isinstance(plane, Aligned):
            yield from self.found[self.planes.index(plane)]
            return
        reader = RowReader(plane.into, plane.out_to, plane.whole)
        for outside in (False, True):
            groups = _touched(plane, outside)
            for index in range(groups.first.size):
                # Both versions cut the ports alike: patterns come from the rules of either.
                was_packed = reader.packed(groups.first[index], BEFORE).copy()
                now_packed = reader.packed(groups.first[index], AFTER)
                if np.array_equal(was_packed, now_packed):
                    continue  # most rows, where a rule has many peers
                before, after = unpacked(was_packed), unpacked(now_packed)
                changed = (before != after).any(axis=0)
                if outside:
                    changed[plane.pods :] = False
                if not changed.any():
                    continue
                # A column that is nothing but true keeps the changed ones apart from the rest.
                columns = np.concatenate((before, after, np.ones((1, changed.size), np.bool_)))
                columns[:, ~changed] = False
                targets = groups.member[groups.start[index] : groups.start[index + 1]]
                for sources, column in zip(*by_column(columns), strict=True):
                    was, now = column[: len(before)], column[len(before) : -1]
                    yield DeltaRow(targets, sources, reader.by_atom(was), reader.by_atom(now))


def delta(old: CompiledPolicy, new: CompiledPolicy, *, threads: int | None = None) -> Delta:
    """Compare two compiled clusters: pods match by namespace and name, addresses by value.

    Where one was made of the other by an edit, this costs by what the edit touched.
    """
    ends = align_ends(old, new)
    found = near(old, new, ends)
    if found is None:
        return whole_delta(old, new, ends, threads)
    more = [counted(one.joint, one.rows, ends.pods) for one in found]
    follow_pairs(old, new, [one.more for one in more])
    return Delta(
        old,
        new,
        ends,
        tuple(one.joint for one in found),
        tuple(one.counts for one in more),
        tuple(one.rows for one in found),
    )


def whole_delta(
    old: CompiledPolicy, new: CompiledPolicy, ends: AlignedEnds, threads: int | None
) -> Delta:
    """The same as :func:`delta`, whatever the versions have in common."""
    planes = tuple(align_planes(old, new, ends, families) for families in _families(old, new))
    return Delta(old, new, ends, planes, tuple(_count(plane, threads) for plane in planes))


def _families(old: CompiledPolicy, new: CompiledPolicy) -> list[tuple[Family, ...]]:
    of_old, of_new = ([plane.families for plane in side.planes] for side in (old, new))
    if of_old == of_new:
        return of_old
    return [(family,) for family in sorted({one for part in of_old + of_new for one in part})]


def _touched(plane: Aligned, outside: bool) -> DestinationGroups:
    """Destinations whose rules or sources are not the same in both versions."""
    identities = np.arange(plane.external, plane.size) if outside else np.arange(plane.pods)
    if np.array_equal(*plane.counting.universe):
        changed = _changed_parts(plane.into)[plane.into.part[identities]]
        changed |= _changed_parts(plane.out_to)[plane.out_to.part[identities]]
        identities = identities[changed]
    # A pod that is in one version only has the rules of its like, and no row in the other.
    word, place = identities >> 6, (identities & 63).astype(np.uint64)
    was, now = (plane.whole.universe[:, word] >> place) & np.uint64(1)
    presence = (was * np.uint64(2) + now).astype(np.int64)
    return destination_groups(plane.into, plane.out_to, identities, presence)


def _changed_parts(view: View) -> NDArray[np.bool_]:
    """By part, whether it lists a row of one version only; the last is for part -1."""
    changed = np.zeros(view.start.size, np.bool_)
    different = view.version[view.row] != _BOTH
    part_of_row = np.repeat(np.arange(view.start.size - 1), np.diff(view.start))
    changed[part_of_row[different]] = True
    changed[-1] = False
    return changed


def _count(plane: Aligned, threads: int | None) -> DeltaCounts:
    groups = _touched(plane, outside=False)
    counts = summed(
        reach.count_changes, 4, groups, plane.into, plane.out_to, plane.counting, threads
    )
    return DeltaCounts(plane.families, *counts)
