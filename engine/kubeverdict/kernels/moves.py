"""What changes when pods come, go, or get other labels, while the policies stay.

A pod that changes *moves* from one position to another; one that comes or goes has no position
before or after. Nothing else moves, so only pairs with a moved end can change. Each move gives
a row for its pods as destination and one as source, over all other ends; both positions' rules
are collected for it, in two versions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.answers import (
    DECIDED,
    DESTINATION,
    OUTSIDE_CLOSED,
    OUTSIDE_OPENED,
    PAIRS_CLOSED,
    PAIRS_OPENED,
    PLACE,
    PORTS_CLOSED,
    PORTS_OPENED,
    SOURCE,
    STANDS_FOR,
    count_homes,
    decide,
    meet_home,
)
from kubeverdict.kernels.bits import ONE, ZERO, bit, count_ones, lowest
from kubeverdict.kernels.collect import (
    ABOUT,
    ACTION,
    PORTS,
    TIER,
    VERSION,
    admit,
    collect,
    collect_merged,
    fold,
    start_slots,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.ports import add_list, new_cut, patterns

_DENY = 1
_BEFORE, _AFTER = 1, 2
# Decides where an end does not exist, in examples.
ABSENT = -100


class Moves(NamedTuple):
    """The moves of each scenario; those of one kind are one, with a number of pods."""

    start: NDArray[np.int64]  # (scenarios + 1,)
    before: NDArray[np.int32]  # position; -1 for pods that come
    after: NDArray[np.int32]  # position; -1 for pods that go
    pods: NDArray[np.int64]
    home: NDArray[np.int32]  # workload


@kernel
def _collect_both(rules, view, before, after, ground, nothing, work):
    """The rules of both positions, in the version that each belongs to; returns how many there
    are of this side and of the other."""
    own = 0
    other = 0
    for version in range(1, 3):
        position = np.int64(before if version == _BEFORE else after)
        if position < 0:
            work.own[own, ABOUT] = 0
            work.own[own, PORTS] = 0
            work.own[own, ACTION] = _DENY
            work.own[own, TIER] = 0
            work.own[own, VERSION] = version
            own += 1
            continue
        first = own
        own = collect(rules, position, ground, nothing, work, own)
        for i in range(first, own):
            work.own[i, VERSION] = version
        first = other
        other = collect_merged(view, position, ground, work, other)
        for i in range(first, other):
            work.other[i, VERSION] = version
    return own, other


@kernel
def _weigh(words, begin, end, moves, ground, work):
    """Pods that stay, at the positions of a bitmap by slot."""
    total = np.int64(0)
    for b in range(ground.slices.shape[0]):
        ones = np.int64(0)
        for k in range(work.sizes[2]):
            ones += count_ones(words[k] & ground.slices[b, work.slot_word[k]])
        total += ones << b
    for m in range(begin, end):
        if _has(words, moves.before[m], work):
            total -= moves.pods[m]
    return total


@kernel
def _has(words, position, work):
    if position < 0:
        return False
    k = work.slot_of[position >> 6]
    return k >= 0 and (words[k] & bit(position)) != ZERO


@kernel
def _in_focus(position, ground):
    return position >= 0 and (ground.focus[position >> 6] & bit(position)) != ZERO


@kernel
def _stays(position, begin, end, moves, ground):
    """Whether an end is there in both versions: an address, or a pod that does not move."""
    if (ground.outside[position >> 6] & bit(position)) != ZERO:
        return True
    left = ground.weight[position]
    for m in range(begin, end):
        if moves.before[m] == position:
            left -= moves.pods[m]
    return left > 0


@kernel
def _keep(examples, direction, move, other, place, pairs):
    """Keep an example if it stands for more pods than the least that is kept. An end that moves
    is told as -2 less the number of its move."""
    if examples.shape[0] == 0:
        return
    last = examples.shape[0] - 1
    pairs = max(pairs, 1)
    if examples[last, STANDS_FOR] >= pairs:
        return
    while last > 0 and examples[last - 1, STANDS_FOR] < pairs:
        examples[last] = examples[last - 1]
        last -= 1
    moved = -2 - move
    examples[last, SOURCE] = other if direction == 0 else moved
    examples[last, DESTINATION] = moved if direction == 0 else other
    examples[last, PLACE] = place
    examples[last, STANDS_FOR] = pairs


@kernel
def _first_staying(words, begin, end, moves, ground, work):
    for k in range(work.sizes[2]):
        rest = words[k]
        while rest != ZERO:
            position = (np.int64(work.slot_word[k]) << 6) + lowest(rest)
            rest &= rest - ONE
            if _stays(position, begin, end, moves, ground):
                return position
    return np.int64(-1)


@kernel
def _tally_staying(
    direction, move, begin, end, moves, words, weight, place, ground, work, out, columns, examples
):
    """Add up the changes towards ends that stay; ``columns`` are those of (ports, outside)."""
    other = _first_staying(words, begin, end, moves, ground, work)
    if other < 0:
        return False
    pairs = moves.pods[move] * _weigh(words, begin, end, moves, ground, work)
    out[columns[0]] += pairs * weight
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        work.changed[word] |= words[k]
        if (words[k] & ground.outside[word]) != ZERO:
            out[columns[1]] = 1
    _keep(examples, direction, move, other, place, pairs)
    return True


@kernel
def _judge_moved(
    direction,
    move,
    begin,
    end,
    moves,
    rules,
    view,
    ground,
    nothing,
    homes,
    work,
    out,
    opened,
    closed,
    among,
    stamp,
):
    """One row of a move. ``among`` (moves, 2) collects what it gains and loses towards other
    moves, as bits, over all ports; only for destinations, so that each pair counts once."""
    before = np.int64(moves.before[move])
    after = np.int64(moves.after[move])
    focused = _in_focus(before, ground) or _in_focus(after, ground)
    start_slots(work)
    for word in range(ground.universe.size):
        bits = ground.universe[word]
        if bits != ZERO:
            admit(work, word, bits)
    own, other = _collect_both(rules, view, before, after, ground, nothing, work)
    new_cut(work.cut)
    for i in range(own):
        add_list(work.cut, work.own[i, PORTS])
    for i in range(other):
        add_list(work.cut, work.other[i, PORTS])
    found = patterns(work.cut, ground.runs, ground.low, ground.high)
    slots = work.sizes[2]
    for k in range(slots):
        work.gained[k] = ZERO
        work.lost[k] = ZERO
    for m in range(begin, end):
        among[m - begin, 0] = 0
        among[m - begin, 1] = 0
    touched = False
    for q in range(found):
        weight = work.cut.weight[q]
        place = work.cut.place[q]
        if weight == 0:
            continue
        for v in range(2):
            fold(work.own, own, 1 << v, place, ground, work, work.mine[v])
            fold(work.other, other, 1 << v, place, ground, work, work.theirs[v])
            for k in range(slots):
                work.mine[v, k] &= work.theirs[v, k]
        if direction == 0:
            for m in range(begin, end):
                was = _has(work.mine[0], np.int64(moves.before[m]), work)
                now = _has(work.mine[1], np.int64(moves.after[m]), work)
                if was == now:
                    continue
                near = _in_focus(np.int64(moves.before[m]), ground)
                near |= _in_focus(np.int64(moves.after[m]), ground)
                pairs = moves.pods[move] * (moves.pods[m] - (1 if m == move else 0))
                if pairs == 0 or not (focused or near):
                    continue
                touched = True
                meet_home(
                    moves.home[m], homes.namespace, work.homes_met, work.namespaces_met, out, stamp
                )
                if now:
                    out[PORTS_OPENED] += pairs * weight
                    among[m - begin, 0] = pairs
                    _keep(opened, 0, move, -2 - m, place, pairs)
                else:
                    out[PORTS_CLOSED] += pairs * weight
                    among[m - begin, 1] = pairs
                    _keep(closed, 0, move, -2 - m, place, pairs)
        for k in range(slots):
            now = work.mine[1, k] & ~work.mine[0, k]
            was = work.mine[0, k] & ~work.mine[1, k]
            if not focused:
                now &= ground.focus[work.slot_word[k]]
                was &= ground.focus[work.slot_word[k]]
            work.open[k] = now
            work.passed[k] = was
            work.gained[k] |= now
            work.lost[k] |= was
        touched |= _tally_staying(
            direction,
            move,
            begin,
            end,
            moves,
            work.open,
            weight,
            place,
            ground,
            work,
            out,
            (PORTS_OPENED, OUTSIDE_OPENED),
            opened,
        )
        touched |= _tally_staying(
            direction,
            move,
            begin,
            end,
            moves,
            work.passed,
            weight,
            place,
            ground,
            work,
            out,
            (PORTS_CLOSED, OUTSIDE_CLOSED),
            closed,
        )
        for k in range(slots):
            work.passed[k] = ZERO
    pods = moves.pods[move]
    out[PAIRS_OPENED] += pods * _weigh(work.gained, begin, end, moves, ground, work)
    out[PAIRS_CLOSED] += pods * _weigh(work.lost, begin, end, moves, ground, work)
    for m in range(end - begin):
        out[PAIRS_OPENED] += among[m, 0]
        out[PAIRS_CLOSED] += among[m, 1]
    if touched:
        meet_home(
            moves.home[move], homes.namespace, work.homes_met, work.namespaces_met, out, stamp
        )


@kernel
def _explain(example, moves, sides, ground, nothing, work):
    """Fill in what decides both directions of an example, before and after."""
    if example[STANDS_FOR] == 0:
        return
    ingress, egress = sides
    for v in range(2):
        source = example[SOURCE]
        destination = example[DESTINATION]
        if source < -1:
            source = np.int64(moves.before[-2 - source] if v == 0 else moves.after[-2 - source])
        if destination < -1:
            move = -2 - destination
            destination = np.int64(moves.before[move] if v == 0 else moves.after[move])
        column = DECIDED + 2 * v
        if source < 0 or destination < 0:
            example[column] = ABSENT
            example[column + 1] = ABSENT
            continue
        place = example[PLACE]
        example[column] = decide(egress, source, destination, place, 1, nothing, ground, work)
        example[column + 1] = decide(ingress, destination, source, place, 1, nothing, ground, work)


@kernel
def judge_moves(
    first, stop, moves, ground, sides, views, homes, nothing, work, out, opened, closed
):
    """Judge scenarios ``first`` to ``stop - 1``, each some moves of pods.

    ``nothing`` is an empty array of switched policies. ``out``, ``opened`` and ``closed`` are as
    for :func:`kubeverdict.kernels.whatif.judge_scenarios`.
    """
    most = 0
    for scenario in range(first, stop):
        most = max(most, moves.start[scenario + 1] - moves.start[scenario])
    among = np.zeros((most, 2), np.int64)
    for scenario in range(first, stop):
        begin = moves.start[scenario]
        end = moves.start[scenario + 1]
        stamp = scenario + 1
        row = out[scenario]
        for m in range(begin, end):
            if moves.before[m] >= 0:
                for i in range(homes.start[moves.before[m]], homes.start[moves.before[m] + 1]):
                    if homes.workload[i] == moves.home[m]:
                        work.away[i] += moves.pods[m]
        for m in range(begin, end):
            for direction in range(2):
                _judge_moved(
                    direction,
                    m,
                    begin,
                    end,
                    moves,
                    sides[direction],
                    views[1 - direction],
                    ground,
                    nothing,
                    homes,
                    work,
                    row,
                    opened[scenario],
                    closed[scenario],
                    among,
                    stamp,
                )
        for i in range(opened.shape[1]):
            _explain(opened[scenario, i], moves, sides, ground, nothing, work)
            _explain(closed[scenario, i], moves, sides, ground, nothing, work)
        count_homes(homes, work, row, stamp)
        for m in range(begin, end):
            if moves.before[m] >= 0:
                for i in range(homes.start[moves.before[m]], homes.start[moves.before[m] + 1]):
                    work.away[i] = 0
