"""Two compiled clusters in one numbering, so that their rules can be compared.

A joint identity is what both versions agree not to distinguish: a pair (identity before, identity
after), either of which is missing where a pod is in one version only. Sets, ports and rules of both
sides move to the joint numbering, and rules that have become equal are one rule of both versions.
What differs is then found by looking at the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import AddressSpace, CompiledPolicy, PortSpace, Reason, freeze
from kubeverdict.compile.indexing import bit_slices, indexed, parts_of
from kubeverdict.compile.ports import atoms_at
from kubeverdict.compile.sequences import changed
from kubeverdict.compile.sets import bitmap, chosen, from_positions, join
from kubeverdict.compile.tiers import ordered_tiers, tier_numbers
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.reach import AFTER, BEFORE, Space, View
from kubeverdict.kernels.sets import project
from kubeverdict.model.addresses import BITS, Family

_VERSIONS = (BEFORE, AFTER)
_CONTENT = np.dtype([("word", np.int32), ("bits", np.uint64)])


@dataclass(frozen=True, slots=True, eq=False)
class AlignedEnds:
    """Everything that can be an end in either version, as endpoint ids of both.

    ``old`` and ``new`` (ends,) are endpoint ids, -1 where missing; pods come first (``pods`` of
    them), then hosts, then intervals of address space. ``first`` and ``last`` give the addresses
    of the intervals, with their family.
    """

    old: NDArray[np.int64]
    new: NDArray[np.int64]
    pods: int
    hosts: tuple[str, ...]
    intervals: tuple[tuple[Family, int, int], ...]

    @property
    def families(self) -> list[Family]:
        """The families of all ends but pods, in order."""
        return [*(6 if ":" in text else 4 for text in self.hosts), *(i[0] for i in self.intervals)]


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """The ends of one plane of two versions.

    ``identity`` (ends,) is the joint identity of every end, -1 where it has no address of the
    families. Identities below ``pods`` are groups of pods, those from ``external`` on of
    addresses.
    """

    families: tuple[Family, ...]
    pods: int
    external: int
    size: int
    identity: NDArray[np.int64]
    ports: PortSpace


@dataclass(frozen=True, slots=True, eq=False)
class Aligned(Joint):
    """One plane of two versions, with the rules of both. ``counting`` makes rows over pods,
    ``whole`` over everything."""

    into: View
    out_to: View
    counting: Space
    whole: Space


def align_ends(old: CompiledPolicy, new: CompiledPolicy) -> AlignedEnds:
    """Match the ends of both versions: pods by namespace and name, addresses by value."""
    pods_of = _pods(old, new)
    hosts = old.hosts
    if hosts is not new.hosts:
        hosts = tuple(dict.fromkeys((*old.hosts, *new.hosts)))
    intervals, old_atoms, new_atoms = _intervals(old.addresses, new.addresses)
    sides: list[NDArray[np.int64]] = []
    for compiled, atoms, pods in zip((old, new), (old_atoms, new_atoms), pods_of, strict=True):
        if old.hosts is new.hosts:
            at_hosts = compiled.first_host + np.arange(len(hosts))
            sides.append(np.concatenate((pods, at_hosts, atoms + compiled.first_atom)))
            continue
        # A host of one version only is a plain address in the other, found by its interval.
        known = {text: compiled.first_host + index for index, text in enumerate(compiled.hosts)}
        others = [text for text in hosts if text not in known]
        known |= zip(others, address_ids(compiled, others).tolist(), strict=True)
        at_hosts = np.fromiter(map(known.__getitem__, hosts), np.int64, len(hosts))
        sides.append(np.concatenate((pods, at_hosts, atoms + compiled.first_atom)))
    return AlignedEnds(sides[0], sides[1], pods_of[0].size, hosts, tuple(intervals))


def _pods(old: CompiledPolicy, new: CompiledPolicy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pods of either version, those that only the new one has behind, as ids of both."""
    part = changed(old.pods, new.pods)  # nothing, where an edit of policies made one of the other
    before = {
        (pod.namespace, pod.name): number
        for number, pod in enumerate(old.pods[part.start : part.before], start=part.start)
    }
    of_old = np.arange(len(old.pods))
    of_new = np.where(of_old < part.start, of_old, of_old + part.shift)
    of_new[part.start : part.before] = -1
    coming: list[int] = []
    for number, pod in enumerate(new.pods[part.start : part.after], start=part.start):
        place = before.get((pod.namespace, pod.name))
        if place is None:
            coming.append(number)
        else:
            of_new[place] = number
    missing = np.full(len(coming), -1, np.int64)
    return np.concatenate((of_old, missing)), np.append(of_new, coming).astype(np.int64)


