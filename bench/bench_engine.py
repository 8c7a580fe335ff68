"""The engine itself: from model values in memory to answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.shapes.sketch import Sketch, here, labelled, tcp
from bench.workloads import cluster
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.delta import delta
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.model.cluster import Cluster

SIZES = ((10_000, 1_000), (50_000, 5_000), (100_000, 10_000))
TARGET_SIZE = (50_000, 5_000)
FLOWS = 1_000_000
ROUNDS = 7

# Other shapes, at sizes that take seconds.
SHAPES = (
    ("observed", 5_413),
    ("observed", 50_000),
    ("antrea", 100_000),
    ("kube-burner", 2_400),
    ("kube-burner", 24_000),
    ("dense", 20_000),
    ("dense", 50_000),
)
COMPILE_TARGETS = {("antrea", 100_000): 2.0, ("kube-burner", 24_000): 2.5}  # seconds
PAIRS_TARGETS = {("dense", 50_000): 4000.0}  # milliseconds


@lru_cache(maxsize=2)  # large clusters: keep the one at hand and the one before
def generated(shape: str, pods: int, policies: int | None = None) -> Cluster:
    return cluster(shape, pods, policies)


@lru_cache(maxsize=2)
def compiled(shape: str, pods: int, policies: int | None = None) -> CompiledPolicy:
    return compile_cluster(generated(shape, pods, policies))


@pytest.fixture
def one_core() -> Iterator[None]:
    """Only one core, for figures that are per core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


def size_text(pods: int, policies: int) -> str:
    return f"{pods // 1000}k/{policies // 1000}k"


# --- compile ---------------------------------------------------------------------------------


@cache
def compile_medians() -> dict[int, float]:
    """Seconds by number of pods, as the benchmarks below find them."""
    return {}


@pytest.mark.parametrize(("pods", "policies"), SIZES)
def bench_compile(measure: Measure, record: Record, pods: int, policies: int) -> None:
    made = generated("mixed", pods, policies)
    _, median = measure(compile_cluster, made, rounds=ROUNDS)
    target = 0.6 if (pods, policies) == TARGET_SIZE else None
    name = f"compile, mixed {size_text(pods, policies)}"
    record(Figure(name, median, "s", target))
    medians = compile_medians()
    medians[pods] = median
    if len(medians) == len(SIZES):
        exponent = growth_exponent(medians)
        record(Figure("growth of compile, exponent in pods", exponent, "", 1.15))


def growth_exponent(seconds: dict[int, float]) -> float:
    """The slope of a straight line through the figures, on logarithmic scales."""
    xs = [log(size) for size in seconds]
    ys = [log(figure) for figure in seconds.values()]
    return float(np.polyfit(xs, ys, 1)[0])


@pytest.mark.parametrize(("shape", "pods"), SHAPES)
def bench_compile_other_shapes(measure: Measure, record: Record, shape: str, pods: int) -> None:
    made = generated(shape, pods)
    _, median = measure(compile_cluster, made, rounds=3)
    name = f"compile, {shape} {pods} pods, {len(made.policies)} policies"
    record(Figure(name, median, "s", COMPILE_TARGETS.get((shape, pods))))


# --- all pairs -------------------------------------------------------------------------------


@pytest.mark.parametrize(("pods", "policies"), SIZES)
def bench_all_pairs(measure: Measure, record: Record, pods: int, policies: int) -> None:
    made = compiled("mixed", pods, policies)
    counts, median = measure(count_pairs, made, rounds=ROUNDS)
    assert all(0 < plane.pairs < plane.possible for plane in counts)
    target = 20.0 if pods >= TARGET_SIZE[0] else None
    name = f"all pairs, mixed {size_text(pods, policies)}, all cores"
    record(Figure(name, median * 1e3, "ms", target))


@pytest.mark.parametrize(("shape", "pods"), SHAPES)
def bench_all_pairs_other_shapes(measure: Measure, record: Record, shape: str, pods: int) -> None:
    made = compiled(shape, pods)
    _, median = measure(count_pairs, made, rounds=3)
    name = f"all pairs, {shape} {pods} pods, all cores"
    record(Figure(name, median * 1e3, "ms", PAIRS_TARGETS.get((shape, pods))))


