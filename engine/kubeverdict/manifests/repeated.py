"""Objects of one name: those that an input defines twice, and those whose name is not known yet."""

from __future__ import annotations

import msgspec

from kubeverdict.manifests import exposing
from kubeverdict.manifests.objects import Record, WorkloadRecord
from kubeverdict.model.policy import Policy
from kubeverdict.model.references import Definition

# No verdict between pods depends on these: the first is used, with a warning.
BESIDE = frozenset({"EndpointSlice", "Endpoints", "Service", *exposing.KINDS})


def same(one: Record | Policy | Definition, other: Record | Policy | Definition) -> bool:
    """Do two objects mean the same, wherever they came from?"""
    if isinstance(one, Policy) and isinstance(other, Policy):
        return _meaning(one) == _meaning(other)
    return msgspec.structs.astuple(one) == msgspec.structs.astuple(other)


def numbered(
    record: Record | Policy | Definition, name: str, count: int
) -> tuple[Record | Policy | Definition, str]:
    """The ``count``-th object that has the generated ``name``, under a name of its own: the API
    server makes up another one for each."""
    if count == 1:
        return record, name
    name = f"{name}-{count}"
    if isinstance(record, WorkloadRecord):
        ref = msgspec.structs.replace(record.ref, name=name)
        more = tuple(msgspec.structs.replace(part, ref=ref) for part in record.more)
        return msgspec.structs.replace(record, ref=ref, more=more), name
    return msgspec.structs.replace(record, name=name), name


# What of policies and rules changes no verdict. A field that is not here does until it is.
_NO_MEANING = frozenset(
    {
        *("annotations", "defaulted", "listed", "source", "subject_field"),
        # Compared one by one.
        *("rules", "unlisted_rules"),
    }
)


def _meaning(policy: Policy) -> tuple[object, ...]:
    return tuple(
        getattr(part, field)
        for part in (policy, *policy.rules, *policy.unlisted_rules)
        for field in part.__struct_fields__
        if field not in _NO_MEANING
    )
