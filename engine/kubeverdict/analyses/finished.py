"""Pods that have finished, for questions about the past."""

from __future__ import annotations

import msgspec

from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.edit import Edit, edited


def with_finished(cluster: Cluster) -> Cluster:
    """``cluster`` in which workloads that have only finished pods (Jobs) still have them.

    No policy acts on a finished pod, but it did on its connections and will on those of the next
    one. They come back without an address, which may be another's by now: judged by their labels.
    """
    alive = {pod.workload for pod in cluster.pods if not pod.finished}
    if all(pod.workload in alive for pod in cluster.pods if pod.finished):
        return cluster
    pods = tuple(
        msgspec.structs.replace(pod, phase="", addresses=())
        if pod.finished and pod.workload not in alive
        else pod
        for pod in cluster.pods
    )
    return msgspec.structs.replace(cluster, pods=pods)


def edit_with_finished(cluster: Cluster, edit: Edit) -> Edit:
    """What makes ``with_finished(cluster)`` the cluster after ``edit``, with its finished pods.

    A workload may get other pods by the edit than its finished ones, or lose all others.
    """
    if not edit.pods_out and not edit.pods_in:
        return edit
    before, after = (
        {(pod.namespace, pod.name): pod for pod in with_finished(one).pods}
        for one in (cluster, edited(cluster, edit))
    )
    return msgspec.structs.replace(
        edit,
        pods_out=tuple(key for key in before if key not in after),
        pods_in=tuple(pod for key, pod in after.items() if not _is_same(before.get(key), pod)),
    )


def _is_same(known: Pod | None, pod: Pod) -> bool:
    """Pods are equal where they are one object, and finished ones come back as others each time."""
    astuple = msgspec.structs.astuple
    return known is pod or (known is not None and astuple(known) == astuple(pod))
