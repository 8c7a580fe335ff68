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
from kubeverdict.compile.sets import bitmap
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
    has a row for what these few are.
    """
    entries = plane.ingress if direction is Direction.INGRESS else plane.egress
    group = entries.subject_class[classes.subject]
    own = int((entries.start[1:] - entries.start[:-1])[group[group >= 0]].sum())
    work = classes.peer.size * (own + classes.subject.size * atoms.size)
    kernel = kernels.decide_between.on(work)
    row_of, allowed, rule, tier = kernel(
        entries, classes.subject, classes.peer, atoms, plane.sets, compiled.ports.sets
    )
    return Decisions(row_of, allowed != 0, rule, tier)
