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
def mark_used(entries, subject, other, atom, allowed, sets, ports, used):
    """Which rules are behind verdicts. ``subject``, ``other`` and ``atom`` (n,) are flows in one
    direction, ``allowed`` (n,) says which of them are allowed in the end, in both directions.

    ``used`` (rules,) becomes true for a rule that passes a flow on, or denies it, or allows it in
    its layer where the flow is allowed in the end.
    """
    for i in range(subject.size):
        group = entries.subject_class[subject[i]]
        if group < 0:
            continue
        skip = np.int64(0)
        for entry in range(entries.start[group], entries.start[group + 1]):
            decision = entries.word[entry, 3]
            tier = np.int64((decision >> _SHIFT) & _TIER)
            if tier < skip or not _has_atom(entries, entry, atom[i], ports):
                continue
            if not _is_about(entries, entry, np.int64(other[i]), sets):
                continue
            action = np.int64(decision >> _ACTION)
            rule = np.int64(decision & _LOW) - RULE_BIAS
            if rule >= 0 and (allowed[i] or action in (PASS, DENY)):
                used[rule] = True
            if action == PASS:
                skip = tier + 1
            elif action == NEXT:
                skip = (tier | LAYER) + 1
            else:
                break


@kernel
def judge(source, destination, atom, families, ends, free, egress, ingress, sets, ports, out):
    """Verdicts of flows. ``source``, ``destination`` (n,) endpoint ids, ``atom`` (n,) port atoms;
    ``families`` the bits of those asked about, ``free`` what is let through whatever the rules
    say: (a pod to itself, its own node to a pod, a pod to its own node).

    ``out`` is (allowed uint8, egress int32, ingress int32), each (n,).
    """
    allowed, by_egress, by_ingress = out
    to_self, to_pod, to_node = free
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
        if to_pod and same_node and d < ends.pods and (near & HOST) != 0:
            in_ok = True
            by_ingress[i] = OWN_NODE
        else:
            in_ok, by_ingress[i] = decide(ingress, y, x, atom[i], sets, ports)
        allowed[i] = out_ok and in_ok


@kernel
def decide_each(entries, subject, peers, atoms, sets, ports, matched, out):
    """One subject against every combination of ``peers`` (p,) and ``atoms`` (a,).

    Entries about each peer are looked for once, not once an atom: ``matched`` is room for their
    numbers, as many as the subject has. ``out`` is (allowed uint8, rule int32, tier int32), each
    (p, a); the tier is -1 where none decides.
    """
    allowed, rule, tier = out
    group = entries.subject_class[subject]
    for i in range(peers.size):
        count = 0
        if group >= 0:
            for entry in range(entries.start[group], entries.start[group + 1]):
                if _is_about(entries, entry, np.int64(peers[i]), sets):
                    matched[count] = entry
                    count += 1
        for j in range(atoms.size):
            ok, decided, deciding = _first_of(entries, matched, count, atoms[j], ports)
            allowed[i, j] = ok
            rule[i, j] = decided
            tier[i, j] = deciding


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
