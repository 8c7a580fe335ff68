"""Rules collected for one end, and what they let through, a few words at a time.

A scenario switches policies on and off beside a base that stays as it is. Rules are listed one by
one, each with the versions in which it is in force; or, for an end at which nothing was switched,
merged as the base has them. Rows are made in *slots*: the words in which something can differ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.bits import (
    ONE,
    ZERO,
    Sets,
    first_at_least,
    has,
    lowest,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.ports import Cut, Runs, cut_memory, holds
from kubeverdict.kernels.reach import View, listed

_ALLOW = 0
_PASS = 2
_ISOLATION = -2
ALWAYS = np.uint8(0xFF)

# Columns of a rule. Sets of the ends on both sides, port list (0 is everything), action, tier,
# place inside the tier, rule id or negative reason, policy.
SUBJECT, PEER, PORTS, ACTION, TIER, ORDER, RULE, POLICY = range(8)
RULE_COLUMNS = 8
# When rules are collected for one end, they have the set of their other ends and the versions
# in which they are in force instead of the first and the last column.
ABOUT, VERSION = 0, 1
COLLECTED = 7


class Rules(NamedTuple):
    """The rules of one direction by policy, one row each; isolation is the last of its tier."""

    part: NDArray[np.int32]  # by position: the list of rows whose subject holds it; -1 none
    start: NDArray[np.int64]  # (parts + 1,)
    row: NDArray[np.int32]  # in evaluation order; rows of the base only
    table: NDArray[np.int64]  # (rows, 8) the columns below
    extra: NDArray[np.int64]  # (candidates + 1,) where the rows of each candidate begin


class Ground(NamedTuple):
    """What all scenarios of a batch stand on. Policies are those of the base, then candidates."""

    sets: Sets  # of positions
    runs: Runs
    universe: NDArray[np.uint64]  # (words,) positions that there are
    outside: NDArray[np.uint64]  # (words,) those that are no pods
    focus: NDArray[np.uint64]  # (words,) changes count if an end is in it
    weight: NDArray[np.int64]  # (positions,) pods
    slices: NDArray[np.uint64]  # (bits, words): bit b of the weights
    subject: NDArray[np.int32]  # (policies,) set of the positions that it selects
    base: int  # policies of the base
    low: int  # changes count on places from low
    high: int  # to high - 1


class Scenarios(NamedTuple):
    """Which policies each scenario switches, and the versions in which they are in force."""

    start: NDArray[np.int64]  # (scenarios + 1,)
    policy: NDArray[np.int32]
    version: NDArray[np.uint8]  # a bit for each version
    speaks: NDArray[np.uint8]  # by policy: a bit for each direction that it judges


class Homes(NamedTuple):
    """Where pods belong."""

    start: NDArray[np.int64]  # (pod positions + 1,)
    workload: NDArray[np.int32]  # those with pods at a position
    pods: NDArray[np.int64]  # how many; 0 for one that only visitors have
    namespace: NDArray[np.int32]  # by workload


class Scratch(NamedTuple):
    """Working memory of one thread."""

    state: NDArray[np.uint8]  # by policy: versions in which it is in force
    cut: Cut
    own: NDArray[np.int64]  # (rows, 7) rules collected for one row: the columns below
    other: NDArray[np.int64]
    all_other: NDArray[np.int32]  # rows of the other side that touched ends list
    met: NDArray[np.int64]  # by row: the scenario that last met it
    touched: NDArray[np.uint64]  # (2, words) by direction
    touched_word: NDArray[np.int32]  # (2, words) those that are not zero
    slot_word: NDArray[np.int32]
    slot_of: NDArray[np.int32]  # by word, -1 where it is no slot
    limit: NDArray[np.uint64]  # by slot: the bits that may differ
    open: NDArray[np.uint64]  # by slot, from here on
    passed: NDArray[np.uint64]
    mine: NDArray[np.uint64]  # (versions, slots)
    theirs: NDArray[np.uint64]  # (versions, slots)
    gained: NDArray[np.uint64]
    lost: NDArray[np.uint64]
    broken: NDArray[np.uint64]
    changed: NDArray[np.uint64]  # (words,) ends of changed pairs, all rows of a scenario
    homes_met: NDArray[np.int64]  # by workload: the scenario that last met it
    namespaces_met: NDArray[np.int64]
    away: NDArray[np.int64]  # by workload of a position: pods that a scenario moves
    sizes: NDArray[np.int64]  # touched words of either direction, slots


def scratch(
    ground: Ground,
    sides: tuple[Rules, Rules],
    views: tuple[View, View],
    homes: Homes,
    versions: int,
    candidates: int,
) -> Scratch:
    """Working memory for scenarios of ``versions`` versions whose candidates have no more than
    ``candidates`` rows of one direction."""
    words = ground.universe.size
    policies = ground.subject.size
    rows = max(side.table.shape[0] for side in sides)
    longest = max(int(np.diff(listing.start).max(initial=0)) for listing in (*sides, *views))
    state = np.zeros(policies, np.uint8)
    state[: ground.base] = ALWAYS
    slots = [np.zeros(words, np.uint64) for _ in range(7)]
    return Scratch(
        state=state,
        cut=cut_memory(ground.runs),
        # Two positions may be collected together.
        own=np.empty((2 * longest + 2 + candidates, COLLECTED), np.int64),
        other=np.empty((max(2 * longest, rows) + candidates, COLLECTED), np.int64),
        all_other=np.empty(rows + candidates, np.int32),
        met=np.zeros(rows, np.int64),
        touched=np.zeros((2, words), np.uint64),
        touched_word=np.empty((2, words), np.int32),
        slot_word=np.empty(words, np.int32),
        slot_of=np.full(words, -1, np.int32),
        limit=slots[0],
        open=slots[1],
        passed=slots[2],
        mine=np.zeros((versions, words), np.uint64),
        theirs=np.zeros((versions, words), np.uint64),
        gained=slots[3],
        lost=slots[4],
        broken=slots[5],
        changed=slots[6],
        homes_met=np.zeros(homes.namespace.size, np.int64),
        namespaces_met=np.zeros(int(homes.namespace.max(initial=0)) + 1, np.int64),
        away=np.zeros(homes.pods.size, np.int64),
        sizes=np.zeros(3, np.int64),
    )


@kernel
def start_slots(work):
    for k in range(work.sizes[2]):
        work.slot_of[work.slot_word[k]] = -1
    work.sizes[2] = 0


@kernel
def admit(work, word, bits):
    """Let some bits of a word differ."""
    k = work.slot_of[word]
    if k < 0:
        k = np.int32(work.sizes[2])
        work.sizes[2] += 1
        work.slot_of[word] = k
        work.slot_word[k] = word
        work.limit[k] = ZERO
    work.limit[k] |= bits


@kernel
def drop_empty(work):
    """Drop the slots in which nothing may differ any more; returns how many are left."""
    left = 0
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        bits = work.limit[k]
        if bits == ZERO:
            work.slot_of[word] = -1
            continue
        work.slot_of[word] = left
        work.slot_word[left] = word
        work.limit[left] = bits
        left += 1
    work.sizes[2] = left
    return left


@kernel
def _push(local, at, rules, row, end, version):
    local[at, ABOUT] = rules.table[row, end]
    local[at, PORTS] = rules.table[row, PORTS]
    local[at, ACTION] = rules.table[row, ACTION]
    local[at, TIER] = rules.table[row, TIER]
    local[at, ORDER] = rules.table[row, ORDER]
    local[at, RULE] = rules.table[row, RULE]
    local[at, VERSION] = version


@kernel
def _sink(local, at):
    """Move the row at the end to its place in evaluation order, behind its equals."""
    while at > 0 and (
        local[at - 1, TIER] > local[at, TIER]
        or (local[at - 1, TIER] == local[at, TIER] and local[at - 1, ORDER] > local[at, ORDER])
    ):
        for column in range(COLLECTED):
            held = local[at, column]
            local[at, column] = local[at - 1, column]
            local[at - 1, column] = held
        at -= 1


@kernel
def collect(rules, position, ground, changes, work, count):
    """The rules that have ``position`` as subject, behind the first ``count`` of ``work.own``;
    returns how many there are then."""
    part = rules.part[position]
    if part >= 0:
        for i in range(rules.start[part], rules.start[part + 1]):
            row = rules.row[i]
            version = work.state[rules.table[row, POLICY]]
            if version != 0:
                _push(work.own, count, rules, row, PEER, version)
                count += 1
    for i in range(changes.size):
        candidate = np.int64(changes[i]) - ground.base
        if candidate < 0:
            continue
        for row in range(rules.extra[candidate], rules.extra[candidate + 1]):
            version = work.state[changes[i]]
            if version != 0 and has(ground.sets, rules.table[row, SUBJECT], position):
                _push(work.own, count, rules, row, PEER, version)
                _sink(work.own, count)
                count += 1
    return count


@kernel
def admit_changes(count, ground, work):
    """Make slots of what the switched rules in ``work.own`` name."""
    own = work.own
    for i in range(count):
        if own[i, VERSION] == ALWAYS:
            continue
        if own[i, RULE] == _ISOLATION:
            isolated = False
            for k in range(count):
                isolated |= (
                    own[k, RULE] == _ISOLATION
                    and own[k, VERSION] == ALWAYS
                    and own[k, TIER] == own[i, TIER]
                )
            if isolated:
                continue
        s = own[i, ABOUT]
        for at in range(ground.sets.start[s], ground.sets.start[s + 1]):
            admit(work, ground.sets.word[at], ground.sets.bits[at])


@kernel
def fold(local, count, version, place, ground, work, allow):
    """The other ends that the rules of ``local`` let through in a version, into ``allow`` (by
    slot). See :func:`kubeverdict.kernels.reach.fold`."""
    slots = work.sizes[2]
    for k in range(slots):
        allow[k] = ZERO
        work.open[k] = work.limit[k]
    tier = -1
    passing = False
    for i in range(count):
        if (local[i, VERSION] & version) == 0 or not holds(ground.runs, local[i, PORTS], place):
            continue
        if passing and local[i, TIER] != tier:
            for k in range(slots):
                work.open[k] |= work.passed[k]
                work.passed[k] = ZERO
            passing = False
        tier = local[i, TIER]
        action = local[i, ACTION]
        s = local[i, ABOUT]
        if s == 0:
            for k in range(slots):
                if action == _ALLOW:
                    allow[k] |= work.open[k]
                elif action == _PASS:
                    work.passed[k] |= work.open[k]
                    passing = True
                work.open[k] = ZERO
            if not passing:
                break
            continue
        first = ground.sets.start[s]
        stop = ground.sets.start[s + 1]
        # Few slots in a large set are looked up, otherwise the set is walked.
        look_up = slots * 6 < stop - first
        for step in range(slots if look_up else stop - first):
            if look_up:
                k = step
                word = work.slot_word[k]
                at = first_at_least(ground.sets.word, first, stop, word)
                if at == stop or ground.sets.word[at] != word:
                    continue
            else:
                at = first + step
                k = work.slot_of[ground.sets.word[at]]
                if k < 0:
                    continue
            matched = ground.sets.bits[at] & work.open[k]
            if matched == ZERO:
                continue
            work.open[k] ^= matched
            if action == _ALLOW:
                allow[k] |= matched
            elif action == _PASS:
                work.passed[k] |= matched
                passing = True
    for k in range(slots):
        allow[k] |= work.open[k]
        if passing:
            allow[k] |= work.passed[k]
            work.passed[k] = ZERO


@kernel
def _meets(sets, s, work):
    """Whether a set has a bit that may differ."""
    if s == 0:
        return True
    first = sets.start[s]
    stop = sets.start[s + 1]
    if work.sizes[2] * 6 < stop - first:
        for k in range(work.sizes[2]):
            at = first_at_least(sets.word, first, stop, work.slot_word[k])
            found = at < stop and sets.word[at] == work.slot_word[k]
            if found and (sets.bits[at] & work.limit[k]) != ZERO:
                return True
        return False
    for at in range(first, stop):
        k = work.slot_of[sets.word[at]]
        if k >= 0 and (sets.bits[at] & work.limit[k]) != ZERO:
            return True
    return False


@kernel
def collect_merged(view, position, ground, work, count):
    """The base's rules of the other side that list ``position``, behind the first ``count`` of
    ``work.other``; returns how many there are then."""
    first, stop = listed(view, position)
    for i in range(first, stop):
        row = view.row[i]
        s = view.sources[row]
        if not _meets(ground.sets, s, work):
            continue
        work.other[count, ABOUT] = s
        work.other[count, PORTS] = view.ports[row]
        work.other[count, ACTION] = view.action[row]
        work.other[count, TIER] = view.tier[row]
        work.other[count, VERSION] = ALWAYS
        count += 1
    return count


@kernel
def gather_other(rules, ground, changes, work, stamp):
    """The egress rules of all sources touched, into ``work.all_other``, those of the base in
    evaluation order."""
    count = 0
    for i in range(work.sizes[1]):
        word = work.touched_word[1, i]
        rest = work.touched[1, word]
        base = np.int64(word) << 6
        while rest != ZERO:
            part = rules.part[base + lowest(rest)]
            rest &= rest - ONE
            if part < 0:
                continue
            for at in range(rules.start[part], rules.start[part + 1]):
                row = rules.row[at]
                if work.met[row] != stamp:
                    work.met[row] = stamp
                    work.all_other[count] = row
                    count += 1
    work.all_other[:count].sort()
    for i in range(changes.size):
        candidate = np.int64(changes[i]) - ground.base
        if candidate >= 0:
            for row in range(rules.extra[candidate], rules.extra[candidate + 1]):
                work.all_other[count] = row
                count += 1
    return count


@kernel
def collect_single(rules, rows, position, ground, work):
    """Of ``work.all_other``, the rules that have ``position`` at their other end."""
    count = 0
    for i in range(rows):
        row = work.all_other[i]
        version = work.state[rules.table[row, POLICY]]
        peer = rules.table[row, PEER]
        if version == 0 or not (peer == 0 or has(ground.sets, peer, position)):
            continue
        _push(work.other, count, rules, row, SUBJECT, version)
        _sink(work.other, count)
        count += 1
    return count
