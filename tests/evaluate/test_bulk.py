"""Scenarios judged over the base, compared with compiling each changed cluster as a whole."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.delta import delta
from kubeverdict.evaluate.scenarios import recompile
from kubeverdict.evaluate.scenarios.outcome import ANYTHING, Focus, Outcome
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.kernels.jit import compiled_only
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.clusters.generated import (
    SINGLE_KNOB_PROFILES,
    build_cluster,
    change_cluster,
    random_cluster,
)
from tests.clusters.policies import NAMESPACES, NUMBERS
from tests.clusters.records import pod

FOCI = (
    ANYTHING,
    ANYTHING,
    Focus(namespaces=NAMESPACES[:1]),
    Focus(port=(Protocol.TCP, 80)),
    Focus(namespaces=NAMESPACES[1:3], port=(Protocol.UDP, NUMBERS[1])),
)


def policy_edits(base: Cluster, other: Cluster, choose: Random) -> list[Edit]:
    """Each policy out, each policy of the other version in, and some at once."""
    edits = [Edit(f"out {p}", policies_out=(policy_key(p),)) for p in base.policies]
    edits += [Edit(f"in {p}", policies_in=(p,)) for p in other.policies]
    for number in range(6):
        out = tuple(policy_key(p) for p in base.policies if choose.random() < 0.4)
        put_in = tuple(p for p in other.policies if choose.random() < 0.4)
        edits.append(Edit(f"mixed {number}", policies_out=out, policies_in=put_in))
    return edits


def pod_edits(base: Cluster, other: Cluster, choose: Random) -> list[Edit]:
    """Pods that come, go and change, one by one and together, and labels of namespaces."""
    before = {(pod.namespace, pod.name): pod for pod in base.pods}
    after = {(pod.namespace, pod.name): pod for pod in other.pods}
    edits = [Edit(f"without {pod}", pods_out=(key,)) for key, pod in before.items()]
    edits += [
        Edit(f"{pod} as it will be", pods_in=(pod,))
        for key, pod in after.items()
        if before.get(key) is not pod
    ]
    edits += [Edit(f"labels of {one.name}", namespaces_in=(one,)) for one in other.namespaces]
    for number in range(5):
        out = tuple(key for key in before if choose.random() < 0.3)
        put_in = tuple(pod for pod in after.values() if choose.random() < 0.4)
        # The same pods several times over, as a workload has them.
        put_in += tuple(
            replace(pod, name=f"{pod.name}-{copy}")
            for pod in base.pods[:2]
            for copy in range(choose.randint(0, 3))
        )
        labels = tuple(one for one in other.namespaces if choose.random() < 0.3)
        edits.append(Edit(f"moved {number}", pods_out=out, pods_in=put_in, namespaces_in=labels))
    return edits


def compare(cluster: Cluster, edits: list[Edit], profile: Profile, focus: Focus) -> int:
    """Judge the edits both ways; returns how many were judged over the base."""
    compiled = compile_cluster(cluster, profile)
    found = evaluate(workbench(compiled), edits, focus=focus, threads=1)
    for edit, outcome in zip(edits, found, strict=True):
        new = compile_cluster(edited(cluster, edit), profile)
        expected = recompile.outcome(edit.name, compiled, new, focus, examples=3)
        assert figures(outcome) == figures(expected), edit.name
        check_examples(outcome, expected, focus)
    return sum(not outcome.recompiled for outcome in found)


def figures(outcome: Outcome) -> tuple[object, ...]:
    """Everything that does not depend on the choice of examples. A family that is distinguished
    only by one of the two ways has the figures of both."""
    counts = {family: one for one in outcome.counts for family in one.families}
    return (
        {
            family: (one.pairs_opened, one.pairs_closed, one.ports_opened, one.ports_closed)
            for family, one in counts.items()
            if one.ports_opened or one.ports_closed
        },
        outcome.workloads,
        outcome.namespaces,
        outcome.outside_opened,
        outcome.outside_closed,
    )


def check_examples(outcome: Outcome, expected: Outcome, focus: Focus) -> None:
    for opens in (True, False):
        shown = [example for example in outcome.examples if example.opens is opens]
        # Those of pods that are on their own node are not shown, by the slow way alone.
        assert shown or not any(example.opens is opens for example in expected.examples)
        for example in shown:
            assert example.before is None or example.before.allowed is not opens
            assert example.after is None or example.after.allowed is opens
            if focus.port is not None:
                assert (example.protocol, example.port) == focus.port


def fuzz(seed: int, profile: Profile) -> int:
    """A small cluster of this seed, every third with other tiers than NetworkPolicy's."""
    choose = Random(seed)
    tiers = seed % 3 == 0
    cluster = build_cluster(choose.choice, choose.randint(0, 9), choose.randint(0, 7), tiers)
    other = change_cluster(choose.choice, cluster, tiers)
    focus = choose.choice(FOCI)
    edits = [*policy_edits(cluster, other, choose), *pod_edits(cluster, other, choose)]
    return compare(cluster, edits, profile, focus)


