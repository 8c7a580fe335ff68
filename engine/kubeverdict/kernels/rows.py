"""Rows over the ends at the other side, judged pattern by pattern of their ports.

A row is made in *slots*: the words in which something can differ between its versions, with the
bits of them that may. Few rules name any one port, so a row is judged as a whole once, on the
ports that no rule of it names, and kept. On any other pattern of ports it can come out otherwise
only at the ends that rules about these ports name, and slots are made of those alone.
"""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.actions import ALLOW, LAYER_BITS, NO_RULE_MATCHES, PASS
from kubeverdict.kernels.bits import ZERO, first_at_least, weight_in
from kubeverdict.kernels.collect import (
    ABOUT,
    ACTION,
    ALWAYS,
    PORTS,
    RULE,
    TIER,
    VERSION,
)
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.ports import add_list, holds, new_cut, patterns

# --- slots -----------------------------------------------------------------------------------


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
def admit_changes(count, ground, work):
    """Make slots of what the switched rules in ``work.own`` name."""
    own = work.own
    for i in range(count):
        if own[i, VERSION] == ALWAYS:
            continue
        if own[i, RULE] == NO_RULE_MATCHES:
            isolated = False
            for k in range(count):
                isolated |= (
                    own[k, RULE] == NO_RULE_MATCHES
                    and own[k, VERSION] == ALWAYS
                    and own[k, TIER] == own[i, TIER]
                )
            if isolated:
                continue
        s = own[i, ABOUT]
        for at in range(ground.sets.start[s], ground.sets.start[s + 1]):
            admit(work, ground.sets.word[at], ground.sets.bits[at])


@kernel
def pods_in(bits, ground, work):
    """The pods at the positions that the slots have of a bitmap."""
    total = np.int64(0)
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        if bits[word] != ZERO:
            total += weight_in(word, bits[word], ground.slices)
    return total


# --- rows ------------------------------------------------------------------------------------


@kernel
def begin_row(own, other, ground, work):
    """Take the slots as a row, and cut its ports by the first ``own`` and ``other`` rules of
    either side; returns how many patterns there are."""
    new_cut(work.cut)
    for i in range(own):
        add_list(work.cut, work.own[i, PORTS])
    for i in range(other):
        add_list(work.cut, work.other[i, PORTS])
    work.sizes[3] = work.sizes[2]
    for k in range(work.sizes[2]):
        word = work.slot_word[k]
        work.row_word[k] = word
        work.row[word] = work.limit[k]
        work.gained[word] = ZERO
        work.lost[word] = ZERO
        work.broken[word] = ZERO
    return patterns(work.cut, ground.runs, ground.low, ground.high)


@kernel
def end_row(work):
    """Make slots of the whole row again, and forget it."""
    start_slots(work)
    for i in range(work.sizes[3]):
        word = work.row_word[i]
        admit(work, word, work.row[word])
        work.row[word] = ZERO


@kernel
def ports_of(pattern, found, cut):
    """How many ports a pattern stands for when it is tallied: the first one for all, because it
    is the ground from which the others differ; 0 where it is not to be judged."""
    weight = cut.weight[pattern]
    if pattern > 0 or weight == 0:
        return weight
    for q in range(1, found):
        weight += cut.weight[q]
    return weight


@kernel
def is_part(pattern, cut):
    """Whether a pattern is counted as a difference from the first."""
    return pattern > 0 and cut.weight[0] > 0


@kernel
def choose(pattern, own, other, ground, work):
    """Choose the rules that cover a pattern, into ``work.chosen``, and the slots that they
    can change; returns how many slots there are."""
    place = work.cut.place[pattern]
    part = is_part(pattern, work.cut)
    if part:
        start_slots(work)
    for side in range(2):
        rules = work.own if side == 0 else work.other
        chosen = 0
        last_layer = np.int64(0)
        for i in range(own if side == 0 else other):
            t = rules[i, PORTS]
            if not holds(ground.runs, t, place):
                continue
            work.chosen[side, chosen] = i
            chosen += 1
            last_layer = max(last_layer, rules[i, TIER] >> LAYER_BITS)
            if part and t != 0:
                _admit_set(rules[i, ABOUT], ground.sets, work)
        work.sizes[4 + side] = chosen
        work.sizes[6 + side] = last_layer
    return work.sizes[2]


