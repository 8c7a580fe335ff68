"""What scenarios change, judged where they can change anything and nowhere else.

A scenario switches policies on and off beside a base that stays as it is. A position (pods that
look alike, or addresses) is *touched* in a direction where a switched policy selects it as
subject; only pairs with a touched end can change, and of a touched end only the pairs with what
its switched rules name, unless it becomes isolated or ceases to be.

Each touched end gives one row over the ends at the other side. Its own rules are listed one by
one, with the versions in which they are in force; the rules of the other side are those of the
base, merged, because there nothing was switched. Pairs with both ends touched are judged with
the rules of both listed one by one. A row is made for a few words at a time: *slots* are the
words in which something can differ.
"""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.answers import (
    BROKEN,
    COMBINATIONS,
    DECIDED,
    DESTINATION,
    OUTSIDE_BROKEN,
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
)
from kubeverdict.kernels.bits import ONE, ZERO, bit, count_ones, lowest
from kubeverdict.kernels.collect import (
    ALWAYS,
    PORTS,
    VERSION,
    admit,
    admit_changes,
    collect,
    collect_merged,
    collect_single,
    drop_empty,
    fold,
    gather_other,
    start_slots,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.ports import add_list, new_cut, patterns


@kernel
def _pairs(position, words, ground, work):
    """Pod pairs between ``position`` and a bitmap by slot, a pod and itself left out."""
    total = np.int64(0)
    for b in range(ground.slices.shape[0]):
        ones = np.int64(0)
        for k in range(work.sizes[2]):
            ones += count_ones(words[k] & ground.slices[b, work.slot_word[k]])
        total += ones << b
    k = work.slot_of[position >> 6]
    if k >= 0 and (words[k] & bit(position)) != ZERO:
        total -= 1
    return total * ground.weight[position]


@kernel
def _keep_example(examples, direction, position, words, place, pairs, ground, work):
    """Keep a pair of those in ``words`` if it stands for more pods than the least that is kept.

    ``examples`` is (n, EXAMPLE), the columns above.
    """
    if examples.shape[0] == 0:
        return
    last = examples.shape[0] - 1
    pairs = max(pairs, 1)
    if examples[last, STANDS_FOR] >= pairs:
        return
    other = np.int64(-1)
    for k in range(work.sizes[2]):
        rest = words[k]
        while rest != ZERO and other < 0:
            found = (np.int64(work.slot_word[k]) << 6) + lowest(rest)
            rest &= rest - ONE
            if found != position or ground.weight[position] > 1:
                other = found
    if other < 0:
        return
    while last > 0 and examples[last - 1, STANDS_FOR] < pairs:
        examples[last] = examples[last - 1]
        last -= 1
    examples[last, SOURCE] = other if direction == 0 else position
    examples[last, DESTINATION] = position if direction == 0 else other
    examples[last, PLACE] = place
    examples[last, STANDS_FOR] = pairs


@kernel
def _own_difference(own, versions, ground, work):
    """Narrow what may differ to what the rules of this side make differ on some port; returns
    how many slots are left."""
    new_cut(work.cut)
    for i in range(own):
        add_list(work.cut, work.own[i, PORTS])
    found = patterns(work.cut, ground.runs, ground.low, ground.high)
    slots = work.sizes[2]
    for k in range(slots):
        work.gained[k] = ZERO
    for q in range(found):
        if work.cut.weight[q] == 0:
            continue
        place = work.cut.place[q]
        for v in range(versions):
            fold(work.own, own, 1 << v, place, ground, work, work.mine[v])
        for v in range(1, versions):
            for k in range(slots):
                work.gained[k] |= work.mine[v, k] ^ work.mine[0, k]
    for k in range(slots):
        work.limit[k] &= work.gained[k]
    return drop_empty(work)


@kernel
def _tally(direction, position, place, weight, versions, theirs, ground, work, out, opened, closed):
    """Add up what differs on one pattern of ports. ``theirs`` says for how many versions the
    rules of the other side were judged: one, where they are the same in all."""
    slots = work.sizes[2]
    before = versions - 2
    after = versions - 1
    for v in range(versions):
        for k in range(slots):
            work.mine[v, k] &= work.theirs[min(v, theirs - 1), k]
    opens = ZERO
    closes = ZERO
    for k in range(slots):
        work.open[k] = work.mine[after, k] & ~work.mine[before, k]
        work.passed[k] = work.mine[before, k] & ~work.mine[after, k]
        opens |= work.open[k]
        closes |= work.passed[k]
        work.gained[k] |= work.open[k]
        work.lost[k] |= work.passed[k]
    if opens != ZERO:
        pairs = _pairs(position, work.open, ground, work)
        out[PORTS_OPENED] += pairs * weight
        _keep_example(opened, direction, position, work.open, place, pairs, ground, work)
    if closes != ZERO:
        pairs = _pairs(position, work.passed, ground, work)
        out[PORTS_CLOSED] += pairs * weight
        _keep_example(closed, direction, position, work.passed, place, pairs, ground, work)
    if versions == 4:
        for k in range(slots):
            work.broken[k] |= work.passed[k] & work.mine[0, k] & work.mine[1, k]
        for combination in range(1, 15):
            for k in range(slots):
                bits = work.limit[k]
                for v in range(4):
                    bits &= work.mine[v, k] if (combination >> v) & 1 else ~work.mine[v, k]
                work.open[k] = bits
            out[COMBINATIONS + combination] += weight * _pairs(position, work.open, ground, work)
    for k in range(slots):
        work.passed[k] = ZERO


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
    new_cut(work.cut)
    for i in range(own):
        add_list(work.cut, work.own[i, PORTS])
    same = True
    for i in range(other):
        add_list(work.cut, work.other[i, PORTS])
        same &= work.other[i, VERSION] == ALWAYS
    found = patterns(work.cut, ground.runs, ground.low, ground.high)
    slots = work.sizes[2]
    for k in range(slots):
        work.gained[k] = ZERO
        work.lost[k] = ZERO
        work.broken[k] = ZERO
    for q in range(found):
        weight = work.cut.weight[q]
        place = work.cut.place[q]
        if weight == 0:
            continue
        differs = False
        for v in range(versions):
            fold(work.own, own, 1 << v, place, ground, work, work.mine[v])
            for k in range(slots):
                differs |= work.mine[v, k] != work.mine[0, k]
        if same and not differs:
            continue
        theirs = 1 if same else versions
        for v in range(theirs):
            fold(work.other, other, 1 << v, place, ground, work, work.theirs[v])
        _tally(
            direction, position, place, weight, versions, theirs, ground, work, out, opened, closed
        )
    out[PAIRS_OPENED] += _pairs(position, work.gained, ground, work)
    out[PAIRS_CLOSED] += _pairs(position, work.lost, ground, work)
    if versions == 4:
        out[BROKEN] += _pairs(position, work.broken, ground, work)
    some = ZERO
    for k in range(slots):
        word = work.slot_word[k]
        bits = work.gained[k] | work.lost[k]
        some |= bits
        work.changed[word] |= bits
        if (work.gained[k] & ground.outside[word]) != ZERO:
            out[OUTSIDE_OPENED] = 1
        if (work.lost[k] & ground.outside[word]) != ZERO:
            out[OUTSIDE_CLOSED] = 1
        if (work.broken[k] & ground.outside[word]) != ZERO:
            out[OUTSIDE_BROKEN] = 1
    if some != ZERO:
        work.changed[position >> 6] |= bit(position)


@kernel
def _touch(changes, speaks, direction, ground, work):
    """Mark the positions that switched policies select and judge in a direction."""
    count = 0
    for i in range(changes.size):
        policy = changes[i]
        if (speaks[policy] >> direction) & 1 == 0:
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
def _explain(example, column, version, ingress, egress, changes, ground, work):
    """Fill in what decides both directions of an example in a version."""
    if example[STANDS_FOR] == 0:
        return
    source = example[SOURCE]
    destination = example[DESTINATION]
    place = example[PLACE]
    example[column] = decide(egress, source, destination, place, version, changes, ground, work)
    example[column + 1] = decide(
        ingress, destination, source, place, version, changes, ground, work
    )


@kernel
def judge_scenarios(
    first, stop, scenarios, versions, ground, sides, views, homes, work, out, opened, closed
):
    """Judge scenarios ``first`` to ``stop - 1``.

    Each switches some policies, with the versions in which each is in force: two versions,
    before and after; or four, of which the last two are compared. ``out`` (scenarios, COLUMNS),
    ``opened`` and ``closed`` (scenarios, n, EXAMPLE) must be zero.
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
            _touch(changes, scenarios.speaks, direction, ground, work)
        _judge_side(0, ingress, out_to, changes, versions, ground, work, row, gains, losses)
        _judge_side(1, egress, into, changes, versions, ground, work, row, gains, losses)
        if work.sizes[0] > 0 and work.sizes[1] > 0:
            _judge_both(ingress, egress, changes, versions, ground, work, row, gains, losses, stamp)
        for v in range(2):
            for i in range(gains.shape[0]):
                shift = DECIDED + 2 * v
                version = 1 << (versions - 2 + v)
                _explain(gains[i], shift, version, ingress, egress, changes, ground, work)
                _explain(losses[i], shift, version, ingress, egress, changes, ground, work)
        count_homes(homes, work, row, stamp)
        for direction in range(2):
            for i in range(work.sizes[direction]):
                work.touched[direction, work.touched_word[direction, i]] = ZERO
        for i in range(changes.size):
            work.state[changes[i]] = ALWAYS if changes[i] < ground.base else 0
