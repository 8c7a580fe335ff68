"""Versions that an edit parts, compared by what it touched and as a whole: exactly alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from kubeverdict.analyses.whatif import WhatIf, opening, whatif
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation
from kubeverdict.compile.incremental.keeping import Keeper, Kept
from kubeverdict.evaluate import delta as comparing
from kubeverdict.evaluate.delta import Delta, delta
from kubeverdict.evaluate.near import near
from kubeverdict.evaluate.pairs import count_pairs, known_pairs
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited
from kubeverdict.model.profile import PROFILES
from tests.clusters.edits import ClusterChanges, some_cluster
from tests.clusters.generated import random_cluster
from tests.compile.test_edits import any_edit


@contextmanager
def as_a_whole() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "near", lambda *_: None)
        yield


def cells(change: Delta) -> list[dict[tuple[int, int, int], tuple[bool, bool]]]:
    """By plane, what changed between each two ends on each port at which atoms begin."""
    found: list[dict[tuple[int, int, int], tuple[bool, bool]]] = []
    for plane in change.planes:
        ends: dict[int, list[int]] = {}
        for end, identity in enumerate(plane.identity.tolist()):
            ends.setdefault(identity, []).append(end)
        here: dict[tuple[int, int, int], tuple[bool, bool]] = {}
        for row in change.rows(plane):
            atoms = np.flatnonzero(row.before != row.after).tolist()
            for source in row.sources.tolist():
                for destination in row.destinations.tolist():
                    for one in ends.get(source, ()):
                        for other in ends.get(destination, ()):
                            for atom in atoms:
                                key = one, other, int(plane.ports.first[atom])
                                assert key not in here
                                here[key] = bool(row.before[atom]), bool(row.after[atom])
        found.append(here)
    return found


def rows(change: Delta) -> list[set[tuple[object, ...]]]:
    """By plane, the sources of each end whose ports change alike, at each atom that changes."""
    found: list[set[tuple[object, ...]]] = []
    for plane in change.planes:
        of_end = plane.identity
        here: set[tuple[object, ...]] = set()
        for row in change.rows(plane):
            sources = tuple(np.flatnonzero(np.isin(of_end, row.sources)).tolist())
            atoms = np.flatnonzero(row.before | row.after)
            places = plane.ports.first[atoms].tolist()
            both = row.before[atoms].tolist(), row.after[atoms].tolist()
            ports = tuple(zip(places, *both, strict=True))
            for end in np.flatnonzero(np.isin(of_end, row.destinations)).tolist():
                here.add((end, sources, ports))
        found.append(here)
    return found


def compare(old: CompiledPolicy, new: CompiledPolicy) -> bool:
    """Whether they were compared by what was touched."""
    known_pairs(old)
    change, report, read = delta(old, new), whatif(old, new), opening(old, new)
    assert known_pairs(new) == count_pairs(new)
    with as_a_whole():
        expected, whole = delta(old, new), whatif(old, new)
    assert change.counts == expected.counts
    for ends in ("old", "new"):
        assert np.array_equal(getattr(change.ends, ends), getattr(expected.ends, ends))
    assert cells(change) == cells(expected)
    assert rows(change) == rows(expected)
    # The same lines, with the same rules that decide, in the same order.
    assert report == whole
    assert WhatIf(whole.profile, (*read.opened,), (*read.closed,), read.pairs) == WhatIf(
        whole.profile, whole.opened, whole.closed, whole.pairs
    )
    return near(old, new, change.ends) is not None


class Versions(ClusterChanges):
    pods, policies = 8, 5

    @initialize(seed=st.integers(0, 500))
    def start(self, seed: int) -> None:
        super().start(seed)

    def change(self, edit: Edit) -> None:
        before = self.compiled
        super().change(edit)
        compare(before, self.compiled)


TestVersions = Versions.TestCase
TestVersions.settings = settings(max_examples=5, stateful_step_count=6, deadline=None)


@pytest.mark.parametrize("profile", ["reference", "calico", "aws-vpc-cni"])
def test_most_edits_are_followed(profile: str) -> None:
    """Of larger clusters, where it is not the same to look at some of it and at all."""
    followed = 0
    for seed in range(3):
        random = Random(seed)
        cluster: Cluster = random_cluster(seed, 24, 12)
        other = some_cluster(seed + 100, 12, 6)
        made = compilation(cluster, PROFILES[profile])
        keeper = Keeper(Kept(0, made.compiled), made)
        for _ in range(6):
            edit = any_edit(random, cluster, other)
            cluster, before = edited(cluster, edit), keeper.now.compiled
            followed += compare(before, keeper.keep(edit).compiled)
    assert followed >= 9


def test_clusters_that_have_nothing_in_common() -> None:
    for seed in range(8):
        clusters = (some_cluster(seed, 10, 5), some_cluster(seed + 1, 9, 5))
        compare(*(compilation(one, PROFILES["reference"]).compiled for one in clusters))
