"""Names of resources: what an API group and a kind are called here."""

from __future__ import annotations

Resource = tuple[str, str]
"""API group ("" for the core) and kind."""

# Kinds of Kubernetes whose names other API groups take too.
_OWN = {
    "CronJob": "batch",
    "DaemonSet": "apps",
    "Deployment": "apps",
    "Job": "batch",
    "Namespace": "",
    "Node": "",
    "Pod": "",
    "ReplicaSet": "apps",
    "ReplicationController": "",
    "Service": "",
    "StatefulSet": "apps",
}


def group_of(api_version: str) -> str:
    """The API group of ``apiVersion``: ``apps`` of ``apps/v1``, nothing of ``v1``."""
    return api_version.rpartition("/")[0]


def kind_name(group: str, kind: str) -> str:
    """The kind alone, or with its group where a kind of Kubernetes has the same name."""
    return kind if _OWN.get(kind, group) == group else f"{kind}.{group}"
