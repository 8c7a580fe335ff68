"""Stage 3a: group pods that look alike, and index their labels.

A *group* is the pods of one namespace with the same values for every label key that some
selector asks about, the same resolved named ports and the same address atoms. Groups are sorted
by namespace, so that a namespace is a range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.dialect import named_ports
from kubeverdict.compile.population import Labels, Population
from kubeverdict.compile.sets import offsets
from kubeverdict.kernels.selectors import LabelIndex, invert
from kubeverdict.model.cluster import Pod
from kubeverdict.model.ports import NamedPort, Protocol
from kubeverdict.model.profile import Profile

PortNumbers = tuple[tuple[str, Protocol, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LabelIds:
    """An inverted index of labels and the ids of its (key, value) pairs and keys."""

    index: LabelIndex
    pairs: Mapping[tuple[str, str], int]
    keys: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """What distinguishes pods before addresses do; the same for every plane.

    ``namespace``, ``labels`` and ``ports`` (members,) number the namespace, label set and port
    set of each member: first the managed pods, then ``Population.host_pods``, then
    ``Population.services``.
    """

    namespaces: dict[str, int]
    namespace: NDArray[np.int32]
    labels: NDArray[np.int32]
    label_sets: list[tuple[tuple[str, str], ...]]
    ports: NDArray[np.int32]
    port_sets: list[PortNumbers]


def classify(
    population: Population,
    namespaces: dict[str, int],
    keys: frozenset[str],
    named: frozenset[NamedPort],
    profile: Profile,
) -> Kinds:
    """Number the label sets (restricted to ``keys``) and the named ports of all members."""
    pods = population.pods
    members: list[Pod] = [*pods, *(pod for pod, _ in population.host_pods)]
    others = [pod.labels for pod, _ in population.host_pods]
    others += [service.selector for service in population.services]
    member_namespaces = [pod.namespace for pod in members]
    member_namespaces += [service.namespace for service in population.services]
    label_sets: dict[Labels, int] = {}
    whole = [*population.label_sets, *(tuple(each.items()) for each in others)]
    cut = np.array([_cut_down(items, keys, label_sets) for items in whole], np.int32)
    of_others = np.arange(len(population.label_sets), len(whole))
    labels = cut[np.concatenate((population.labels, of_others))]
    port_sets: dict[PortNumbers, int] = {(): 0}
    ports = np.zeros(labels.size, np.int32)
    if named:
        ports[: len(pods)] = _numbered_ports(population, named, profile, port_sets)
    return Kinds(
        namespaces=namespaces,
        namespace=np.fromiter(
            map(namespaces.__getitem__, member_namespaces), np.int32, len(member_namespaces)
        ),
        labels=labels,
        label_sets=list(label_sets),
        ports=ports,
        port_sets=list(port_sets),
    )


def _cut_down(items: Labels, keys: frozenset[str], numbers: dict[Labels, int]) -> int:
    """The number of a label set restricted to ``keys``."""
    asked = tuple(sorted(item for item in items if item[0] in keys))
    return numbers.setdefault(asked, len(numbers))


def _numbered_ports(
    population: Population,
    named: frozenset[NamedPort],
    profile: Profile,
    numbers: dict[PortNumbers, int],
) -> NDArray[np.int32]:
    wanted = {(port.name, port.protocol) for port in named}
    number_of: list[int] = []
    for ports in population.port_lists:
        asked = {
            (port.name, port.protocol, port.number)
            for port in named_ports(ports, profile)
            if (port.name, port.protocol) in wanted
        }
        number_of.append(numbers.setdefault(tuple(sorted(asked)), len(numbers)))
    return np.array(number_of, np.int32)[population.ports]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The members of one plane, grouped. ``node`` is -1 where groups are not distinguished by it.

    ``of_member`` (members,) is the group of each, -1 where it is not in the plane. The others
    are (groups,); ``role`` is 0 for managed pods, 1 for hostNetwork pods, 2 for Services.
    ``first`` (namespaces + 1,) is where each namespace begins.
    """

    of_member: NDArray[np.int32]
    role: NDArray[np.int8]
    labels: NDArray[np.int32]
    ports: NDArray[np.int32]
    atom: NDArray[np.int32]
    node: NDArray[np.int32]
    weight: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def count(self) -> int:
        return self.role.size


def group(
    kinds: Kinds,
    population: Population,
    atom: NDArray[np.int32],
    inside: NDArray[np.bool_],
    by_node: bool,
) -> Groups:
    """Group the members that are ``inside`` a plane; ``atom`` is the address atom of each, or -1
    where no block can match it. ``by_node``: pods of different nodes are distinguished."""
    pods = len(population.pods)
    role = np.zeros(kinds.labels.size, np.int8)
    role[pods : pods + len(population.host_pods)] = 1
    role[pods + len(population.host_pods) :] = 2
    # hostNetwork pods and Services are looked up one by one, so each keeps a group of its own.
    own = np.where(role > 0, np.arange(role.size, dtype=np.int32), np.int32(-1))
    members = np.flatnonzero(inside)
    columns = [own, atom, kinds.ports, kinds.labels, role, kinds.namespace]
    node = np.full(role.size, -1, np.int32)
    if by_node:
        node[:pods] = population.node
        columns.insert(0, node)
    order = members[np.lexsort([column[members] for column in columns])]
    new = np.ones(order.size, np.bool_)
    if order.size:
        new[1:] = False
        for column in columns:
            sorted_column = column[order]
            new[1:] |= sorted_column[1:] != sorted_column[:-1]
    number = np.cumsum(new) - 1
    of_member = np.full(role.size, -1, np.int32)
    of_member[order] = number
    heads = order[new]
    return Groups(
        of_member=of_member,
        role=role[heads],
        labels=kinds.labels[heads],
        ports=kinds.ports[heads],
        atom=atom[heads],
        node=node[heads],
        weight=np.bincount(number, minlength=heads.size).astype(np.int64),
        first=np.searchsorted(kinds.namespace[heads], np.arange(len(kinds.namespaces) + 1)).astype(
            np.int64
        ),
    )


def index_labels(
    label_sets: Sequence[Iterable[tuple[str, str]]], of_member: NDArray[np.int32]
) -> LabelIds:
    """Labels by member and members by label. ``of_member`` gives the label set of each."""
    pairs: dict[tuple[str, str], int] = {}
    keys: dict[str, int] = {}
    sizes: list[int] = []
    pair_ids: list[int] = []
    key_ids: list[int] = []
    for label_set in label_sets:
        before = len(pair_ids)
        for pair in label_set:
            pair_ids.append(pairs.setdefault(pair, len(pairs)))
            key_ids.append(keys.setdefault(pair[0], len(keys)))
        sizes.append(len(pair_ids) - before)
    # A label set's row is its pairs and its keys, interleaved; keys are numbered after pairs.
    flat = np.empty(2 * len(pair_ids), np.int32)
    flat[0::2] = pair_ids
    flat[1::2] = key_ids
    flat[1::2] += len(pairs)
    set_start = offsets(np.array(sizes, np.int64) * 2)
    length = np.diff(set_start)[of_member] if of_member.size else np.zeros(0, np.int64)
    start = offsets(length)
    shift = np.repeat(set_start[:-1][of_member] - start[:-1], length)
    label = flat[np.arange(start[-1]) + shift]
    count = len(pairs) + len(keys)
    posting_start, posting = invert.on(label.size * 4)(start, label, count)
    return LabelIds(
        index=LabelIndex(start, label, posting_start, posting),
        pairs=pairs,
        keys={key: len(pairs) + number for key, number in keys.items()},
    )
