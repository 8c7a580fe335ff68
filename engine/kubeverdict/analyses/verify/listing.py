"""Cells of identities as violations between workloads and addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, permutations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.decisions import WORDS, Decider, Decision
from kubeverdict.analyses.ends import Party, pod_party
from kubeverdict.analyses.external import families_in_use
from kubeverdict.analyses.peers import Peer, pod_peer
from kubeverdict.analyses.questions import Flow
from kubeverdict.analyses.verify.judging import Case, Cell, Failure, Judge
from kubeverdict.analyses.verify.report import Violation
from kubeverdict.analyses.verify.sides import Side
from kubeverdict.analyses.verify.spans import Spans, union
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.model.address_text import TERMS, address_text
from kubeverdict.model.addresses import Address, Family
from kubeverdict.model.cluster import WorkloadRef
from kubeverdict.model.policy import Direction

# Near misses are looked for in this many denials of an assertion; it takes a walk over rules.
_MISSES = 100


@dataclass(frozen=True, slots=True)
class _End:
    """A workload or a part of it, by its pods' ids, or addresses."""

    peer: Peer | None
    pods: tuple[int, ...] = ()
    spans: Spans = ()

    @property
    def whole(self) -> str:
        """The workload; addresses are all alike."""
        return self.peer.whole if self.peer is not None else ""


class _Row(NamedTuple):
    """A cell between two ends. ``planes`` are those that it is about."""

    cell: Cell
    source: _End
    destination: _End
    planes: tuple[int, ...]


