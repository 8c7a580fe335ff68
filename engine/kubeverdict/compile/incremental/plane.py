"""One plane that takes changes: its positions, identities, sets and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import Plane, PortSpace, freeze
from kubeverdict.compile.identities import index_plane
from kubeverdict.compile.incremental import set_edits
from kubeverdict.compile.indexing import bit_slices
from kubeverdict.compile.labels import LabelIds
from kubeverdict.compile.rules import (
    ACTION,
    DIRECTION,
    ORDER,
    PEER,
    PORTS,
    RULE,
    SUBJECT,
    TIER,
    rows_of,
)
from kubeverdict.compile.sets import ALL, join
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.flows import pack_ends
from kubeverdict.kernels.sets import combine
from kubeverdict.model.addresses import Family

# Identities that may be added to those of pods before the others have to move up.
_ROOM = 4  # words


@dataclass(slots=True)
class Positions:
    """Groups of pods that no policy has distinguished so far, and hostNetwork pods, each alone. All
    arrays are (positions,)."""

    namespace: NDArray[np.int32]
    labels: NDArray[np.int32]  # number of the label set
    ports: NDArray[np.int32]  # number of the set of named ports
    outside: NDArray[np.int32]  # identity of the addresses that its pods have; -1 in no block
    identity: NDArray[np.int32]  # of the pods; -1 where there are none any more
    host: NDArray[np.int32]  # the host that a hostNetwork pod is as a peer; -1 for others
    pods: NDArray[np.int64]  # how many

    def append(
        self, namespace: int, labels: int, ports: int, outside: int, identity: int, pods: int
    ) -> int:
        """A new position; its number."""
        self.namespace = np.append(self.namespace, np.int32(namespace))
        self.labels = np.append(self.labels, np.int32(labels))
        self.ports = np.append(self.ports, np.int32(ports))
        self.outside = np.append(self.outside, np.int32(outside))
        self.identity = np.append(self.identity, np.int32(identity))
        self.host = np.append(self.host, np.int32(-1))
        self.pods = np.append(self.pods, np.int64(pods))
        return self.identity.size - 1


@dataclass(slots=True)
class EditablePlane:
    """The state behind one plane. Arrays are replaced, never written, once a plane has them."""

    families: tuple[Family, ...]
    positions: Positions
    position_of: NDArray[np.int32]  # (pods,) -1 where a pod is not in this plane
    indexed: int  # positions below this number are in ``labels``
    labels: LabelIds
    ranges: dict[str, tuple[int, int]]  # indexed positions of each namespace
    # By endpoint id: pods, hosts, atoms.
    identity: NDArray[np.int32]
    node: NDArray[np.int32]
    about: NDArray[np.uint8]
    apart: bool  # whether hosts are distinguished from other addresses
    pods: int  # one past the last identity of pods
    external: int
    weight: NDArray[np.int64]  # (size,)
    sets: Sets
    table: NDArray[np.int64]  # (rows, 8) see compile.rules.Row
    subject: NDArray[np.int64]  # (policies,) the set that each policy in force selects
    atoms: int  # address atoms, the last of the endpoint ids
    copies: list[tuple[int, int]]  # identities split off, that no set holds yet
    standing: frozenset[int] = frozenset()  # sets that are the subjects of one standing row alone

    @property
    def size(self) -> int:
        return self.weight.size

    @property
    def sizes(self) -> tuple[int, int, int]:
        """What grows with edits: positions, sets and the words of sets."""
        return self.positions.identity.size, self.set_count, self.sets.word.size

    def copy(self) -> EditablePlane:
        return replace(self, positions=replace(self.positions), copies=list(self.copies))

    def place(self, namespace: int, labels: int, ports: int, outside: int) -> int:
        """The position of pods that are distinguished by these numbers; -1 for none."""
        at = self.positions
        found = np.flatnonzero(
            (at.labels == labels)
            & (at.namespace == namespace)
            & (at.ports == ports)
            & (at.outside == outside)
            & (at.identity >= 0)
        )
        return int(found[0]) if found.size else -1

    @property
    def words(self) -> int:
        return (self.size + 63) >> 6

    def made(self, ports: PortSpace) -> Plane:
        """The plane as it is now, indexed and frozen."""
        rows, ingress_rows = rows_of(self.table, self.sets)
        ends = pack_ends(self.identity, self.node, self.about, self.position_of.size)
        plane = index_plane(
            self.families,
            self.pods,
            self.external,
            self.weight,
            self.sets,
            rows,
            ingress_rows,
            ends,
            ports,
        )
        freeze(plane)
        return plane

    def with_ends(self, plane: Plane) -> Plane:
        """``plane``, made before, with the ends as they are now and the rules that it has."""
        words = (self.pods + 63) >> 6
        made = replace(
            plane,
            weight=self.weight,
            slices=bit_slices(self.weight[: words << 6], words),
            ends=pack_ends(self.identity, self.node, self.about, self.position_of.size),
        )
        freeze((made.weight, made.slices, made.ends))
        if "matrix" in vars(plane):
            vars(made)["matrix"] = plane.matrix  # the rules and their sets are the same
        return made

    # --- identities ------------------------------------------------------------------------

    def new_pod_identity(self) -> int:
        """The number of a new identity of pods, which is in no set yet."""
        if self.pods == self.external:
            self._make_room()
        self.pods += 1
        return self.pods - 1

    def new_external_identity(self) -> int:
        self.weight = np.append(self.weight, 0)
        return self.size - 1

    def _make_room(self) -> None:
        first, more = self.external, _ROOM << 6
        self.sets = set_edits.with_gap(self.sets, first >> 6, _ROOM)
        self.copies = [
            (old + more * (old >= first), new + more * (new >= first)) for old, new in self.copies
        ]
        self.identity = np.where(self.identity >= first, self.identity + more, self.identity)
        outside = self.positions.outside
        self.positions.outside = np.where(outside >= first, outside + more, outside)
        self.weight = np.insert(self.weight, first, np.zeros(more, np.int64))
        self.external += more

    def split(self, positions: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Make identities such that each is inside or outside of what a new set holds:
        ``positions`` of pods, and ``ends`` that are addresses (endpoint ids)."""
        inside = self.positions.identity[positions]
        for old in self._cut(inside, self._alive()):
            new = self.new_pod_identity()
            moving = positions[self.positions.identity[positions] == old]
            identity = self.positions.identity.copy()
            identity[moving] = new
            self.positions.identity = identity
            moved = int(self.positions.pods[moving].sum())
            weight = self.weight.copy()
            weight[old] -= moved
            weight[new] += moved
            self.weight = weight
            self.copies.append((old, new))
            self._follow(moving)
        for old in self._cut(self.identity[ends], self._addresses()):
            new = self.new_external_identity()
            identity = self.identity.copy()
            identity[ends[identity[ends] == old]] = new
            self.identity = identity
            self.copies.append((old, new))

    def _follow(self, positions: NDArray[np.int64]) -> None:
        """Give the pods at ``positions`` the identity of their position."""
        wanted = np.zeros(self.positions.identity.size, np.bool_)
        wanted[positions] = True
        here = np.flatnonzero(wanted[self.position_of] & (self.position_of >= 0))
        identity = self.identity.copy()
        identity[here] = self.positions.identity[self.position_of[here]]
        self.identity = identity

    def _cut(self, inside: NDArray[np.int32], all_: NDArray[np.int32]) -> list[int]:
        """The identities of which some members and not all are inside."""
        within = np.bincount(inside[inside >= 0], minlength=self.size)
        total = np.bincount(all_, minlength=self.size)
        return np.flatnonzero((within > 0) & (within < total)).tolist()

    def _alive(self) -> NDArray[np.int32]:
        return self.positions.identity[self.positions.identity >= 0]

    def _addresses(self) -> NDArray[np.int32]:
        """Identities of the ends that are addresses, each end once."""
        first = self.position_of.size if self.apart else self.first_atom
        found = self.identity[first:]
        return found[found >= 0]

    @property
    def first_atom(self) -> int:
        return self.identity.size - self.atoms

    def settle(self) -> None:
        """Put identities that were split off into the sets that hold those they come from."""
        self.sets = set_edits.with_copies(self.sets, self.copies)
        self.copies = []

    # --- sets and rows ---------------------------------------------------------------------

    @property
    def set_count(self) -> int:
        return self.sets.start.size - 1

    def add_sets(self, made: Sets) -> None:
        self.sets = join(self.sets, made)

    def _union(self, numbers: NDArray[np.int64]) -> Sets:
        """The union of some sets, the only one of the result."""
        start = np.array([0, numbers.size], np.int64)
        no_mask = np.array([-1], np.int64)
        made = combine.on(numbers.size * 8)(start, numbers, no_mask, self.sets, self.words)
        return Sets(*made)

    def add_rows(self, table: NDArray[np.int64]) -> None:
        table = np.concatenate((self.table, table))
        key = (table[:, DIRECTION] << 62) + (table[:, TIER] << 34) + table[:, ORDER]
        self.table = table[np.argsort(key, kind="stable")]

    def insert_rules(self, first: int, count: int) -> None:
        """Make room for the rule ids ``first`` to ``first + count - 1``."""
        self._move_rules(self.table.copy(), first, count)

    def remove_rules(self, first: int, count: int) -> None:
        rule = self.table[:, RULE]
        kept = self.table[(rule < first) | (rule >= first + count)]
        self._move_rules(kept, first + count, -count)

    def _move_rules(self, table: NDArray[np.int64], first: int, by: int) -> None:
        later = table[:, RULE] >= first
        table[later, RULE] += by
        table[later, ORDER] += by
        self.table = table

    def move_tiers(self, moves: Mapping[int, int], gone: int) -> None:
        """Give tiers other numbers in the same order. Rows of the tier ``gone`` go."""
        table = self.table[self.table[:, TIER] != gone]
        before = np.array(sorted(moves), np.int64)
        after = np.array([moves[number] for number in before.tolist()], np.int64)
        table[:, TIER] = after[np.searchsorted(before, table[:, TIER])]
        self.table = table

    def order(self, ranks: NDArray[np.int64]) -> None:
        """Sort the rows of rules by ``ranks`` (rules,): their places in evaluation order."""
        table = self.table.copy()
        rule = table[:, RULE]
        table[rule >= 0, ORDER] = ranks[rule[rule >= 0]]
        self.table = table
        self.add_rows(table[:0])

    def set_standing(
        self,
        direction: int,
        tier: int,
        order: int,
        ports: int,
        action: int,
        reason: int,
        subjects: NDArray[np.int64],
    ) -> None:
        """The row of what holds for all subjects of a tier, such as its default: that of the same
        kind is replaced. ``subjects`` are sets."""
        table = self.table
        same = np.flatnonzero(
            (table[:, DIRECTION] == direction)
            & (table[:, TIER] == tier)
            & (table[:, RULE] == reason)
        )
        union = self._union(subjects)
        if same.size == 1 and table[same[0], SUBJECT] in self.standing:
            # A set that no other row uses: written over, so that edits leave nothing behind.
            self.sets = set_edits.with_set(self.sets, int(table[same[0], SUBJECT]), union)
            return
        self.add_sets(union)
        subject = self.set_count - 1
        self.standing |= {subject}
        row = np.empty((1, table.shape[1]), np.int64)
        row[0, [DIRECTION, TIER, ORDER, SUBJECT, PEER]] = direction, tier, order, subject, ALL
        row[0, [PORTS, ACTION, RULE]] = ports, action, reason
        self.table = np.delete(table, same, axis=0)
        self.add_rows(row)
