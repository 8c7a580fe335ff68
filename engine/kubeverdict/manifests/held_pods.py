"""The pods of one namespace while objects come and go, as a load of the same objects has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from kubeverdict.manifests.objects import PodRecord, WorkloadRecord
from kubeverdict.manifests.workloads import Owners, Way, pod_of, pods_of, waiting, way_of
from kubeverdict.model.cluster import Pod, WorkloadRef


class PodChanges(NamedTuple):
    """Pods that are new or not as they were, and the names of those that are gone."""

    put_in: list[Pod]
    out: list[str]


class SpacePods:
    """Which workload a pod belongs to, and which pods a template stands for, depends on other
    objects of the namespace. Mostly every workload has its pods, and a pod that changes concerns
    nobody else; otherwise the namespace is gone through as a whole."""

    def __init__(self) -> None:
        self._records: dict[str, PodRecord] = {}
        self._workloads: dict[WorkloadRef, WorkloadRecord] = {}
        self._made: dict[str, Pod] = {}
        self._touched: set[str] = set()
        self._ways: Counter[Way] = Counter()  # how many pods say the same of their workload
        self._whole = False
        self._owners = Owners(())
        self._plain = True  # no workload waits for pods

    def put_pod(self, record: PodRecord) -> None:
        self.remove_pod(record.name)
        self._records[record.name] = record
        way = way_of(record)
        if way is not None:
            self._ways[way] += 1

    def remove_pod(self, name: str) -> None:
        self._touched.add(name)
        record = self._records.pop(name, None)
        way = way_of(record) if record is not None else None
        if way is not None:
            self._ways[way] -= 1
            if not self._ways[way]:  # a workload may be without pods now
                del self._ways[way]
                self._whole = True

    def put_workload(self, record: WorkloadRecord) -> None:
        self._workloads[record.ref] = record
        self._whole = True

    def remove_workload(self, ref: WorkloadRef) -> None:
        self._workloads.pop(ref, None)
        self._whole = True

    def nodes_changed(self) -> bool:
        """Whether that makes a difference: templates may stand for a pod on each node."""
        self._whole |= not self._plain
        return self._whole

    @property
    def pods(self) -> Sequence[Pod]:
        """As of the last call of :meth:`changes`."""
        return tuple(self._made.values())

    @property
    def is_empty(self) -> bool:
        return not (self._records or self._workloads or self._made)

    def changes(self, nodes: Sequence[str]) -> PodChanges:
        """What changed since the last call; ``nodes`` are the names of all."""
        if self._whole or not self._plain:
            found = self._all(nodes)
            names = {*self._made, *found}
        else:
            names = self._touched
            touched = (self._records.get(name) for name in names)
            found = {
                record.name: pod_of(record, self._owners.of_pod(record))
                for record in touched
                if record is not None
            }
        changes = PodChanges([], [])
        for name in names:
            old, new = self._made.get(name), found.get(name)
            if new is None:
                if old is not None:
                    del self._made[name]
                    changes.out.append(name)
            elif old is None or not _alike(old, new):
                self._made[name] = new
                changes.put_in.append(new)
        self._touched, self._whole = set(), False
        return changes

    def _all(self, nodes: Sequence[str]) -> dict[str, Pod]:
        records, workloads = tuple(self._records.values()), tuple(self._workloads.values())
        owners = self._owners = Owners(workloads)
        refs = [owners.of_pod(record) for record in records]
        self._plain = not waiting(workloads, owners)
        if self._plain:
            return {
                record.name: pod_of(record, ref) for record, ref in zip(records, refs, strict=True)
            }
        return {pod.name: pod for pod in pods_of(records, workloads, nodes)}


def _alike(one: Pod, other: Pod) -> bool:
    return msgspec.structs.astuple(one) == msgspec.structs.astuple(other)
