"""Pods that have finished, for questions about the past."""

from __future__ import annotations

import msgspec

from kubeverdict.model.cluster import Cluster


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
