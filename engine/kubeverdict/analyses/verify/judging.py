"""Cases judged over identities: where each fails, and what decides there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.verify.ports import Ranges, Slices
from kubeverdict.analyses.verify.sides import Map, Side
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.checks import Breach, Claims, ReachabilityClaim, breaches
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Family
from kubeverdict.model.ports import Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Nothing of ``source`` may reach ``destination`` on ``ports`` (``denied``), or all must."""

    source: Side
    destination: Side
    ports: Ranges
    denied: bool


class Cell(NamedTuple):
    """A case fails from one identity to another, on the ports that the same rules decide.

    ``ports`` is a number of :class:`~kubeverdict.analyses.port_text.PortTexts`. ``sample`` is a
    connection: endpoint ids, protocol and port. ``egress`` and ``ingress`` decide it: rule ids
    or reasons.
    """

    plane: int
    source: int
    destination: int
    ports: int
    sample: tuple[int, int, Protocol, int]
    egress: int
    ingress: int


@dataclass(slots=True)
class Failure:
    """Where a case fails. ``pairs`` counts pod pairs, in the plane that has most; ``more`` says
    that there are more cells than are listed."""

    cells: list[Cell] = field(default_factory=list)
    pairs: int = 0
    more: bool = False


class Judge:
    """Judges the cases of one compiled cluster."""

    def __init__(self, compiled: CompiledPolicy, cases: Sequence[Case], most: int) -> None:
        """``most`` cells are listed of each case."""
        self._compiled = compiled
        self._cases = cases
        self._most = most
        self.slices = Slices(compiled, (case.ports for case in cases))
        self.maps = [Map(compiled, plane) for plane in compiled.planes]
        self._failures = [Failure() for _ in cases]

    def failures(self) -> list[Failure]:
        """The result of each case."""
        if self._cases:
            for number in range(len(self.maps)):
                self._judge_plane(number)
        return self._failures

    def is_about_something(self, case: Case) -> bool:
        """Whether any address family has an end on both sides."""
        return any(one.has(case.source) and one.has(case.destination) for one in self.maps)

    def _judge_plane(self, number: int) -> None:
        one = self.maps[number]
        sides = {id(side): side for case in self._cases for side in (case.source, case.destination)}
        lists = list(dict.fromkeys(case.ports for case in self._cases))
        place = {key: index for index, key in enumerate(sides)}
        asked = np.stack([self.slices.within(ranges) for ranges in lists])
        claims = Claims(
            ends=np.stack([one.mask(side) for side in sides.values()]),
            ports=np.stack([self.slices.atoms(each) for each in asked]),
            checks=[
                ReachabilityClaim(
                    place[id(case.source)],
                    place[id(case.destination)],
                    lists.index(case.ports),
                    case.denied,
                )
                for case in self._cases
            ],
        )
        pairs = [0] * len(self._cases)
        drafts: list[_Draft] = []
        drafted = [len(failure.cells) for failure in self._failures]
        for breach in breaches(self._compiled, one.plane, claims):
            case = self._cases[breach.check]
            pairs[breach.check] += _pod_pairs(one, case, breach)
            ports = asked[claims.checks[breach.check].ports]
            drafter = _Drafter(one, case, breach, ports, self.slices)
            for source in breach.sources.tolist():
                for destination in breach.destinations.tolist():
                    if drafted[breach.check] >= self._most:
                        self._failures[breach.check].more = True
                        break
                    draft = drafter.draft(source, destination)
                    if draft is not None:
                        drafts.append(draft)
                        drafted[breach.check] += 1
        for failure, found in zip(self._failures, pairs, strict=True):
            failure.pairs = max(failure.pairs, found)
        self._decide(number, drafts)

    def _decide(self, number: int, drafts: list[_Draft]) -> None:
        """Find what decides each draft, and make cells of them."""
        flows = [
            (*draft.ends, *draft.drafter.flow(pattern))
            for draft in drafts
            for pattern in range(len(draft.drafter.patterns))
        ]
        if not flows:
            return
        families = self.maps[number].plane.families
        family: Family | None = families[0] if len(families) == 1 else None
        columns = np.array(flows, np.int64).T
        verdicts = judge(self._compiled, *columns, family=family)
        decided = zip(verdicts.egress.tolist(), verdicts.ingress.tolist(), strict=True)
        for draft in drafts:
            patterns: dict[tuple[int, int], list[int]] = {}
            for pattern in range(len(draft.drafter.patterns)):
                patterns.setdefault(next(decided), []).append(pattern)
            for (egress, ingress), alike in patterns.items():
                sample = (*draft.ends, *draft.drafter.flow(alike[0]))
                cell = Cell(
                    number,
                    draft.source,
                    draft.destination,
                    draft.drafter.ports(tuple(alike)),
                    sample,
                    egress,
                    ingress,
                )
                self._failures[draft.drafter.check].cells.append(cell)


class _Draft(NamedTuple):
    """A pair of identities between which a case fails, and endpoint ids that stand for it."""

    drafter: _Drafter
    source: int
    destination: int
    ends: tuple[int, int]


class _Drafter:
    """What the pairs of one breach have in common."""

    def __init__(
        self, one: Map, case: Case, breach: Breach, asked: NDArray[np.bool_], slices: Slices
    ) -> None:
        self._map = one
        self._case = case
        self.check = breach.check
        self.patterns = [slices.of_atoms(atoms) & asked for atoms in breach.atoms]
        self._texts = slices.texts
        self._numbers: dict[tuple[int, ...], int] = {}

    def ports(self, patterns: tuple[int, ...]) -> int:
        """The number of the ports of some patterns together."""
        found = self._numbers.get(patterns)
        if found is None:
            together = np.any([self.patterns[one] for one in patterns], axis=0)
            found = self._numbers[patterns] = self._texts.number(together)
        return found

    def flow(self, pattern: int) -> tuple[Protocol, int]:
        return self._texts.first(self.ports((pattern,)))

    def draft(self, source: int, destination: int) -> _Draft | None:
        """The pair, or None where it is a pod and itself."""
        ends = self._map.ends(source, self._case.source)
        others = self._map.ends(destination, self._case.destination)
        if ends[0] != others[0]:
            return _Draft(self, source, destination, (ends[0], others[0]))
        if len(others) > 1:
            return _Draft(self, source, destination, (ends[0], others[1]))
        if len(ends) > 1:
            return _Draft(self, source, destination, (ends[1], others[0]))
        return None


def _pod_pairs(one: Map, case: Case, breach: Breach) -> int:
    sources, destinations = (
        side[side < one.plane.pods] for side in (breach.sources, breach.destinations)
    )
    pairs = (
        one.weights(case.source)[sources].sum() * one.weights(case.destination)[destinations].sum()
    )
    both = np.intersect1d(sources, destinations, assume_unique=True)
    if both.size:
        shared = Side(case.source.pods & case.destination.pods)
        pairs -= one.weights(shared)[both].sum()
    return int(pairs)
