"""Judging flows one by one: the rule that decides each direction.

Rules are listed by *subject class* (identities that the same rules select) in evaluation order,
packed so that most are decided on one half cache line: an entry is four 64-bit words

====  =============================================================================
0     lowest port atom, and the highest << 32
1     word of the peer set (or ANY_PEER, or WHOLE_SET), and the port set << 32 (or RANGE)
2     the bits of that word; the number of the peer set under WHOLE_SET
3     rule + RULE_BIAS, tier << 32, action << 48
====  =============================================================================

A peer set of a few words is unrolled into as many entries. Where tiers stand in several layers,
what allows leads on to the next of these (NEXT), and the first rule that does is the one named.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.actions import (
    ALLOW,
    DENY,
    LAYER,
    LAYER_BITS,
    NEXT,
    NO_ADDRESS,
    NOT_ISOLATED,
    OWN_NODE,
    PASS,
    SELF,
)
from kubeverdict.kernels.bits import ONE, ZERO, bit, count_ones, has, highest, lowest
from kubeverdict.kernels.jit import kernel, making_kernel

RULE_BIAS = 16
IPV4 = 1
IPV6 = 2
HOST = 4
UNROLLED = 3

_ANY_PEER = np.uint64(0xFFFFFFFE)
_WHOLE_SET = np.uint64(0xFFFFFFFF)
_RANGE = np.uint64(0xFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ACTION = np.uint64(48)
_TIER = np.uint64(0xFFFF)
_IDENTITY = 32
_NODE = 0xFFFFFF00


class Rows(NamedTuple):
    """Compiled rules, one element each, in evaluation order inside a direction."""

    subject: NDArray[np.int32]  # set of the identities it applies to
    peer: NDArray[np.int32]  # set of the identities at the other end; 0 is everything
    ports: NDArray[np.int32]  # port set; 0 is everything
    action: NDArray[np.uint8]
    tier: NDArray[np.int32]
    rule: NDArray[np.int32]  # rule id, or a negative reason


class Entries(NamedTuple):
    """Packed rules by subject class."""

    subject_class: NDArray[np.int32]  # by identity; -1 where no rule selects
    start: NDArray[np.int64]  # (classes + 1,)
    word: NDArray[np.uint64]  # (entries, 4)


class Ends(NamedTuple):
    """What a flow end is, by endpoint id."""

    identity: NDArray[np.int32]  # -1: no address in this family
    node: NDArray[np.int32]  # the node it runs on or is an address of; -1 unknown
    about: NDArray[np.uint8]  # bits IPV4, IPV6 and HOST (it uses the network of its node)
    pods: int  # ids below are pods
    packed: NDArray[np.int64]  # about, node + 1 << 8, identity + 1 << 32: one look instead of six


def pack_ends(
    identity: NDArray[np.int32], node: NDArray[np.int32], about: NDArray[np.uint8], pods: int
) -> Ends:
    """Ends, with what flows need to know of each in one word. There may be 16 million nodes."""
    packed = (identity.astype(np.int64) + 1) << _IDENTITY
    packed |= ((node.astype(np.int64) + 1) << 8) | about
    return Ends(identity, node, about, pods, packed)


@making_kernel
def pack(start, row, rows, ports, sets):
    """Rows by class (``start``, ``row``) as packed entries: (classes + 1,) and (entries, 4)."""
    classes = start.size - 1
    total = 0
    layered = False
    for i in range(row.size):
        layered |= rows.tier[row[i]] > LAYER
        peer = rows.peer[row[i]]
        size = sets.start[peer + 1] - sets.start[peer]
        total += 1 if peer == 0 or size > UNROLLED else size
    packed_start = np.zeros(classes + 1, np.int64)
    packed = np.empty((total, 4), np.uint64)
    n = 0
    for c in range(classes):
        for i in range(start[c], start[c + 1]):
            r = row[i]
            peer = np.int64(rows.peer[r])
            atoms = np.int64(rows.ports[r])
            first = ports.start[atoms]
            last = ports.start[atoms + 1] - 1
            # The span of the port set, and whether it has no gap inside.
            low = ONE
            high = ZERO
            gap = False
            if last >= first:
                low = np.uint64((np.int64(ports.word[first]) << 6) + lowest(ports.bits[first]))
                high = np.uint64((np.int64(ports.word[last]) << 6) + highest(ports.bits[last]))
                inside = 0
                for at in range(first, last + 1):
                    inside += count_ones(ports.bits[at])
                gap = np.int64(high) - np.int64(low) + 1 != inside
            span = low | (high << _SHIFT)
            exact = np.uint64(atoms) << _SHIFT if gap else _RANGE << _SHIFT
            decision = np.uint64(np.int64(rows.rule[r]) + RULE_BIAS)
            decision |= np.uint64(rows.tier[r]) << _SHIFT
            action = np.int64(rows.action[r])
            decision |= np.uint64(NEXT if layered and action == ALLOW else action) << _ACTION
            begin = sets.start[peer]
            end = sets.start[peer + 1]
            if peer == 0 or end - begin > UNROLLED:
                packed[n, 0] = span
                packed[n, 1] = (_ANY_PEER if peer == 0 else _WHOLE_SET) | exact
                packed[n, 2] = np.uint64(peer)
                packed[n, 3] = decision
                n += 1
            else:
                for at in range(begin, end):
                    packed[n, 0] = span
                    packed[n, 1] = np.uint64(sets.word[at]) | exact
                    packed[n, 2] = sets.bits[at]
                    packed[n, 3] = decision
                    n += 1
        packed_start[c + 1] = n
    return packed_start, packed


@kernel
def decide(entries, identity, other, atom, sets, ports):
    """One direction for ``identity`` as subject: (allowed, rule id or reason)."""
    group = entries.subject_class[identity]
    if group < 0:
        return True, NOT_ISOLATED
    wanted = np.uint64(atom)
    word = np.uint64(other >> 6)
    mask = bit(other)
    skip = np.int64(0)
    decided = np.int64(NOT_ISOLATED)
    for i in range(entries.start[group], entries.start[group + 1]):
        span = entries.word[i, 0]
        if wanted < (span & _LOW) or wanted > (span >> _SHIFT):
            continue
        where = entries.word[i, 1]
        peer = where & _LOW
        if peer == word:
            if (entries.word[i, 2] & mask) == ZERO:
                continue
        elif peer == _WHOLE_SET:
            if not has(sets, np.int64(entries.word[i, 2]), other):
                continue
        elif peer != _ANY_PEER:
            continue
        if (where >> _SHIFT) != _RANGE and not has(ports, np.int64(where >> _SHIFT), atom):
            continue
        decision = entries.word[i, 3]
        tier = np.int64((decision >> _SHIFT) & _TIER)
        if tier < skip:
            continue
        action = np.int64(decision >> _ACTION)
        if action == PASS:
            skip = tier + 1
            continue
        rule = np.int64(decision & _LOW) - RULE_BIAS
        if action == NEXT:
            skip = (tier | LAYER) + 1
            if decided == NOT_ISOLATED:
                decided = rule
            continue
        return action == ALLOW, rule
    return True, decided


@kernel
def trace(entries, identity, other, atom, sets, ports, passed, tiers, rules):
    """How :func:`decide` reaches its answer, in each layer for itself; returns how many rules pass
    on.

    ``passed`` (tiers,) takes these, in order. ``tiers`` and ``rules`` (layers,) take the tier
    that decides in each layer and its rule or reason; they must be -1 and NOT_ISOLATED, which
    they stay where none does.
    """
    count = 0
    group = entries.subject_class[identity]
    if group < 0:
        return count
    skip = np.int64(0)
    for entry in range(entries.start[group], entries.start[group + 1]):
        decision = entries.word[entry, 3]
        tier = np.int64((decision >> _SHIFT) & _TIER)
        if tier < skip or not _is_about(entries, entry, other, sets):
            continue
        if not _has_atom(entries, entry, atom, ports):
            continue
        rule = np.int64(decision & _LOW) - RULE_BIAS
        if np.int64(decision >> _ACTION) == PASS:
            passed[count] = rule
            count += 1
            skip = tier + 1
        else:
            tiers[tier >> LAYER_BITS] = tier
            rules[tier >> LAYER_BITS] = rule
            skip = (tier | LAYER) + 1
    return count


@kernel
def mark_used(entries, subject, other, atom, ways, sets, ports, closed, matched, used):
    """Which rules match flows, and which are behind their verdicts. ``subject``, ``other`` and
    ``atom`` (n,) are flows in one direction; ``ways`` is (judged, allowed), each (n,): whether the
    tiers decide about a flow, and whether it is allowed in the end, in both directions.

    ``matched`` (rules,) becomes true for every rule that a flow meets. ``used`` (rules,) becomes
    true for a rule that passes a flow on, or denies it, or allows it in its layer where the flow
    is allowed in the end. ``closed`` (classes,) must be false: it is room to note the subject
    classes all of whose rules are known to match something.
    """
    judged, allowed = ways
    for i in range(subject.size):
        group = entries.subject_class[subject[i]]
        if group < 0:
            continue
        decided = not judged[i]
        left = False
        skip = np.int64(0)
        for entry in range(entries.start[group], entries.start[group + 1]):
            if decided and closed[group]:
                break
            decision = entries.word[entry, 3]
            rule = np.int64(decision & _LOW) - RULE_BIAS
            tier = np.int64((decision >> _SHIFT) & _TIER)
            over = decided or tier < skip
            if over and (rule < 0 or matched[rule]):
                continue
            if not _has_atom(entries, entry, atom[i], ports) or not _is_about(
                entries, entry, np.int64(other[i]), sets
            ):
                left |= rule >= 0 and not matched[rule]
                continue
            if rule >= 0:
                matched[rule] = True
            if over:
                continue
            action = np.int64(decision >> _ACTION)
            if rule >= 0 and (allowed[i] or action in (PASS, DENY)):
                used[rule] = True
            if action == PASS:
                skip = tier + 1
            elif action == NEXT:
                skip = (tier | LAYER) + 1
            else:
                decided = True
        closed[group] |= not left


@kernel
def judge(source, destination, atom, families, ends, free, egress, ingress, sets, ports, out):
    """Verdicts of flows. ``source``, ``destination`` (n,) endpoint ids, ``atom`` (n,) port atoms;
    ``families`` the bits of those asked about, ``free`` what is let through whatever the rules
    say: (a pod to itself, its own node to a pod, a pod to its own node, whether a rule that denies
    is asked before the second).

    ``out`` is (allowed uint8, egress int32, ingress int32), each (n,).
    """
    allowed, by_egress, by_ingress = out
    to_self, to_pod, to_node, deniable = free
    for i in range(source.size):
        s = np.int64(source[i])
        d = np.int64(destination[i])
        near = ends.packed[s]
        far = ends.packed[d]
        x = (near >> _IDENTITY) - 1
        y = (far >> _IDENTITY) - 1
        if x < 0 or y < 0 or (near & far & families) == 0:
            allowed[i] = 0
            by_egress[i] = NO_ADDRESS
            by_ingress[i] = NO_ADDRESS
            continue
        if to_self and s == d and s < ends.pods:
            allowed[i] = 1
            by_egress[i] = SELF
            by_ingress[i] = SELF
            continue
        same_node = ((near ^ far) & _NODE) == 0 and (near & _NODE) != 0
        if to_node and same_node and s < ends.pods and (far & HOST) != 0:
            out_ok = True
            by_egress[i] = OWN_NODE
        else:
            out_ok, by_egress[i] = decide(egress, x, y, atom[i], sets, ports)
        own_node = to_pod and same_node and d < ends.pods and (near & HOST) != 0
        in_ok, by_ingress[i] = True, OWN_NODE
        if deniable or not own_node:
            ok, decided = decide(ingress, y, x, atom[i], sets, ports)
            if not own_node or (not ok and decided >= 0):
                in_ok, by_ingress[i] = ok, decided
        allowed[i] = out_ok and in_ok


@making_kernel
def decide_between(entries, subjects, peers, atoms, sets, ports):
    """Every one of ``subjects`` (s,) against every one of ``peers`` (p,), both identities, for
    each of ``atoms`` (a,).

    A subject decides the same about peers that the same of its rules are about, so what it
    decides is kept once for these. Returns ``row_of`` (s, p) int64, a row of (allowed uint8, rule
    int32, tier int32), each (rows, a); the tier is -1 where none decides.
    """
    most = 0
    for s in range(subjects.size):
        group = entries.subject_class[subjects[s]]
        if group >= 0:
            most = max(most, entries.start[group + 1] - entries.start[group])
    matched = np.empty(most, np.int64)
    row_of = np.empty((subjects.size, peers.size), np.int64)
    # A subject and a peer of each row, and the entries that are about this peer. These are kept
    # for the rows of one subject, one after the other.
    rows = 0
    of_row = np.empty((16, 2), np.int64)
    stop = np.zeros(peers.size + 1, np.int64)
    known = np.empty(16 * (most + 1), np.int64)
    for s in range(subjects.size):
        first = rows
        for p in range(peers.size):
            count = _about(entries, subjects[s], peers[p], sets, matched)
            row = first
            while row < rows:
                at = stop[row - first]
                same_count = stop[row - first + 1] - at == count
                if same_count and _say_the_same(entries, matched, known, at, count):
                    break
                row += 1
            if row == rows:
                if rows == of_row.shape[0]:
                    of_row = np.concatenate((of_row, np.empty_like(of_row)))
                of_row[rows, 0] = s
                of_row[rows, 1] = p
                end = stop[rows - first]
                if end + count > known.size:
                    known = np.concatenate((known, np.empty(known.size + count, np.int64)))
                for i in range(count):
                    known[end + i] = matched[i]
                stop[rows - first + 1] = end + count
                rows += 1
            row_of[s, p] = row
    allowed = np.empty((rows, atoms.size), np.uint8)
    rule = np.empty((rows, atoms.size), np.int32)
    tier = np.empty((rows, atoms.size), np.int32)
    for row in range(rows):
        subject = subjects[of_row[row, 0]]
        count = _about(entries, subject, peers[of_row[row, 1]], sets, matched)
        for j in range(atoms.size):
            ok, decided, deciding = _first_of(entries, matched, count, atoms[j], ports)
            allowed[row, j] = ok
            rule[row, j] = decided
            tier[row, j] = deciding
    return row_of, allowed, rule, tier


@kernel
def _about(entries, subject, peer, sets, matched):
    """Fill ``matched`` with the entries of a subject that are about a peer; how many."""
    count = 0
    group = entries.subject_class[subject]
    if group >= 0:
        for entry in range(entries.start[group], entries.start[group + 1]):
            if _is_about(entries, entry, np.int64(peer), sets):
                matched[count] = entry
                count += 1
    return count


@kernel
def _say_the_same(entries, matched, known, at, count):
    """Whether two lists of entries decide the same: where a set was unrolled, entries that do
    have different words of it."""
    for i in range(count):
        one = matched[i]
        other = known[at + i]
        if one != other:
            if entries.word[one, 3] != entries.word[other, 3]:
                return False
            if entries.word[one, 0] != entries.word[other, 0]:
                return False
            if entries.word[one, 1] >> _SHIFT != entries.word[other, 1] >> _SHIFT:
                return False
    return True


@kernel
def _is_about(entries, entry, other, sets):
    peer = entries.word[entry, 1] & _LOW
    if peer == _ANY_PEER:
        return True
    if peer == _WHOLE_SET:
        return has(sets, np.int64(entries.word[entry, 2]), other)
    return peer == np.uint64(other >> 6) and (entries.word[entry, 2] & bit(other)) != ZERO


@kernel
def _has_atom(entries, entry, atom, ports):
    wanted = np.uint64(atom)
    span = entries.word[entry, 0]
    if wanted < (span & _LOW) or wanted > (span >> _SHIFT):
        return False
    exact = entries.word[entry, 1] >> _SHIFT
    return exact == _RANGE or has(ports, np.int64(exact), atom)


@kernel
def _first_of(entries, matched, count, atom, ports):
    """As :func:`decide`, among entries that are about the peer, with the tier that decides."""
    skip = np.int64(0)
    decided = np.int64(NOT_ISOLATED)
    deciding = np.int64(-1)
    for i in range(count):
        entry = matched[i]
        if not _has_atom(entries, entry, atom, ports):
            continue
        decision = entries.word[entry, 3]
        tier = np.int64((decision >> _SHIFT) & _TIER)
        if tier < skip:
            continue
        action = np.int64(decision >> _ACTION)
        if action == PASS:
            skip = tier + 1
            continue
        rule = np.int64(decision & _LOW) - RULE_BIAS
        if action == NEXT:
            skip = (tier | LAYER) + 1
            if decided == NOT_ISOLATED:
                decided = rule
                deciding = tier
            continue
        return action == ALLOW, rule, tier
    return True, decided, deciding
