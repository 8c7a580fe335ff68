"""Scenarios one after the other and in pairs, compared with compiling every state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.scenarios import recompile
from kubeverdict.evaluate.scenarios.combine import covers, interactions, rollout, safe_order
from kubeverdict.evaluate.scenarios.outcome import ANYTHING
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited, policy_key
from tests.clusters.generated import build_cluster, change_cluster
from tests.counting import Connections, connections, port_runs
from tests.evaluate.test_bulk import figures
from tests.oracle import Oracle


def steps_of(cluster: Cluster, seed: int, tiers: bool = False) -> list[Edit]:
    """A few edits of policies, some of which take back what an earlier one did."""
    choose = Random(seed)
    other = change_cluster(choose.choice, cluster, tiers)
    edits = [Edit(f"in {policy}", policies_in=(policy,)) for policy in other.policies]
    edits += [Edit(f"out {p}", policies_out=(policy_key(p),)) for p in cluster.policies]
    choose.shuffle(edits)
    return edits[: choose.randint(1, 4)]


def states(cluster: Cluster, edits: Sequence[Edit]) -> list[Cluster]:
    found = [cluster]
    for edit in edits:
        found.append(edited(found[-1], edit))
    return found


def reached(clusters: Sequence[Cluster], family: Family) -> list[Connections]:
    oracles = [Oracle(cluster) for cluster in clusters]
    runs = port_runs(*oracles)
    return [connections(oracle, runs, family) for oracle in oracles]


def broken_pairs(found: Sequence[Connections], step: int) -> int:
    """Pairs that a step closes on a port that is open at the start and at the end."""
    return sum(
        any(
            run in found[-1].get(pair, ()) and run not in found[step + 1].get(pair, ())
            for run in found[step].get(pair, set()) & runs
        )
        for pair, runs in found[0].items()
    )


@pytest.mark.parametrize("seed", range(25))
def test_each_step_of_a_rollout_is_on_top_of_the_last(seed: int) -> None:
    choose = Random(seed)
    tiers = seed % 2 == 1
    cluster = build_cluster(choose.choice, 6, 4, tiers)
    edits = steps_of(cluster, seed, tiers)
    outcomes = rollout(workbench(compile_cluster(cluster)), edits)
    versions = states(cluster, edits)
    by_family = [reached(versions, family) for family in (4, 6)]
    for step, outcome in enumerate(outcomes):
        old, new = (compile_cluster(versions[step + later]) for later in (0, 1))
        assert figures(outcome) == figures(recompile.outcome("", old, new, ANYTHING, 0))
        assert outcome.broken == max(broken_pairs(found, step) for found in by_family)


@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_an_order_that_breaks_nothing_is_found_where_there_is_one(seed: int, tiers: bool) -> None:
    choose = Random(seed)
    cluster = build_cluster(choose.choice, 5, 3, tiers)
    edits = steps_of(cluster, seed, tiers)
    bench = workbench(compile_cluster(cluster))

    def is_safe(order: Sequence[int]) -> bool:
        return not any(one.breaks for one in rollout(bench, [edits[n] for n in order]))

    # Where two edits are about one policy, other orders end elsewhere, and so do not count.
    keys = [policy_key(p) for edit in edits for p in edit.policies_in]
    keys += [key for edit in edits for key in edit.policies_out]
    if len(keys) > len(set(keys)):
        return
    order = safe_order(bench, edits).steps
    if order is not None:
        assert sorted(order) == list(range(len(edits))) and is_safe(order)
    else:
        assert not any(map(is_safe, permutations(range(len(edits)))))


@pytest.mark.parametrize("seed", range(25))
def test_interactions_are_what_the_oracle_finds(seed: int) -> None:
    choose = Random(seed)
    tiers = seed % 2 == 1
    cluster = build_cluster(choose.choice, 5, 3, tiers)
    edits = steps_of(cluster, seed, tiers)
    found = {
        (one.first, one.second): (one.overlap, one.conflict)
        for one in interactions(workbench(compile_cluster(cluster)), edits)
    }
    for first, second in combinations(range(len(edits)), 2):
        keys = [
            {*edits[n].policies_out, *map(policy_key, edits[n].policies_in)}
            for n in (first, second)
        ]
        if not keys[0].isdisjoint(keys[1]):
            continue
        one, two = edits[first], edits[second]
        together = edited(edited(cluster, one), two)
        versions = (cluster, together, edited(cluster, one), edited(cluster, two))
        overlap = conflict = 0
        for family in families(cluster):
            base, both, alone, other = reached(versions, family)
            for pair in base.keys() | both.keys() | alone.keys() | other.keys():
                at = [reach.get(pair, set()) for reach in (base, both, alone, other)]
                changed = [at[0] ^ at[2], at[0] ^ at[3]]
                overlap += sum(run.size for run in changed[0] & changed[1])
                wanted = at[0] ^ (changed[0] | changed[1])
                conflict += sum(run.size for run in wanted ^ at[1])
        if len(compile_cluster(cluster).planes) == 1 and len(families(cluster)) == 2:
            overlap, conflict = overlap // 2, conflict // 2
        assert found.get((first, second), (0, 0)) == (overlap, conflict)


def families(cluster: Cluster) -> list[Family]:
    return [family for plane in compile_cluster(cluster).planes for family in plane.families]


def test_a_rollout_is_about_policies() -> None:
    cluster = build_cluster(Random(1).choice, 5, 3)
    edit = Edit("scale", pods_in=(replace(cluster.pods[0], name="another"),))
    with pytest.raises(UsageError, match="scale: a rollout can change policies only"):
        rollout(workbench(compile_cluster(cluster)), [edit])


@pytest.mark.parametrize("seed", range(10))
def test_without_all_that_cover_it_a_redundant_policy_is_missed(seed: int) -> None:
    """Those named are enough: without them too, what the policy allows depends on it."""
    choose = Random(seed)
    cluster = build_cluster(choose.choice, 8, 9, seed % 2 == 1)
    bench = workbench(compile_cluster(cluster))
    edits = [Edit(str(p), policies_out=(policy_key(p),)) for p in cluster.policies]
    redundant = [
        policy_key(policy)
        for policy, outcome in zip(cluster.policies, evaluate(bench, edits), strict=True)
        if not outcome.changes
    ]
    for key, cover in zip(redundant, covers(bench, redundant), strict=True):
        assert policy_key(cover.policy) == key
        assert key not in map(policy_key, cover.covered_by)
        assert not (cover.selects_nothing and cover.covered_by)
        others = tuple(policy_key(policy) for policy in cover.covered_by)
        rest = edited(cluster, Edit("", policies_out=others))
        found = evaluate(workbench(compile_cluster(rest)), [Edit("", policies_out=(key,))])[0]
        if not cover.covered_by:
            assert not found.changes
