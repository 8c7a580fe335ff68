"""What the rules of a few subjects distinguish: the pods of one node, out of a whole cluster.

Of all identities and port atoms, the policies that select the pods of a node distinguish only
some. These classes, and one decision for each combination of them, are small enough to be kept
in the kernel of the node; they are cut out of the same arrays that judge everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.compile.indexing import parts_of
from kubeverdict.compile.sets import EMPTY, bitmap
from kubeverdict.kernels import flows as kernels
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.partition import refine, representatives
from kubeverdict.model.policy import Direction


@dataclass(frozen=True, slots=True, eq=False)
class LocalClasses:
    """The classes of one direction in one plane.

    ``subject`` (subjects,) and ``peer`` (peers,) hold an identity of each class. ``subject_of``
    (size,) and ``peer_of`` (size,) give the class of an identity, -1 where it has none: only the
    identities asked about are subjects. ``port_sets`` are the port sets that matter.
    """

    subject: NDArray[np.int32]
    subject_of: NDArray[np.int32]
    peer: NDArray[np.int32]
    peer_of: NDArray[np.int32]
    port_sets: NDArray[np.int64]


def local_classes(plane: Plane, direction: Direction, subjects: NDArray[np.int32]) -> LocalClasses:
    """The classes that matter to ``subjects`` (any number of identities of ``plane``)."""
    entries = plane.ingress if direction is Direction.INGRESS else plane.egress
    subjects = np.unique(subjects)
    group, first = np.unique(entries.subject_class[subjects], return_index=True)
    subject_of = np.full(plane.size, -1, np.int32)
    subject_of[subjects] = np.searchsorted(group, entries.subject_class[subjects])

    rows = _rows_of(plane, direction, subjects)
    peer_of = parts_of(plane.rows.peer[rows], plane.sets, plane.size, plane.size)
    peers = int(peer_of.max(initial=-1)) + 1
    peer, _ = representatives.on(plane.size * 8)(peer_of, peers, plane.words)
    port_sets = np.unique(plane.rows.ports[rows])
    return LocalClasses(
        subjects[first], subject_of, peer, peer_of, port_sets[port_sets > 0].astype(np.int64)
    )


def joined(one: LocalClasses, other: LocalClasses) -> LocalClasses:
    """The classes that either of two distinguishes: of one plane in both bounds, where identities
    and port sets are the same."""
    subject, subject_of = _pairs(one.subject_of, other.subject_of)
    peer, peer_of = _pairs(one.peer_of, other.peer_of)
    port_sets = np.union1d(one.port_sets, other.port_sets)
    return LocalClasses(subject, subject_of, peer, peer_of, port_sets)


def _pairs(
    one: NDArray[np.int32], other: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """An identity of each pair of classes, and the pair of each identity, -1 for none."""
    there = np.flatnonzero(one >= 0)
    pairs = one[there].astype(np.int64) * (int(other.max(initial=0)) + 1) + other[there]
    _, first, number = np.unique(pairs, return_index=True, return_inverse=True)
    pair_of = np.full(one.size, -1, np.int32)
    pair_of[there] = number.ravel()
    return there[first].astype(np.int32), pair_of


def _rows_of(plane: Plane, direction: Direction, subjects: NDArray[np.int32]) -> NDArray[np.int64]:
    """The rows of a direction that select one of ``subjects``."""
    chosen = bitmap(subjects.astype(np.int64), plane.words)
    sets = plane.sets
    hits = np.zeros(sets.start.size - 1, np.bool_)
    owner = np.repeat(np.arange(hits.size), np.diff(sets.start))
    hits[owner[(sets.bits & chosen[sets.word]) != 0]] = True
    part = np.arange(plane.rows.rule.size)
    ingress = part < plane.ingress_rows
    found: NDArray[np.int64] = part[
        hits[plane.rows.subject] & (ingress == (direction is Direction.INGRESS))
    ]
    return found


def port_classes(
    compiled: CompiledPolicy, nears: Sequence[LocalClasses]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Port atoms that matter: the class of each atom of ``compiled`` (atoms,), and an atom of
    each class (classes,)."""
    sets: Sets = compiled.ports.sets
    atoms = compiled.ports.weight.size
    part = np.zeros(atoms, np.int32)
    used = np.unique(np.concatenate([np.zeros(0, np.int64), *(each.port_sets for each in nears)]))
    parts = refine.on(int(sets.word.size) * 64)(used, sets, part, 1)
    first, _ = representatives.on(atoms * 8)(part, parts, (atoms + 63) >> 6)
    return part, first


