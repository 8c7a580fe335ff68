"""Rules collected for one end, and the memory that scenarios are judged in.

A scenario switches policies on and off over a base that stays as it is. Rules are listed one by
one, each with the versions in which it is in force; or, for an end at which nothing was switched,
merged as the base has them.
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
    sort,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.ports import Cut, Runs, cut_memory
from kubeverdict.kernels.reach import View, listed

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
    directions: NDArray[np.uint8]  # by policy: a bit for each direction that it judges


class Homes(NamedTuple):
    """Where pods belong."""

    start: NDArray[np.int64]  # (pod positions + 1,)
    workload: NDArray[np.int32]  # those with pods at a position
    pods: NDArray[np.int64]  # how many; 0 for one that only visitors have
    namespace: NDArray[np.int32]  # by workload


class RuleScratch(NamedTuple):
    """Working memory of one thread."""

    state: NDArray[np.uint8]  # by policy: versions in which it is in force
    cut: Cut
    own: NDArray[np.int64]  # (rows, 7) rules collected for one row: the columns below
    other: NDArray[np.int64]
    all_other: NDArray[np.int32]  # rows of the other side that touched ends list
    met: NDArray[np.int64]  # by row: the scenario that last met it
    touched: NDArray[np.uint64]  # (2, words) by direction
    touched_word: NDArray[np.int32]  # (2, words) those that are not zero
    chosen: NDArray[np.int32]  # (2, rows) rules of own and of other that cover a pattern
    slot_word: NDArray[np.int32]
    slot_of: NDArray[np.int32]  # by word, -1 where it is no slot
    limit: NDArray[np.uint64]  # by slot: the bits that may differ
    open: NDArray[np.uint64]  # by slot
    passed: NDArray[np.uint64]  # by slot; zero between uses
    mine: NDArray[np.uint64]  # (versions, slots)
    theirs: NDArray[np.uint64]  # (versions, slots)
    row_word: NDArray[np.int32]  # the slots of a whole row
    row: NDArray[np.uint64]  # by word: their bits; zero outside of a row
    kept: NDArray[np.uint64]  # (versions, words) the row on its first pattern of ports
    opens: NDArray[np.uint64]  # by word, as all below
    closes: NDArray[np.uint64]
    gained: NDArray[np.uint64]  # of a row, on any port
    lost: NDArray[np.uint64]
    broken: NDArray[np.uint64]
    changed: NDArray[np.uint64]  # ends of changed pairs, all rows of a scenario
    homes_met: NDArray[np.uint64]  # by workload: a bit for each scenario that met it
    namespaces_met: NDArray[np.uint64]
    away: NDArray[np.int64]  # by workload of a position: pods that a scenario moves
    # How many there are of touched words of either direction, slots, slots of the whole row, and
    # chosen rules of either side; then the last layer of the chosen rules of either side.
    sizes: NDArray[np.int64]


def scratch(
    ground: Ground,
    sides: tuple[Rules, Rules],
    views: tuple[View, View],
    homes: Homes,
    versions: int,
    candidates: int,
) -> RuleScratch:
    """Working memory for scenarios of ``versions`` versions whose candidates have no more than
    ``candidates`` rows of one direction."""
    words = ground.universe.size
    policies = ground.subject.size
    rows = max(side.table.shape[0] for side in sides)
    longest = max(int(np.diff(listing.start).max(initial=0)) for listing in (*sides, *views))
    state = np.zeros(policies, np.uint8)
    state[: ground.base] = ALWAYS
    # Two positions may be collected together.
    most_own = 2 * longest + 2 + candidates
    most_other = max(2 * longest, rows) + candidates
    bitmaps = [np.zeros(words, np.uint64) for _ in range(10)]
    return RuleScratch(
        state=state,
        cut=cut_memory(ground.runs),
        own=np.empty((most_own, COLLECTED), np.int64),
        other=np.empty((most_other, COLLECTED), np.int64),
        all_other=np.empty(rows + candidates, np.int32),
        met=np.zeros(rows, np.int64),
        touched=np.zeros((2, words), np.uint64),
        touched_word=np.empty((2, words), np.int32),
        chosen=np.empty((2, max(most_own, most_other)), np.int32),
        slot_word=np.empty(words, np.int32),
        slot_of=np.full(words, -1, np.int32),
        limit=bitmaps[0],
        open=bitmaps[1],
        passed=bitmaps[2],
        mine=np.zeros((versions, words), np.uint64),
        theirs=np.zeros((versions, words), np.uint64),
        row_word=np.empty(words, np.int32),
        row=bitmaps[3],
        kept=np.zeros((versions, words), np.uint64),
        opens=bitmaps[4],
        closes=bitmaps[5],
        gained=bitmaps[6],
        lost=bitmaps[7],
        broken=bitmaps[8],
        changed=bitmaps[9],
        homes_met=np.zeros(homes.namespace.size, np.uint64),
        namespaces_met=np.zeros(int(homes.namespace.max(initial=0)) + 1, np.uint64),
        away=np.zeros(homes.pods.size, np.int64),
        sizes=np.zeros(8, np.int64),
    )


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
    sort(work.all_other, count)
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
