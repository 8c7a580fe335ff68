"""Scenarios that change pods and the labels of namespaces, judged in a batch.

Pods as a scenario would have them get positions in addition to those that are there, weighing
nothing; a scenario then moves pods from one position to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Reason, freeze
from kubeverdict.compile.overlay.making import Visitor, make_overlay
from kubeverdict.compile.overlay.overlay import Overlay, OverlayPlane
from kubeverdict.compile.sets import offsets
from kubeverdict.evaluate.scenarios.outcome import ANYTHING, Example, Focus, Judged, Outcome
from kubeverdict.evaluate.scenarios.results import (
    Results,
    decided,
    end,
    example_of,
    ground,
    judge_all,
    judged,
    no_results,
    outcome_in_bounds,
)
from kubeverdict.kernels import pod_scenarios, scenario_results
from kubeverdict.kernels.collect import Ground, scratch
from kubeverdict.kernels.pod_scenarios import Moves
from kubeverdict.model.cluster import METADATA_NAME, Pod
from kubeverdict.model.edit import Edit

# Elementary steps of a scenario, roughly.
_WORK = 60_000
PodKey = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A pod of a scenario: its place in ``CompiledPolicy.pods`` before, or -1 where it comes; the
    visitor that it becomes, or -1 where it goes."""

    before: int
    after: int


class PodBatch:
    """Scenarios of pods, to be judged together."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        self._compiled = compiled
        self._pods_of: dict[str, list[int]] | None = None
        self.numbers: list[int] = []
        self.visitors: list[Visitor] = []
        self.tracks: list[list[Track]] = []

    def add(self, number: int, edit: Edit) -> None:
        """Add scenario ``number``."""
        compiled = self._compiled
        labels = {one.name: {METADATA_NAME: one.name, **one.labels} for one in edit.namespaces_in}
        coming: dict[PodKey, Pod] = {(pod.namespace, pod.name): pod for pod in edit.pods_in}
        going = dict.fromkeys(edit.pods_out)
        for name in labels:
            for place in self._pods_in(name):
                pod = compiled.pods[place]
                key = (pod.namespace, pod.name)
                if key not in going:
                    coming.setdefault(key, pod)
        tracks = [
            Track(compiled.pod_ids.get(key, -1), self._visit(pod, labels.get(pod.namespace)))
            for key, pod in coming.items()
        ]
        gone = (compiled.pod_ids.get(key, -1) for key in going if key not in coming)
        tracks += [Track(place, -1) for place in gone if place >= 0]
        self.numbers.append(number)
        self.tracks.append(tracks)

    def _visit(self, pod: Pod, labels: dict[str, str] | None) -> int:
        self.visitors.append(Visitor(pod, labels))
        return len(self.visitors) - 1

    def _pods_in(self, namespace: str) -> list[int]:
        if self._pods_of is None:
            self._pods_of = {}
            for place, pod in enumerate(self._compiled.pods):
                self._pods_of.setdefault(pod.namespace, []).append(place)
        return self._pods_of.get(namespace, [])


@dataclass(frozen=True, slots=True, eq=False)
class PlanePodChanges:
    """The moves of a batch in one plane, and for each up to two of the pods that it stands for,
    as places in ``Overlay.pods`` (-1 where there is none)."""

    moves: Moves
    pods: tuple[tuple[tuple[int, int], ...], ...]
    ground: Ground


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPodBatch:
    """A batch made ready for the kernel."""

    overlay: Overlay
    planes: tuple[PlanePodChanges, ...]
    count: int
    # Memory to look single connections up in, by plane, made when it is needed.
    workers: dict[int, tuple[Any, ...]] = field(default_factory=dict)


def prepare(overlay: Overlay, batch: PodBatch, focus: Focus = ANYTHING) -> PreparedPodBatch:
    """Give the visitors of ``batch`` their positions. Takes about as long as a compile."""
    if batch.visitors:
        overlay = make_overlay(overlay.compiled, batch.visitors)
    planes = tuple(_plane_moves(overlay, plane, batch, focus) for plane in overlay.planes)
    freeze(planes)
    return PreparedPodBatch(overlay, planes, len(batch.numbers))


def _plane_moves(
    overlay: Overlay, plane: OverlayPlane, batch: PodBatch, focus: Focus
) -> PlanePodChanges:
    position = plane.position.tolist()
    workloads = overlay.workloads.tolist()
    visitors = overlay.visitors.tolist()
    lengths: list[int] = []
    kinds: list[tuple[int, int, int]] = []
    members: list[list[tuple[int, int]]] = []
    for tracks in batch.tracks:
        found: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for track in tracks:
            after = visitors[track.after] if track.after >= 0 else -1
            where = (
                position[track.before] if track.before >= 0 else -1,
                position[after] if after >= 0 else -1,
            )
            if where[0] != where[1]:
                home = workloads[after if after >= 0 else track.before]
                found.setdefault((*where, home), []).append((track.before, after))
        lengths.append(len(found))
        kinds += found
        members += found.values()
    table = np.array(kinds, np.int32).reshape(-1, 3)
    real = ~_alike(plane, table[:, 0], table[:, 1])
    scenario = np.repeat(np.arange(len(lengths)), lengths)[real]
    kept = [pods for pods, moves_it in zip(members, real.tolist(), strict=True) if moves_it]
    return PlanePodChanges(
        moves=Moves(
            start=offsets(np.bincount(scenario, minlength=len(lengths))),
            before=np.ascontiguousarray(table[real, 0]),
            after=np.ascontiguousarray(table[real, 1]),
            pods=np.array([len(pods) for pods in kept], np.int64),
            home=np.ascontiguousarray(table[real, 2]),
        ),
        pods=tuple(tuple(pods[:2]) for pods in kept),
        ground=ground(overlay, plane, plane.sets, overlay.runs, plane.subject, focus),
    )


def _alike(
    plane: OverlayPlane, before: NDArray[np.int32], after: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Whether no rule distinguishes two positions."""
    found = (before >= 0) & (after >= 0)
    for part in (
        plane.ingress.part,
        plane.egress.part,
        plane.ingress_by_peer.part,
        plane.egress_by_peer.part,
    ):
        found &= part[before] == part[after]
    return found