# Allowed, by what, and the tier of that; each (peers, atoms).
_Judged = tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What each subject decides about each peer, as rows by port atom.

    ``row_of`` (subjects, peers) is a row of ``allowed``, ``rule`` and ``tier`` (rows, atoms),
    which hold the rule id or reason, and the number of the tier that decides, -1 for none.
    """

    row_of: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    rule: NDArray[np.int32]
    tier: NDArray[np.int32]


def decisions(
    compiled: CompiledPolicy,
    plane: Plane,
    direction: Direction,
    classes: LocalClasses,
    atoms: NDArray[np.int32],
) -> Decisions:
    """Every combination of classes judged in one direction, with nothing let through for being
    on the same node.

    A subject's own rules distinguish few peers, however many the rules of all subjects do, so each
    is judged against these few.
    """
    row_of = np.zeros((classes.subject.size, classes.peer.size), np.int64)
    made: list[_Judged] = []
    rows = 0
    selecting = _rows_by_subject(plane, direction, classes.subject)
    for number, subject in enumerate(classes.subject.tolist()):
        part, first = _split(plane, selecting[number], classes.peer)
        made.append(_judge(compiled, plane, direction, subject, classes.peer[first], atoms))
        row_of[number] = part + rows
        rows += first.size
    return Decisions(
        row_of,
        np.concatenate([np.zeros((0, atoms.size), np.uint8), *(each for each, _, _ in made)]) != 0,
        np.concatenate([np.zeros((0, atoms.size), np.int32), *(each for _, each, _ in made)]),
        np.concatenate([np.zeros((0, atoms.size), np.int32), *(each for _, _, each in made)]),
    )


def _rows_by_subject(
    plane: Plane, direction: Direction, subjects: NDArray[np.int32]
) -> list[NDArray[np.int64]]:
    """The rows that select each of ``subjects``."""
    rows = _rows_of(plane, direction, subjects)
    keys, sets = plane.rows.subject[rows], plane.sets
    owner = np.repeat(np.arange(sets.start.size - 1), np.diff(sets.start))
    near_some = np.flatnonzero(np.isin(owner, keys))
    word, bits, owner = sets.word[near_some], sets.bits[near_some], owner[near_some]
    found: list[NDArray[np.int64]] = []
    for subject in subjects.tolist():
        holds = (word == subject >> 6) & (bits >> np.uint64(subject & 63) & np.uint64(1) != 0)
        found.append(rows[np.isin(keys, owner[holds])])
    return found


def _split(
    plane: Plane, rows: NDArray[np.int64], peers: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The part of each of ``peers`` (identities) by what ``rows`` say of it, and the index of the
    first of each part."""
    part = np.full(plane.size, -1, np.int32)
    part[peers] = 0
    used = np.unique(plane.rows.peer[rows])
    used = used[used > EMPTY].astype(np.int64)
    refine.on(int(plane.sets.word.size))(used, plane.sets, part, 1)
    _, first, inverse = np.unique(part[peers], return_index=True, return_inverse=True)
    return inverse.ravel().astype(np.int32), first


def _judge(
    compiled: CompiledPolicy,
    plane: Plane,
    direction: Direction,
    subject: int,
    peers: NDArray[np.int32],
    atoms: NDArray[np.int32],
) -> _Judged:
    """One subject's decisions (peers, atoms)."""
    entries = plane.ingress if direction is Direction.INGRESS else plane.egress
    group = entries.subject_class[subject]
    own = int(entries.start[group + 1] - entries.start[group]) if group >= 0 else 0
    shape = (peers.size, atoms.size)
    out = (np.zeros(shape, np.uint8), np.zeros(shape, np.int32), np.zeros(shape, np.int32))
    matched = np.zeros(own, np.int64)
    kernel = kernels.decide_each.on((peers.size + 1) * (own + atoms.size) * 4)
    kernel(entries, subject, peers, atoms, plane.sets, compiled.ports.sets, matched, out)
    return out
