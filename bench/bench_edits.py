"""Edits that a session keeps, each until the next question is answered."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from statistics import median, quantiles
from time import perf_counter, process_time

import pytest
from msgspec.structs import replace

from bench.conftest import Measure, Record
from bench.figures import Figure
from bench.workloads import cluster
from kubeverdict.analyses.whatif import opening
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.edit import Edit, edited, policy_key
from kubeverdict.model.policy import Policy
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import REFERENCE
from kubeverdict.session.session import Session
from kubeverdict.session.version import Version

EDITS = 600
KINDS = (
    *("policy added", "policy changed", "policy removed"),
    *("pod added", "pod deleted", "pod relabelled"),
)


class Changes:
    """Random edits of a cluster, and what they have made of it."""

    def __init__(self, start: Cluster) -> None:
        self._random = Random(1)
        self._serial = 0
        self._pods: list[Pod] = list(start.pods)
        self._policies: list[Policy] = list(start.policies)

    def __iter__(self) -> Iterator[tuple[str, Edit]]:
        for number in range(EDITS):
            kind = KINDS[number % len(KINDS)]
            yield kind, self._one(kind)

    def _one(self, kind: str) -> Edit:
        """The last of a list goes, so that what was added is changed and removed too."""
        self._serial += 1
        name = f"new-{self._serial}"
        if kind.startswith("policy"):
            at = self._random.randrange(len(self._policies))
            policy = self._policies[at]
            if kind == "policy removed":
                del self._policies[at]
                return Edit(kind, policies_out=(policy_key(policy),))
            other = replace(self._random.choice(self._policies), namespace=policy.namespace)
            if kind == "policy added":
                self._policies.append(replace(other, name=name))
                return Edit(kind, policies_in=(self._policies[-1],))
            self._policies[at] = replace(other, name=policy.name)
            return Edit(kind, policies_in=(self._policies[at],))
        at = self._random.randrange(len(self._pods))
        pod = self._pods[at]
        if kind == "pod deleted":
            del self._pods[at]
            return Edit(kind, pods_out=((pod.namespace, pod.name),))
        if kind == "pod added":
            address = f"10.200.{self._serial >> 8}.{self._serial & 255}"
            self._pods.append(replace(pod, name=name, addresses=(address,)))
            return Edit(kind, pods_in=(self._pods[-1],))
        labels = {**pod.labels, **self._random.choice(self._pods).labels}
        self._pods[at] = replace(pod, labels=labels)
        return Edit(kind, pods_in=(self._pods[at],))


def ask(version: Version) -> None:
    """One connection, with the rules that decide it."""
    judge(version.compiled, [0], [1], [Protocol.TCP], [80])


def kept(session: Session, start: Cluster) -> tuple[dict[str, list[float]], Cluster]:
    """Seconds of each edit by kind, and the cluster after all of them."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    after = start
    for kind, edit in Changes(start):
        begun = perf_counter()
        ask(session.keep(edit))
        seconds[kind].append(perf_counter() - begun)
        after = edited(after, edit)
    return seconds, after


@pytest.mark.parametrize("pods", [1_000, 10_000, 50_000, 100_000])
def bench_kept_edits(measure: Measure, record: Record, pods: int) -> None:
    start = cluster("mixed", pods, pods // 10)
    session = Session.of(start, REFERENCE)
    ask(session.keep(Edit("")))  # makes ready for edits
    seconds, after = kept(session, start)
    # The engine after all edits is the engine that is compiled of what they left.
    anew, compiling = measure(compile_cluster, after, REFERENCE, rounds=5)
    assert count_pairs(session.now.compiled) == count_pairs(anew)
    everything = [one for times in seconds.values() for one in times]
    typical, worst = median(everything), quantiles(everything, n=100)[98]
    name = f"mixed {pods // 1000}k/{pods / 10_000:g}k"
    record(Figure(f"a kept edit, {name}, until a question is answered", typical * 1e3, "ms", 5))
    record(Figure(f"… 99 of 100, {name}", worst * 1e3, "ms", 30))
    for kind, times in seconds.items():
        record(Figure(f"… {kind}, {name}", median(times) * 1e3, "ms"))
    record(Figure(f"compiling anew, {name}", compiling * 1e3, "ms"))
    record(Figure(f"… times a kept edit, {name}", compiling / typical, "times"))


def told(session: Session, start: Cluster) -> dict[str, list[float]]:
    """CPU seconds of each edit by kind, with what opens and closes and the rules of what
    ``watch`` prints of it."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind, edit in Changes(start):
        begun = process_time()
        before, after = session.now.compiled, session.keep(edit).compiled
        change = opening(before, after)
        assert len(change.opened[:10]) + len(change.closed[:10]) <= 20
        seconds[kind].append(process_time() - begun)
    return seconds


@pytest.mark.parametrize("pods", [5_000, 50_000])
def bench_told_edits(measure: Measure, record: Record, pods: int) -> None:
    start = cluster("mixed", pods, pods // 10)
    session = Session.of(start, REFERENCE)
    session.keep(Edit(""))  # makes ready for edits
    seconds, _ = measure(told, session, start, rounds=1, warmup=0)
    name = f"mixed {pods // 1000}k/{pods / 10_000:g}k, CPU"
    for kind, times in seconds.items():
        target = 1 if kind == "policy changed" else 2 if kind.startswith("pod") else None
        record(
            Figure(f"{kind}: what it opens and closes, {name}", median(times) * 1e3, "ms", target)
        )
        record(Figure(f"… 99 of 100, {name}", quantiles(times, n=100)[98] * 1e3, "ms"))


def bench_a_forgotten_edit(measure: Measure, record: Record) -> None:
    """Judging an edit that is not kept: a copy of the state, changed and thrown away."""
    start = cluster("mixed", 50_000, 5_000)
    session = Session.of(start, REFERENCE)
    policy = start.policies[0]
    edit = Edit("", policies_out=(policy_key(policy),))
    _, typical = measure(lambda: ask(session.judge(edit)), rounds=100, warmup=5)
    record(Figure("an edit judged and forgotten, mixed 50k/5k", typical * 1e3, "ms", 5))
