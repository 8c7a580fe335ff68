"""The classes that a few subjects distinguish, against judging each flow."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.local_classes import decisions, local_classes, port_classes
from kubeverdict.kernels.flows import decide
from kubeverdict.model.policy import Direction
from tests.clusters.generated import random_cluster


def decided(
    compiled: CompiledPolicy, plane: Plane, direction: Direction, ends: tuple[int, int, int]
) -> tuple[bool, int]:
    entries = plane.ingress if direction is Direction.INGRESS else plane.egress
    allowed, rule = decide(entries, *ends, plane.sets, compiled.ports.sets)
    return bool(allowed), int(rule)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("direction", Direction)
def test_classes_decide_as_their_members_do(seed: int, direction: Direction) -> None:
    compiled = compile_cluster(random_cluster(seed, pods=25, policies=12, tiers=seed % 2 == 1))
    random = Random(seed)
    for plane in compiled.planes:
        subjects = np.array(random.sample(range(plane.pods), min(4, plane.pods)), np.int32)
        classes = local_classes(plane, direction, subjects)
        of_atom, atoms = port_classes(compiled, [classes])
        made = decisions(compiled, plane, direction, classes, atoms)
        assert set(np.flatnonzero(classes.subject_of >= 0)) == set(subjects.tolist())
        peers = np.flatnonzero(classes.peer_of >= 0)
        for _ in range(300):
            subject, peer = int(random.choice(subjects)), int(random.choice(peers))
            atom = random.randrange(of_atom.size)
            row = made.row_of[classes.subject_of[subject], classes.peer_of[peer]]
            found = bool(made.allowed[row, of_atom[atom]]), int(made.rule[row, of_atom[atom]])
            assert found == decided(compiled, plane, direction, (subject, peer, atom))


def test_what_no_subject_asks_about_is_one_class() -> None:
    compiled = compile_cluster(random_cluster(3, pods=25, policies=12))
    classes = local_classes(compiled.planes[0], Direction.INGRESS, np.zeros(0, np.int32))
    assert classes.subject.size == 0 and classes.peer.size == 1
    _, atoms = port_classes(compiled, [classes])
    assert atoms.size == 1
