"""Documents of small clusters, written by hand: what ``kubectl`` would print, shortened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bench.lab import LabPod

Object = dict[str, Any]


def pod(
    namespace: str,
    name: str,
    *addresses: str,
    labels: Mapping[str, str] | None = None,
    node: str = "node",
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels or {"app": name}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "x"}]},
        "status": {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
        },
    }


def of_lab(pods: Iterable[LabPod]) -> list[Object]:
    return [pod(one.namespace, one.name, *one.addresses) for one in pods]


def policy(namespace: str, name: str, app: str | None = None, **spec: Any) -> Object:
    """A NetworkPolicy for pods with label ``app``, or for all of the namespace."""
    selector = {"matchLabels": {"app": app}} if app else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"podSelector": selector, **spec},
    }


def from_app(*apps: str) -> list[Object]:
    """Peers: pods of the same namespace with one of these labels."""
    return [{"podSelector": {"matchLabels": {"app": app}}} for app in apps]


def text(*objects: Object | list[Object]) -> str:
    """Objects, and lists of them, as a file (YAML holds JSON)."""
    flat = [one for each in objects for one in (each if isinstance(each, list) else [each])]
    return "".join(f"---\n{msgspec.json.encode(one).decode()}\n" for one in flat)
