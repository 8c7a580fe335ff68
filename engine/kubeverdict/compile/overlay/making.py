"""Making the overlay of a compiled cluster, to which candidates can be added: see
:mod:`kubeverdict.compile.overlay.overlay`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import block_sets
from kubeverdict.compile.compiled import CompiledPolicy, Reason, freeze
from kubeverdict.compile.indexing import bit_slices, indexed, merged, parts_of, view
from kubeverdict.compile.labels import classify, index_labels
from kubeverdict.compile.lowering import lower
from kubeverdict.compile.overlay.overlay import (
    LAST,
    Overlay,
    OverlayPlane,
    Spans,
    directions_of,
    where,
)
from kubeverdict.compile.peers import with_others
from kubeverdict.compile.population import Population, namespace_labels, populate
from kubeverdict.compile.ports import PortList, port_runs
from kubeverdict.compile.rules import Base, RowMaker
from kubeverdict.compile.sets import ALL, bitmap, offsets
from kubeverdict.compile.tiers import isolates, tier_numbers
from kubeverdict.compile.universe import (
    POD,
    Universe,
    base_sets,
    fold_hosts,
    locate,
    make_universe,
    planes,
)
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.collect import SUBJECT, Homes, Rules
from kubeverdict.kernels.flows import Rows
from kubeverdict.kernels.reach import View
from kubeverdict.kernels.sets import project
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import CONTROLLER_LABELS, METADATA_NAME, Pod, WorkloadRef
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.policy import Action, Direction
from kubeverdict.model.ports import NamedPort


class Visitor(NamedTuple):
    """A pod that is not there yet, and the labels of its namespace where they are not those that
    the cluster has."""

    pod: Pod
    namespace_labels: Mapping[str, str] | None = None


def make_overlay(compiled: CompiledPolicy, visitors: Sequence[Visitor] = ()) -> Overlay:
    """The overlay of ``compiled``. Costs about as much as compiling it did.

    ``visitors`` get positions like any pod, and weigh nothing.
    """
    with collector_paused():
        return _Maker(compiled, visitors).make()


class _Maker:
    """Makes the planes of one cluster."""

    def __init__(self, compiled: CompiledPolicy, visitors: Sequence[Visitor]) -> None:
        cluster, profile = compiled.cluster, compiled.profile
        self._compiled = compiled
        self._labels_of = namespace_labels(cluster)
        self._versions: dict[str, list[str]] = {}
        self._coming: list[Pod] = []
        self._coming_as: Sequence[Visitor] = ()
        if visitors:
            self._coming = [self._received(visitor) for visitor in visitors]
            self._coming_as = visitors
            cluster = msgspec.structs.replace(cluster, pods=(*cluster.pods, *self._coming))
        self._population = populate(cluster, profile, compiled.static)
        self._questions = lower(compiled.policies, compiled.at_least)
        self._blocks = block_sets(compiled.addresses, list(self._questions.blocks))
        self._atoms = locate(self._population, compiled.addresses, self._blocks, profile)
        self._namespaces = {name: number for number, name in enumerate(self._labels_of)}
        self._namespace_labels = index_labels(
            [labels.items() for labels in self._labels_of.values()],
            np.arange(len(self._labels_of), dtype=np.int32),
        )
        self._kinds = classify(
            self._population,
            self._namespaces,
            self._distinguishing_keys(),
            frozenset(
                NamedPort(port.protocol, port.name)
                for ports in {pod.ports for pod in self._population.pods}
                for port in ports
                if port.name
            ),
            profile,
        )
        self._lists: dict[PortList | None, int] = {None: 0}
        counts = np.array([len(policy.rules) for policy in compiled.policies], np.int64)
        self._first_rule = offsets(counts)

    def _received(self, visitor: Visitor) -> Pod:
        """The visitor, in a version of its namespace that has the labels it comes with."""
        name = visitor.pod.namespace
        known = self._labels_of.get(name)
        labels = {METADATA_NAME: name, **(visitor.namespace_labels or known or {})}
        if known == labels:
            return visitor.pod
        if known is None:
            self._labels_of[name] = labels
            return visitor.pod
        versions = self._versions.setdefault(name, [])
        version = next((each for each in versions if self._labels_of[each] == labels), None)
        if version is None:
            # No namespace has such a name.
            version = f"{name}/{len(versions)}"
            versions.append(version)
            self._labels_of[version] = labels
        return msgspec.structs.replace(visitor.pod, namespace=version)

    def _distinguishing_keys(self) -> frozenset[str]:
        """The label keys that distinguish pods: all but those that controllers write, unless a
        policy asks about them."""
        keys: set[str] = set()
        for labels in (pod.labels for pod in self._population.pods):
            keys.update(labels)
        return frozenset(keys - CONTROLLER_LABELS) | self._questions.label_keys()

    def _visitors(self) -> NDArray[np.int64]:
        first = len(self._compiled.pods)
        places = {
            id(pod): place for place, pod in enumerate(self._population.pods[first:], start=first)
        }
        return np.array([places.get(id(pod), -1) for pod in self._coming], np.int64)

    def _visiting_pods(self) -> list[Pod]:
        """Those that policies manage, as they came."""
        came = {
            id(pod): visitor.pod for pod, visitor in zip(self._coming, self._coming_as, strict=True)
        }
        return [came[id(pod)] for pod in self._population.pods[len(self._compiled.pods) :]]

    def make(self) -> Overlay:
        compiled = self._compiled
        refs: dict[WorkloadRef, int] = {}
        pods = self._population.pods
        workloads = np.fromiter(
            (refs.setdefault(pod.workload, len(refs)) for pod in pods), np.int32, len(pods)
        )
        namespace_of = np.array([self._namespaces[ref.namespace] for ref in refs], np.int32)
        made = tuple(
            self._plane(plane, workloads, namespace_of)
            for plane in planes(self._population, self._atoms)
        )
        overlay = Overlay(
            compiled=compiled,
            planes=made,
            runs=port_runs(self._lists),
            namespaces=self._namespaces,
            pods=(*compiled.pods, *self._visiting_pods()) if self._coming else compiled.pods,
            visitors=self._visitors(),
            workloads=workloads,
            namespace_labels=self._namespace_labels,
            port_sets=tuple(self._kinds.port_sets),
            directions=np.array([directions_of(policy) for policy in compiled.policies], np.uint8),
            first_rule=self._first_rule,
        )
        freeze(overlay)
        return overlay

    def _plane(
        self,
        families: tuple[Family, ...],
        workloads: NDArray[np.int32],
        namespace_of: NDArray[np.int32],
    ) -> OverlayPlane:
        compiled, population = self._compiled, self._population
        profile = compiled.profile
        universe = make_universe(
            families,
            population,
            self._kinds,
            self._atoms,
            compiled.addresses,
            self._questions,
            profile,
        )
        for name, versions in self._versions.items():
            parts = [universe.namespaces[each] for each in (name, *versions)]
            universe.namespaces[name] = [span for part in parts for span in part]
        groups = universe.groups
        base = base_sets(
            universe,
            self._questions,
            self._kinds,
            self._namespace_labels,
            self._atoms,
            self._blocks,
            population,
            profile,
        )
        base = with_others(base, self._questions, universe, population)
        rows, ingress_rows, narrow = RowMaker(base, self._lists, profile).make(self._questions)
        atoms = universe.of_end[universe.of_end.size - universe.atoms :]
        first_host = len(population.pods)
        hosts = universe.of_end[first_host : first_host + len(population.hosts)]
        size = universe.size + universe.atoms
        sets = _with_twins(narrow, universe, size)

        position = universe.of_end[:first_host]
        present = position[: len(compiled.pods)]
        weight = np.bincount(present[present >= 0], minlength=size).astype(np.int64)
        ends = np.zeros(size, np.bool_)
        ends[: groups.count] = groups.role == POD
        ends[atoms[atoms >= 0]] = True
        ends[hosts[hosts >= 0]] = True
        ends[universe.size + np.flatnonzero(atoms >= 0)] = True
        outside = ends.copy()
        outside[: groups.count] = False
        words = (size + 63) >> 6
        start, member = _members(position, groups.count)
        subject = self._subjects(base)
        sides = [
            self._listed(rows, slice(ingress_rows), Direction.INGRESS, subject, sets, size),
            self._listed(rows, slice(ingress_rows, None), Direction.EGRESS, subject, sets, size),
        ]
        ingress_by_peer, sets = _by_peer(rows, slice(ingress_rows), sets, size, groups.count)
        egress_by_peer, sets = _by_peer(rows, slice(ingress_rows, None), sets, size, size)
        as_subject, as_peer = fold_hosts(universe, population)
        return OverlayPlane(
            families=families,
            pods=groups.count,
            hosts=hosts,
            atoms=atoms,
            twins=universe.size,
            size=size,
            position=position,
            member_start=start,
            member=member,
            weight=weight,
            slices=bit_slices(weight, words),
            universe=bitmap(np.flatnonzero(ends), words),
            outside=bitmap(np.flatnonzero(outside), words),
            sets=sets,
            ingress=sides[0],
            egress=sides[1],
            ingress_by_peer=ingress_by_peer,
            egress_by_peer=egress_by_peer,
            subject=subject,
            labels=index_labels(self._kinds.label_sets, groups.labels),
            first=groups.first,
            ports=groups.ports,
            as_subject=as_subject[: groups.count],
            as_peer=as_peer[: groups.count],
            spans=tuple(_spans(family, population, position, groups.count) for family in families),
            homes=_homes(start, member, workloads, namespace_of, len(compiled.pods)),
        )

    def _subjects(self, base: Base) -> NDArray[np.int32]:
        """The set that each policy selects."""
        selectors = self._questions.selectors
        return np.array(
            [
                base.subjects[selectors[where(policy), policy.pods, False]]
                for policy in self._compiled.policies
            ],
            np.int32,
        )

    def _listed(
        self,
        rows: Rows,
        part: slice,
        direction: Direction,
        subject: NDArray[np.int32],
        sets: Sets,
        size: int,
    ) -> Rules:
        """The rules of one direction with the isolation of each policy, by subject."""
        policies = self._compiled.policies
        kept = Rows._make(column[part] for column in rows)
        kept = Rows._make(column[kept.rule >= 0] for column in kept)
        tiers = tier_numbers(policies)
        isolating = np.array(
            [number for number, policy in enumerate(policies) if isolates(policy, direction)],
            np.int64,
        )
        tier_of = np.array([tiers[policies[number].tier] for number in isolating], np.int32)
        count = isolating.size
        table = Rows(
            subject=np.concatenate((kept.subject, subject[isolating])),
            peer=np.concatenate((kept.peer, np.full(count, ALL, np.int32))),
            ports=np.concatenate((kept.ports, np.zeros(count, np.int32))),
            action=np.concatenate((kept.action, np.full(count, Action.DENY, np.uint8))),
            tier=np.concatenate((kept.tier, tier_of)),
            rule=np.concatenate((kept.rule, np.full(count, Reason.NO_RULE_MATCHES, np.int32))),
        )
        # An odd number leaves room in front of each rule for those of a candidate.
        rank = kept.rule.astype(np.int64)
        if self._questions.ranks:
            rank = np.array(self._questions.ranks, np.int64)[rank]
        order = np.concatenate((rank * 2 + 1, np.full(count, LAST)))
        of_rule = np.searchsorted(self._first_rule, kept.rule, side="right") - 1
        policy = np.concatenate((of_rule, isolating)).astype(np.int32)
        columns = (*table[:3], table.action, table.tier, order, table.rule, policy)
        arranged = np.lexsort((order, table.tier))
        by_row = np.stack([column.astype(np.int64) for column in columns], axis=1)[arranged]
        subject_of = by_row[:, SUBJECT].astype(np.int32)
        part_of = parts_of(subject_of, sets, size, size)
        start, row = indexed(subject_of, sets, part_of)
        return Rules(part=part_of, start=start, row=row, table=by_row, extra=np.zeros(1, np.int64))


def _with_twins(sets: Sets, universe: Universe, size: int) -> Sets:
    """The sets with the twin of each atom added."""
    first = universe.groups.count
    length = np.ones(universe.size, np.int64)
    length[first : first + universe.atoms] = 2
    start = offsets(length)
    target = np.empty(start[-1], np.int32)
    target[start[:-1]] = np.arange(universe.size)
    target[start[first : first + universe.atoms] + 1] = universe.size + np.arange(universe.atoms)
    return Sets(*project.on(sets.word.size * 64)(sets, start, target, (size + 63) >> 6))


def _members(
    position: NDArray[np.int32], positions: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pods by position."""
    order = np.argsort(position, kind="stable").astype(np.int32)
    start = np.searchsorted(position[order], np.arange(positions + 1)).astype(np.int64)
    return start - start[0], order[start[0] :]


