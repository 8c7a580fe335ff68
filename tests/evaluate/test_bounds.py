"""Conditional rules: whatever their conditions come to, a verdict lies between the bounds."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.bounds import Bounds, conditions, judge_bounds
from kubeverdict.model.cluster import Cluster
from kubeverdict.snapshots import snapshot
from tests.clusters.conditions import bound, settled, with_conditions
from tests.clusters.generated import Probe, random_cluster, random_probes
from tests.conformance.answers import end_ids
from tests.oracle import Oracle


def conditional_cluster(seed: int) -> Cluster:
    return with_conditions(random_cluster(seed, pods=10, policies=8, tiers=True), seed)


def ask(cluster: Cluster, probes: list[Probe]) -> Bounds:
    compiled = compile_cluster(cluster)
    source = end_ids(compiled, [each.source for each in probes])
    destination = end_ids(compiled, [each.destination for each in probes])
    protocols = np.array([int(each.protocol) for each in probes])
    ports = np.array([each.port for each in probes])
    return judge_bounds(compiled, source, destination, protocols, ports)


def verdicts(cluster: Cluster, probes: list[Probe]) -> list[bool]:
    oracle = Oracle(cluster)
    asked = [(each.source, each.destination, each.protocol, each.port) for each in probes]
    return [oracle.judge(*flow).allowed for flow in asked]


@pytest.mark.parametrize("seed", range(40))
def test_verdicts_lie_between_the_bounds(seed: int) -> None:
    made = conditional_cluster(seed)
    probes = random_probes(made, Oracle(made).managed, 150, seed)
    bounds = ask(made, probes)
    assert bounds.least.allowed.tolist() == verdicts(bound(made, at_least=True), probes)
    assert bounds.most.allowed.tolist() == verdicts(bound(made, at_least=False), probes)
    choose = Random(seed).choice
    for _ in range(5):
        allowed = np.array(verdicts(settled(made, choose), probes))
        assert not (bounds.least.allowed & ~allowed).any()
        assert not (allowed & ~bounds.most.allowed).any()


def test_some_are_conditional_and_most_are_not() -> None:
    flows = conditional = 0
    for seed in range(20):
        made = conditional_cluster(seed)
        bounds = ask(made, random_probes(made, Oracle(made).managed, 100, seed))
        flows += bounds.conditional.size
        conditional += int(bounds.conditional.sum())
    assert 0.02 * flows < conditional < 0.5 * flows


@pytest.mark.parametrize("seed", range(10))
def test_both_bounds_tell_the_same_apart(seed: int) -> None:
    compiled = compile_cluster(conditional_cluster(seed))
    least = compiled.bound(at_least=True)
    assert compiled.ports.first.tolist() == least.ports.first.tolist()
    for one, other in zip(compiled.planes, least.planes, strict=True):
        assert one.ends.identity.tolist() == other.ends.identity.tolist()
        assert one.sets.start.tolist() == other.sets.start.tolist()


def test_without_conditions_nothing_is_compiled_twice() -> None:
    compiled = compile_cluster(random_cluster(1, tiers=True))
    assert compiled.least == ()
    bounds = judge_bounds(compiled, [0], [1], [0], [80])
    assert bounds.most is bounds.least and not bounds.conditional.any()


def test_the_conditions_of_rules_are_told() -> None:
    made = conditional_cluster(3)
    compiled = compile_cluster(made)
    numbers = range(len(compiled.rules))
    written = [ref.rule.condition for ref in compiled.rules if ref.rule.condition]
    assert written and conditions(compiled, [-1, *numbers]) == tuple(dict.fromkeys(written))
    told = [one.detail for one in compiled.unevaluated]
    assert sum("has a condition" in text for text in told) == sum(
        bool(ref.rule.condition) for ref in compiled.rules
    )


def test_a_snapshot_has_both_bounds() -> None:
    compiled = compile_cluster(conditional_cluster(3))
    back = snapshot.read_bytes(snapshot.to_bytes(compiled)).compiled
    (least,), (own,) = back.least, compiled.least
    assert least.at_least and not back.at_least
    assert (least.planes[0].rows.rule == own.planes[0].rows.rule).all()
    assert [ref.rule.condition for ref in least.rules] == [ref.rule.condition for ref in own.rules]