# --- flows -----------------------------------------------------------------------------------

Flows = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]


def any_flows(made: CompiledPolicy) -> Flows:
    """Between any two pods on any TCP port; a tenth go to the world outside."""
    random = np.random.default_rng(1)
    pods = len(made.pods)
    sources = random.integers(pods, size=FLOWS, dtype=np.int32)
    destinations = random.integers(pods, size=FLOWS, dtype=np.int32)
    outside = random.random(FLOWS) < 0.1
    atoms = made.addresses.ipv4.size
    destinations[outside] = made.first_atom + random.integers(atoms, size=int(outside.sum()))
    ports = random.integers(1, 65536, size=FLOWS, dtype=np.int32)
    return sources, destinations, np.zeros(FLOWS, np.uint8), ports


def likely_flows(made: CompiledPolicy) -> Flows:
    """Between pods of one namespace, on a port that the destination declares."""
    random = np.random.default_rng(2)
    homes: dict[str, list[int]] = {}
    for index, pod in enumerate(made.pods):
        homes.setdefault(pod.namespace, []).append(index)
    destinations = random.integers(len(made.pods), size=FLOWS, dtype=np.int32)
    sources = np.empty(FLOWS, np.int32)
    protocols = np.empty(FLOWS, np.uint8)
    ports = np.empty(FLOWS, np.int32)
    for flow, (destination, draw) in enumerate(
        zip(destinations.tolist(), random.random(FLOWS).tolist(), strict=True)
    ):
        pod = made.pods[destination]
        home = homes[pod.namespace]
        sources[flow] = home[int(draw * len(home))]
        port = pod.ports[flow % len(pod.ports)]
        protocols[flow] = port.protocol
        ports[flow] = port.number
    return sources, destinations, protocols, ports


@pytest.mark.parametrize(("kind", "draw"), [("any", any_flows), ("likely", likely_flows)])
@pytest.mark.usefixtures("one_core")
def bench_flows(
    measure: Measure, record: Record, kind: str, draw: Callable[[CompiledPolicy], Flows]
) -> None:
    made = compiled("mixed", *TARGET_SIZE)
    flows = draw(made)
    verdicts, median = measure(judge, made, *flows, rounds=ROUNDS)
    assert 0 < verdicts.allowed.sum() < FLOWS
    rate = FLOWS / median / 1e6
    name = f"flows with deciding rule, {kind}, mixed {size_text(*TARGET_SIZE)}, one core"
    record(Figure(name, rate, "M/s", 8.0, "at least"))


@pytest.mark.parametrize(("shape", "pods"), SHAPES)
@pytest.mark.usefixtures("one_core")
def bench_flows_other_shapes(measure: Measure, record: Record, shape: str, pods: int) -> None:
    made = compiled(shape, pods)
    flows = any_flows(made)
    _, median = measure(judge, made, *flows, rounds=3)
    name = f"flows with deciding rule, any, {shape} {pods} pods, one core"
    record(Figure(name, FLOWS / median / 1e6, "M/s", 2.0, "at least"))


# --- what-if ---------------------------------------------------------------------------------


def with_one_more_policy(made: Cluster) -> Cluster:
    """The cluster after a change isolates the tier of one workload and lets one app in."""
    pod = next(pod for pod in made.pods if pod.namespace == made.policies[0].namespace)
    sketch = Sketch("change", 1)
    peer = here(pod.namespace, labelled("app", pod.labels["app"]))
    subject = labelled("tier", pod.labels["tier"])
    sketch.policy(pod.namespace, "proposed", subject, ingress=[([peer], [tcp(8080)])])
    return Cluster(
        made.namespaces, made.pods, (*made.policies, *sketch.policies), made.nodes, made.services
    )


def bench_delta_of_one_policy(measure: Measure, record: Record) -> None:
    before = compiled("mixed", *TARGET_SIZE)
    after = compile_cluster(with_one_more_policy(before.cluster))
    _, median = measure(delta, before, after, rounds=ROUNDS)
    name = f"what-if of one policy, both sides compiled, mixed {size_text(*TARGET_SIZE)}"
    record(Figure(name, median * 1e3, "ms"))
