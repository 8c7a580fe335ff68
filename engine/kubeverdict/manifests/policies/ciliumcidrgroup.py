"""CiliumCIDRGroup (cilium.io/v2, v2alpha1): a named set of blocks that rules select by its name or
its labels."""

from __future__ import annotations

from typing import Any

from kubeverdict.manifests import fields
from kubeverdict.manifests.findings import DocumentPlace
from kubeverdict.manifests.policies.cilium_peers import each_block
from kubeverdict.manifests.policies.reading import PolicyHead, PolicyReader
from kubeverdict.manifests.validation import required, shape_list, shape_object
from kubeverdict.model.references import AddressSet
from kubeverdict.model.sources import FieldPath


def read(_: PolicyReader, place: DocumentPlace, head: PolicyHead, value: Any) -> AddressSet:
    """The set with the spec ``value``; its errors are reported to ``place``."""
    path: FieldPath = ("spec",)
    spec = shape_object(place, value, path)
    fields.check(place, spec, path, frozenset({"externalCIDRs"}))
    found = (*path, "externalCIDRs")
    if spec.get("externalCIDRs") is None:
        place.error(found, required())
    blocks = each_block(place, shape_list(place, spec.get("externalCIDRs"), found), found)
    return AddressSet(head.kind, None, head.name, head.labels, tuple(dict.fromkeys(blocks)))