@kernel
def _admit_set(s, sets, work):
    """Make slots of what a set has of the row."""
    first = sets.start[s]
    stop = sets.start[s + 1]
    if work.sizes[3] * 6 < stop - first:
        for i in range(work.sizes[3]):
            word = work.row_word[i]
            at = first_at_least(sets.word, first, stop, word)
            if at < stop and sets.word[at] == word:
                bits = sets.bits[at] & work.row[word]
                if bits != ZERO:
                    admit(work, word, bits)
        return
    for at in range(first, stop):
        word = sets.word[at]
        bits = sets.bits[at] & work.row[word]
        if bits != ZERO:
            admit(work, word, bits)


@kernel
def judge_own(versions, ground, work):
    """What the rules chosen of this side let through in each version, into ``work.mine`` (by
    slot). Returns whether that differs."""
    for v in range(versions):
        _fold(work.own, 0, 1 << v, ground, work, work.mine[v])
    return _differs(versions, work)


@kernel
def judge_other(versions, same, ground, work):
    """Take away from ``work.mine`` what the other side does not let through; ``same`` says that
    its rules are in force in all versions. Returns whether what is left differs."""
    theirs = 1 if same else versions
    for v in range(theirs):
        some = ZERO
        for k in range(work.sizes[2]):
            some |= work.mine[v, k]
        # A pod that is not there, in one version, is the common case of nothing to take from.
        if same or some != ZERO:
            _fold(work.other, 1, 1 << v, ground, work, work.theirs[v])
    for v in range(versions):
        for k in range(work.sizes[2]):
            work.mine[v, k] &= work.theirs[min(v, theirs - 1), k]
    return _differs(versions, work)


@kernel
def _differs(versions, work):
    some = ZERO
    for v in range(1, versions):
        for k in range(work.sizes[2]):
            some |= work.mine[v, k] ^ work.mine[0, k]
    return some != ZERO


@kernel
def keep_ground(versions, work):
    """Keep the row on the first pattern."""
    for v in range(versions):
        for k in range(work.sizes[2]):
            work.kept[v, work.slot_word[k]] = work.mine[v, k]


@kernel
def recall_ground(versions, work):
    """What the row is on the first pattern, into ``work.mine``. Returns whether that differs."""
    for v in range(versions):
        for k in range(work.sizes[2]):
            work.mine[v, k] = work.kept[v, work.slot_word[k]] & work.limit[k]
    return _differs(versions, work)


@kernel
def _fold(local, side, version, ground, work, allow):
    """The other ends that the rules chosen of ``local`` let through in a version, into ``allow``
    (by slot). See :func:`kubeverdict.kernels.reach.fold`."""
    slots = work.sizes[2]
    for k in range(slots):
        allow[k] = work.limit[k]
    # What one layer lets through has to get through the next.
    for layer in range(work.sizes[6 + side] + 1):
        for k in range(slots):
            work.open[k] = allow[k]
            allow[k] = ZERO
        _fold_layer(local, side, layer, version, ground, work, allow)


@kernel
def _fold_layer(local, side, layer, version, ground, work, allow):
    """The part of one layer."""
    slots = work.sizes[2]
    tier = -1
    passing = False
    for j in range(work.sizes[4 + side]):
        i = work.chosen[side, j]
        if (local[i, VERSION] & version) == 0 or local[i, TIER] >> LAYER_BITS != layer:
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
                if action == ALLOW:
                    allow[k] |= work.open[k]
                elif action == PASS:
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
            if action == ALLOW:
                allow[k] |= matched
            elif action == PASS:
                work.passed[k] |= matched
                passing = True
    for k in range(slots):
        allow[k] |= work.open[k]
        if passing:
            allow[k] |= work.passed[k]
            work.passed[k] = ZERO
