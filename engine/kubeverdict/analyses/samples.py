"""What decides single connections between ends that are known by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kubeverdict.analyses.decisions import ConnectionVerdict, Decider
from kubeverdict.analyses.ends import Party
from kubeverdict.analyses.questions import Flow
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.delta import Delta
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol


class SampleFlow(NamedTuple):
    """One connection: endpoint ids, what it uses, and the address family where that counts."""

    source: int
    destination: int
    protocol: Protocol
    port: int
    family: Family | None = None


def decided(
    compiled: CompiledPolicy, samples: Sequence[SampleFlow | None]
) -> list[ConnectionVerdict | None]:
    """What decides each of some connections; None where there is none. Policies that isolate a
    pod are named without their nearest rules."""
    decider = Decider(compiled)
    found: list[ConnectionVerdict | None] = [None] * len(samples)
    by_family: dict[Family | None, list[tuple[int, SampleFlow]]] = {}
    for place, sample in enumerate(samples):
        if sample is not None:
            by_family.setdefault(sample.family, []).append((place, sample))
    for family, asked in by_family.items():
        verdicts = judge(
            compiled,
            np.array([sample.source for _, sample in asked], np.int64),
            np.array([sample.destination for _, sample in asked], np.int64),
            [sample.protocol for _, sample in asked],
            [sample.port for _, sample in asked],
            family=family,
        )
        for index, (place, sample) in enumerate(asked):
            ids = sample.source, sample.destination
            ends = _party(compiled, ids[0]), _party(compiled, ids[1])
            flow = Flow(*ends, sample.protocol, sample.port, family)
            egress, ingress = (
                decider.decision(int(chosen[index]), direction, flow, misses=False, ends=ids)
                for direction, chosen in (
                    (Direction.EGRESS, verdicts.egress),
                    (Direction.INGRESS, verdicts.ingress),
                )
            )
            found[place] = ConnectionVerdict(bool(verdicts.allowed[index]), egress, ingress)
    return found


def on_one_node(change: Delta, source: int, destination: int) -> bool:
    """Whether one of two joint ends is a pod and the other an address of the node that it runs
    on: these may connect whatever the rules say, so they say nothing about rules."""
    ends = change.ends
    hosts = range(ends.pods, ends.pods + len(ends.hosts))
    if source not in hosts and destination not in hosts:
        return False
    for compiled, ids in ((change.old, ends.old), (change.new, ends.new)):
        if min(ids[source], ids[destination]) >= 0:
            node = compiled.planes[0].ends.node[ids[[source, destination]]]
            if node[0] >= 0 and node[0] == node[1]:
                return True
    return False


def _party(compiled: CompiledPolicy, end: int) -> Party:
    """A pod as it is in this version, by which policies select it; or an address."""
    if end < len(compiled.pods):
        pod = compiled.pods[end]
        return Party(str(pod), (), pod, managed=True)
    return Party("an address", ())
