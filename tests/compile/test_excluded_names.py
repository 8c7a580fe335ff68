"""Ports that rules exclude by name: against the oracle, and what other parts make of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.explain import explain
from kubeverdict.analyses.questions import parse_port
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.scenarios.workbench import evaluate, workbench
from kubeverdict.model.cluster import Cluster, ContainerPort, Pod
from kubeverdict.model.edit import Edit, policy_key
from kubeverdict.model.policy import Direction, Policy, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.snapshots import snapshot
from tests.clusters.generated import Probe, random_cluster, random_probes
from tests.clusters.policies import PORT_NAMES, PROTOCOLS
from tests.clusters.records import allow, pod, policy_of, xy_cluster
from tests.conformance.answers import ask_engine, ask_oracle
from tests.counting import count_changes
from tests.oracle import Oracle
from tests.verbs.plain import small_cluster

HTTP = NamedPort(Protocol.TCP, "http")


def excluding(made: Cluster, seed: int) -> Cluster:
    """The cluster with names excluded by all rules."""
    choose = Random(seed).choice

    def rule(one: Rule) -> Rule:
        names = tuple(NamedPort(choose(PROTOCOLS), choose(PORT_NAMES[:2])) for _ in range(2))
        return replace(one, excluded_ports=(*one.excluded_ports, *names))

    return replace(
        made,
        policies=tuple(
            replace(one, rules=tuple(rule(each) for each in one.rules)) for one in made.policies
        ),
    )


def named_ports(made: Cluster, managed: Sequence[Pod]) -> list[Probe]:
    """A flow to every named port of every pod, from some of the others."""
    choose = Random(1).choice
    return [
        Probe(choose(managed), pod_, port.protocol, port.number, None)
        for pod_ in managed
        for port in pod_.ports
        if port.name
        for _ in range(4)
    ]


@pytest.mark.parametrize("seed", range(15))
def test_verdicts_are_the_oracles(seed: int) -> None:
    made = excluding(random_cluster(seed, pods=12, policies=12, tiers=True), seed)
    profile = (REFERENCE, PROFILES["calico"], PROFILES["cilium"])[seed % 3]
    managed = Oracle(made, profile).managed
    probes = [*random_probes(made, managed, 60, seed), *named_ports(made, managed)]
    assert ask_engine(made, probes, profile) == ask_oracle(made, probes, profile)


def test_names_change_verdicts() -> None:
    changed = 0
    for seed in range(15):
        made = random_cluster(seed, pods=12, policies=12, tiers=True)
        probes = named_ports(made, Oracle(made).managed)
        answers = (ask_engine(one, probes) for one in (made, excluding(made, seed)))
        changed += sum(one != other for one, other in zip(*answers, strict=True))
    assert changed >= 20


@pytest.mark.parametrize("seed", range(4))
def test_scenarios_with_such_rules(seed: int) -> None:
    made = excluding(small_cluster(seed), seed)
    edits = [Edit(f"out {one}", policies_out=(policy_key(one),)) for one in made.policies]
    for edit, found in zip(edits, evaluate(workbench(compile_cluster(made)), edits), strict=True):
        rest = tuple(one for one in made.policies if policy_key(one) not in edit.policies_out)
        without = replace(made, policies=rest)
        expected = count_changes(Oracle(made), Oracle(without), 4)
        for back, outcome in (
            (False, found),
            (True, _put_in(without, made, edit)),
        ):
            (counts,) = [one for one in outcome.counts if 4 in one.families] or [None]
            closed = (expected.pairs_closed, expected.ports_closed)
            opened = (expected.pairs_opened, expected.ports_opened)
            if counts is not None:
                assert (counts.pairs_opened, counts.ports_opened) == (closed if back else opened)
                assert (counts.pairs_closed, counts.ports_closed) == (opened if back else closed)


def _put_in(without: Cluster, made: Cluster, edit: Edit):  # type: ignore[no-untyped-def]
    (policy_,) = (one for one in made.policies if policy_key(one) in edit.policies_out)
    bench = workbench(compile_cluster(without))
    return evaluate(bench, [Edit("in", policies_in=(policy_,))])[0]


WEB = ContainerPort("http", Protocol.TCP, 8080)


def compiled(*policies: Policy) -> CompiledPolicy:
    pods = (pod("x/a", "", "10.0.0.1"), replace(pod("y/b", "", "10.0.0.2"), ports=(WEB,)))
    return compile_cluster(xy_cluster(pods, *policies))


EXCLUDED = policy_of(
    "y/net",
    replace(
        allow(Direction.INGRESS, None, (PortRange(Protocol.TCP, 8000, 8100),)),
        excluded_ports=(HTTP,),
    ),
)


def test_explain_says_that_a_name_is_excluded() -> None:
    (allowed,) = explain(compiled(EXCLUDED), "x/a", "y/b", parse_port("8081")).answers
    (denied,) = explain(compiled(EXCLUDED), "x/a", "y/b", parse_port("8080")).answers
    assert allowed.allowed and not denied.allowed
    (miss,) = denied.ingress.isolated_by
    assert miss.nearest is not None
    (failure,) = miss.nearest.failures
    assert failure.message == "TCP 8080 is excluded: it is port http of y/b"


def test_a_snapshot_keeps_names() -> None:
    back = snapshot.read_bytes(snapshot.to_bytes(compiled(EXCLUDED))).compiled
    assert back.rules[0].rule.excluded_ports == (HTTP,)
