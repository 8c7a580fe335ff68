"""What an input holds that no verdict takes into account, and what it could change."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Gap(StrEnum):
    """What is missing in a verdict that does not take an object into account."""

    POLICY = "policy"  # it could allow what is denied and deny what is allowed
    RESTRICTION = "restriction"  # it could only deny what is allowed
    POLICY_PART = "policy-part"  # policies that are not evaluated refer to it
    STAGED = "staged"  # nothing enforces it
    NODES = "nodes"  # it is about traffic of nodes, not of pods
    NETWORK = "network"  # connections over networks other than the cluster's
    PODS = "pods"  # it makes pods that are not modelled
    POD_CHANGES = "pod-changes"  # it changes pods when they are created
    GENERIC = "generic"  # its pod templates were found by their shape
    LABEL_VALUE = "label-value"  # a selector tests a value that only the live pod has
    CONDITION = "condition"  # a rule counts only where something holds that the input does not tell
    NOT_READ = "not-read"  # nothing is known of the kind

    @property
    def decides(self) -> bool:
        """Whether it can make a verdict wrong."""
        return self in (Gap.POLICY, Gap.RESTRICTION, Gap.LABEL_VALUE, Gap.CONDITION)


class Unevaluated(msgspec.Struct, frozen=True, omit_defaults=True):
    """The objects of one kind that verdicts do not take into account.

    ``file`` and ``line`` are those of the first, empty and 0 where they are not known. ``names``
    (``NAMESPACE/NAME`` or ``NAME``) are kept of policies and of what makes pods, and are those of
    the pods where a selector is not certain. ``namespaces`` are those in which there may be pods
    of such objects that the input does not hold. ``detail`` says in a sentence what holds for
    this entry alone.
    """

    kind: str
    group: str
    gap: Gap
    count: int
    file: str = ""
    line: int = 0
    names: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    detail: str = ""

    @property
    def resource(self) -> str:
        """The kind with its API group, as ``kubectl get`` takes it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


def merged(*parts: Iterable[Unevaluated]) -> tuple[Unevaluated, ...]:
    """What is in any of ``parts``: an object that has a name and is in two of them counts once."""
    found: dict[tuple[str, str, Gap, str], Unevaluated] = {}
    for one in (one for part in parts for one in part):
        key = (one.kind, one.group, one.gap, one.detail)
        known = found.get(key)
        if known is None:
            found[key] = one
        elif known != one:
            names = tuple(dict.fromkeys((*known.names, *one.names)))
            count = len(names) if names else max(known.count, one.count)
            spaces = tuple(dict.fromkeys((*known.namespaces, *one.namespaces)))
            found[key] = msgspec.structs.replace(known, names=names, namespaces=spaces, count=count)
    return tuple(found.values())


def unmodelled_in(found: Iterable[Unevaluated], namespace: str | None) -> tuple[Unevaluated, ...]:
    """What may make pods in a namespace, or in any where it is None, that the input does not
    hold: a policy there may matter to them."""
    return tuple(
        one
        for one in found
        if (one.namespaces if namespace is None else namespace in one.namespaces)
    )
