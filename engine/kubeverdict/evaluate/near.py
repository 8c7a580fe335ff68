"""What the rules of a few subjects tell apart: the pods of one node, out of a whole cluster.

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
from kubeverdict.compile.identities import parts_of
from kubeverdict.compile.sets import bitmap
from kubeverdict.kernels import flows as kernels
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.jit import in_threads
from kubeverdict.kernels.partition import refine, representatives
from kubeverdict.model.policy import Direction

_THREAD_WORTH = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Near:
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


def near(plane: Plane, direction: Direction, subjects: NDArray[np.int32]) -> Near:
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
    return Near(
        subjects[first], subject_of, peer, peer_of, port_sets[port_sets > 0].astype(np.int64)
    )


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
    compiled: CompiledPolicy, nears: Sequence[Near]
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


def decisions(
    compiled: CompiledPolicy,
    plane: Plane,
    direction: Direction,
    classes: Near,
    atoms: NDArray[np.int32],
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Every combination of classes judged in one direction, with nothing let through for being
    on the same node: allowed, and the rule id or reason, each (subjects, peers, atoms)."""
    entries = plane.ingress if direction is Direction.INGRESS else plane.egress
    shape = (classes.subject.size, classes.peer.size, atoms.size)
    allowed = np.zeros(shape, np.uint8)
    rule = np.zeros(shape, np.int32)
    kernel = kernels.decide_each.on(allowed.size * 50)

    def run(first: int, stop: int) -> None:
        part = slice(first, stop)
        kernel(
            entries,
            classes.subject[part],
            classes.peer,
            atoms,
            plane.sets,
            compiled.ports.sets,
            (allowed[part], rule[part]),
        )

    in_threads(run, shape[0], threads if allowed.size >= _THREAD_WORTH else 1)
    return allowed.astype(np.bool_), rule
