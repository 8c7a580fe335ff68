"""The engine against the oracle, on clusters that nobody thought of.

Verdict, deciding egress rule and deciding ingress rule are compared for every flow; so are the
pods that take part, the counts over all pairs, the rows of the reachability matrix and the
counts of what a change opens and closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate import pairs
from kubeverdict.evaluate.delta import delta
from kubeverdict.evaluate.flows import port_atoms
from kubeverdict.kernels.jit import compiled_only
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.clusters.generated import (
    SINGLE_KNOB_PROFILES,
    Probe,
    changes,
    clusters,
    probes,
    profiles,
    random_cluster,
    random_probes,
)
from tests.conformance.answers import ask_engine, ask_oracle, end_ids
from tests.counting import ChangeCount, PairCount, count_changes, count_pairs
from tests.oracle import Oracle, Reason
from tests.oracle_parts import FAMILIES

EVERY_PROFILE = [*PROFILES.values(), *SINGLE_KNOB_PROFILES]
# What a cluster costs depends on its size, and hypothesis takes the largest for a slip.
PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck))


def agree(
    cluster: Cluster, asked: Sequence[Probe], profile: Profile = REFERENCE, static: bool = False
) -> None:
    ours = ask_engine(cluster, asked, profile, static)
    theirs = ask_oracle(cluster, asked, profile, static)
    apart = [
        f"{probe.source} -> {probe.destination} {probe.protocol.name} {probe.port}"
        f" family {probe.family}: engine {engine}, oracle {oracle}"
        for probe, engine, oracle in zip(asked, ours, theirs, strict=True)
        if engine != oracle
    ]
    assert not apart, "\n".join([f"{len(apart)} of {len(asked)} flows, {profile.name}", *apart[:9]])


def by_identity(profile: Profile) -> Profile:
    """What counts and rows can know: they are about identities, which have no node. (Between two
    managed pods it matters only where hostNetwork pods are managed too.)"""
    return replace(profile, own_node_to_pod=False, pod_to_own_node=False)


def agree_on_counts(cluster: Cluster, profile: Profile = REFERENCE) -> None:
    profile = by_identity(profile)
    oracle = Oracle(cluster, profile)
    counted = {
        family: PairCount(counts.pairs, counts.pair_ports)
        for counts in pairs.count_pairs(compile_cluster(cluster, profile))
        for family in counts.families
    }
    for family in FAMILIES:
        assert counted.get(family, PairCount(0, 0)) == count_pairs(oracle, family)


def agree_on_rows(cluster: Cluster, asked: Sequence[Probe], profile: Profile = REFERENCE) -> None:
    """The rows of the reachability matrix, read flow by flow.

    A pod and itself are no pair, and pairs outside the cluster are left out.
    """
    profile = by_identity(profile)
    compiled, oracle = compile_cluster(cluster, profile), Oracle(cluster, profile)
    sources = end_ids(compiled, [each.source for each in asked])
    destinations = end_ids(compiled, [each.destination for each in asked])
    left_out = {Reason.SELF, Reason.NO_ADDRESS}
    for plane in compiled.planes:
        reached = {
            (source, destination): atoms
            for row in pairs.rows(compiled, plane)
            for group, atoms in zip(row.sources, row.atoms, strict=True)
            for source, destination in product(group.tolist(), row.destinations.tolist())
        }
        for probe, source, destination in zip(asked, sources, destinations, strict=True):
            if min(source, destination) >= len(compiled.pods):
                continue
            identities = int(plane.ends.identity[source]), int(plane.ends.identity[destination])
            flow = np.array([[source], [destination], [probe.protocol], [probe.port]], np.int64)
            for family in plane.families:
                (atom,) = port_atoms(compiled, flow[0], flow[1], flow[2], flow[3], family)
                open_there = identities in reached and bool(reached[identities][atom])
                verdict = oracle.judge(
                    probe.source, probe.destination, probe.protocol, probe.port, family
                )
                if not left_out & {verdict.egress, verdict.ingress}:
                    assert open_there is verdict.allowed, (probe, family, verdict)


def agree_on_changes(before: Cluster, after: Cluster, profile: Profile = REFERENCE) -> None:
    profile = by_identity(profile)
    old, new = Oracle(before, profile), Oracle(after, profile)
    changed = delta(compile_cluster(before, profile), compile_cluster(after, profile))
    counted = {
        family: ChangeCount(
            counts.pairs_opened, counts.pairs_closed, counts.ports_opened, counts.ports_closed
        )
        for counts in changed.counts
        for family in counts.families
    }
    for family in FAMILIES:
        assert counted.get(family, ChangeCount(0, 0, 0, 0)) == count_changes(old, new, family)


def agree_somewhere(data: st.DataObject, tiers: bool) -> None:
    cluster = data.draw(clusters(tiers=tiers))
    profile, static = data.draw(profiles()), data.draw(st.booleans())
    managed = Oracle(cluster, profile, static).managed
    assert list(compile_cluster(cluster, profile, static=static).pods) == managed
    agree(cluster, data.draw(probes(cluster, managed)), profile, static)


@settings(PATIENT, max_examples=500)
@given(st.data())
def test_small_clusters(data: st.DataObject) -> None:
    agree_somewhere(data, tiers=False)


@settings(PATIENT, max_examples=500)
@given(st.data())
def test_small_clusters_with_tiers(data: st.DataObject) -> None:
    agree_somewhere(data, tiers=True)


@settings(PATIENT, max_examples=200)
@given(clusters(max_pods=6), profiles())
def test_pair_counts(cluster: Cluster, profile: Profile) -> None:
    agree_on_counts(cluster, profile)


@settings(PATIENT, max_examples=200)
@given(clusters(max_pods=6, tiers=True))
def test_pair_counts_with_tiers(cluster: Cluster) -> None:
    agree_on_counts(cluster)


@settings(PATIENT, max_examples=200)
@given(st.data(), st.booleans(), profiles())
def test_rows(data: st.DataObject, tiers: bool, profile: Profile) -> None:
    cluster = data.draw(clusters(tiers=tiers))
    agree_on_rows(cluster, data.draw(probes(cluster, Oracle(cluster, profile).managed)), profile)


@settings(PATIENT, max_examples=200)
@given(changes(), profiles())
def test_changes(versions: tuple[Cluster, Cluster], profile: Profile) -> None:
    agree_on_changes(*versions, profile)


@settings(PATIENT, max_examples=200)
@given(changes(tiers=True))
def test_changes_with_tiers(versions: tuple[Cluster, Cluster]) -> None:
    agree_on_changes(*versions)


@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=lambda profile: profile.name)
def test_every_profile(profile: Profile) -> None:
    """Small clusters again, many flows of each, so that no profile is left to chance."""
    for seed in range(20):
        cluster = random_cluster(seed, pods=10, policies=8, tiers=seed % 2 == 1)
        agree(cluster, random_probes(cluster, Oracle(cluster, profile).managed, 150, seed), profile)


@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_larger_clusters(seed: int, tiers: bool) -> None:
    cluster = random_cluster(seed, pods=60 + 60 * seed, policies=20 + 20 * seed, tiers=tiers)
    asked = random_probes(cluster, Oracle(cluster).managed, 2000, seed)
    with compiled_only():
        agree(cluster, asked)
        agree_on_rows(cluster, asked)


@pytest.mark.long
@settings(PATIENT, max_examples=30_000)
@given(st.data(), st.booleans())
def test_many_small_clusters(data: st.DataObject, tiers: bool) -> None:
    agree_somewhere(data, tiers)


@pytest.mark.long
@settings(PATIENT, max_examples=5_000)
@given(clusters(), profiles())
def test_many_pair_counts(cluster: Cluster, profile: Profile) -> None:
    agree_on_counts(cluster, profile)


@pytest.mark.long
@settings(PATIENT, max_examples=5_000)
@given(changes(max_pods=8), profiles())
def test_many_changes(versions: tuple[Cluster, Cluster], profile: Profile) -> None:
    agree_on_changes(*versions, profile)


@pytest.mark.long
@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=lambda profile: profile.name)
def test_every_profile_on_larger_clusters(profile: Profile) -> None:
    for seed in range(100, 110):
        cluster = random_cluster(seed, tiers=seed % 2 == 1)
        managed = Oracle(cluster, profile).managed
        agree(cluster, random_probes(cluster, managed, 4000, seed), profile)
