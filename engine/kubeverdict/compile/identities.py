"""Stage 6: positions that no rule tells apart become identities, and rules are indexed by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import ALL, EMPTY, AddressSpace, Plane, PortSpace
from kubeverdict.compile.population import Population
from kubeverdict.compile.sets import chosen, join, members, moved, offsets
from kubeverdict.compile.tiers import ordered_tiers
from kubeverdict.compile.universe import POD, SERVICE, Universe
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import HOST, IPV4, IPV6, Ends, Entries, Rows, pack, pack_ends
from kubeverdict.kernels.partition import index_rows, refine, representatives
from kubeverdict.kernels.reach import BEFORE, View
from kubeverdict.kernels.sets import combine
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
) -> Plane:
    """Refine the positions of a plane to identities, renumber its sets and index its rules."""
    used = _distinct_sets(np.concatenate((rows.subject, rows.peer)))
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
    them, with its rules indexed for flows and for rows of the reachability matrix."""
    size = weight.size
    words = (pods + 63) >> 6
    plane_sets = sets
    views: list[View] = []
    entries: list[Entries] = []
    for direction in Direction:
        part = _direction(rows, ingress_rows, direction)
        of_subject = parts_of(part.subject, plane_sets, pods, size)
        start, row = indexed(part.subject, plane_sets, of_subject)
        packed = pack.on(row.size * 64)(start, row, part, ports.sets, plane_sets)
        entries.append(Entries(of_subject, *packed))
        found_by, about, taking_part = (
            (part.subject, part.peer, pods)
            if direction is Direction.INGRESS
            else (part.peer, part.subject, size)
        )
        kept, found_by, about, plane_sets = merged(part, found_by, about, plane_sets, size)
        views.append(view(kept, found_by, about, plane_sets, taking_part, size))
    return Plane(
        families=families,
        pods=pods,
        external=external,
        size=size,
        weight=weight,
        slices=bit_slices(weight[: words << 6], words),
        sets=plane_sets,
        rows=rows,
        ingress_rows=ingress_rows,
        ends=ends,
        ingress=entries[Direction.INGRESS],
        egress=entries[Direction.EGRESS],
        into=views[Direction.INGRESS],
        out_to=views[Direction.EGRESS],
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


def bit_slices(weight: NDArray[np.int64], words: int) -> NDArray[np.uint64]:
    """(bits, words): word ``w`` of slice ``b`` has the bits of the identities whose weight has
    bit ``b``, so that weights are summed by counting ones."""
    padded = np.zeros(words << 6, np.int64)
    padded[: weight.size] = weight
    depth = max(1, int(padded.max(initial=0)).bit_length())
    slices = np.empty((depth, words), np.uint64)
    for b in range(depth):
        ones = ((padded >> b) & 1).astype(np.uint8)
        slices[b] = np.packbits(ones, bitorder="little").view(np.uint64)
    return slices


def _direction(rows: Rows, ingress_rows: int, direction: Direction) -> Rows:
    part = slice(ingress_rows) if direction is Direction.INGRESS else slice(ingress_rows, None)
    return _taken(rows, part)


def _taken(rows: Rows, which: slice | NDArray[np.int64]) -> Rows:
    return Rows._make(column[which] for column in rows)


def _distinct_sets(numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """The set numbers that occur, without ALL and EMPTY, which tell nothing apart."""
    used = np.flatnonzero(np.bincount(numbers))
    return used[used > EMPTY]


def parts_of(keys: NDArray[np.int32], sets: Sets, taking_part: int, size: int) -> NDArray[np.int32]:
    """Identities below ``taking_part`` in parts that no set of ``keys`` tells apart; -1 above."""
    part = np.full(size, -1, np.int32)
    there = members(sets, ALL)
    part[there[there < taking_part]] = 0
    refine.on(int(sets.word.size) * 64)(_distinct_sets(keys), sets, part, 1)
    return part


def indexed(
    keys: NDArray[np.int32], sets: Sets, part: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    parts = int(part.max(initial=-1)) + 1
    words = (part.size + 63) >> 6
    _, bitmap = representatives.on(part.size * 8)(part, parts, words)
    work = keys.size * 8 + int(sets.word.size)
    start, row = index_rows.on(work)(keys, sets, bitmap, part, parts)
    return start, row


def merged(
    rows: Rows,
    found_by: NDArray[np.int32],
    about: NDArray[np.int32],
    sets: Sets,
    size: int,
) -> tuple[Rows, NDArray[np.int32], NDArray[np.int32], Sets]:
    """Rows for the reachability matrix, where it does not matter which rule decides.

    ``found_by`` and ``about`` (rows,) are the sets of either end. In a tier that only allows,
    rules that the same ends find on the same ports become one, about all of their other ends:
    the DNS rule of five hundred namespaces is one row. Returns the rows that are left, their
    ends, and the sets with the new ones behind.
    """
    mixed = list(ordered_tiers(rows.tier, rows.action, rows.rule))
    apart = np.isin(rows.tier, mixed) | (rows.rule < 0)
    index = np.arange(rows.rule.size)
    # Tier, ports and set in one number: sorting by columns takes ten times as long.
    keys = rows.tier.astype(np.int64) * (int(rows.ports.max(initial=0)) + 1) + rows.ports
    keys = keys * (sets.start.size - 1) + found_by
    _, first, group = np.unique(
        np.where(apart, -1 - index, keys), return_index=True, return_inverse=True
    )
    # Groups in the order of their first rows.
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    group = rank[group.ravel()]
    first = np.sort(first)
    new_about = about[first].copy()
    lengths = np.bincount(group, minlength=first.size)
    joined = np.flatnonzero(lengths > 1)
    if joined.size:
        order = np.argsort(group, kind="stable")
        union = about[order[(lengths > 1)[group[order]]]]
        made = Sets(
            *combine.on(union.size * 8)(
                offsets(lengths[joined]),
                union.astype(np.int64),
                np.full(joined.size, -1, np.int64),
                sets,
                (size + 63) >> 6,
            )
        )
        new_about[joined] = np.arange(joined.size) + (sets.start.size - 1)
        sets = join(sets, made)
    return _taken(rows, first), found_by[first], new_about, sets


def view(
    rows: Rows,
    found_by: NDArray[np.int32],
    about: NDArray[np.int32],
    sets: Sets,
    taking_part: int,
    size: int,
) -> View:
    """Rows listed by the ends below ``taking_part`` that find them."""
    part = parts_of(found_by, sets, taking_part, size)
    start, row = indexed(found_by, sets, part)
    return View(
        part=part,
        start=start,
        row=row,
        found_by=found_by,
        sources=about,
        ports=rows.ports,
        action=rows.action,
        tier=rows.tier,
        rule=rows.rule,
        version=np.full(rows.rule.size, BEFORE, np.uint8),
    )


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
