"""The pods and addresses of two versions of a cluster, by their joint ends."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence, Set

import numpy as np

from kubeverdict.compile.sequences import folded
from kubeverdict.evaluate.delta import Delta
from kubeverdict.model.addresses import Family, parse_address
from kubeverdict.model.cluster import Pod, WorkloadRef


class JointPods:
    """Pods by joint end, as they are after the change where they are there then."""

    def __init__(self, change: Delta) -> None:
        self._old, self._new = change.old, change.new
        self._count = change.ends.pods
        self._in_old = change.ends.old[: self._count]
        self._in_new = change.ends.new[: self._count]
        # Ends are numbered as the pods of the old version, then those that it has not.
        first = len(self._old.pods)
        self._coming = {
            (pod.namespace, pod.name): end
            for end, pod in enumerate(map(self._pod, range(first, self._count)), start=first)
        }

    def end(self, namespace: str, name: str) -> int:
        """The joint end of a pod of either version."""
        found = self._coming.get((namespace, name))
        return self._old.pod_ids[namespace, name] if found is None else found

    def __getitem__(self, end: int) -> Pod:
        return self._pod(end)

    def _pod(self, end: int) -> Pod:
        place = int(self._in_new[end])
        return self._new.pods[place] if place >= 0 else self._old.pods[int(self._in_old[end])]

    def alike(self, ends: Iterable[int]) -> list[int]:
        """All ends, ascending, whose pods are of the workload of any of ``ends``."""
        workloads = {self._pod(end).workload for end in ends}
        if not workloads:
            return []
        gone = np.flatnonzero(self._in_new < 0).tolist()
        end_of = np.full(len(self._new.pods), -1, np.int64)
        end_of[self._in_new[self._in_new >= 0]] = np.flatnonzero(self._in_new >= 0)
        found = end_of[_of_workloads(self._new.pods, workloads)].tolist()
        return sorted([*found, *(end for end in gone if self._pod(end).workload in workloads)])


def _of_workloads(pods: Sequence[Pod], workloads: Set[WorkloadRef]) -> list[int]:
    found: list[int] = []
    first = 0
    for count, places in folded(pods, _by_workload):
        for workload in places.keys() & workloads:
            found += (first + place for place in places[workload])
        first += count
    return found


def _by_workload(pods: Sequence[Pod]) -> tuple[int, dict[WorkloadRef, list[int]]]:
    """How many pods a part has, and their places in it."""
    places: dict[WorkloadRef, list[int]] = {}
    for place, pod in enumerate(pods):
        places.setdefault(pod.workload, []).append(place)
    return len(pods), places


class JointAddresses:
    """Finds the joint end of an address: its interval, or a node that rules treat otherwise.

    A node that is treated like its interval is left aside, since what reaches a pod from its own
    node says nothing about rules.
    """

    def __init__(self, change: Delta) -> None:
        ends = change.ends
        self._base = ends.pods + len(ends.hosts)
        self._starts: list[tuple[Family, int]] = [part[:2] for part in ends.intervals]
        self._nodes: dict[tuple[Family, int], int] = {}
        for end, text in enumerate(ends.hosts, start=ends.pods):
            address = parse_address(text)
            assert address is not None  # the compiler refuses others
            key = address.family, address.value
            around = self._interval(*key)
            if any(plane.identity[end] != plane.identity[around] for plane in change.planes):
                self._nodes[key] = end

    def end(self, family: Family, value: int) -> int:
        """The joint end that an address is of."""
        node = self._nodes.get((family, value))
        return self._interval(family, value) if node is None else node

    def _interval(self, family: Family, value: int) -> int:
        return self._base + bisect_right(self._starts, (family, value)) - 1
