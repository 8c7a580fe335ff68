"""A large cluster with policies of all APIs, beside NetworkPolicy alone with as many rules; two
sets of policies that are equal; and the engine beside the engines' own code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from bench.bench_engine import FLOWS, any_flows, one_core
from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.shapes.apis import with_other_apis
from bench.workloads import cluster
from kubeverdict.analyses.equal import EQUAL, equal
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.evaluate.scenarios import policy_batches
from kubeverdict.evaluate.scenarios.workbench import switched, workbench
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit, policy_key
from kubeverdict.model.profile import CLUSTER_KIND

__all__ = ["one_core"]

PODS, POLICIES = 50_000, 5_000
SIZE = "mixed 50k/5k with 1,000 of other APIs"
ROUNDS = 5


def rules_in(one: Cluster) -> int:
    return sum(len(policy.rules) for policy in one.policies)


@pytest.fixture(scope="module")
def mixed() -> Cluster:
    return with_other_apis(cluster("mixed", PODS, POLICIES))


@pytest.fixture(scope="module")
def alone(mixed: Cluster) -> Cluster:
    """NetworkPolicies alone, as many as have the same number of rules."""
    many = cluster("mixed", PODS, POLICIES + 3_000)
    wanted, kept = rules_in(mixed), []
    for policy in many.policies:
        if wanted <= 0:
            break
        kept.append(policy)
        wanted -= len(policy.rules)
    assert wanted <= 0
    return replace(many, policies=tuple(kept))


@pytest.fixture(scope="module")
def compiled(mixed: Cluster) -> CompiledPolicy:
    return compile_cluster(mixed)


@pytest.fixture(scope="module")
def compiled_alone(alone: Cluster) -> CompiledPolicy:
    return compile_cluster(alone)


def ratio_in_turns(one: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times as long one takes: what a shared machine does to it, it does to both."""

    def seconds(run: Callable[[], object]) -> float:
        began = perf_counter()
        run()
        return perf_counter() - began

    return float(np.median([seconds(one) / seconds(other) for _ in range(ROUNDS)]))


ALONE = "… against NetworkPolicy alone with as many rules"


def bench_compile(measure: Measure, record: Record, mixed: Cluster, alone: Cluster) -> None:
    ratio = ratio_in_turns(partial(compile_cluster, mixed), partial(compile_cluster, alone))
    _, median = measure(compile_cluster, mixed, rounds=3)
    record(Figure(f"compile, {SIZE}, {rules_in(mixed):,} rules", median, "s"))
    record(Figure(ALONE, ratio, "times", 1.5))


def bench_all_pairs(
    measure: Measure, record: Record, compiled: CompiledPolicy, compiled_alone: CompiledPolicy
) -> None:
    counts, median = measure(count_pairs, compiled, rounds=ROUNDS)
    assert all(0 < plane.pairs < plane.possible for plane in counts)
    ratio = ratio_in_turns(partial(count_pairs, compiled), partial(count_pairs, compiled_alone))
    record(Figure(f"all pairs, {SIZE}, all cores", median * 1e3, "ms", 30.0))
    record(Figure(ALONE, ratio, "times"))


@pytest.mark.usefixtures("one_core")
def bench_flows(
    measure: Measure, record: Record, compiled: CompiledPolicy, compiled_alone: CompiledPolicy
) -> None:
    flows, others = any_flows(compiled), any_flows(compiled_alone)
    verdicts, median = measure(judge, compiled, *flows, rounds=ROUNDS)
    assert 0 < verdicts.allowed.sum() < FLOWS
    ratio = ratio_in_turns(lambda: judge(compiled, *flows), lambda: judge(compiled_alone, *others))
    rate = FLOWS / median / 1e6
    record(Figure(f"flows with deciding rule, {SIZE}, one core", rate, "M/s", 5.0, "at least"))
    record(Figure(ALONE, ratio, "times"))


@pytest.mark.usefixtures("one_core")
def bench_bulk(measure: Measure, record: Record, compiled: CompiledPolicy) -> None:
    """Each policy deleted; and without those that select a hundredth of the cluster each."""
    bench = workbench(compiled)
    policies = compiled.cluster.policies
    some = [one for one in policies if one.kind != CLUSTER_KIND]
    for kind, deleted in (("every policy", policies), ("… but cluster policies", some)):
        batch = policy_batches.PolicyBatch(compiled)
        for number, one in enumerate(deleted):
            edit = Edit(str(one), policies_out=(policy_key(one),))
            batch.add(number, *switched(bench, edit))
        prepared = policy_batches.prepare(bench.overlay, batch)
        if deleted is policies:
            _, seconds = measure(partial(policy_batches.judge, prepared, threads=1), rounds=3)
        else:
            began = perf_counter()
            policy_batches.judge(prepared, threads=1)
            seconds = perf_counter() - began
        rate = len(deleted) / seconds
        name = f"bulk what-if, {SIZE}, {kind} deleted, one core"
        record(Figure(name, rate, "/s", 30_000, "at least"))


def bench_memory(
    record: Record, compiled: CompiledPolicy, compiled_alone: CompiledPolicy, benchmark: Any
) -> None:
    sizes = benchmark.pedantic(lambda: (arrays_of(compiled), arrays_of(compiled_alone)), rounds=1)
    record(Figure(f"arrays, {SIZE}", sizes[0] / 2**20, "MiB"))
    record(Figure(ALONE, sizes[0] / sizes[1], "times", 1.5))


def arrays_of(compiled: CompiledPolicy) -> int:
    """Bytes of the arrays of a compiled cluster."""
    seen: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, np.ndarray):
            seen[id(value)] = value.nbytes
        elif isinstance(value, tuple | list):
            for one in value:
                visit(one)
        elif is_dataclass(value):
            for field in fields(value):
                visit(getattr(value, field.name))

    for part in (compiled.addresses, compiled.ports, compiled.port_runs, compiled.planes):
        visit(part)
    return sum(seen.values())


def bench_equal(measure: Measure, record: Record) -> None:
    """Against itself, every policy renamed, in another order."""
    one = cluster("mixed", PODS, POLICIES)
    renamed = [replace(policy, name=f"new-{policy.name}") for policy in one.policies]
    Random(1).shuffle(renamed)
    first, second = map(compile_cluster, (one, replace(one, policies=tuple(renamed))))
    report, median = measure(equal, first, second, rounds=3)
    assert report.verdict == EQUAL
    record(Figure("equal, mixed 50k/5k against itself renamed and reordered", median, "s", 3.0))


# --- the engines' own code -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["calico", "cilium"])
def bench_beside_their_own_code(record: Record, benchmark: Any, name: str) -> None:
    """Small generated clusters: the same questions, compiling or taking in the cluster included."""
    from bench.real.policy_code import Rates, beside

    found: Rates = benchmark.pedantic(beside, (name, range(40)), rounds=1)
    assert found.ours > 0 and found.theirs > 0
    record(Figure(f"probes of small clusters, {name}'s own code", found.theirs, "/s"))
    record(Figure("… the engine on the same", found.ours, "/s"))
