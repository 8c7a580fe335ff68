"""Workloads by the labels that distinguish them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from re import compile as pattern

import msgspec

from kubeverdict.compile.dialect import labels_seen
from kubeverdict.model.cluster import (
    CONTROLLER_LABELS,
    SERVICE_ACCOUNT,
    UNKNOWN_VALUE,
    Pod,
    WorkloadRef,
)
from kubeverdict.model.profile import Profile

Labels = tuple[tuple[str, str], ...]

# What people mean a workload by comes first, where several labels would do.
_PREFERRED = (
    "app",
    "k8s-app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "name",
    "component",
    "role",
    "tier",
)
# Labels that another roll-out changes, besides those of the controllers.
_VOLATILE = frozenset({"chart", "helm.sh/chart", "heritage", "version", "revision", "release-hash"})
_VOLATILE_KEY = pattern(r".*(?:hash|uid|uuid|version|revision|checksum|commit|timestamp)$")
_MOST_LABELS = 3
# Of labels that are tried together.
_TRIED = 12


class Group(msgspec.Struct, frozen=True, eq=False):
    """Pods of one namespace that exactly ``labels`` select: a workload, or several that labels do
    not distinguish. Empty labels select the whole namespace."""

    namespace: str
    workloads: tuple[WorkloadRef, ...]
    labels: Labels
    pods: tuple[Pod, ...]

    @property
    def name(self) -> str:
        return self.workloads[0].name

    def __str__(self) -> str:
        more = len(self.workloads) - 1
        return f"{self.workloads[0]}{f' and {more} more' if more else ''}"


def _usable(labels: Mapping[str, str], profile: Profile) -> dict[str, str]:
    """Labels that a workload keeps from one roll-out to the next, and that its CNI sees."""
    return {
        key: value
        for key, value in labels_seen(labels, profile).items()
        if key not in CONTROLLER_LABELS
        and value != UNKNOWN_VALUE
        and key not in _VOLATILE
        and key != SERVICE_ACCOUNT  # no selector of a NetworkPolicy can ask for it
        and not _VOLATILE_KEY.fullmatch(key)
    }


def groups_of(pods: Iterable[Pod], profile: Profile) -> Iterator[Group]:
    """The groups of all namespaces, by labels that selectors see under a CNI; each pod is in one of
    them."""
    spaces: dict[str, list[Pod]] = {}
    for pod in pods:
        spaces.setdefault(pod.namespace, []).append(pod)
    for namespace in sorted(spaces):
        yield from _Space(namespace, spaces[namespace], profile).groups()


class _Space:
    """One namespace: which of its pods have a label, as sets of places in ``pods``."""

    def __init__(self, namespace: str, pods: Sequence[Pod], profile: Profile) -> None:
        self.namespace = namespace
        self.pods = pods
        self.having: dict[tuple[str, str], set[int]] = {}
        self.labels = [_usable(pod.labels, profile) for pod in pods]
        self.of_workload: dict[WorkloadRef, list[int]] = {}
        for place, pod in enumerate(pods):
            self.of_workload.setdefault(pod.workload, []).append(place)
            for label in self.labels[place].items():
                self.having.setdefault(label, set()).add(place)

    def groups(self) -> Iterator[Group]:
        done: set[WorkloadRef] = set()
        closed: dict[WorkloadRef, frozenset[WorkloadRef]] = {}
        for ref in sorted(self.of_workload):
            closed[ref] = self._closed(ref)
        # A workload may be inside the closure of another: those are one group.
        merged = _merged(closed)
        for members in merged:
            places = {place for ref in members for place in self.of_workload[ref]}
            assert not done & members
            done |= members
            labels = self._fewest(places)
            pods = tuple(self.pods[place] for place in sorted(places))
            yield Group(self.namespace, tuple(sorted(members)), labels, pods)

    def _closed(self, ref: WorkloadRef) -> frozenset[WorkloadRef]:
        """The workload and all that its labels select too, until they select no others."""
        members = {ref}
        while True:
            places = {place for one in members for place in self.of_workload[one]}
            selected = self._selected(self._common(places))
            found = {self.pods[place].workload for place in selected}
            if found <= members:
                return frozenset(members)
            members |= found

    def _common(self, places: Iterable[int]) -> list[tuple[str, str]]:
        """Labels that all of some pods have, those that are preferred first."""
        first, *rest = places
        common = self.labels[first].items()
        kept = {*common}
        for place in rest:
            kept &= self.labels[place].items()
        return sorted(kept, key=_rank)

    def _selected(self, labels: Sequence[tuple[str, str]]) -> set[int]:
        if not labels:
            return set(range(len(self.pods)))
        having = sorted((self.having[label] for label in labels), key=len)
        return having[0].intersection(*having[1:])

    def _fewest(self, places: set[int]) -> Labels:
        """As few labels as possible that select exactly some pods."""
        common = self._common(places)
        if len(places) == len(self.pods) and not common:
            return ()
        for size in range(1, _MOST_LABELS + 1):
            for labels in combinations(common[:_TRIED], size):
                if len(self._selected(labels)) == len(places):
                    return tuple(sorted(labels))
        return tuple(sorted(common))


def _merged(closed: Mapping[WorkloadRef, frozenset[WorkloadRef]]) -> list[frozenset[WorkloadRef]]:
    """Sets that have a member in common as one, in order of their first members."""
    home: dict[WorkloadRef, set[WorkloadRef]] = {}
    for members in closed.values():
        together = set(members)
        for ref in members:
            together |= home.get(ref, set())
        for ref in together:
            home[ref] = together
    seen: set[int] = set()
    found = []
    for ref in sorted(home):
        if id(home[ref]) not in seen:
            seen.add(id(home[ref]))
            found.append(frozenset(home[ref]))
    return found


def _rank(label: tuple[str, str]) -> tuple[int, str, str]:
    key = label[0]
    place = _PREFERRED.index(key) if key in _PREFERRED else len(_PREFERRED)
    return place, key, label[1]