def _intervals(
    old: AddressSpace, new: AddressSpace
) -> tuple[Sequence[tuple[Family, int, int]], NDArray[np.int64], NDArray[np.int64]]:
    """Address space cut by the edges of both, and the atom of either in each piece."""
    if old is new:
        every = np.arange(old.atoms)
        return old.intervals, every, every
    edges: dict[Family, dict[int, list[int]]] = {4: {}, 6: {}}
    for side, space in enumerate((old, new)):
        for atom in range(space.atoms):
            family, first, _ = space.interval(atom)
            edges[family].setdefault(first, [-1, -1])[side] = atom
    pieces: list[tuple[Family, int, int]] = []
    atoms: list[list[int]] = []
    for family, starts in edges.items():
        ordered = sorted(starts)
        current = [-1, -1]
        for first, following in zip(ordered, [*ordered[1:], 1 << BITS[family]], strict=True):
            current = [
                own if own >= 0 else before
                for own, before in zip(starts[first], current, strict=True)
            ]
            pieces.append((family, first, following - 1))
            atoms.append(current)
    table = np.array(atoms, np.int64)
    return pieces, table[:, 0], table[:, 1]


def align_planes(
    old: CompiledPolicy, new: CompiledPolicy, ends: AlignedEnds, families: tuple[Family, ...]
) -> Aligned:
    """Both versions of one plane. A version that lacks the family has no pods in it."""
    planes = (old.plane(families[0]), new.plane(families[0]))
    sides = [
        np.where(side >= 0, plane.ends.identity[side], -1)
        if plane is not None
        else np.full(side.size, -1, np.int64)
        for plane, side in zip(planes, (ends.old, ends.new), strict=True)
    ]
    # One version may have told the families apart where the other did not.
    served = np.ones(sides[0].size, np.bool_)
    served[ends.pods :] = [family in families for family in ends.families]
    sides = [np.where(served, side, -1) for side in sides]
    identity, pairs, pods, external = _number(sides[0], sides[1], ends.pods)
    size = external + (len(pairs) - pods)
    words = (size + 63) >> 6
    joint_of = np.concatenate((np.arange(pods), external + np.arange(len(pairs) - pods)))

    sets: list[Sets] = []
    for side, plane in enumerate(planes):
        targets = np.stack((pairs[:, side], joint_of), axis=1)
        known = plane.matrix.sets if plane is not None else _nothing()
        moved = _spread(known, targets, plane.size if plane is not None else 0, words)
        # Everything stays everything: rows are cut to the ends of their version elsewhere.
        behind = int(moved.start[1])
        rest = Sets(moved.start[1:] - behind, moved.word[behind:], moved.bits[behind:])
        sets.append(join(from_positions([joint_of]), rest))
    set_numbers, merged_sets = _canonical(sets)
    ports, port_numbers = _joint_ports(old.ports, new.ports)
    tiers = _joint_tiers(old, new)

    views: list[View] = []
    for outward in (False, True):
        sides_of = [
            None if plane is None else plane.matrix.out_to if outward else plane.matrix.into
            for plane in planes
        ]
        columns = _joint_rows(sides_of, set_numbers, port_numbers, tiers)
        taking_part = size if outward else pods
        part = parts_of(columns[0], merged_sets, taking_part, size)
        start, row = indexed(columns[0], merged_sets, part)
        views.append(View._make((part, start, row, *columns)))

    weight = np.zeros(size, np.int64)
    of_pods = identity[: ends.pods]
    np.add.at(weight, of_pods[of_pods >= 0], 1)
    present = np.stack([bitmap(joint_of[pairs[:, side] >= 0], words) for side in range(2)])
    pod_words = (pods + 63) >> 6
    of_pod_identities = present[:, :pod_words].copy()
    of_pod_identities &= bitmap(np.arange(pods), pod_words)
    slices = bit_slices(weight[:pods], pod_words)
    no_slices = np.zeros((1, words), np.uint64)
    joint = Aligned(
        families=families,
        pods=pods,
        external=external,
        size=size,
        identity=identity,
        into=views[0],
        out_to=views[1],
        counting=Space(merged_sets, ports.sets, ports.weight, of_pod_identities, weight, slices),
        whole=Space(merged_sets, ports.sets, ports.weight, present, weight, no_slices),
        ports=ports,
    )
    freeze(joint)
    return joint


