"""Packets through the rules that the programs of CNIs write, against what their profiles say.

Verdicts are those of the node's kernel: what arrives was allowed. Each program has the pods,
namespaces and policies of a cluster from a real API server. What is not sent: SCTP, which not every
kernel has, and connections to Services. Packets between pods of other nodes are not seen here.
"""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.profile import PROFILES
from tests.clusters.generated import (
    NOT_OF_FLOWS,
    OF_ADMIN_POLICIES,
    OF_CLUSTER_POLICIES,
    knob_positions,
)
from tests.cni_programs.comparison import Observation, Passages, observe, passages
from tests.cni_programs.known_answers import KNOWN, Known
from tests.cni_programs.programs import Running
from tests.programs.recipe import RECIPES

# What packets that open connections between pods, nodes and outside do not show, or what these
# programs have none of.
NOT_SHOWN = (*NOT_OF_FLOWS, *OF_ADMIN_POLICIES, *OF_CLUSTER_POLICIES)


@pytest.mark.parametrize("known", KNOWN, ids=str)
def test_the_profile_knows_it(known: Known) -> None:
    compiled = compile_cluster(known.cluster, PROFILES[known.profile])
    packets = list(known.packets)
    verdicts = judge(
        compiled,
        address_ids(compiled, [packet.source for packet in packets]),
        address_ids(compiled, [packet.destination for packet in packets]),
        [packet.protocol for packet in packets],
        [packet.port for packet in packets],
    )
    assert dict(zip(packets, verdicts.allowed.tolist(), strict=True)) == known.packets


def test_the_profile_names_the_version_that_is_asked() -> None:
    modules = (RECIPES / "kube-router" / "go.mod").read_text("utf-8")
    match = re.search(r"cloudnativelabs/kube-router/v2 v(2\.[\d.]+)", modules)
    assert match is not None
    assert PROFILES["kube-router@2.1"].proved == f"kube-router {match[1]}"


@pytest.mark.programs
def test_known_answers(engine: Running) -> None:
    asked = [known for known in KNOWN if known.profile == engine.engine.profile.name]
    assert asked
    for known in asked:
        engine.lab.show(known.cluster, engine.daemon)
        arrived = engine.lab.arrived(list(known.packets))
        assert dict(zip(known.packets, arrived, strict=True)) == known.packets, known.title


@pytest.mark.programs
def test_generated_clusters(engine: Running) -> None:
    compared = Passages()
    for seed in range(8):
        compared.add(observe(engine, seed, 100), engine.engine.profile)
    assert compared.clusters > 5 and compared.probes > 300 and compared.allowed > 0
    assert not compared.apart, compared.report()


@pytest.mark.programs
@pytest.mark.long
def test_many_generated_clusters(engine: Running) -> None:
    """10⁵ packets; and no other position of a knob would do."""
    compared, seen = Passages(), list[Observation]()
    seed = 1000
    while compared.probes < 100_000:
        seen.append(observe(engine, seed, 400))
        compared.add(seen[-1], engine.engine.profile)
        seed += 1
    assert not compared.apart, compared.report()
    would_do = [
        f"{knob}={value}"
        for knob, values in knob_positions().items()
        for value in values
        if knob not in (*NOT_SHOWN, *engine.engine.not_shown)
        and value != getattr(engine.engine.profile, knob)
        and not _shows(engine, seen, knob, value)
    ]
    assert not would_do


def _shows(engine: Running, seen: list[Observation], knob: str, value: object) -> bool:
    """Whether some packet of an observation contradicts the profile with another knob."""
    other = replace(engine.engine.profile, **{knob: value})
    return any(
        one.expected != one.arrived for observed in seen for one in passages(observed, other)
    )
