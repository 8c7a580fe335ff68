"""What is reported about a scenario: figures, examples, and which workloads are affected."""

from __future__ import annotations

import numpy as np

from kubeverdict.kernels.actions import DENY, LAYER, NOT_ISOLATED, PASS
from kubeverdict.kernels.bits import ONE, ZERO, has, lowest
from kubeverdict.kernels.collect import ABOUT, ACTION, PORTS, RULE, TIER, VERSION, collect
from kubeverdict.kernels.jit import kernel
from kubeverdict.kernels.ports import holds

# Columns of the result of a scenario. The combinations count (pair, port) by the versions in
# which they connect, as bits of a number from 1 to 14; only of four versions.
PAIRS_OPENED, PAIRS_CLOSED, PORTS_OPENED, PORTS_CLOSED, OUTSIDE_OPENED, OUTSIDE_CLOSED = range(6)
WORKLOADS, NAMESPACES, BROKEN, OUTSIDE_BROKEN, COMBINATIONS = range(6, 11)
COLUMNS = COMBINATIONS + 16
# Scenarios judged together: each has a bit, by which planes that are judged one after the other
# know what was met.
TOGETHER = 64

# Columns of an example: its ends, a place, the pod pairs that it stands for (0: no example), and
# what decides egress and ingress before, and then after: rule ids, or negative reasons.
SOURCE, DESTINATION, PLACE, STANDS_FOR, DECIDED = range(5)
EXAMPLE = DECIDED + 4
# Decides where an end does not exist, in examples.
ABSENT = -100


@kernel
def decide(rules, position, other, place, version, changes, ground, work):
    """The rule id or reason that decides one direction for ``position`` as subject."""
    count = collect(rules, position, ground, changes, work, 0)
    skip = np.int64(0)
    decided = np.int64(NOT_ISOLATED)
    for i in range(count):
        own = work.own[i]
        if own[TIER] < skip or (own[VERSION] & version) == 0:
            continue
        if not holds(ground.runs, own[PORTS], place):
            continue
        if own[ABOUT] != 0 and not has(ground.sets, own[ABOUT], other):
            continue
        if own[ACTION] == DENY:
            return own[RULE]
        if own[ACTION] == PASS:
            skip = own[TIER] + 1
            continue
        if decided == NOT_ISOLATED:
            decided = own[RULE]
        # The next layer, if there is one, has to allow it too.
        skip = (own[TIER] | LAYER) + 1
        if work.own[count - 1, TIER] < skip:
            break
    return decided


@kernel
def decide_both(example, v, ends, version, changes, sides, ground, work):
    """Fill in what decides both directions of an example between ``ends`` (source, destination)
    in a version; ``v`` is 0 for what is before, 1 for what is after."""
    ingress, egress = sides
    source, destination = ends
    place = example[PLACE]
    column = DECIDED + 2 * v
    example[column] = decide(egress, source, destination, place, version, changes, ground, work)
    example[column + 1] = decide(
        ingress, destination, source, place, version, changes, ground, work
    )


@kernel
def keep_example(examples, direction, subject, other, place, pairs):
    """Keep an example if it stands for more pods than the least that is kept. Its ends are
    ``subject``, whose rules of the direction are judged, and ``other``."""
    at = make_room(examples, max(pairs, 1))
    if at >= 0:
        examples[at, SOURCE] = other if direction == 0 else subject
        examples[at, DESTINATION] = subject if direction == 0 else other
        examples[at, PLACE] = place


@kernel
def make_room(examples, pairs):
    """Where an example that stands for ``pairs`` pods goes among ``examples`` (n, EXAMPLE), the
    most first: a row that is free now, or -1 where all stand for as many."""
    at = examples.shape[0] - 1
    if at < 0 or examples[at, STANDS_FOR] >= pairs:
        return -1
    while at > 0 and examples[at - 1, STANDS_FOR] < pairs:
        for column in range(EXAMPLE):
            examples[at, column] = examples[at - 1, column]
        at -= 1
    examples[at, STANDS_FOR] = pairs
    return at


@kernel
def meet_outside(word, ground, work, out):
    """Note whether addresses outside are among those of a word that gain or lose a connection in
    the row at hand."""
    outside = ground.outside[word]
    if (work.gained[word] & outside) != ZERO:
        out[OUTSIDE_OPENED] = 1
    if (work.lost[word] & outside) != ZERO:
        out[OUTSIDE_CLOSED] = 1
    if (work.broken[word] & outside) != ZERO:
        out[OUTSIDE_BROKEN] = 1


@kernel
def meet_home(workload, namespaces, workloads_met, namespaces_met, out, mark):
    """Count a workload and its namespace, once a scenario, which has the bit ``mark`` among those
    judged together. ``namespaces`` are by workload."""
    if (workloads_met[workload] & mark) != ZERO:
        return
    workloads_met[workload] |= mark
    out[WORKLOADS] += 1
    namespace = namespaces[workload]
    if (namespaces_met[namespace] & mark) == ZERO:
        namespaces_met[namespace] |= mark
        out[NAMESPACES] += 1


@kernel
def count_homes(homes, work, out, mark):
    """Count the workloads and namespaces of changed ends, and forget the ends."""
    namespaces, met, namespaces_met = homes.namespace, work.homes_met, work.namespaces_met
    for word in range(work.changed.size):
        rest = work.changed[word]
        work.changed[word] = ZERO
        base = np.int64(word) << 6
        while rest != ZERO:
            position = base + lowest(rest)
            rest &= rest - ONE
            if position >= homes.start.size - 1:
                continue
            for i in range(homes.start[position], homes.start[position + 1]):
                if homes.pods[i] > work.away[i]:
                    meet_home(homes.workload[i], namespaces, met, namespaces_met, out, mark)
