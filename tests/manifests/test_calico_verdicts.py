"""Calico's policies from documents to verdicts, compared with a plain reading of the documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from kubeverdict.model.profile import PROFILES
from tests.clusters.generated_documents import Object
from tests.oracle_calico import CalicoOracle, Packet
from tests.oracles.calico_policies import engine_says, made_up, probes_of
from tests.oracles.client import EndVerdict, WireAnswer, WireProbe


def plainly(objects: Sequence[Object], asked: Sequence[WireProbe]) -> list[WireAnswer]:
    oracle = CalicoOracle(objects)
    found = []
    for one in asked:
        source, destination = (oracle.end(t, one.family) for t in (one.source, one.destination))
        packet = Packet(source, destination, one.protocol, one.port, one.icmp_type)
        verdicts: list[EndVerdict | None] = []
        for way, end in (("egress", source), ("ingress", destination)):
            if end.pod is None:
                verdicts.append(None)
            else:
                allowed, by = oracle.decides(way, packet)
                verdicts.append(EndVerdict("allow" if allowed else "deny", by))
        found.append(WireAnswer(verdicts[0], verdicts[1]))
    return found


@pytest.mark.parametrize("cni", ["calico", "reference"])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_verdicts_are_those_of_a_plain_reading(cni: str, first: int) -> None:
    decided: Counter[str] = Counter()
    for seed in range(first, first + 50):
        random = Random(seed)
        objects = made_up(random)
        asked = list(probes_of(random, objects, 60))
        ours = engine_says(objects, PROFILES[cni], asked)
        for probe, one, other in zip(asked, ours, plainly(objects, asked), strict=True):
            assert one == other, (seed, probe)
            for end in (one.egress, one.ingress):
                decided[end.by.partition(" ")[0] if end else "no pod"] += 1
    # Tiers, the ends of tiers and profiles decide, and network sets and pods are asked.
    assert {"default", "early", "late", "end", "profile", "no pod"} <= decided.keys()