class FailureLister:
    """Names what a judge found."""

    def __init__(self, compiled: CompiledPolicy, judge: Judge, most: int) -> None:
        """``most`` violations are listed of each case, before they are taken together."""
        self._most = most
        self._compiled = compiled
        self._judge = judge
        self._texts = judge.slices.texts
        self._decider = Decider(compiled)
        self._total: dict[WorkloadRef, int] = {}
        for pod in compiled.pods:
            self._total[pod.workload] = self._total.get(pod.workload, 0) + 1
        self._ends: dict[tuple[int, int, Side], list[_End]] = {}
        self._parties: dict[int, Party] = {}
        self._families = families_in_use(compiled.cluster)

    def violations(self, case: Case, failure: Failure, *, misses: bool = True) -> list[Violation]:
        """The violations of one case, in order of source and destination."""
        every = (
            _Row(cell, source, destination, self._planes(cell, source, destination))
            for cell in failure.cells
            for source in self._of(cell.plane, cell.source, case.source)
            for destination in self._of(cell.plane, cell.destination, case.destination)
            if source.pods != destination.pods or len(source.pods) != 1
        )
        rows = list(islice(every, self._most))
        failure.more |= next(every, None) is not None
        families = [one.plane.families for one in self._judge.maps]
        found = []
        for number, row in enumerate(self._merged(rows)):
            family = ""
            if row.planes and len(row.planes) < len(families):
                family = "+".join(f"IPv{one}" for plane in row.planes for one in families[plane])
            found.append(self._violation(row, family, misses and number < _MISSES))
        return sorted(found, key=lambda one: (one.source, one.destination, str(one.ports)))

    def apart(self, case: Case) -> list[Violation]:
        """Of a case that must be allowed, the workloads that cannot connect: their pods have no
        address family in common."""
        if case.denied or len(self._judge.maps) < 2:
            return []
        slices = self._judge.slices
        ports = self._texts.ports(self._texts.number(slices.within(case.ports)))
        present = np.stack([one.of_pod >= 0 for one in self._judge.maps])
        found = []
        for plane, other in permutations(range(len(present))):
            source = case.source.pods & present[plane] & ~present[other]
            destination = case.destination.pods & present[other] & ~present[plane]
            pairs = product(self._workloads(source), self._workloads(destination))
            for one, two in islice(pairs, self._most):
                never = Decision(False, WORDS[Reason.NO_ADDRESS])
                opener, answerer = (str(self._compiled.pods[end.pods[0]]) for end in (one, two))
                found.append(
                    Violation(
                        source=_name(one),
                        destination=_name(two),
                        ports=ports,
                        egress=never,
                        ingress=never,
                        sample=(opener, answerer, str(ports)),
                        pairs=len(one.pods) * len(two.pods),
                    )
                )
        return found

    def _workloads(self, pods: NDArray[np.bool_]) -> list[_End]:
        found: dict[WorkloadRef, list[int]] = {}
        for number in np.flatnonzero(pods).tolist():
            found.setdefault(self._compiled.pods[number].workload, []).append(number)
        return [self._pods_end(numbers) for numbers in found.values()]

    def _of(self, plane: int, identity: int, side: Side) -> list[_End]:
        known = self._ends.get((plane, identity, side))
        if known is not None:
            return known
        one = self._judge.maps[plane]
        found: list[_End] = []
        if identity < one.plane.pods:
            own = np.zeros_like(side.pods)
            own[one.pods(identity, side)] = True
            found += self._workloads(own)
        else:
            spans = union(span for _, each in one.addresses(identity, side) for span in each)
            said = tuple(span for span in spans if span[0] in self._families)
            found.append(_End(None, spans=said or spans))
        self._ends[plane, identity, side] = found
        return found

    def _pods_end(self, numbers: Iterable[int]) -> _End:
        """The end that consists of pods of one workload."""
        ordered = tuple(sorted(numbers))
        pods = self._compiled.pods
        ref = pods[ordered[0]].workload
        whole = len(ordered) == self._total[ref]
        names = () if whole else [pods[number].name for number in ordered]
        return _End(pod_peer(str(ref), ref.namespace, names), ordered)

    def _planes(self, cell: Cell, source: _End, destination: _End) -> tuple[int, ...]:
        """The planes to distinguish: none where addresses say what family they are of."""
        return (cell.plane,) if source.pods and destination.pods else ()

    def _merged(self, rows: Iterable[_Row]) -> Iterable[_Row]:
        """One row in place of those that differ in one thing alone: the family, or which pods of
        a workload, or which addresses."""
        for part in (_by_family, _by_source, _by_destination):
            alike: dict[tuple[object, ...], list[_Row]] = {}
            for row in rows:
                decided = (row.cell.ports, row.cell.egress, row.cell.ingress)
                alike.setdefault((*decided, *part(row)), []).append(row)
            rows = [self._as_one(found) if len(found) > 1 else found[0] for found in alike.values()]
        return rows

    def _as_one(self, rows: Sequence[_Row]) -> _Row:
        return _Row(
            rows[0].cell,
            self._joined({row.source for row in rows}),
            self._joined({row.destination for row in rows}),
            tuple(sorted({plane for row in rows for plane in row.planes})),
        )

    def _joined(self, ends: Collection[_End]) -> _End:
        first = next(iter(ends))
        if len(ends) == 1:
            return first
        if first.peer is None:
            return _End(None, spans=union(span for end in ends for span in end.spans))
        return self._pods_end({pod for end in ends for pod in end.pods})

    def _violation(self, row: _Row, family: str, misses: bool) -> Violation:
        cell, source, destination = row.cell, row.source, row.destination
        # A pod and itself is no connection.
        opener, answerer = next(
            (one, other)
            for one in self._parties_of(source, cell.sample[0])
            for other in self._parties_of(destination, cell.sample[1])
            if one is not other
        )
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

    def _parties_of(self, end: _End, sampled: int) -> Iterator[Party]:
        """The pods of an end, the sampled one first if it is there; or the first address."""
        if end.spans:
            family, first, _ = end.spans[0]
            address = Address(family, first)
            yield Party(str(address), (address,))
        if sampled in end.pods:
            yield self._pod_party(sampled)
        yield from map(self._pod_party, end.pods)

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
    return TERMS.join(
        address_text(family, [span[1:] for span in spans])
        for family, spans in groupby(end.spans, key=lambda span: span[0])
    )


def _by_family(row: _Row) -> tuple[object, ...]:
    return row.source, row.destination


def _by_source(row: _Row) -> tuple[object, ...]:
    return row.source.whole, row.destination, row.planes


def _by_destination(row: _Row) -> tuple[object, ...]:
    return row.source, row.destination.whole, row.planes