def judge(prepared: PreparedPodBatch, examples: int = 0, threads: int | None = None) -> Results:
    """Judge every scenario, in threads."""
    planes, count = prepared.overlay.planes, prepared.count
    results = no_results(len(planes), count, examples)
    kernel = pod_scenarios.judge_moves.on(count * _WORK)

    def workers() -> list[tuple[Any, ...]]:
        return [_worker(prepared, number) for number in range(len(planes))]

    judge_all(kernel, results, threads, workers)
    return results


def _worker(prepared: PreparedPodBatch, number: int) -> tuple[Any, ...]:
    """What the kernel needs to know of a plane, and memory to work in."""
    plane, own = prepared.overlay.planes[number], prepared.planes[number]
    sides = (plane.ingress, plane.egress)
    views = (plane.ingress_by_peer, plane.egress_by_peer)
    work = scratch(own.ground, sides, views, plane.homes, 2, 0)
    among = np.empty((np.diff(own.moves.start).max(initial=0), 4), np.int64)
    return own.moves, own.ground, sides, views, plane.homes, among, work


def outcome_of(
    bounds: Sequence[PreparedPodBatch], results: Sequence[Results], scenario: int, name: str
) -> Outcome:
    """The outcome of one scenario of the batch, which was prepared and judged in one bound, what
    is allowed at most, or in both."""

    return outcome_in_bounds(bounds, results, scenario, name, partial(_example, scenario))


def _example(
    scenario: int, bounds: Sequence[PreparedPodBatch], number: int, example: list[int], opens: bool
) -> Example:
    """An example of the first of ``bounds``."""
    prepared, *others = bounds
    overlay = prepared.overlay
    plane, moved = overlay.planes[number], prepared.planes[number]
    first = int(moved.moves.start[scenario])
    source, destination = example[scenario_results.SOURCE], example[scenario_results.DESTINATION]

    def find(position: int, which: int) -> Pod | str:
        if position >= 0:
            return end(overlay, plane, position, which, {})
        before, after = moved.pods[first - 2 - position][which]
        return overlay.pods[after if after >= 0 else before]

    own = example[scenario_results.DECIDED :]
    other: list[int] = []
    for bound in others:
        for side in (moved.moves.before, moved.moves.after):
            # Moves are numbered by bound, positions are not.
            at = [int(side[first - 2 - end]) if end < -1 else end for end in (source, destination)]
            place = example[scenario_results.PLACE]
            other += _decided(bound, number, (at[0], at[1]), place)
    most = not overlay.compiled.at_least
    before = _judged(overlay.compiled, not opens, own[:2], other[:2], most)
    after = _judged(overlay.compiled, opens, own[2:], other[2:], most)
    return example_of(overlay, plane, example, opens, find, (before, after))


def _decided(
    prepared: PreparedPodBatch, number: int, ends: tuple[int, int], place: int
) -> tuple[int, int]:
    """What decides egress and ingress between two positions."""
    if min(ends) < 0:
        return scenario_results.ABSENT, scenario_results.ABSENT
    worker = prepared.workers.get(number)
    if worker is None:
        worker = prepared.workers[number] = _worker(prepared, number)
    moves, standing, sides, *_, work = worker
    return decided(sides, ends, place, 1, moves.before[:0], standing, work)


def _judged(
    compiled: CompiledPolicy, allowed: bool, own: Sequence[int], other: Sequence[int], most: bool
) -> Judged | None:
    if scenario_results.ABSENT in own:
        return None
    ours, theirs = (
        tuple(compiled.rules[rule] if rule >= 0 else Reason(rule) for rule in rules)
        for rules in (own, other)
    )
    return judged(allowed, ours, theirs, most)