EVERY_PROFILE = [*PROFILES.values(), *SINGLE_KNOB_PROFILES]


@pytest.mark.parametrize("profile", EVERY_PROFILE, ids=lambda profile: profile.name)
def test_small_clusters_under_every_profile(profile: Profile) -> None:
    seed = 10 * EVERY_PROFILE.index(profile)
    batched = sum(fuzz(seed + number, profile) for number in range(3))
    assert batched > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(0, 4000, 100))
def test_many_small_clusters(seed: int) -> None:
    for number in range(seed, seed + 100):
        fuzz(number, EVERY_PROFILE[number % len(EVERY_PROFILE)])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_larger_clusters_in_compiled_kernels(seed: int) -> None:
    cluster = random_cluster(seed, pods=120, policies=40, tiers=seed == 2)
    other = random_cluster(seed + 100, pods=0, policies=20)
    choose = Random(seed)
    edits = choose.sample(policy_edits(cluster, other, choose), 30)
    with compiled_only():
        compare(cluster, edits, REFERENCE, FOCI[seed])


def test_an_unknown_policy_changes_nothing() -> None:
    cluster = random_cluster(5, pods=20, policies=5)
    bench = workbench(compile_cluster(cluster))
    edit = Edit("gone", policies_out=(("NetworkPolicy", "shop", "no such policy"),))
    assert not evaluate(bench, [edit])[0].changes


def test_no_edits() -> None:
    assert evaluate(workbench(compile_cluster(random_cluster(5))), []) == []


def test_a_cluster_without_pods() -> None:
    cluster = replace(random_cluster(5, pods=20, policies=5), pods=())
    edits = [Edit(str(p), policies_out=(policy_key(p),)) for p in cluster.policies]
    assert not any(found.changes for found in evaluate(workbench(compile_cluster(cluster)), edits))


def test_many_pods_scaled_in_both_families_count_each_workload_once() -> None:
    """More scenarios than are judged together, in two planes: new pods have both families."""
    cluster = random_cluster(11, pods=40, policies=15)
    new = [
        replace(p, name=f"{p.name}-new", addresses=(), phase="")
        for p in (*cluster.pods, *cluster.pods)
    ]
    edits = [Edit(f"{number} {p}", pods_in=(p,)) for number, p in enumerate(new)]
    bench = workbench(compile_cluster(cluster))
    found = evaluate(bench, edits, threads=1)
    for edit, outcome in list(zip(edits, found, strict=True))[60:70]:
        compiled = compile_cluster(edited(cluster, edit))
        assert figures(outcome) == figures(
            recompile.outcome(edit.name, bench.compiled, compiled, ANYTHING, 0)
        )


def test_threads_do_not_matter() -> None:
    cluster = random_cluster(7, pods=100, policies=60)
    bench = workbench(compile_cluster(cluster))
    edits = [Edit(str(p), policies_out=(policy_key(p),)) for p in cluster.policies]
    one, four = (evaluate(bench, edits, threads=threads) for threads in (1, 4))
    assert [replace(o, seconds=0.0) for o in one] == [replace(o, seconds=0.0) for o in four]


def test_a_profile_is_a_change() -> None:
    cluster = random_cluster(8, pods=30, policies=10)
    found = evaluate(workbench(compile_cluster(cluster)), [Edit("flannel", profile="flannel")])
    new = compile_cluster(cluster, PROFILES["flannel"])
    assert found[0].recompiled and found[0].opens
    assert found[0].counts == delta(compile_cluster(cluster), new).counts


def test_an_edit_that_cannot_be_judged_says_why_and_stops_no_other() -> None:
    cluster = random_cluster(9, pods=30, policies=10)
    nowhere = replace(cluster.pods[0], name="new", addresses=("nonsense",), phase="Running")
    edits = [
        Edit("bad", pods_in=(nowhere,)),
        Edit("good", policies_out=(policy_key(cluster.policies[0]),)),
    ]
    bad, good = evaluate(workbench(compile_cluster(cluster)), edits)
    assert "nonsense" in bad.error and not good.error


def test_what_is_not_there_cannot_be_taken_out() -> None:
    web = pod("x/web")
    bench = workbench(compile_cluster(Cluster(pods=(web,))))
    edits = [
        Edit("policy", policies_out=(("NetworkPolicy", "x", "no"),)),
        Edit("pod", pods_out=(("x", "no"),)),
        Edit("namespace", namespaces_out=("no",)),
        Edit("node", nodes_out=("no",)),
        Edit("service", services_out=(("x", "no"),)),
        Edit("endpoints", endpoints_out=(("EndpointSlice", "x", "no"),)),
        Edit("cni", profile="no"),
        Edit("fine", pods_out=((web.namespace, web.name),)),
    ]
    errors = [outcome.error for outcome in evaluate(bench, edits)]
    assert [bool(error) for error in errors] == [True] * 7 + [False]
    assert errors[0] == "cannot take out what the cluster has not: NetworkPolicy/x/no"
