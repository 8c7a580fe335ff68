"""What scenarios change, judged where they can change anything and nowhere else.

A scenario switches policies on and off over a base that stays as it is. A position (pods that look
alike, or addresses) is *touched* in a direction where a switched policy selects it as subject; only
pairs with a touched end can change, and of a touched end only the pairs with what its switched
rules name, unless it becomes isolated or ceases to be.

Each touched end gives one row over the ends at the other side. Its own rules are listed one by
one, with the versions in which they are in force; the rules of the other side are those of the
base, merged, because there nothing was switched. Pairs with both ends touched are judged with
the rules of both listed one by one. A row is made for a few words at a time: *slots* are the
words in which something can differ.
"""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.bits import ONE, ZERO, bit, lowest
from kubeverdict.kernels.collect import (
    ALWAYS,
    VERSION,
    collect,
    collect_merged,
    collect_single,
    gather_other,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.rows import (
    admit,
    admit_changes,
    begin_row,
    choose,
    drop_empty,
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
    BROKEN,
    COMBINATIONS,
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
    meet_outside,
)


@kernel
def _pairs(position, bits, ground, work):
    """Pod pairs between ``position`` and what the slots have of a bitmap, a pod and itself left
    out."""
    total = pods_in(bits, ground, work)
    if work.slot_of[position >> 6] >= 0 and (bits[position >> 6] & bit(position)) != ZERO:
        total -= 1
    return total * ground.weight[position]


@kernel
def _keep_example(examples, direction, position, bits, place, pairs, ground, work):
    """Keep a pair of those in ``bits`` if it stands for more pods than the least that is kept."""
    if examples.shape[0] == 0:
        return
    other = np.int64(-1)
    for k in range(work.sizes[2]):
        rest = bits[work.slot_word[k]]
        while rest != ZERO and other < 0:
            found = (np.int64(work.slot_word[k]) << 6) + lowest(rest)
            rest &= rest - ONE
            if found != position or ground.weight[position] > 1:
                other = found
    if other >= 0:
        keep_example(examples, direction, position, other, place, pairs)


@kernel
def _own_difference(own, versions, ground, work):
    """Narrow what may differ to what the rules of this side make differ on some port; returns
    how many slots are left."""
    found = begin_row(own, 0, ground, work)
    for q in range(found):
        if work.cut.weight[q] == 0 or choose(q, own, 0, ground, work) == 0:
            continue
        if judge_own(versions, ground, work):
            for v in range(1, versions):
                for k in range(work.sizes[2]):
                    work.gained[work.slot_word[k]] |= work.mine[v, k] ^ work.mine[0, k]
    end_row(work)
    for k in range(work.sizes[2]):
        work.limit[k] &= work.gained[work.slot_word[k]]
    return drop_empty(work)


@kernel
def _count(position, weight, versions, ground, work, out):
    """Count what differs between versions in ``work.mine`` on ``weight`` ports. Returns the pod
    pairs that open and that close, and leaves both in ``work.opens`` and ``work.closes``."""
    before = versions - 2
    after = versions - 1
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        work.opens[word] = work.mine[after, k] & ~work.mine[before, k]
        work.closes[word] = work.mine[before, k] & ~work.mine[after, k]
    opened = _pairs(position, work.opens, ground, work)
    closed = _pairs(position, work.closes, ground, work)
    out[PORTS_OPENED] += opened * weight
    out[PORTS_CLOSED] += closed * weight
    if versions == 4:
        held = work.theirs[0]
        for combination in range(1, 15):
            for k in range(work.sizes[2]):
                bits = work.limit[k]
                for v in range(4):
                    bits &= work.mine[v, k] if (combination >> v) & 1 else ~work.mine[v, k]
                held[work.slot_word[k]] = bits
            out[COMBINATIONS + combination] += weight * _pairs(position, held, ground, work)
    return opened, closed


@kernel
def _tally(direction, position, place, weight, versions, ground, work, out, opened, closed):
    """Add up what differs on one pattern of ports, and keep examples of it."""
    opens, closes = _count(position, weight, versions, ground, work, out)
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        work.gained[word] |= work.opens[word]
        work.lost[word] |= work.closes[word]
        if versions == 4:
            work.broken[word] |= work.closes[word] & work.mine[0, k] & work.mine[1, k]
    _keep_example(opened, direction, position, work.opens, place, opens, ground, work)
    _keep_example(closed, direction, position, work.closes, place, closes, ground, work)


@kernel
def _judge_row(direction, position, own, other, versions, ground, work, out, opened, closed):
    """Judge one row on every pattern of its ports, and add up what differs.

    ``own`` and ``other`` say how many rules were collected for either side.
    """
    own_slot = work.slot_of[position >> 6]
    if own_slot >= 0 and ground.weight[position] == 1:
        # A pod reaches itself whatever policies say.
        work.limit[own_slot] &= ~bit(position)
    if (ground.focus[position >> 6] & bit(position)) == ZERO:
        for k in range(work.sizes[2]):
            work.limit[k] &= ground.focus[work.slot_word[k]]
    if drop_empty(work) == 0:
        return
    same = True
    for i in range(other):
        same &= work.other[i, VERSION] == ALWAYS
    found = begin_row(own, other, ground, work)
    for q in range(found):
        weight = ports_of(q, found, work.cut)
        if weight == 0 or choose(q, own, other, ground, work) == 0:
            continue
        differs = judge_own(versions, ground, work)
        if differs or not same:
            differs = judge_other(versions, same, ground, work)
        if q == 0:
            keep_ground(versions, work)
        if differs:
            place = work.cut.place[q]
            _tally(direction, position, place, weight, versions, ground, work, out, opened, closed)
        if is_part(q, work.cut) and recall_ground(versions, work):
            _count(position, -weight, versions, ground, work, out)
    end_row(work)
    out[PAIRS_OPENED] += _pairs(position, work.gained, ground, work)
    out[PAIRS_CLOSED] += _pairs(position, work.lost, ground, work)
    if versions == 4:
        out[BROKEN] += _pairs(position, work.broken, ground, work)
    some = ZERO
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        bits = work.gained[word] | work.lost[word]
        some |= bits
        work.changed[word] |= bits
        meet_outside(word, ground, work, out)
    if some != ZERO:
        work.changed[position >> 6] |= bit(position)


@kernel
def _touch(changes, directions, direction, ground, work):
    """Mark the positions that switched policies select and judge in a direction."""
    count = 0
    for i in range(changes.size):
        policy = changes[i]
        if (directions[policy] >> direction) & 1 == 0:
            continue
        s = ground.subject[policy]
        for at in range(ground.sets.start[s], ground.sets.start[s + 1]):
            word = ground.sets.word[at]
            if work.touched[direction, word] == ZERO:
                work.touched_word[direction, count] = word
                count += 1
            work.touched[direction, word] |= ground.sets.bits[at]
    work.sizes[direction] = count


@kernel
def _judge_side(direction, rules, view, changes, versions, ground, work, out, opened, closed):
    """Rows of the ends touched in a direction over ends that are not touched in the other."""
    for i in range(work.sizes[direction]):
        word = work.touched_word[direction, i]
        rest = work.touched[direction, word]
        while rest != ZERO:
            position = (np.int64(word) << 6) + lowest(rest)
            rest &= rest - ONE
            own = collect(rules, position, ground, changes, work, 0)
            start_slots(work)
            admit_changes(own, ground, work)
            for k in range(work.sizes[2]):
                w = work.slot_word[k]
                work.limit[k] &= ground.universe[w] & ~work.touched[1 - direction, w]
            if drop_empty(work) == 0 or _own_difference(own, versions, ground, work) == 0:
                continue
            other = collect_merged(view, position, ground, work, 0)
            _judge_row(direction, position, own, other, versions, ground, work, out, opened, closed)


@kernel
def _judge_both(ingress, egress, changes, versions, ground, work, out, opened, closed, stamp):
    """Rows of the destinations touched over the sources touched."""
    rows = gather_other(egress, ground, changes, work, stamp)
    for i in range(work.sizes[0]):
        word = work.touched_word[0, i]
        rest = work.touched[0, word]
        while rest != ZERO:
            position = (np.int64(word) << 6) + lowest(rest)
            rest &= rest - ONE
            own = collect(ingress, position, ground, changes, work, 0)
            start_slots(work)
            for k in range(work.sizes[1]):
                w = work.touched_word[1, k]
                admit(work, w, work.touched[1, w] & ground.universe[w])
            other = collect_single(egress, rows, position, ground, work)
            _judge_row(0, position, own, other, versions, ground, work, out, opened, closed)


@kernel
def _explain(example, versions, changes, sides, ground, work):
    """Fill in what decides both directions of an example, before and after."""
    if example[STANDS_FOR] == 0:
        return
    ends = example[SOURCE], example[DESTINATION]
    for v in range(2):
        decide_both(example, v, ends, 1 << (versions - 2 + v), changes, sides, ground, work)


@kernel
def judge_scenarios(
    first, stop, scenarios, versions, ground, sides, views, homes, work, out, opened, closed
):
    """Judge scenarios ``first`` to ``stop - 1``, at most TOGETHER of them.

    Each switches some policies, with the versions in which each is in force: two versions,
    before and after; or four, of which the last two are compared. ``out`` (scenarios, COLUMNS),
    ``opened`` and ``closed`` (scenarios, n, EXAMPLE) must be zero. ``work.homes_met`` and
    ``work.namespaces_met`` must be, before the first plane of these scenarios.
    """
    ingress, egress = sides
    into, out_to = views
    for scenario in range(first, stop):
        begin = scenarios.start[scenario]
        end = scenarios.start[scenario + 1]
        changes = scenarios.policy[begin:end]
        stamp = scenario + 1
        for i in range(begin, end):
            work.state[scenarios.policy[i]] = scenarios.version[i]
        row = out[scenario]
        gains = opened[scenario]
        losses = closed[scenario]
        for direction in range(2):
            _touch(changes, scenarios.directions, direction, ground, work)
        _judge_side(0, ingress, out_to, changes, versions, ground, work, row, gains, losses)
        _judge_side(1, egress, into, changes, versions, ground, work, row, gains, losses)
        if work.sizes[0] > 0 and work.sizes[1] > 0:
            _judge_both(ingress, egress, changes, versions, ground, work, row, gains, losses, stamp)
        for i in range(gains.shape[0]):
            _explain(gains[i], versions, changes, sides, ground, work)
            _explain(losses[i], versions, changes, sides, ground, work)
        count_homes(homes, work, row, bit(scenario - first))
        for direction in range(2):
            for i in range(work.sizes[direction]):
                work.touched[direction, work.touched_word[direction, i]] = ZERO
        for i in range(changes.size):
            work.state[changes[i]] = ALWAYS if changes[i] < ground.base else 0
