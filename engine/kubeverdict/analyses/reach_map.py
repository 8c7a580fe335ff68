"""Who reaches whom as a picture: a cell for each pair of workloads, and counts for namespaces.

Workloads are in the order of namespace, then name; behind them comes one more place, for all
addresses outside the cluster. A cell says what the best of its connections is: one of
:class:`CellState`. It is read from the rows of the reachability matrix, which are kept packed, a
bit for each pair of identities; cells are made of them when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.port_text import Ports, PortTexts
from kubeverdict.compile.compiled import CompiledPolicy, Plane, Reason
from kubeverdict.compile.sets import ALL, members
from kubeverdict.evaluate.pairs import bitmap_rows, rows, unpacked
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import WorkloadRef

# Destinations whose cells are made at one time: it bounds the memory that counting takes.
_PIECE = 256


class CellState(IntEnum):
    """What a cell of the map shows, from nothing to most."""

    DENIED = 0  # no port is open between any two of the pods
    CONDITIONAL = 1  # one is under the condition of a rule only
    BY_RULE = 2  # one is, and a policy has a say at an end of it
    UNPROTECTED = 3  # one is, and no policy selects the source for egress or the destination


class MapCounts(msgspec.Struct, frozen=True):
    """How many cells between two namespaces have each state that is not denied: (namespaces,
    namespaces) uint32, source by destination. ``possible`` counts all cells."""

    by_rule: NDArray[np.uint32]
    unprotected: NDArray[np.uint32]
    conditional: NDArray[np.uint32]
    possible: NDArray[np.uint32]


class MapPlaces:
    """The places of workloads on the map, and those of pods.

    ``workloads`` are in order; the place behind the last is for addresses. ``namespaces`` are
    those of workloads, with "" behind them for addresses; ``first`` (namespaces + 1,) is where
    the places of each begin. ``of_pod`` (pods,) is the place of each pod of
    ``CompiledPolicy.pods``.
    """

    def __init__(self, compiled: CompiledPolicy) -> None:
        found = sorted({pod.workload for pod in compiled.pods})
        numbers = {ref: number for number, ref in enumerate(found)}
        self.workloads: Sequence[WorkloadRef] = found
        self.of_pod = np.fromiter(
            (numbers[pod.workload] for pod in compiled.pods), np.int64, len(compiled.pods)
        )
        self.pods = np.bincount(self.of_pod, minlength=len(found)) if found else np.zeros(0, int)
        self.namespaces = [*sorted({ref.namespace for ref in found}), ""]
        of_workload = [ref.namespace for ref in found]
        starts = np.searchsorted(of_workload, self.namespaces[:-1]) if found else np.zeros(0, int)
        self.first = np.array([*starts.tolist(), len(found), len(found) + 1], np.int64)

    @property
    def outside(self) -> int:
        """The place for addresses."""
        return len(self.workloads)

    @property
    def size(self) -> int:
        return len(self.workloads) + 1


class ReachMap:
    """The map of one compiled cluster."""

    def __init__(self, compiled: CompiledPolicy, places: MapPlaces | None = None) -> None:
        self.places = places or MapPlaces(compiled)
        self._layers = [
            _Layer(compiled, number, self.places) for number in range(len(compiled.planes))
        ]

    def cells(self, sources: tuple[int, int], destinations: tuple[int, int]) -> NDArray[np.uint8]:
        """The states (sources, destinations) of a rectangle; each side from one place to before
        another. The better of both address families counts."""
        shape = (sources[1] - sources[0], destinations[1] - destinations[0])
        found = np.zeros(shape, np.uint8)
        for layer in self._layers:
            np.maximum(found, layer.cells(sources, destinations), out=found)
        return found

    def counts(self) -> MapCounts:
        first = self.places.first
        namespaces = first.size - 1
        table = np.zeros((len(CellState), namespaces, namespaces), np.uint32)
        whole = (0, self.places.size)
        for start in range(0, self.places.size, _PIECE):
            stop = min(start + _PIECE, self.places.size)
            cells = self.cells(whole, (start, stop))
            # Namespaces that have a place among these destinations, and where.
            here = np.unique(np.searchsorted(first, np.arange(start, stop), side="right") - 1)
            edges = np.maximum(first[here] - start, 0)
            for state in CellState:
                by_source = np.add.reduceat((cells == state).astype(np.uint32), first[:-1], axis=0)
                table[state][:, here] += np.add.reduceat(by_source, edges, axis=1)
        return MapCounts(
            table[CellState.BY_RULE],
            table[CellState.UNPROTECTED],
            table[CellState.CONDITIONAL],
            table.sum(axis=0, dtype=np.uint32),
        )


class _Layer:
    """The reachability of one plane, packed."""

    def __init__(self, compiled: CompiledPolicy, number: int, places: MapPlaces) -> None:
        plane = compiled.planes[number]
        self._outside = places.outside
        self._pods = plane.pods
        # One more bit for addresses, behind the identities of pods.
        self._most = _packed(compiled, plane)
        self._least = (
            _packed(compiled.least[0], compiled.least[0].planes[number])
            if (compiled.least)
            else self._most
        )
        self._free = [_selected_by_none(plane, ingress) for ingress in (True, False)]
        identity = plane.ends.identity[: len(compiled.pods)].astype(np.int64)
        present = np.flatnonzero(identity >= 0)
        pairs = np.unique(places.of_pod[present] * np.int64(plane.size) + identity[present])
        # Which identities the pods of each place have: entries in order of places.
        self._place = np.concatenate((pairs // plane.size, [places.outside]))
        self._identity = np.concatenate((pairs % plane.size, [plane.pods]))

    def cells(self, sources: tuple[int, int], destinations: tuple[int, int]) -> NDArray[np.uint8]:
        rows_, row_identity, row_start = self._entries(sources)
        columns, column_identity, column_start = self._entries(destinations)
        found = np.zeros((sources[1] - sources[0], destinations[1] - destinations[0]), np.uint8)
        if not rows_.size or not columns.size:
            return found
        most = self._open(self._most, row_identity, column_identity)
        states = most * np.uint8(CellState.BY_RULE)
        free = self._free[1][row_identity][:, None] & self._free[0][column_identity][None]
        states[free & (most > 0)] = CellState.UNPROTECTED
        if self._least is not self._most:
            least = self._open(self._least, row_identity, column_identity)
            states[(most > 0) & (least == 0)] = CellState.CONDITIONAL
        states = np.maximum.reduceat(states, row_start, axis=0)
        states = np.maximum.reduceat(states, column_start, axis=1)
        found[np.ix_(rows_ - sources[0], columns - destinations[0])] = states
        return found

    def _entries(
        self, span: tuple[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The places in a span that have pods here, the identities of these pods, and where
        those of each place begin."""
        low, high = np.searchsorted(self._place, span)
        places, start = np.unique(self._place[low:high], return_index=True)
        return places, self._identity[low:high], start

    def _open(
        self,
        packed: NDArray[np.uint8],
        sources: NDArray[np.int64],
        destinations: NDArray[np.int64],
    ) -> NDArray[np.uint8]:
        """(sources, destinations) 1 where a port is open."""
        wanted, back = np.unique(destinations, return_inverse=True)
        bits = np.unpackbits(packed[wanted], axis=1, bitorder="little")
        return np.ascontiguousarray(bits[:, sources][back].T)