def _homes(
    start: NDArray[np.int64],
    member: NDArray[np.int32],
    workloads: NDArray[np.int32],
    namespace_of: NDArray[np.int32],
    present: int,
) -> Homes:
    """The distinct workloads at each position, and how many of the ``present`` pods each has."""
    position = np.repeat(np.arange(start.size - 1), np.diff(start))
    keys = position * (namespace_of.size + 1) + workloads[member]
    distinct, number = np.unique(keys, return_inverse=True)
    pods = np.bincount(number[member < present], minlength=distinct.size).astype(np.int64)
    of_position, kept = np.divmod(distinct, namespace_of.size + 1)
    begin = np.searchsorted(of_position, np.arange(start.size)).astype(np.int64)
    return Homes(begin, kept.astype(np.int32), pods, namespace_of)


def _by_peer(rows: Rows, part: slice, sets: Sets, size: int, taking_part: int) -> tuple[View, Sets]:
    """The merged rules of one direction, listed by peer. What a CNI always allows is left out:
    it is about protocols without ports."""
    kept = Rows._make(column[part] for column in rows)
    kept = Rows._make(column[kept.rule != Reason.ALWAYS_ICMP] for column in kept)
    together, found_by, about, sets = merged(kept, kept.peer, kept.subject, sets, size)
    return view(together, found_by, about, sets, taking_part, size), sets


def _spans(
    family: Family, population: Population, position: NDArray[np.int32], positions: int
) -> Spans:
    if family == 4:
        halves = np.stack((np.zeros_like(population.ipv4, np.uint64), population.ipv4), axis=1)
        has = population.has_ipv4
    else:
        halves, has = population.ipv6, population.has_ipv6
    halves = halves.astype(np.uint64)
    low = np.full((positions, 2), np.iinfo(np.uint64).max)
    high = np.zeros((positions, 2), np.uint64)
    there = np.flatnonzero(has & (position >= 0))
    order = there[np.lexsort((halves[there, 1], halves[there, 0], position[there]))]
    known, first = np.unique(position[order], return_index=True)
    last = np.append(first, order.size)[1:] - 1
    low[known] = halves[order[first]]
    high[known] = halves[order[last]]
    return Spans(family, low, high)
