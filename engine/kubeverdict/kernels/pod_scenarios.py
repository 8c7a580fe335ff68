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

from kubeverdict.kernels.actions import DENY
from kubeverdict.kernels.bits import ONE, ZERO, bit, lowest
from kubeverdict.kernels.collect import (
    ABOUT,
    ACTION,
    PORTS,
    TIER,
    VERSION,
    collect,
    collect_merged,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.rows import (
    admit,
    begin_row,
    choose,
    end_row,
    is_part,
    judge_other,
    judge_own,
    keep_ground,
    pods_in,
    ports_of,
    recall_ground,
    start_slots,
)
from kubeverdict.kernels.scenario_results import (
    ABSENT,
    DECIDED,
    DESTINATION,
    PAIRS_CLOSED,
    PAIRS_OPENED,
    PORTS_CLOSED,
    PORTS_OPENED,
    SOURCE,
    STANDS_FOR,
    count_homes,
    decide_both,
    keep_example,
    meet_home,
    meet_outside,
)

_BEFORE, _AFTER = 1, 2


class Moves(NamedTuple):
    """The moves of each scenario; those of one kind are one, with a number of pods."""

    start: NDArray[np.int64]  # (scenarios + 1,)
    before: NDArray[np.int32]  # position; -1 for pods that come
    after: NDArray[np.int32]  # position; -1 for pods that go
    pods: NDArray[np.int64]
    home: NDArray[np.int32]  # workload


@kernel
def _collect_both(rules, view, before, after, moves, ground, work):
    """The rules of both positions, in the version that each belongs to; returns how many there
    are of this side and of the other."""
    nothing = moves.before[:0]  # no policy is switched
    own = 0
    other = 0
    for version in range(1, 3):
        position = np.int64(before if version == _BEFORE else after)
        if position < 0:
            work.own[own, ABOUT] = 0
            work.own[own, PORTS] = 0
            work.own[own, ACTION] = DENY
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
def _weigh(bits, moves, ground, work):
    """Pods that stay, at the positions that the slots have of a bitmap."""
    total = pods_in(bits, ground, work)
    for m in range(moves.before.size):
        position = moves.before[m]
        held = position >= 0 and work.slot_of[position >> 6] >= 0
        if held and (bits[position >> 6] & bit(position)) != ZERO:
            total -= moves.pods[m]
    return total


@kernel
def _in_focus(position, ground):
    return position >= 0 and (ground.focus[position >> 6] & bit(position)) != ZERO


@kernel
def _stays(position, moves, ground):
    """Whether an end is there in both versions: an address, or a pod that does not move."""
    if (ground.outside[position >> 6] & bit(position)) != ZERO:
        return True
    left = ground.weight[position]
    for m in range(moves.before.size):
        if moves.before[m] == position:
            left -= moves.pods[m]
    return left > 0


@kernel
def _first_staying(bits, moves, ground, work):
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        rest = bits[word]
        while rest != ZERO:
            position = (np.int64(word) << 6) + lowest(rest)
            rest &= rest - ONE
            if _stays(position, moves, ground):
                return position
    return np.int64(-1)


@kernel
def _moved(move):
    """How examples have an end that moves: below all positions."""
    return np.int64(-2) - move


# --- towards ends that stay ------------------------------------------------------------------


@kernel
def _count(move, moves, weight, focused, ground, work, out):
    """Count what differs in ``work.mine`` towards ends that stay, on ``weight`` ports. Returns
    the pod pairs that open and that close, and leaves both in ``work.opens``, ``work.closes``."""
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        counts = work.limit[k] if focused else ground.focus[word]
        work.opens[word] = work.mine[1, k] & ~work.mine[0, k] & counts
        work.closes[word] = work.mine[0, k] & ~work.mine[1, k] & counts
    opened = moves.pods[move] * _weigh(work.opens, moves, ground, work)
    closed = moves.pods[move] * _weigh(work.closes, moves, ground, work)
    out[PORTS_OPENED] += opened * weight
    out[PORTS_CLOSED] += closed * weight
    return opened, closed


@kernel
def _note(direction, move, moves, bits, total, place, pairs, ground, work, examples):
    """Note what changes on a pattern of ports towards ends that stay, in ``total`` and as an
    example. Returns whether anything does."""
    other = _first_staying(bits, moves, ground, work)
    if other < 0:
        return False
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        total[word] |= bits[word]
        work.changed[word] |= bits[word]
    keep_example(examples, direction, _moved(move), other, place, pairs)
    return True


# --- towards ends that move too --------------------------------------------------------------


@kernel
def _lets(version, position, work):
    """Whether a pattern lets a position through: as the slots have it, and where they do not
    have it as the first pattern does."""
    if position < 0:
        return False
    word = position >> 6
    k = work.slot_of[word]
    if k >= 0 and (work.limit[k] & bit(position)) != ZERO:
        return (work.mine[version, k] & bit(position)) != ZERO
    return (work.kept[version, word] & bit(position)) != ZERO


@kernel
def _count_between(move, moves, weight, focused, ground, work, among, out):
    """Count what differs towards other moves, on ``weight`` ports. The first two columns of
    ``among`` get the pod pairs that open and that close."""
    for m in range(moves.before.size):
        before = np.int64(moves.before[m])
        after = np.int64(moves.after[m])
        among[m, 0] = 0
        among[m, 1] = 0
        was = _lets(0, before, work)
        now = _lets(1, after, work)
        if was == now or not (focused or _in_focus(before, ground) or _in_focus(after, ground)):
            continue
        pairs = moves.pods[move] * (moves.pods[m] - (1 if m == move else 0))
        out[PORTS_OPENED if now else PORTS_CLOSED] += pairs * weight
        among[m, 0 if now else 1] = pairs


# --- rows ------------------------------------------------------------------------------------


@kernel
def _judge_moved(direction, move, moves, sides, views, ground, homes, among, work, report, mark):
    """One row of a move. Pairs of two moves count for destinations only, so that each counts
    once. ``report`` are the figures and the examples of what opens and of what closes."""
    out, opened, closed = report
    before = np.int64(moves.before[move])
    after = np.int64(moves.after[move])
    focused = _in_focus(before, ground) or _in_focus(after, ground)
    start_slots(work)
    for word in range(ground.universe.size):
        bits = ground.universe[word]
        if bits != ZERO:
            admit(work, word, bits)
    rules, view = sides[direction], views[1 - direction]
    own, other = _collect_both(rules, view, before, after, moves, ground, work)
    count = moves.before.size if direction == 0 else 0
    for m in range(count):
        for column in range(4):
            among[m, column] = 0
    touched = False
    found = begin_row(own, other, ground, work)
    for q in range(found):
        weight = ports_of(q, found, work.cut)
        if weight == 0 or choose(q, own, other, ground, work) == 0:
            continue
        place = work.cut.place[q]
        judge_own(2, ground, work)
        differs = judge_other(2, False, ground, work)
        if q == 0:
            keep_ground(2, work)
        if differs:
            opens, closes = _count(move, moves, weight, focused, ground, work, out)
            touched |= _note(
                direction, move, moves, work.opens, work.gained, place, opens, ground, work, opened
            )
            touched |= _note(
                direction, move, moves, work.closes, work.lost, place, closes, ground, work, closed
            )
        if direction == 0:
            _count_between(move, moves, weight, focused, ground, work, among, out)
            for m in range(count):
                for way in range(2):
                    if among[m, way] > 0:
                        among[m, 2 + way] = among[m, way]
                        kept = opened if way == 0 else closed
                        keep_example(kept, 0, _moved(move), _moved(m), place, among[m, way])
        if is_part(q, work.cut):
            if recall_ground(2, work):
                _count(move, moves, -weight, focused, ground, work, out)
            if direction == 0:
                _count_between(move, moves, -weight, focused, ground, work, among, out)
    end_row(work)
    pods = moves.pods[move]
    out[PAIRS_OPENED] += pods * _weigh(work.gained, moves, ground, work)
    out[PAIRS_CLOSED] += pods * _weigh(work.lost, moves, ground, work)
    namespaces, homes_met, namespaces_met = homes.namespace, work.homes_met, work.namespaces_met
    for m in range(count):
        out[PAIRS_OPENED] += among[m, 2]
        out[PAIRS_CLOSED] += among[m, 3]
        if among[m, 2] + among[m, 3] > 0:
            touched = True
            meet_home(moves.home[m], namespaces, homes_met, namespaces_met, out, mark)
    if touched:
        meet_home(moves.home[move], namespaces, homes_met, namespaces_met, out, mark)
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        meet_outside(word, ground, work, out)


@kernel
def _explain(example, moves, sides, ground, work):
    """Fill in what decides both directions of an example, before and after."""
    if example[STANDS_FOR] == 0:
        return
    nothing = moves.before[:0]
    for v in range(2):
        source = example[SOURCE]
        destination = example[DESTINATION]
        if source < -1:
            source = np.int64(moves.before[-2 - source] if v == 0 else moves.after[-2 - source])
        if destination < -1:
            move = -2 - destination
            destination = np.int64(moves.before[move] if v == 0 else moves.after[move])
        if source < 0 or destination < 0:
            example[DECIDED + 2 * v] = ABSENT
            example[DECIDED + 2 * v + 1] = ABSENT
            continue
        decide_both(example, v, (source, destination), 1, nothing, sides, ground, work)


@kernel
def judge_moves(first, stop, moves, ground, sides, views, homes, among, work, out, opened, closed):
    """Judge scenarios ``first`` to ``stop - 1``, each some moves of pods.

    ``among`` (moves, 4) is working memory for the moves of any one scenario. ``out``, ``opened``
    and ``closed`` are as for :func:`kubeverdict.kernels.policy_scenarios.judge_scenarios`.
    """
    for scenario in range(first, stop):
        begin = moves.start[scenario]
        end = moves.start[scenario + 1]
        own = Moves(
            moves.start,
            moves.before[begin:end],
            moves.after[begin:end],
            moves.pods[begin:end],
            moves.home[begin:end],
        )
        mark = bit(scenario - first)
        report = (out[scenario], opened[scenario], closed[scenario])
        for m in range(own.before.size):
            if own.before[m] >= 0:
                for i in range(homes.start[own.before[m]], homes.start[own.before[m] + 1]):
                    if homes.workload[i] == own.home[m]:
                        work.away[i] += own.pods[m]
        for m in range(own.before.size):
            for direction in range(2):
                _judge_moved(
                    direction, m, own, sides, views, ground, homes, among, work, report, mark
                )
        for i in range(opened.shape[1]):
            _explain(opened[scenario, i], own, sides, ground, work)
            _explain(closed[scenario, i], own, sides, ground, work)
        count_homes(homes, work, out[scenario], mark)
        for m in range(own.before.size):
            if own.before[m] >= 0:
                for i in range(homes.start[own.before[m]], homes.start[own.before[m] + 1]):
                    work.away[i] = 0