def _number(
    old: NDArray[np.int64], new: NDArray[np.int64], pods: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Number the pairs (old, new) that occur: the joint identity of each end, the pairs, and how
    many of them are of pods and where the others begin."""
    present = (old >= 0) | (new >= 0)
    identity = np.full(old.size, -1, np.int64)
    pairs: list[NDArray[np.int64]] = []
    counts: list[int] = []
    offset = 0
    for part in (slice(0, pods), slice(pods, None)):
        here = np.flatnonzero(present[part]) + (part.start or 0)
        # One number a pair, which sorts as the pair does, and much faster.
        width = int(new[here].max(initial=-1)) + 2
        keys = (old[here] + 1) * width + new[here] + 1
        distinct, number = np.unique(keys, return_inverse=True)
        identity[here] = number + offset
        pairs.append(np.stack((distinct // width - 1, distinct % width - 1), axis=1))
        counts.append(len(distinct))
        offset = ((counts[0] + 63) >> 6) << 6
    return identity, np.concatenate(pairs), counts[0], offset


def _nothing() -> Sets:
    return Sets(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint64))


def _spread(sets: Sets, targets: NDArray[np.int64], size: int, words: int) -> Sets:
    """Sets over the numbers in column 0 of ``targets`` as sets over those in column 1."""
    targets = targets[targets[:, 0] >= 0]
    order = np.argsort(targets[:, 0], kind="stable")
    start = np.searchsorted(targets[order, 0], np.arange(size + 1)).astype(np.int64)
    target = targets[order, 1].astype(np.int32)
    return Sets(*project.on(sets.word.size * 64)(sets, start, target, words))


def _canonical(sides: list[Sets]) -> tuple[list[NDArray[np.int32]], Sets]:
    """Number equal sets of both sides alike."""
    together = join(*sides)
    # The words and bits of a set behind one another, so that its content is one slice.
    content = np.empty(together.word.size, _CONTENT)
    content["word"], content["bits"] = together.word, together.bits
    whole, width = content.tobytes(), _CONTENT.itemsize
    numbers: dict[bytes, int] = {}
    kept: list[int] = []
    of_set: list[int] = []
    for which, (start, stop) in enumerate(pairwise((together.start * width).tolist())):
        number = numbers.setdefault(whole[start:stop], len(numbers))
        if number == len(kept):
            kept.append(which)
        of_set.append(number)
    first = len(sides[0].start) - 1
    all_numbers = np.array(of_set, np.int32)
    return (
        [all_numbers[:first], all_numbers[first:]],
        chosen(together, np.array(kept, np.int64)),
    )


def _joint_ports(old: PortSpace, new: PortSpace) -> tuple[PortSpace, list[NDArray[np.int32]]]:
    first = np.union1d(old.first, new.first)
    atoms = first.size - 1
    sides: list[Sets] = []
    for space in (old, new):
        own = atoms_at(space, first[:-1])
        targets = np.stack((own, np.arange(atoms)), axis=1).astype(np.int64)
        sides.append(_spread(space.sets, targets, space.weight.size, (atoms + 63) >> 6))
    numbers, sets = _canonical(sides)
    # Set 0 is every atom on both sides, and so stays first.
    assert numbers[0][0] == numbers[1][0] == 0
    sizes = np.diff(first)
    # Weightless places (port 0, ICMP, other protocols) are atoms of their own in any space.
    own = atoms_at(old, first[:-1])
    weight = np.where(old.weight[own] > 0, sizes, 0)
    table = np.repeat(np.arange(atoms, dtype=np.int32), sizes)
    return PortSpace(table=table, first=first, weight=weight, sets=sets), numbers


def _joint_tiers(old: CompiledPolicy, new: CompiledPolicy) -> list[NDArray[np.int32]]:
    """For each side, the joint number of each of its tiers."""
    joint = tier_numbers((*old.policies, *new.policies))
    found: list[NDArray[np.int32]] = []
    for side in (old, new):
        numbers = tier_numbers(side.policies)
        of_side = np.zeros(max(numbers.values()) + 1, np.int32)
        for tier, number in numbers.items():
            of_side[number] = joint.get(tier, 0)
        found.append(of_side)
    return found


def _joint_rows(
    views: list[View | None],
    set_numbers: list[NDArray[np.int32]],
    port_numbers: list[NDArray[np.int32]],
    tiers: list[NDArray[np.int32]],
) -> tuple[NDArray[Any], ...]:
    """Rows of both versions, equal ones once: the columns of a view from ``found_by`` on."""
    tables = [np.zeros((0, 7), np.int64)]
    for side, view in enumerate(views):
        if view is None:
            continue
        columns = (
            tiers[side][view.tier],
            view.action,
            set_numbers[side][view.found_by],
            set_numbers[side][view.sources],
            port_numbers[side][view.ports],
            view.rule,
            np.full(view.tier.size, _VERSIONS[side]),
        )
        tables.append(np.stack([column.astype(np.int64) for column in columns], axis=1))
    table = np.concatenate(tables)
    in_order = np.isin(table[:, 0], list(ordered_tiers(table[:, 0], table[:, 1], table[:, 5])))
    alike = table[~in_order]
    # The rule ids of the two sides mean nothing to each other; only reasons are kept apart.
    alike[:, 5] = np.minimum(alike[:, 5], 0)
    distinct, number = np.unique(alike[:, :6], axis=0, return_inverse=True)
    versions = np.zeros(len(distinct), np.int64)
    np.bitwise_or.at(versions, number.ravel(), alike[:, 6])
    table = np.concatenate((np.column_stack((distinct, versions)), table[in_order]))
    # Inside a tier: what a CNI always allows, then rules as they came, then the default.
    rank = np.select(
        [table[:, 5] == Reason.ALWAYS_ICMP, table[:, 5] == Reason.NO_RULE_MATCHES], [-1, 1], 0
    )
    table = table[np.lexsort((rank, table[:, 0]))]
    return (
        table[:, 2].astype(np.int32),
        table[:, 3].astype(np.int32),
        table[:, 4].astype(np.int32),
        table[:, 1].astype(np.uint8),
        table[:, 0].astype(np.int32),
        table[:, 5].astype(np.int32),
        table[:, 6].astype(np.uint8),
    )
