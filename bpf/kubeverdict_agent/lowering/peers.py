"""Who is at the other end: addresses, and the classes that the pods of a node put them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.model.addresses import Address, Family
from kubeverdict.model.policy import Direction
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.lowering.known_ends import KnownEnds
from kubeverdict_agent.lowering.reaching import Reached
from kubeverdict_agent.lowering.rows import DecisionRows, PlaneView, worst
from kubeverdict_agent.lowering.services import ListedServices


class Addresses(TypedDict):
    """The fields of Tables that PeerMaker fills."""

    ipv4: NDArray[np.uint32]
    class4: NDArray[np.uint16]
    flags4: NDArray[np.uint32]
    ipv6: NDArray[np.uint64]
    class6: NDArray[np.uint16]
    flags6: NDArray[np.uint32]
    starts4: NDArray[np.uint32]
    starts_class4: NDArray[np.uint16]
    starts6: NDArray[np.uint64]
    starts_class6: NDArray[np.uint16]


class PeerMaker:
    """Numbers the classes of peers, over all planes, and the rows that each subject has for them.

    ``subjects[direction]`` (subjects, planes) are classes of subjects, -1: no address there.
    ``guarded`` (pods,) are the pods that are enforced.
    """

    def __init__(
        self,
        compiled: CompiledPolicy,
        views: Sequence[PlaneView],
        rows: DecisionRows,
        subjects: tuple[NDArray[np.int32], NDArray[np.int32]],
        guarded: NDArray[np.bool_],
        known: KnownEnds,
    ) -> None:
        self._compiled = compiled
        self._known = known
        self._views = views
        self._rows = rows
        self._subjects = subjects
        self._columns: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
        self._classes = 0
        self._guarded = guarded
        self._special: dict[Address, int] = {}
        self._flags: dict[Address, int] = {}
        # The class of each identity, by plane.
        self._of_identity = [self._add_plane(number) for number in range(len(views))]

    def _add_plane(self, number: int) -> NDArray[np.int64]:
        ingress, egress = (near.peer_of.astype(np.int64) for near in self._views[number].near)
        both = ingress * (int(egress.max(initial=0)) + 1) + egress
        both[ingress < 0] = -1
        distinct, first, inverse = np.unique(both, return_index=True, return_inverse=True)
        taking_part = distinct >= 0
        of_direction = (ingress[first[taking_part]], egress[first[taking_part]])
        classes = self._add(
            *(self._rows_for(number, direction, of_direction[direction]) for direction in Direction)
        )
        of_class = np.full(distinct.size, -1, np.int64)
        of_class[taking_part] = classes
        of_identity: NDArray[np.int64] = of_class[inverse.ravel()]
        return of_identity

    def _rows_for(
        self, plane: int, direction: Direction, peers: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(subjects, n) row of each subject for classes of peers of one plane."""
        subjects = self._subjects[direction]
        own = subjects[:, plane]
        rows = self._rows.of[plane][direction]
        out = np.full((own.size, peers.size), self._rows.not_isolated, np.int64)
        here = own >= 0
        out[here] = rows[own[here]][:, peers]
        # A pod without an address of the family: what it sends belongs to no connection that
        # policy could allow, so isolation in the other family counts.
        out[~here & self._isolated(direction)] = self._rows.no_address
        return out

    def _add(self, ingress: NDArray[np.int64], egress: NDArray[np.int64]) -> NDArray[np.int64]:
        """Classes with these rows (subjects, n); their numbers (n,)."""
        self._columns[Direction.INGRESS].append(ingress)
        self._columns[Direction.EGRESS].append(egress)
        self._classes += ingress.shape[1]
        return np.arange(self._classes - ingress.shape[1], self._classes)

    def add_own_node(self, addresses: Sequence[str]) -> None:
        """The node reaches its pods, and where the profile says so they reach it. What it forwards
        under its address is judged as from any end that has it."""
        profile = self._compiled.profile
        for address, _, plain in self._plain_classes(
            self._known.own_node(self._compiled, addresses)
        ):
            columns = [self._column(direction, plain) for direction in Direction]
            self._flags[address] = layout.PEER_NODE
            if profile.enforces and profile.own_node_to_pod:
                self._flags[address] |= layout.PEER_OWN
            if profile.enforces and profile.pod_to_own_node:
                columns[Direction.EGRESS] = np.full_like(columns[1], self._rows.own_node)
            self._special[address] = int(self._add(columns[0], columns[1])[0])

    def add_other_nodes(self) -> None:
        """Nodes, which end tunnels: after the own one."""
        for address, _, plain in self._plain_classes(self._known.nodes(self._compiled)):
            self._special.setdefault(address, plain)
            self._flags.setdefault(address, layout.PEER_NODE)

    def add_services(self, services: ListedServices, ports: NDArray[np.uint16]) -> None:
        """Addresses of Services: as the plain address, or as that of the own node, but on each
        port of a Service as all backends together."""
        of_address = services.by_address
        if not of_address:
            return
        guarded = self._guards(services)
        reached = [Reached(services, view, ports) for view in self._views]
        known: dict[tuple[int, int, int], int] = {}
        for address, plane, plain in self._plain_classes(list(of_address)):
            group = of_address[address]
            plain = self._special.get(address, plain)
            key = (plane, plain, reached[plane].alike[group])
            if key not in known:
                ingress = self._column(Direction.INGRESS, plain)
                egress = self._all_of(plane, plain, reached[plane].of(group))
                known[key] = int(self._add(ingress, egress)[0])
            self._special[address] = known[key]
            if guarded[group]:
                self._flags[address] = self._flags.get(address, 0) | layout.PEER_GUARDED

    def _guards(self, services: ListedServices) -> list[bool]:
        """Whether some ends of each group are pods that are enforced."""
        ends = np.minimum(services.ends, self._guarded.size)
        enforced = np.append(self._guarded, False)[ends]
        groups = services.group[services.port[enforced]]
        found: list[bool] = (np.bincount(groups, minlength=len(services.addresses)) > 0).tolist()
        return found

    def _plain_classes(self, addresses: Sequence[Address]) -> Iterator[tuple[Address, int, int]]:
        """Address, plane and class of each address that some plane judges."""
        if not addresses:
            return
        ends = self._known.ends_of(self._compiled, addresses)
        classes = [
            (view.plane.families, _classes(self._of_identity[number], view.plane, ends).tolist())
            for number, view in enumerate(self._views)
        ]
        for place, address in enumerate(addresses):
            for number, (families, of_address) in enumerate(classes):
                if address.family in families and of_address[place] >= 0:
                    yield address, number, of_address[place]

    def _column(self, direction: Direction, number: int) -> NDArray[np.int64]:
        """(subjects, 1) the rows of one class."""
        for part in self._columns[direction]:
            if number < part.shape[1]:
                return part[:, number : number + 1]
            number -= part.shape[1]
        raise IndexError(number)

    def _all_of(
        self, plane: int, plain: int, reached: Mapping[int, NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        """(subjects, 1) rows of egress that allow an atom where all that it leads to is allowed,
        and else name the first denial, or the first that allows under a condition only."""
        rows = self._column(Direction.EGRESS, plain).copy()
        own = self._subjects[Direction.EGRESS][:, plane]
        here = np.flatnonzero(own >= 0)
        row_of = self._rows.of[plane][Direction.EGRESS][own[here]]
        made = self._rows.codes[rows[here, 0]].copy()
        for atom, led in reached.items():
            if led.size:
                each = self._rows.codes[row_of[:, led[:, 0]], led[:, 1]]
                made[:, atom] = each[np.arange(here.size), worst(each)]
        rows[here, 0] = self._rows.add(made)
        return rows

    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """By direction the row of each subject for each class (subjects, classes)."""
        return (
            np.concatenate(self._columns[Direction.INGRESS], axis=1),
            np.concatenate(self._columns[Direction.EGRESS], axis=1),
        )

    def addresses(self) -> Addresses:
        """Every address that is known one by one, and the intervals of all others."""
        ipv4, class4, flags4 = self._single(4)
        ipv6, class6, flags6 = self._single(6)
        starts4, starts_class4 = self._intervals(4)
        starts6, starts_class6 = self._intervals(6)
        return Addresses(
            ipv4=ipv4,
            class4=class4,
            flags4=flags4,
            ipv6=ipv6,
            class6=class6,
            flags6=flags6,
            starts4=starts4,
            starts_class4=starts_class4,
            starts6=starts6,
            starts_class6=starts_class6,
        )

    def _single(
        self, family: Family
    ) -> tuple[NDArray[Any], NDArray[np.uint16], NDArray[np.uint32]]:
        """Single addresses of a family, (n,) or (n, 2), their classes and flags."""
        listed = [known for known in self._special if known.family == family]
        values, ends, place = self._known.singles(self._compiled, family, listed)
        is_special = place >= 0
        plane = self._plane_of(family)
        classes = np.full(ends.size, -1, np.int64)
        if plane is not None:
            classes = _classes(self._of_identity[plane], self._views[plane].plane, ends)
        special = np.array([self._special[known] for known in listed], np.int64)
        classes[is_special] = special[place[is_special]]
        guarded = np.append(self._guarded, False)[np.minimum(ends, self._guarded.size)]
        flags = guarded.astype(np.uint32) * np.uint32(layout.PEER_GUARDED)
        of_special = np.array([self._flags.get(known, 0) for known in listed], np.uint32)
        flags[is_special] = of_special[place[is_special]]
        kept = classes >= 0
        if not kept.all():  # the values are the same object otherwise, as long as the pods are
            values, classes, flags = values[kept], classes[kept], flags[kept]
        return values, classes.astype(np.uint16), flags

    def _plane_of(self, family: Family) -> int | None:
        return next(
            (n for n, view in enumerate(self._views) if family in view.plane.families), None
        )

    def _intervals(self, family: Family) -> tuple[NDArray[Any], NDArray[np.uint16]]:
        """First addresses of the intervals of a family, and their classes; neighbours that no rule
        of this node distinguishes are one."""
        space = self._compiled.addresses
        starts: NDArray[Any] = space.ipv4 if family == 4 else space.ipv6
        before = 0 if family == 4 else int(space.ipv4.size)
        first = self._compiled.first_atom + before
        classes = np.full(starts.shape[0], -1, np.int64)
        plane = self._plane_of(family)
        if plane is not None:
            identity = self._views[plane].plane.ends.identity[first : first + starts.shape[0]]
            classes[identity >= 0] = self._of_identity[plane][identity[identity >= 0]]
        if (classes < 0).any():
            classes[classes < 0] = self._add(*(self._nowhere(each) for each in Direction))[0]
        changes = np.append(True, classes[1:] != classes[:-1])
        return starts[changes], classes[changes].astype(np.uint16)

    def _nowhere(self, direction: Direction) -> NDArray[np.int64]:
        """(subjects, 1) rows for addresses of a family that the cluster does not use."""
        isolated = self._isolated(direction)
        return np.where(isolated, self._rows.no_address, self._rows.not_isolated)[:, None]

    def _isolated(self, direction: Direction) -> NDArray[np.bool_]:
        """Which subjects some policy isolates, in whatever family."""
        subjects = self._subjects[direction]
        isolated: NDArray[np.bool_] = np.any(
            [view.isolates(direction, subjects[:, n]) for n, view in enumerate(self._views)], axis=0
        )
        return isolated


def _classes(
    of_identity: NDArray[np.int64], plane: Plane, ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The class of each end (n,), -1 where it has none; of end -1 it is anything."""
    classes: NDArray[np.int64] = np.append(of_identity, -1)[plane.ends.identity[ends]]
    return classes
