"""What a change of policies opens and closes, as parts of the map.

An edit shows here while it is typed, however much it opens: connections that change alike are one
:class:`CellChange`, between many workloads at once, where :mod:`kubeverdict.analyses.whatif` lists
each pair of workloads for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.decisions import ConnectionVerdict
from kubeverdict.analyses.port_text import Ports, PortTexts
from kubeverdict.analyses.reach_map import MapPlaces
from kubeverdict.analyses.samples import SampleFlow, decided, on_one_node
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.aligned import Joint
from kubeverdict.evaluate.changed_rows import DeltaRow
from kubeverdict.evaluate.delta import Delta, delta
from kubeverdict.model.address_text import address_text
from kubeverdict.model.addresses import Family, parse_address

Ranges = tuple[tuple[int, int], ...]
"""MapPlaces on the map, ascending: the first and the last of each run."""

# Ends of either side that are tried to find two that are not the same pod, nor a pod and its node.
_TRIED = 3


class CellChange(msgspec.Struct, frozen=True):
    """Connections that one change opens or closes: from any of ``sources`` to any of
    ``destinations``, but not from a pod to itself.

    ``pairs`` counts the ordered pairs of pods. ``outside`` names addresses among the sources or
    the destinations, empty where there are none. ``before`` and ``after`` are what decides
    on the first of the ports between the first of the pods. ``bound`` is empty where it does not
    depend on conditions of rules; otherwise the change is one of what is allowed at ``most``, or
    at ``least``. ``family`` is IPv4 or IPv6 where the two are judged apart.
    """

    opens: bool
    sources: Ranges
    destinations: Ranges
    ports: Ports
    pairs: int
    outside: str
    before: ConnectionVerdict | None
    after: ConnectionVerdict | None
    family: str = ""
    bound: str = ""


class ChangeTotals(msgspec.Struct, frozen=True):
    """Pod pairs that gain a port, and that lose one; over the families of ``families``."""

    families: tuple[Family, ...]
    opened: int
    closed: int


class ChangedCells(msgspec.Struct, frozen=True):
    """The report. ``changes`` are those of most pod pairs, no more than were asked for, each with
    what decides; ``cells`` are all of them as opened, sources and destinations."""

    totals: tuple[ChangeTotals, ...]
    changes: tuple[CellChange, ...]
    number: int
    cells: tuple[tuple[bool, Ranges, Ranges], ...]


def changed_cells(
    old: CompiledPolicy, new: CompiledPolicy, places: MapPlaces, most: int = 200
) -> ChangedCells:
    """How the connections of ``old`` change in ``new``, which has the same pods; ``places`` are
    those of either. At most ``most`` changes are told with what decides them."""
    bounds = [("", old, new)]
    if old.least or new.least:
        bounds = [("most", old, new), ("least", old.bound(True), new.bound(True))]
    totals: tuple[ChangeTotals, ...] = ()
    drafts: list[_Draft] = []
    readers: dict[str, _Reader] = {}
    for bound, was, now in bounds:
        change = delta(was, now)
        totals = totals or tuple(
            ChangeTotals(one.families, one.pairs_opened, one.pairs_closed) for one in change.counts
        )
        readers[bound] = reader = _Reader(change, places, bound)
        drafts += reader.drafts()
    drafts.sort(
        key=lambda draft: (
            *(-draft.pairs, not draft.opens),
            *(draft.sources, draft.destinations, draft.outside, draft.ports),
        )
    )
    told: list[CellChange] = []
    for bound, reader in readers.items():
        told += reader.told([draft for draft in drafts[:most] if draft.bound == bound])
    told.sort(key=lambda one: (not one.opens, -one.pairs))
    cells = {(draft.opens, draft.sources, draft.destinations): None for draft in drafts}
    return ChangedCells(totals, tuple(told), len(drafts), tuple(cells))


class _Draft(msgspec.Struct, frozen=True):
    """A change before it is known what decides it. ``sample`` are two joint ends."""

    opens: bool
    sources: Ranges
    destinations: Ranges
    ports: int
    pairs: int
    outside: str
    sample: tuple[int, int]
    family: Family | None
    bound: str


class _Side(msgspec.Struct, frozen=True):
    """One end of a change: places, and the joint ends that stand for them."""

    ranges: Ranges
    pods: int
    outside: str
    ends: tuple[int, ...]


class _Reader:
    """Reads the changed rows of both planes; holds what is looked up along the way."""

    def __init__(self, change: Delta, places: MapPlaces, bound: str) -> None:
        self._change = change
        self._places = places
        self._bound = bound
        compiled = change.new
        self._texts = PortTexts(
            change.planes[0].ports.first, without_icmp=compiled.profile.icmp == "always"
        )

    def drafts(self) -> Iterator[_Draft]:
        apart = len(self._change.planes) > 1
        for plane in self._change.planes:
            ends = _PlaneEnds(self._change, plane, self._places)
            family = plane.families[0] if apart else None
            for (sources, _, _), found in self._merged(plane).items():
                targets = np.unique(np.concatenate([row.destinations for row in found]))
                yield from self._of_row(ends, sources, found[0], targets, family)

    def _merged(self, plane: Joint) -> dict[tuple[bytes, int, int], list[DeltaRow]]:
        """Rows of the same sources whose ports change alike, together."""
        found: dict[tuple[bytes, int, int], list[DeltaRow]] = {}
        for row in self._change.rows(plane):
            before, after = self._texts.number(row.before), self._texts.number(row.after)
            if before != after:
                found.setdefault((row.sources.tobytes(), before, after), []).append(row)
        return found

    def _of_row(
        self,
        ends: _PlaneEnds,
        sources: bytes,
        row: DeltaRow,
        targets: NDArray[np.int64],
        family: Family | None,
    ) -> Iterator[_Draft]:
        before, after = self._texts.number(row.before), self._texts.number(row.after)
        source, destination = ends.side(row.sources), ends.side(targets)
        pairs = source.pods * destination.pods - ends.shared(row.sources, targets)
        tried = [(one, other) for one in source.ends for other in destination.ends if one != other]
        apart = (pair for pair in tried if not on_one_node(self._change, *pair))
        sample = next(apart, tried[0] if tried else None)
        if sample is None:
            return  # a pod and itself
        outside = source.outside or destination.outside
        for opens, ports in (
            (True, self._texts.less(after, before)),
            (False, self._texts.less(before, after)),
        ):
            if ports:
                yield _Draft(
                    opens,
                    source.ranges,
                    destination.ranges,
                    ports,
                    pairs,
                    outside,
                    sample,
                    family,
                    self._bound,
                )

    def told(self, drafts: Sequence[_Draft]) -> list[CellChange]:
        ends = self._change.ends
        before, after = (
            decided(compiled, [self._sample(draft, numbers) for draft in drafts])
            for compiled, numbers in (
                (self._change.old, ends.old),
                (self._change.new, ends.new),
            )
        )
        return [
            CellChange(
                draft.opens,
                draft.sources,
                draft.destinations,
                self._texts.ports(draft.ports),
                draft.pairs,
                draft.outside,
                was,
                now,
                f"IPv{draft.family}" if draft.family else "",
                draft.bound,
            )
            for draft, was, now in zip(drafts, before, after, strict=True)
        ]

    def _sample(self, draft: _Draft, numbers: NDArray[np.int64]) -> SampleFlow | None:
        source, destination = (int(numbers[end]) for end in draft.sample)
        if min(source, destination) < 0:
            return None
        return SampleFlow(source, destination, *self._texts.first(draft.ports), draft.family)


class _PlaneEnds:
    """From joint identities of one plane to places and ends."""

    def __init__(self, change: Delta, plane: Joint, places: MapPlaces) -> None:
        self._change = change
        self._plane = plane
        self._outside = places.outside
        pods = change.ends.pods
        identity = plane.identity[:pods]
        self._identity = np.where(identity < 0, plane.pods, identity)
        self._weight = np.bincount(self._identity, minlength=plane.pods + 1)
        self._place = places.of_pod
        beyond = plane.identity[pods:]
        self._beyond_order = np.argsort(beyond, kind="stable")
        numbers = np.arange(plane.external, plane.size + 1)
        self._beyond_start = np.searchsorted(beyond[self._beyond_order], numbers)
        self._known: dict[bytes, _Side] = {}

    def side(self, identities: NDArray[np.int64]) -> _Side:
        key = identities.tobytes()
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._made(identities)
        return found

    def shared(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
        """How many pods are on both sides: pairs of a pod and itself."""
        both = np.intersect1d(one, other, assume_unique=True)
        both = both[both < self._plane.pods]
        return int(self._weight[both].sum())

    def _made(self, identities: NDArray[np.int64]) -> _Side:
        inside = identities[identities < self._plane.pods]
        beyond = identities[identities >= self._plane.external]
        chosen = np.zeros(self._plane.pods + 1, np.bool_)  # the last for pods of no identity
        chosen[inside] = True
        held = np.flatnonzero(chosen[self._identity])
        places = np.flatnonzero(np.bincount(self._place[held], minlength=1))
        if beyond.size:
            places = np.append(places, self._outside)
        first = held[:_TRIED].tolist()
        ends, text = self._addresses(beyond)
        return _Side(_ranges(places), int(held.size), text, (*first, *ends))

    def _addresses(self, identities: NDArray[np.int64]) -> tuple[list[int], str]:
        """Joint ends among addresses, and all of them as text."""
        if not identities.size:
            return [], ""
        ends = self._change.ends
        numbers: list[int] = []
        for place in (identities - self._plane.external).tolist():
            span = slice(self._beyond_start[place], self._beyond_start[place + 1])
            numbers += self._beyond_order[span].tolist()
        spans: dict[Family, list[tuple[int, int]]] = {}
        hosts = len(ends.hosts)
        nodes = [ends.hosts[number] for number in sorted(numbers) if number < hosts]
        for number in sorted(numbers):
            if number >= hosts:
                family, low, high = ends.intervals[number - hosts]
                spans.setdefault(family, []).append((low, high))
        texts = [address_text(family, _joined(found)) for family, found in spans.items()]
        if not texts:
            texts = [", ".join(sorted(nodes, key=_by_address))]
        numbers.sort(key=lambda number: (number < hosts, number))
        return [ends.pods + number for number in numbers[:_TRIED]], "; ".join(texts)


def _by_address(text: str) -> tuple[int, int]:
    address = parse_address(text)
    assert address is not None  # the compiler refuses others
    return address.family, address.value


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending spans, those that touch as one."""
    found: list[tuple[int, int]] = []
    for low, high in spans:
        if found and found[-1][1] + 1 == low:
            found[-1] = (found[-1][0], high)
        else:
            found.append((low, high))
    return found


def _ranges(places: NDArray[np.int64]) -> Ranges:
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    parts = np.split(places, cuts) if places.size else []
    return tuple((int(part[0]), int(part[-1])) for part in parts)
