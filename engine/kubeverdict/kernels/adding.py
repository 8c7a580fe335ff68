"""Counting rows of the reachability matrix where rules only allow.

With one tier of rules that allow, and isolation behind them, order does not matter: what a
direction lets through on some ports is what it lets through on all, and what the rules for these
ports add. So the row for all ports is made once, and for each pattern of ports only the words of
the rules that name it are looked at; the rest of the row is counted already.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.actions import ALLOW
from kubeverdict.kernels.bits import ZERO, bit, first_at_least, weight_in
from kubeverdict.kernels.jit import kernel, making_kernel
from kubeverdict.kernels.ports import END, Cut, Runs, add_list, cut_memory, new_cut, patterns
from kubeverdict.kernels.reach import Space, listed, pairs_of, weigh


class Adding(NamedTuple):
    """Working memory of one thread."""

    cut: Cut
    met: NDArray[np.int32]  # by pattern: the last rule that was filed under it
    head: NDArray[np.int32]  # by pattern: its last entry, -1 for none
    egress_head: NDArray[np.int32]  # by pattern: the same of egress, which is filed first
    ingress: NDArray[np.uint64]  # (words,) let through by ingress on all ports
    egress: NDArray[np.uint64]
    base: NDArray[np.uint64]  # by both
    row: NDArray[np.uint64]  # on the pattern at hand
    extra: NDArray[np.uint64]  # by ingress on the pattern at hand beyond all ports
    some: NDArray[np.uint64]  # on any port
    changed: NDArray[np.int32]  # words in which the row is not the base


def adding_memory(space: Space, runs: Runs) -> Adding:
    """Working memory for :func:`count_adding`."""
    cut = cut_memory(runs)
    words = space.universe.shape[1]
    row = [np.zeros(words, np.uint64) for _ in range(6)]
    most = cut.place.size
    return Adding(
        cut=cut,
        met=np.empty(most, np.int32),
        head=np.empty(most, np.int32),
        egress_head=np.empty(most, np.int32),
        ingress=row[0],
        egress=row[1],
        base=row[2],
        row=row[3],
        extra=row[4],
        some=row[5],
        changed=np.empty(words, np.int32),
    )


@kernel
def _on_all_ports(view, destination, space, cut, allow):
    """What a direction lets through on all ports, into ``allow``; lists of ports are noted in
    ``cut``."""
    words = allow.size
    for w in range(words):
        allow[w] = space.universe[0, w]
    first, stop = listed(view, destination)
    # Isolation takes away first what rules then give back: it is the last of the rules.
    for i in range(stop - 1, first - 1, -1):
        r = view.row[i]
        if view.action[r] != ALLOW:
            _each(space.sets, view.sources[r], allow, True)
    for i in range(first, stop):
        r = view.row[i]
        if view.action[r] == ALLOW:
            if view.ports[r] == 0:
                _each(space.sets, view.sources[r], allow, False)
            else:
                add_list(cut, view.ports[r])
    for w in range(words):
        allow[w] &= space.universe[0, w]


@kernel
def _each(sets, s, words, take):
    """Take a set out of a bitmap, or put it in."""
    for at in range(sets.start[s], sets.start[s + 1]):
        w = sets.word[at]
        if w >= words.size:
            break
        if take:
            words[w] &= ~sets.bits[at]
        else:
            words[w] |= sets.bits[at]


@kernel
def _file(view, destination, runs, work, side, entry, found, write):
    """File the rules of a direction under the patterns that their ports cover.

    ``entry`` (n, 2) are (rule, next entry); a rule of egress is stored as ``~rule``. Returns how
    many entries there are. Without ``write`` they are only counted.
    """
    cut = work.cut
    edges = cut.counts[1]
    first, stop = listed(view, destination)
    for i in range(first, stop):
        r = np.int64(view.row[i])
        t = view.ports[r]
        if t == 0 or view.action[r] != ALLOW:
            continue
        stamp = np.int32(2 * i + side)
        for k in range(runs.start[t], runs.start[t + 1]):
            low = first_at_least(cut.edge, 0, edges, runs.low[k]) + 1
            high = first_at_least(cut.edge, 0, edges, runs.high[k]) + 1
            for cell in range(low, high):
                q = cut.part[cell]
                if work.met[q] == stamp:
                    continue
                work.met[q] = stamp
                if write:
                    entry[found, 0] = r if side == 0 else ~r
                    entry[found, 1] = work.head[q]
                    work.head[q] = found
                found += 1
    return found


@kernel
def _add(sets, s, other, extra, keep, space, work, changed):
    """Let a rule of one direction add to the row; returns the pods added, and how many words of
    the row are changed, ``changed`` of them before. ``other`` is what the
    other direction lets through on all ports, and ``extra`` what it does beyond; ``keep`` notes
    what the rule lets through for the rules of the other direction."""
    added = np.int64(0)
    for at in range(sets.start[s], sets.start[s + 1]):
        w = sets.word[at]
        if w >= work.row.size:
            break
        bits = sets.bits[at]
        through = other[w]
        if extra:
            through |= work.extra[w]
        if keep:
            work.extra[w] |= bits
        new = bits & through & ~work.row[w]
        if new != ZERO:
            if work.row[w] == work.base[w]:
                work.changed[changed] = w
                changed += 1
            work.row[w] |= new
            work.some[w] |= new
            added += weight_in(w, new, space.slices)
    return added, changed


@kernel
def _forget(sets, s, work):
    for at in range(sets.start[s], sets.start[s + 1]):
        if sets.word[at] < work.extra.size:
            work.extra[sets.word[at]] = ZERO


@making_kernel
def count_adding(
    first, stop, destination, member_start, member, ingress, egress, space, runs, work, out
):
    """Count what reaches the destination groups ``first`` to ``stop - 1``; as
    :func:`kubeverdict.kernels.reach.count_rows`, for rules that only allow."""
    words = work.row.size
    sets = space.sets
    for g in range(first, stop):
        d = destination[g]
        new_cut(work.cut)
        _on_all_ports(ingress, d, space, work.cut, work.ingress)
        _on_all_ports(egress, d, space, work.cut, work.egress)
        for w in range(words):
            work.base[w] = work.ingress[w] & work.egress[w]
            work.row[w] = work.base[w]
            work.some[w] = work.base[w]
        total = weigh(work.base, space.slices)
        count = patterns(work.cut, runs, 0, END)
        for q in range(count):
            work.met[q] = -1
            work.head[q] = -1
        entries = np.empty((0, 2), np.int32)
        found = _file(egress, d, runs, work, 1, entries, 0, False)
        found = _file(ingress, d, runs, work, 0, entries, found, False)
        entries = np.empty((found, 2), np.int32)
        for q in range(count):
            work.met[q] = -1
        found = _file(egress, d, runs, work, 1, entries, 0, True)
        for q in range(count):
            work.egress_head[q] = work.head[q]
        _file(ingress, d, runs, work, 0, entries, found, True)
        let_in = ZERO
        for w in range(words):
            let_in |= work.ingress[w]
        ports = np.int64(0)
        for q in range(count):
            if work.cut.weight[q] == 0:
                continue
            reached = total
            changed = 0
            at = work.head[q]
            alone = at == work.egress_head[q]
            if alone and let_in == ZERO:
                continue
            # What rules of ingress let through is noted, and compared with those of egress.
            while at != work.egress_head[q]:
                s = ingress.sources[entries[at, 0]]
                added, changed = _add(sets, s, work.egress, False, True, space, work, changed)
                reached += added
                at = entries[at, 1]
            while at >= 0:
                s = egress.sources[~entries[at, 0]]
                added, changed = _add(sets, s, work.ingress, not alone, False, space, work, changed)
                reached += added
                at = entries[at, 1]
            pairs = np.int64(0)
            for m in range(member_start[g], member_start[g + 1]):
                i = np.int64(member[m])
                itself = 1 if (work.row[i >> 6] & bit(i)) != ZERO else 0
                pairs += space.weight[i] * (reached - itself)
            ports += work.cut.weight[q] * pairs
            for k in range(changed):
                work.row[work.changed[k]] = work.base[work.changed[k]]
            at = work.head[q]
            while at != work.egress_head[q]:
                _forget(sets, ingress.sources[entries[at, 0]], work)
                at = entries[at, 1]
        out[g, 0] = pairs_of(work.some, g, member_start, member, space)
        out[g, 1] = ports
