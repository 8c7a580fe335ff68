"""The kinds that are read, policies aside: their versions, decoders and readers."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from kubeverdict.manifests import exposing, policies, schema


class KnownKind(NamedTuple):
    """A kind that is used and no policy: its API group and versions, its decoder and the reader's
    method."""

    group: str
    versions: frozenset[str]
    decoder: msgspec.json.Decoder[Any]
    method: str
    reader: str = "objects"

    def accepts(self, api_version: str | None) -> bool:
        return api_version in self.versions


def _known(group: str, shape: type[schema.Head], method: str) -> KnownKind:
    # Workloads kept the fields that matter here since their beta versions.
    names = ("v1", "v1beta1", "v1beta2", "v2alpha1") if group in ("apps", "batch") else ("v1",)
    versions = frozenset(f"{group}/{name}" if group else name for name in names)
    return KnownKind(group, versions, msgspec.json.Decoder(shape), method)


HEAD = msgspec.json.Decoder(schema.Head)
_WORKLOADS = {
    **{kind: "apps" for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")},
    **{kind: "batch" for kind in ("Job", "CronJob")},
    "ReplicationController": "",
}
KNOWN = {
    "Pod": _known("", schema.PodManifest, "pod"),
    "Namespace": _known("", schema.NamespaceManifest, "namespace"),
    "Node": _known("", schema.NodeManifest, "node"),
    "Service": _known("", schema.ServiceManifest, "service"),
    "EndpointSlice": _known("discovery.k8s.io", schema.EndpointSlice, "endpoint_slice"),
    "Endpoints": _known("", schema.EndpointsManifest, "endpoints"),
    "Ingress": _known("networking.k8s.io", schema.IngressManifest, "ingress"),
    "Route": _known("route.openshift.io", schema.Route, "route"),
    **{kind: _known(group, schema.Workload, "workload") for kind, group in _WORKLOADS.items()},
    **{kind: KnownKind(*row, "exposing") for kind, row in exposing.KINDS.items()},
}
# No verdict depends on these: one of another version is ignored, not refused.
_BESIDE = frozenset({"EndpointSlice", "Ingress", "Route", *exposing.KINDS})


def is_read(api_version: str, kind: str) -> bool:
    """Whether objects of a kind are read in this version."""
    known = KNOWN.get(kind)
    accepted = known is not None and known.accepts(api_version)
    return accepted or policies.read_as(api_version, kind) is not None


def right_version(group: str, kind: str) -> str | None:
    """What ``apiVersion`` should be in a document of a group and kind that are used in another
    version; None where it is of no such kind."""
    api = policies.evaluated_as(group, kind)
    if api is not None:
        return policies.api_versions(api)[0]
    known = KNOWN.get(kind)
    if known is None or kind in _BESIDE or ("." in group and group != known.group):
        return None
    return f"{known.group}/v1" if known.group else "v1"