def cell_ports(
    compiled: CompiledPolicy, places: MapPlaces, source: int, destination: int
) -> dict[Family | None, Ports]:
    """On which ports any connection is open from one place to another: for each address family
    where they are judged apart, otherwise under None."""
    texts = PortTexts(compiled.ports.first, without_icmp=compiled.profile.icmp == "always")
    apart = len(compiled.planes) > 1
    found: dict[Family | None, Ports] = {}
    for plane in compiled.planes:
        here = [_identities(compiled, plane, places, place) for place in (source, destination)]
        total = np.zeros(compiled.ports.first.size - 1, np.bool_)
        for row in rows(compiled, plane, here[1].tolist()):
            for sources, atoms in zip(row.sources, row.atoms, strict=True):
                if np.isin(sources, here[0]).any():
                    total |= atoms
        found[plane.families[0] if apart else None] = texts.ports(texts.number(total))
    return found


def _identities(
    compiled: CompiledPolicy, plane: Plane, places: MapPlaces, place: int
) -> NDArray[np.int64]:
    if place == places.outside:
        return np.arange(plane.external, plane.size)
    of_pods = plane.ends.identity[: len(compiled.pods)][places.of_pod == place]
    return np.unique(of_pods[of_pods >= 0]).astype(np.int64)


def _packed(compiled: CompiledPolicy, plane: Plane) -> NDArray[np.uint8]:
    """(pods + 1, bytes) by destination, a bit for each source that reaches it. The last row and
    the bit behind those of pods stand for addresses."""
    texts = PortTexts(compiled.ports.first, without_icmp=compiled.profile.icmp == "always")
    out = np.zeros((plane.pods + 1, (plane.pods + 8) >> 3), np.uint8)
    for targets, reader, packed in bitmap_rows(compiled, plane):
        found = np.bitwise_or.reduce(packed[reader.patterns_with(texts.shown)], axis=0)
        bits = unpacked(found[None])[0]
        outside = bits[plane.external : plane.size].any()
        row = np.packbits(np.append(bits[: plane.pods], outside), bitorder="little")
        within = targets[targets < plane.pods]
        out[within] = row
        if within.size < targets.size:
            out[plane.pods] |= row
    # From addresses to addresses nothing is judged.
    out[plane.pods, plane.pods >> 3] &= np.uint8(0xFF ^ (1 << (plane.pods & 7)))
    return out


def _selected_by_none(plane: Plane, ingress: bool) -> NDArray[np.bool_]:
    """(pods + 1,) whether no rule or isolation of a direction is about an identity; of
    addresses, which policies do not select, it is true."""
    here = slice(0, plane.ingress_rows) if ingress else slice(plane.ingress_rows, None)
    subjects = plane.rows.subject[here][plane.rows.rule[here] != Reason.ALWAYS_ICMP]
    free = np.ones(plane.pods + 1, np.bool_)
    for which in np.unique(subjects).tolist():
        if which == ALL:
            free[:-1] = False
        selected = members(plane.sets, which)
        free[selected[selected < plane.pods]] = False
    return free
