"""What is kept of a compiled cluster so that it takes edits, and how it is made."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import Compilation, PlaneParts
from kubeverdict.compile.dialect import named_ports
from kubeverdict.compile.identities import make_ends, number_identities, renumbered
from kubeverdict.compile.incremental.plane import EditablePlane, Positions
from kubeverdict.compile.incremental.selecting import AskedSets, NamespaceIndex, SetNumbers
from kubeverdict.compile.labels import LabelIds, PortNumbers, classify, index_labels
from kubeverdict.compile.lowering import is_about_own_node
from kubeverdict.compile.overlay.overlay import where
from kubeverdict.compile.ports import PortList
from kubeverdict.compile.tiers import isolates, tier_numbers
from kubeverdict.compile.universe import POD, make_universe
from kubeverdict.model.addresses import Address, Family
from kubeverdict.model.cluster import CONTROLLER_LABELS, UNKNOWN_VALUE, Pod
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Direction,
    PodPeer,
    Policy,
)
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.profile import Profile

Labels = tuple[tuple[str, str], ...]
Value = TypeVar("Value", bound=Hashable)


class CannotEdit(Exception):
    """An edit that needs the cluster compiled anew. Says why; the state is of no use after it."""


@dataclass(slots=True)
class EditableState:
    """A cluster in parts that change by themselves. Arrays are replaced, never written."""

    compiled: CompiledPolicy
    planes: list[EditablePlane]
    lists: dict[PortList | None, int]
    asked: tuple[AskedSets, AskedSets]  # of the policies at the start, and of those added
    namespaces: dict[str, int]
    next_namespace: int
    spaces: NamespaceIndex  # those at the start
    labels_of: dict[str, Mapping[str, str]]  # of namespaces
    relabelled: set[str]  # those of ``spaces`` that have other labels now
    distinguishing: frozenset[str]  # labels that controllers write and policies ask about
    label_sets: list[Labels]
    label_numbers: dict[Labels, int]
    port_sets: list[PortNumbers]
    port_numbers: dict[PortNumbers, int]
    nodes: dict[str, int]
    hosts: tuple[Address, ...]
    host_node: list[int]  # the node of each
    node_labels: Mapping[int, Mapping[str, str]]
    ipv4: NDArray[np.uint32]  # (pods,) addresses, see Population
    ipv6: NDArray[np.uint64]  # (pods, 2)
    has: dict[Family, NDArray[np.bool_]]  # (pods,)
    # For each policy in force: the number of its tier, and the bits of ``stands_for``.
    tier: NDArray[np.int32]
    stands: NDArray[np.uint8]

    def copy(self) -> EditableState:
        """A state that changes by itself."""
        return replace(
            self,
            planes=[plane.copy() for plane in self.planes],
            lists=dict(self.lists),
            asked=(self.asked[0].shared(), self.asked[1].copy()),
            namespaces=dict(self.namespaces),
            labels_of=dict(self.labels_of),
            relabelled=set(self.relabelled),
            label_sets=list(self.label_sets),
            label_numbers=dict(self.label_numbers),
            port_sets=list(self.port_sets),
            port_numbers=dict(self.port_numbers),
            nodes=dict(self.nodes),
            has=dict(self.has),
        )

    def name_namespace(self, name: str, labels: Mapping[str, str]) -> int:
        """Number a namespace with other labels than before, or a new one; the number before, -1
        for none."""
        before = self.namespaces.get(name, -1)
        self.namespaces[name] = self.next_namespace
        self.next_namespace += 1
        self.labels_of[name] = labels
        if before >= 0:
            self.relabelled.add(name)
            for asked in self.asked:
                asked.forget(name)
        return before

    def labels(self, pod: Pod) -> int:
        """The number of the labels of a pod that can distinguish it from others."""
        distinguishing = tuple(
            sorted(
                item
                for item in pod.labels.items()
                if item[0] in self.distinguishing or item[0] not in CONTROLLER_LABELS
            )
        )
        return _numbered(distinguishing, self.label_numbers, self.label_sets)

    def ports(self, pod: Pod) -> int:
        """The number of the named ports of a pod."""
        known = named_ports(pod.ports, self.compiled.profile)
        named = tuple(sorted({(port.name, port.protocol, port.number) for port in known}))
        return _numbered(named, self.port_numbers, self.port_sets)


def _numbered(value: Value, numbers: dict[Value, int], values: list[Value]) -> int:
    """The number of a value, which is added where it is a new one."""
    number = numbers.setdefault(value, len(values))
    if number == len(values):
        values.append(value)
    return number


def stands_for(policy: Policy, profile: Profile) -> int:
    """What holds for all that a policy selects, whatever its rules: bit ``direction`` for the
    default of a Deny tier, bit ``2 + direction`` where the CNI lets ICMP through first."""
    denied = sum(1 << direction for direction in Direction if isolates(policy, direction))
    icmp = profile.icmp == "always" and policy.tier == NETWORK_POLICY_TIER
    return denied | (denied << 2 if icmp else 0)


def open_state(made: Compilation) -> EditableState:
    """Take a compilation apart. Raises CannotEdit where the rules of its CNI depend on pods in
    ways that single changes do not follow."""
    compiled, population, profile = made.compiled, made.population, made.compiled.profile
    _check(made)
    asked_keys = made.questions.label_keys()
    kinds = classify(
        population,
        {name: number for number, name in enumerate(made.labels_of)},
        frozenset({key for items in population.label_sets for key, _ in items} - CONTROLLER_LABELS)
        | asked_keys,
        frozenset(
            NamedPort(port.protocol, port.name)
            for ports in population.port_lists
            for port in ports
            if port.name
        ),
        profile,
    )
    planes: list[EditablePlane] = []
    numbers: list[SetNumbers] = []
    for part in made.planes:
        universe = make_universe(
            part.universe.families,
            population,
            kinds,
            made.atoms,
            compiled.addresses,
            made.questions,
            profile,
        )
        groups = universe.groups
        positions = Positions(
            namespace=np.repeat(
                np.arange(len(kinds.namespaces), dtype=np.int32), np.diff(groups.first)
            ),
            labels=groups.labels,
            ports=groups.ports,
            outside=groups.atom,
            identity=np.full(groups.count, -1, np.int32),
            host=np.full(groups.count, -1, np.int32),
            pods=np.where(groups.role == POD, groups.weight, 0),
        )
        planes.append(
            _plane(
                made,
                part,
                positions,
                groups.of_member,
                index_labels(kinds.label_sets, groups.labels),
                {name: spans[0] for name, spans in universe.namespaces.items()},
            )
        )
        numbers.append(SetNumbers.of(made.questions, part.base, part.derived, 2))
    at_start, later = ([SetNumbers.empty() for _ in planes] for _ in range(2))
    asked = AskedSets(at_start)
    asked.add(made.questions, numbers)
    tiers = tier_numbers(compiled.policies)
    return EditableState(
        compiled=compiled,
        planes=planes,
        lists=dict(made.lists),
        asked=(asked, AskedSets(later)),
        namespaces=dict(kinds.namespaces),
        next_namespace=len(kinds.namespaces),
        spaces=NamespaceIndex(made.labels_of),
        labels_of=dict(made.labels_of),
        relabelled=set(),
        distinguishing=asked_keys & CONTROLLER_LABELS,
        label_sets=list(kinds.label_sets),
        label_numbers={labels: number for number, labels in enumerate(kinds.label_sets)},
        port_sets=list(kinds.port_sets),
        port_numbers={ports: number for number, ports in enumerate(kinds.port_sets)},
        nodes=dict(population.nodes),
        hosts=population.hosts,
        host_node=population.host_node.tolist(),
        node_labels=population.node_labels,
        ipv4=population.ipv4,
        ipv6=population.ipv6,
        has={4: population.has_ipv4, 6: population.has_ipv6},
        tier=np.array([tiers[policy.tier] for policy in compiled.policies], np.int32),
        stands=np.array([stands_for(p, profile) for p in compiled.policies], np.uint8),
    )


def check_language(policy: Policy) -> None:
    """Raise CannotEdit for a policy that says what single changes do not follow yet."""
    for rule in policy.rules:
        if any(map(is_about_own_node, rule.peers or ())):
            raise CannotEdit("a peer that depends on the node of the subject")
        if rule.subject is not None and not isinstance(rule.subject, PodPeer):
            raise CannotEdit("a subject that is told by its address")
        if any(isinstance(port, NamedPort) for port in rule.excluded_ports):
            raise CannotEdit("ports that are excluded by name")


def _check(made: Compilation) -> None:
    profile = made.compiled.profile
    for policy in made.compiled.policies:
        check_language(policy)
    if not profile.enforces:
        raise CannotEdit("no policy is enforced")
    if profile.resolves_names_early:
        raise CannotEdit("names of ports are looked up before the pod is known")
    if made.population.services:
        raise CannotEdit("egress is judged on the addresses of Services")
    if any(UNKNOWN_VALUE in dict(items).values() for items in made.population.label_sets):
        raise CannotEdit("labels that controllers write are not known")


def _plane(
    made: Compilation,
    part: PlaneParts,
    positions: Positions,
    of_member: NDArray[np.int32],
    labels: LabelIds,
    ranges: dict[str, tuple[int, int]],
) -> EditablePlane:
    compiled, population, coarse = made.compiled, made.population, part.universe
    pods = len(population.pods)
    # Also sets that no row uses yet: a pod may come, or a policy go, so that one does.
    every = np.arange(2, part.sets.start.size - 1)
    numbering = number_identities(coarse, every, part.sets)
    ends = make_ends(coarse, numbering, population, compiled.addresses)
    weight = np.zeros(numbering.size, np.int64)
    managed = np.where(coarse.groups.role == POD, coarse.groups.weight, 0)
    np.add.at(weight, numbering.of_position[: coarse.groups.count], managed)

    position_of = of_member[:pods].copy()
    here = np.flatnonzero(position_of >= 0)
    positions.identity[position_of[here]] = ends.identity[here]
    for member, (_, host) in enumerate(population.host_pods, start=pods):
        if of_member[member] >= 0:
            positions.host[of_member[member]] = host
    first_atom = ends.identity.size - compiled.addresses.atoms
    covered = positions.outside >= 0
    positions.outside = np.where(
        covered, ends.identity[first_atom + positions.outside], np.int32(-1)
    )
    selectors = made.questions.selectors
    return EditablePlane(
        families=coarse.families,
        positions=positions,
        position_of=position_of,
        indexed=positions.identity.size,
        labels=labels,
        ranges=ranges,
        identity=ends.identity,
        node=ends.node,
        about=ends.about,
        apart=coarse.size > coarse.groups.count + coarse.atoms,
        pods=numbering.pods,
        external=numbering.external,
        weight=weight,
        sets=renumbered(coarse, numbering, every, part.sets),
        table=part.table,
        subject=np.array(
            [
                part.base.subjects[selectors[where(policy), policy.pods, False]]
                for policy in compiled.policies
            ],
            np.int64,
        ),
        atoms=compiled.addresses.atoms,
        copies=[],
    )
