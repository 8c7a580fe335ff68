"""Stage 6: positions that no rule distinguishes become identities, which index the rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import AddressSpace, Plane, PortSpace
from kubeverdict.compile.indexing import (
    bit_slices,
    distinct_sets,
    indexed,
    of_direction,
    parts_of,
)
from kubeverdict.compile.population import Population
from kubeverdict.compile.sets import ALL, EMPTY, chosen, moved
from kubeverdict.compile.universe import POD, SERVICE, Universe
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import HOST, IPV4, IPV6, Ends, Entries, Rows, pack, pack_ends
from kubeverdict.kernels.partition import refine, representatives
from kubeverdict.model.addresses import Family
from kubeverdict.model.policy import Direction


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """Positions to identities."""

    of_position: NDArray[np.int32]  # -1 where the position takes no part
    pods: int
    external: int
    size: int


def make_plane(
    universe: Universe,
    rows: Rows,
    ingress_rows: int,
    sets: Sets,
    ports: PortSpace,
    population: Population,
    space: AddressSpace,
    also: NDArray[np.int64],
) -> Plane:
    """Refine the positions of a plane to identities, renumber its sets and index its rules.
    Positions are distinguished by the sets of ``also`` as well as those of the rules."""
    used = distinct_sets(np.concatenate((rows.subject, rows.peer, also)))
    numbering = number_identities(universe, used, sets)
    renumbered_sets = renumbered(universe, numbering, used, sets)
    number_of = np.zeros(sets.start.size, np.int32)
    number_of[used] = np.arange(2, 2 + used.size)
    rows = rows._replace(subject=number_of[rows.subject], peer=number_of[rows.peer])

    weight = np.zeros(numbering.size, np.int64)
    np.add.at(weight, numbering.of_position[: universe.groups.count], _pods_in(universe))
    return index_plane(
        universe.families,
        numbering.pods,
        numbering.external,
        weight,
        renumbered_sets,
        rows,
        ingress_rows,
        make_ends(universe, numbering, population, space),
        ports,
    )


def index_plane(
    families: tuple[Family, ...],
    pods: int,
    external: int,
    weight: NDArray[np.int64],
    sets: Sets,
    rows: Rows,
    ingress_rows: int,
    ends: Ends,
    ports: PortSpace,
) -> Plane:
    """A plane from its identities (``weight`` (size,) counts the pods of each) and the sets of
    them, with its rules indexed for flows."""
    words = (pods + 63) >> 6
    entries: list[Entries] = []
    for direction in Direction:
        part = of_direction(rows, ingress_rows, direction)
        of_subject = parts_of(part.subject, sets, pods, weight.size)
        start, row = indexed(part.subject, sets, of_subject)
        packed = pack.on(row.size * 64)(start, row, part, ports.sets, sets)
        entries.append(Entries(of_subject, *packed))
    return Plane(
        families=families,
        pods=pods,
        external=external,
        size=weight.size,
        weight=weight,
        slices=bit_slices(weight[: words << 6], words),
        sets=sets,
        rows=rows,
        ingress_rows=ingress_rows,
        ends=ends,
        ingress=entries[Direction.INGRESS],
        egress=entries[Direction.EGRESS],
    )


def _pods_in(universe: Universe) -> NDArray[np.int64]:
    return np.where(universe.groups.role == POD, universe.groups.weight, 0)


def number_identities(universe: Universe, used: NDArray[np.int64], sets: Sets) -> Numbering:
    groups = universe.groups
    part = np.full(universe.size, 1, np.int32)
    # hostNetwork pods have been folded into their hosts; Services are found by their own group.
    part[: groups.count] = np.where(groups.role == POD, 0, np.where(groups.role == SERVICE, 2, -1))
    # Atoms of a family that this plane does not serve.
    atoms = universe.of_end[universe.of_end.size - universe.atoms :]
    part[groups.count : groups.count + universe.atoms][atoms < 0] = -1
    parts = refine.on(int(sets.word.size) * 64)(used, sets, part, 3)
    first, _ = representatives.on(universe.size * 8)(part, parts, universe.words)
    is_pod = np.zeros(parts, np.bool_)
    present = first >= 0
    is_pod[present] = (first[present] < groups.count) & (
        groups.role[np.minimum(first[present], max(groups.count - 1, 0))] == POD
        if groups.count
        else False
    )
    identity = np.full(parts, -1, np.int32)
    by_position = np.argsort(first, kind="stable")
    pod_parts = by_position[is_pod[by_position]]
    other_parts = by_position[present[by_position] & ~is_pod[by_position]]
    external = ((pod_parts.size + 63) >> 6) << 6
    identity[pod_parts] = np.arange(pod_parts.size)
    identity[other_parts] = external + np.arange(other_parts.size)
    return Numbering(
        of_position=np.where(part >= 0, identity[part], np.int32(-1)).astype(np.int32),
        pods=pod_parts.size,
        external=external,
        size=external + other_parts.size,
    )


def renumbered(
    universe: Universe, numbering: Numbering, used: NDArray[np.int64], sets: Sets
) -> Sets:
    """ALL, EMPTY and the used sets over identities: what holds for the first position of an
    identity holds for all."""
    words = (numbering.size + 63) >> 6
    identity, first = np.unique(numbering.of_position, return_index=True)
    first = first[identity >= 0]
    target = np.full(universe.size, -1, np.int32)
    target[first] = numbering.of_position[first]
    parts = np.array((ALL, EMPTY, *used.tolist()), np.int64)
    return moved(chosen(sets, parts), target, words)


def make_ends(
    universe: Universe, numbering: Numbering, population: Population, space: AddressSpace
) -> Ends:
    position = universe.of_end
    identity = np.where(position >= 0, numbering.of_position[position], np.int32(-1))
    node = np.full(position.size, -1, np.int32)
    pods, hosts = len(population.pods), len(population.hosts)
    node[:pods] = population.node
    node[pods : pods + hosts] = population.host_node
    about = np.full(position.size, IPV4 | IPV6, np.uint8)
    about[:pods] = population.has(4) * IPV4 + population.has(6) * IPV6
    about[:pods] |= (
        np.fromiter((pod.host_network for pod in population.pods), np.uint8, pods) * HOST
    )
    about[pods : pods + hosts] = [
        HOST | (IPV4 if address.family == 4 else IPV6) for address in population.hosts
    ]
    about[position.size - space.atoms :] = np.repeat(
        np.array([IPV4, IPV6], np.uint8), [space.ipv4.size, space.atoms - space.ipv4.size]
    )
    return pack_ends(identity.astype(np.int32), node, about, pods)
