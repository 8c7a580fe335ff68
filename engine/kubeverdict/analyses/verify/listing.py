"""Cells of identities as violations between workloads and addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kubeverdict.analyses.decisions import Decider, Decision
from kubeverdict.analyses.ends import Party, pod_party
from kubeverdict.analyses.peers import Peer, address_peer, pod_peer
from kubeverdict.analyses.questions import Flow
from kubeverdict.analyses.verify.judging import Case, Cell, Failure, Judge
from kubeverdict.analyses.verify.report import Violation
from kubeverdict.analyses.verify.sides import Side
from kubeverdict.analyses.verify.spans import Spans, union
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.model.addresses import Address, Family
from kubeverdict.model.cluster import WorkloadRef
from kubeverdict.model.policy import Direction

# Near misses are looked for in this many denials of an assertion; it takes a walk over rules.
_MISSES = 100

# What violations have in common that differ in addresses, or in the family, alone.
_Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _End:
    """A workload or a part of it, by its pods' ids, or addresses."""

    peer: Peer | None
    pods: tuple[int, ...] = ()
    spans: Spans = ()


class Lister:
    """Names what a judge found."""

    def __init__(self, compiled: CompiledPolicy, judge: Judge) -> None:
        self._compiled = compiled
        self._judge = judge
        self._texts = judge.slices.texts
        self._decider = Decider(compiled)
        self._total: dict[WorkloadRef, int] = {}
        for pod in compiled.pods:
            self._total[pod.workload] = self._total.get(pod.workload, 0) + 1
        self._ends: dict[tuple[int, int, Side], list[_End]] = {}
        self._parties: dict[int, Party] = {}

    def violations(self, case: Case, failure: Failure, *, misses: bool = True) -> list[Violation]:
        """The violations of one case, in order of source and destination."""
        merged = _Merged()
        for cell in failure.cells:
            for source in self._of(cell.plane, cell.source, case.source):
                for destination in self._of(cell.plane, cell.destination, case.destination):
                    if source.pods != destination.pods or len(source.pods) != 1:
                        merged.add(cell, source, destination)
        families = [map_.plane.families for map_ in self._judge.maps]
        found = []
        for number, (cell, source, destination, planes) in enumerate(merged.rows()):
            family = ""
            if len(planes) < len(families) and source.pods and destination.pods:
                family = "+".join(f"IPv{one}" for plane in planes for one in families[plane])
            found.append(
                self._violation(cell, source, destination, family, misses and number < _MISSES)
            )
        return sorted(found, key=lambda one: (one.source, one.destination, str(one.ports)))

    def _of(self, plane: int, identity: int, side: Side) -> list[_End]:
        known = self._ends.get((plane, identity, side))
        if known is not None:
            return known
        one = self._judge.maps[plane]
        found: list[_End] = []
        if identity < one.plane.pods:
            by_workload: dict[WorkloadRef, list[int]] = {}
            for pod in one.pods(identity, side).tolist():
                by_workload.setdefault(self._compiled.pods[pod].workload, []).append(pod)
            for ref, pods in by_workload.items():
                whole = len(pods) == self._total[ref]
                names = () if whole else [self._compiled.pods[pod].name for pod in pods]
                found.append(_End(pod_peer(str(ref), ref.namespace, names), tuple(pods)))
        else:
            spans = union(span for _, each in one.addresses(identity, side) for span in each)
            found.append(_End(None, spans=spans))
        self._ends[plane, identity, side] = found
        return found

    def _violation(
        self, cell: Cell, source: _End, destination: _End, family: str, misses: bool
    ) -> Violation:
        opener = self._party(source, cell.sample[0])
        answerer = self._party(destination, cell.sample[1], opener)
        protocol, port = cell.sample[2:]
        families = self._judge.maps[cell.plane].plane.families
        own: Family | None = families[0] if len(families) == 1 else None
        flow = Flow(opener, answerer, protocol, port, own)
        both = set(source.pods) & set(destination.pods)
        return Violation(
            source=_name(source),
            destination=_name(destination),
            ports=self._texts.ports(cell.ports),
            egress=self._decision(cell.egress, Direction.EGRESS, flow, misses),
            ingress=self._decision(cell.ingress, Direction.INGRESS, flow, misses),
            sample=(opener.name, answerer.name, flow.port_text),
            pairs=len(source.pods) * len(destination.pods) - len(both),
            family=family,
        )

    def _party(self, end: _End, sampled: int, other: Party | None = None) -> Party:
        """A pod of an end, the sampled one if it is there, and not the one at the other end."""
        if end.pods:
            choice = (sampled, *end.pods) if sampled in end.pods else end.pods
            parties = (self._pod_party(number) for number in choice)
            return next(party for party in parties if party is not other)
        family, first, _ = end.spans[0]
        address = Address(family, first)
        return Party(str(address), (address,))

    def _pod_party(self, number: int) -> Party:
        party = self._parties.get(number)
        if party is None:
            party = self._parties[number] = pod_party(self._compiled, self._compiled.pods[number])
        return party

    def _decision(self, decided: int, direction: Direction, flow: Flow, misses: bool) -> Decision:
        return self._decider.decision(decided, direction, flow, misses)


def _name(end: _End) -> str:
    if end.peer is not None:
        return end.peer.name
    return ", ".join(address_peer(*span).name for span in end.spans)


class _Merged:
    """Cells that say the same of the same ends: of neighbouring addresses, and of both families."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], tuple[Cell, _End, _End, list[int]]] = {}

    def add(self, cell: Cell, source: _End, destination: _End) -> None:
        key = (cell.ports, cell.egress, cell.ingress, *map(_same, (source, destination)))
        known = self._rows.get(key)
        if known is None:
            self._rows[key] = (cell, source, destination, [cell.plane])
            return
        first, one, other, planes = known
        if cell.plane not in planes:
            planes.append(cell.plane)
        joined = [
            _End(None, spans=union((*old.spans, *new.spans))) if old.spans else old
            for old, new in ((one, source), (other, destination))
        ]
        self._rows[key] = (first, joined[0], joined[1], planes)

    def rows(self) -> Iterable[tuple[Cell, _End, _End, list[int]]]:
        return self._rows.values()


def _same(end: _End) -> object:
    """Addresses are taken together, pods are not."""
    return end.peer.name if end.peer is not None else None
