"""Who reaches a destination: rows of the reachability matrix, made, counted and thrown away.

A *row* is the set of sources that may reach a destination on some ports. Both directions give
one: ingress from the rules that select the destination (their peer sets), egress from the rules
that have the destination as peer (their subject sets). Each is folded in evaluation order,

    allow |= set & open; open &= ~set

per matching rule, with Pass moving bits to the next tier, and what stays open past the last tier is
allowed. The row is the intersection. Ports are cut into the few patterns that the rules of one row
distinguish, so nothing of size identities x identities x ports ever exists.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.actions import ALLOW, LAYER_BITS, PASS
from kubeverdict.kernels.bits import ONE, ZERO, Sets, bit, count_ones, has, lowest
from kubeverdict.kernels.jit import kernel, making_kernel

BEFORE = 1
AFTER = 2


class View(NamedTuple):
    """Rules of one direction, listed by what selects a destination."""

    part: NDArray[np.int32]  # by identity; -1 where no rule is listed
    start: NDArray[np.int64]  # (parts + 1,)
    row: NDArray[np.int32]  # indices into the arrays below, in evaluation order
    found_by: NDArray[np.int32]  # set of destinations that the rule is listed for
    sources: NDArray[np.int32]  # set of sources that the rule is about
    ports: NDArray[np.int32]  # port set
    action: NDArray[np.uint8]
    tier: NDArray[np.int32]
    rule: NDArray[np.int32]  # rule id of one of the rules behind it, or a negative reason
    version: NDArray[np.uint8]  # BEFORE, AFTER or both


class Space(NamedTuple):
    """What rows are made of."""

    sets: Sets  # of identities
    ports: Sets  # of port atoms; set 0 is all of them
    atom_weight: NDArray[np.int64]  # ports in each atom
    universe: NDArray[np.uint64]  # (versions, words) bitmaps of the identities that there are
    weight: NDArray[np.int64]  # pods in each identity
    slices: NDArray[np.uint64]  # (bits, words): bit b of the weights, by identity


class ReachScratch(NamedTuple):
    """Working memory of one thread."""

    part: NDArray[np.int32]  # by atom
    members: NDArray[np.int32]
    hits: NDArray[np.int32]
    renamed: NDArray[np.int32]
    met: NDArray[np.int32]
    touched: NDArray[np.int32]
    atom: NDArray[np.int32]  # by pattern: an atom of it; -1 for all atoms no rule names
    weight: NDArray[np.int64]  # by pattern: ports in it
    seen: NDArray[np.int64]  # by port set: when it was last met
    lists: NDArray[np.int32]  # the port sets of a row
    open: NDArray[np.uint64]
    passed: NDArray[np.uint64]


def scratch(space: Space) -> ReachScratch:
    """Working memory for :func:`patterns` and :func:`fold`."""
    atoms = space.atom_weight.size
    port_sets = space.ports.start.size - 1
    words = space.universe.shape[1]
    return ReachScratch(
        part=np.zeros(atoms, np.int32),
        members=np.zeros(atoms + 2, np.int32),
        hits=np.zeros(atoms + 2, np.int32),
        renamed=np.full(atoms + 2, -1, np.int32),
        met=np.empty(atoms + 2, np.int32),
        touched=np.empty(atoms + 1, np.int32),
        atom=np.empty(atoms + 2, np.int32),
        weight=np.empty(atoms + 2, np.int64),
        seen=np.full(port_sets, -1, np.int64),
        lists=np.empty(port_sets, np.int32),
        open=np.empty(words, np.uint64),
        passed=np.zeros(words, np.uint64),
    )


@kernel
def listed(view, destination):
    """The slice of ``view.row`` for a destination identity."""
    part = view.part[destination]
    if part < 0:
        return np.int64(0), np.int64(0)
    return view.start[part], view.start[part + 1]


@kernel
def _gather(view, first, stop, stamp, work, found):
    for i in range(first, stop):
        t = view.ports[view.row[i]]
        if t != 0 and work.seen[t] != stamp:
            work.seen[t] = stamp
            work.lists[found] = t
            found += 1
    return found


@kernel
def patterns(ingress, egress, destination, space, work, stamp):
    """Cut the ports into what the rules of one destination distinguish.

    Fills ``work.atom`` and ``work.weight`` and returns how many patterns there are. Pattern 0 is
    every atom that no port list of the row names; a pattern with atom -2 is empty. ``work.part``
    holds the pattern of each atom until the next call, ``stamp`` must be new for each call.
    """
    for atom in range(work.part.size):
        work.part[atom] = 0
    first, stop = listed(ingress, destination)
    found = _gather(ingress, first, stop, stamp, work, 0)
    first, stop = listed(egress, destination)
    found = _gather(egress, first, stop, stamp, work, found)
    count = 1
    work.members[0] = work.part.size + 1  # never wholly inside a port list
    marked = 0
    for k in range(found):
        t = work.lists[k]
        met = 0
        for at in range(space.ports.start[t], space.ports.start[t + 1]):
            rest = space.ports.bits[at]
            base = np.int64(space.ports.word[at]) << 6
            while rest != ZERO:
                old = work.part[base + lowest(rest)]
                rest &= rest - ONE
                if work.hits[old] == 0:
                    work.met[met] = old
                    met += 1
                work.hits[old] += 1
        for i in range(met):
            old = work.met[i]
            if work.hits[old] < work.members[old]:
                work.renamed[old] = count
                work.members[count] = work.hits[old]
                work.members[old] -= work.hits[old]
                count += 1
        for at in range(space.ports.start[t], space.ports.start[t + 1]):
            rest = space.ports.bits[at]
            base = np.int64(space.ports.word[at]) << 6
            while rest != ZERO:
                atom = base + lowest(rest)
                rest &= rest - ONE
                old = work.part[atom]
                if old == 0:
                    work.touched[marked] = atom
                    marked += 1
                if work.renamed[old] >= 0:
                    work.part[atom] = work.renamed[old]
        for i in range(met):
            work.hits[work.met[i]] = 0
            work.renamed[work.met[i]] = -1
    for q in range(count):
        work.atom[q] = -2
        work.weight[q] = 0
    work.atom[0] = -1
    named = np.int64(0)
    for i in range(marked):
        atom = work.touched[i]
        work.atom[work.part[atom]] = atom
        work.weight[work.part[atom]] += space.atom_weight[atom]
        named += space.atom_weight[atom]
    work.weight[0] = space.atom_weight.sum() - named
    return count


@kernel
def fold(view, destination, version, atom, space, work, allow):
    """The sources that one direction lets through to ``destination`` at a port atom, into
    ``allow`` (words,). Atom -1 matches only rules for every port. Returns whether any is."""
    first, stop = listed(view, destination)
    last_layer = view.tier[view.row[stop - 1]] >> LAYER_BITS if stop > first else 0
    for w in range(allow.size):
        allow[w] = space.universe[version - 1, w]
    # What one layer lets through has to get through the next.
    for layer in range(last_layer + 1):
        for w in range(allow.size):
            work.open[w] = allow[w]
            allow[w] = ZERO
        _fold_layer(view, first, stop, layer, version, atom, space, work, allow)
    some = ZERO
    for w in range(allow.size):
        some |= allow[w]
    return some != ZERO


@kernel
def _fold_layer(view, first, stop, layer, version, atom, space, work, allow):
    """The part of one layer: of what is in ``work.open``, into ``allow``."""
    words = allow.size
    tier = -1
    passing = False
    for i in range(first, stop):
        r = view.row[i]
        if (view.version[r] & version) == 0 or view.tier[r] >> LAYER_BITS != layer:
            continue
        t = view.ports[r]
        if t != 0 and (atom < 0 or not has(space.ports, t, atom)):
            continue
        if passing and view.tier[r] != tier:
            for w in range(words):
                work.open[w] |= work.passed[w]
                work.passed[w] = ZERO
            passing = False
        tier = view.tier[r]
        action = view.action[r]
        s = view.sources[r]
        for at in range(space.sets.start[s], space.sets.start[s + 1]):
            w = space.sets.word[at]
            if w >= words:
                break
            matched = space.sets.bits[at] & work.open[w]
            if matched == ZERO:
                continue
            work.open[w] ^= matched
            if action == ALLOW:
                allow[w] |= matched
            elif action == PASS:
                work.passed[w] |= matched
                passing = True
    for w in range(words):
        allow[w] |= work.open[w]
        if passing:
            allow[w] |= work.passed[w]
            work.passed[w] = ZERO


@kernel
def weigh(words, slices):
    """Pods behind the identities of a bitmap: popcounts against the bits of the weights."""
    total = np.int64(0)
    for b in range(slices.shape[0]):
        ones = np.int64(0)
        for w in range(words.size):
            ones += count_ones(words[w] & slices[b, w])
        total += ones << b
    return total


@kernel
def pairs_of(row, group, member_start, member, space):
    """Pod pairs of a row that the identities of a destination group share, a pod and itself
    left out."""
    sources = weigh(row, space.slices)
    pairs = np.int64(0)
    for m in range(member_start[group], member_start[group + 1]):
        i = np.int64(member[m])
        itself = 1 if (row[i >> 6] & bit(i)) != ZERO else 0
        pairs += space.weight[i] * (sources - itself)
    return pairs


@kernel
def reach(ingress, egress, destination, version, atom, space, work, row, other):
    """The sources that reach ``destination`` at a port atom, into ``row``; ``other`` is scratch.
    Returns whether there are any."""
    there = space.universe[version - 1, destination >> 6] & bit(destination)
    if there == ZERO or not fold(ingress, destination, version, atom, space, work, row):
        for w in range(row.size):
            row[w] = ZERO
        return False
    fold(egress, destination, version, atom, space, work, other)
    some = ZERO
    for w in range(row.size):
        row[w] &= other[w]
        some |= row[w]
    return some != ZERO


@making_kernel
def count_rows(first, stop, destination, member_start, member, ingress, egress, space, work, out):
    """Count what reaches the destination groups ``first`` to ``stop - 1``.

    A group is identities with the same rules as destination: ``destination[g]`` is one of them,
    ``member[member_start[g]:member_start[g+1]]`` all. ``out[g]`` becomes (pod pairs that connect
    on at least one port, (pod pair, port) combinations), a pod and itself not counted.
    """
    words = space.universe.shape[1]
    row = np.empty(words, np.uint64)
    other = np.empty(words, np.uint64)
    some = np.empty(words, np.uint64)
    for g in range(first, stop):
        d = destination[g]
        count = patterns(ingress, egress, d, space, work, g)
        for w in range(words):
            some[w] = ZERO
        ports = np.int64(0)
        for q in range(count):
            if work.weight[q] == 0 or work.atom[q] == -2:
                continue
            if not reach(ingress, egress, d, BEFORE, work.atom[q], space, work, row, other):
                continue
            for w in range(words):
                some[w] |= row[w]
            ports += work.weight[q] * pairs_of(row, g, member_start, member, space)
        out[g, 0] = pairs_of(some, g, member_start, member, space)
        out[g, 1] = ports


@making_kernel
def one_row(destination, version, ingress, egress, space, work, stamp, rows):
    """The row of one destination by port pattern: ``rows[q]`` (words,) for each pattern q.

    Returns the number of patterns, or, negated, how many are needed where ``rows`` is too small.
    """
    count = patterns(ingress, egress, destination, space, work, stamp)
    if count > rows.shape[0]:
        return -count
    other = np.empty(space.universe.shape[1], np.uint64)
    for q in range(count):
        if work.atom[q] == -2:
            for w in range(other.size):
                rows[q, w] = ZERO
        else:
            atom = work.atom[q]
            reach(ingress, egress, destination, version, atom, space, work, rows[q], other)
    return count


@making_kernel
def count_changes(
    first, stop, destination, member_start, member, ingress, egress, space, work, out
):
    """Count what changes at the destination groups ``first`` to ``stop - 1``.

    ``out[g]`` becomes (pod pairs that gain a port, that lose one, (pair, port) combinations
    gained, lost); a pod and itself are not counted.
    """
    words = space.universe.shape[1]
    before = np.empty(words, np.uint64)
    after = np.empty(words, np.uint64)
    other = np.empty(words, np.uint64)
    gained = np.empty(words, np.uint64)
    lost = np.empty(words, np.uint64)
    for g in range(first, stop):
        d = destination[g]
        count = patterns(ingress, egress, d, space, work, g)
        for w in range(words):
            gained[w] = ZERO
            lost[w] = ZERO
        for k in range(4):
            out[g, k] = 0
        for q in range(count):
            if work.weight[q] == 0 or work.atom[q] == -2:
                continue
            reach(ingress, egress, d, BEFORE, work.atom[q], space, work, before, other)
            reach(ingress, egress, d, AFTER, work.atom[q], space, work, after, other)
            for w in range(words):
                new = after[w] & ~before[w]
                before[w] &= ~after[w]
                after[w] = new
                gained[w] |= new
                lost[w] |= before[w]
            out[g, 2] += work.weight[q] * pairs_of(after, g, member_start, member, space)
            out[g, 3] += work.weight[q] * pairs_of(before, g, member_start, member, space)
        out[g, 0] = pairs_of(gained, g, member_start, member, space)
        out[g, 1] = pairs_of(lost, g, member_start, member, space)
