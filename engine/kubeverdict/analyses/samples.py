"""What decides single connections between ends that are known by their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kubeverdict.analyses.decisions import ConnectionVerdict, Decider
from kubeverdict.analyses.ends import Party
from kubeverdict.analyses.questions import Flow
from kubeverdict.compile.compiled import DENYING, CompiledPolicy
from kubeverdict.compile.isolation import Isolation
from kubeverdict.evaluate.delta import Delta
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Action, Direction
from kubeverdict.model.ports import Protocol

_DIRECTIONS = (Direction.EGRESS, Direction.INGRESS)


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
    for place, sample, allowed, numbers in _judged(compiled, samples):
        ids = sample.source, sample.destination
        ends = _party(compiled, ids[0]), _party(compiled, ids[1])
        flow = Flow(*ends, sample.protocol, sample.port, sample.family)
        egress, ingress = (
            decider.decision(number, direction, flow, misses=False, ends=ids)
            for number, direction in zip(numbers, _DIRECTIONS, strict=True)
        )
        found[place] = ConnectionVerdict(allowed, egress, ingress)
    return found


def deciders(
    compiled: CompiledPolicy, samples: Sequence[SampleFlow | None]
) -> list[tuple[tuple[int, int], ...]]:
    """What decides each of some connections, to tell which are alike, much faster than
    :func:`decided` says it: both directions of an allowed one, those that deny of another, none
    where there is no connection. A direction is the id of a rule, or a reason with what stands for
    the policies that isolate the pod."""
    found: list[tuple[tuple[int, int], ...]] = [()] * len(samples)
    allows = [one.rule.action is Action.ALLOW for one in compiled.rules]
    isolation = Isolation(compiled.cluster.namespaces, compiled.policies)
    known: dict[tuple[int, ...], int] = {}

    def isolated_by(end: int, direction: Direction) -> int:
        if end >= len(compiled.pods):
            return 0
        policies = isolation.of_all_tiers(compiled.pods[end], direction)
        return known.setdefault(tuple(map(id, policies)), len(known) + 1)

    for place, sample, allowed, numbers in _judged(compiled, samples):
        found[place] = tuple(
            (number, isolated_by(subject, direction) if number < 0 else 0)
            for number, direction, subject in zip(
                numbers, _DIRECTIONS, (sample.source, sample.destination), strict=True
            )
            if (allows[number] if number >= 0 else number not in DENYING) is allowed
        )
    return found


def _judged(
    compiled: CompiledPolicy, samples: Sequence[SampleFlow | None]
) -> Iterator[tuple[int, SampleFlow, bool, tuple[int, int]]]:
    """The place of each sample, whether it is allowed, and what decides: a rule id or a reason for
    egress and for ingress."""
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
        numbers = zip(verdicts.egress.tolist(), verdicts.ingress.tolist(), strict=True)
        for (place, sample), allowed, of_each in zip(
            asked, verdicts.allowed.tolist(), numbers, strict=True
        ):
            yield place, sample, allowed, of_each


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
