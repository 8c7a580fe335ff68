"""What policies ask, answered over the positions of a plane, or of a single new pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.labels import PortNumbers
from kubeverdict.compile.lowering import Questions, Where
from kubeverdict.compile.rules import NO_MASK, Base, Derived
from kubeverdict.compile.selectors import Scope, evaluate_selectors
from kubeverdict.compile.sets import ALL, members
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.selectors import Selector

Labels = Mapping[str, str]


@dataclass(slots=True)
class SetNumbers:
    """Which sets of one plane stand for what some policies ask."""

    subjects: Sequence[int]  # by selector
    peers: Sequence[int]
    blocks: Sequence[int]
    named: dict[NamedPort, list[tuple[int, int]]]
    unions: list[tuple[tuple[int, ...], int, int]]  # parts, mask and number of each
    _by_part: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Base, derived: Derived, first: int) -> SetNumbers:
        """``first`` is the number that set 2 of ``base`` has in the plane."""

        def moved(number: int) -> int:
            return number if number < 2 else number - 2 + first

        return cls(
            subjects=[moved(number) for number in base.subjects],
            peers=[moved(number) for number in base.peers],
            blocks=[moved(number) for number in base.blocks],
            named={
                port: [(number, moved(which)) for number, which in numbers]
                for port, numbers in base.named.items()
            },
            unions=[
                (tuple(map(moved, parts)), mask if mask == NO_MASK else moved(mask), moved(number))
                for (parts, mask), number in derived.numbers.items()
            ],
        )

    def unions_of(self, found: set[int]) -> set[int]:
        """The unions that have a member which is in the sets ``found`` and in no other part."""
        if not self._by_part:
            for place, (parts, _, _) in enumerate(self.unions):
                for part in parts:
                    self._by_part.setdefault(part, []).append(place)
        made: set[int] = set()
        for part in (ALL, *found):
            for place in self._by_part.get(part, ()):
                _, mask, number = self.unions[place]
                if mask in (NO_MASK, ALL) or mask in found:
                    made.add(number)
        return made


@dataclass(slots=True)
class AskedSets:
    """What some policies ask, by namespace, and the numbers of the sets in each plane."""

    questions: Questions
    numbering: list[SetNumbers]
    _by_name: dict[str, list[tuple[int, Selector]]] = field(default_factory=dict)
    _by_labels: dict[Selector, list[tuple[int, Selector]]] = field(default_factory=dict)
    _in_namespace: dict[str, list[tuple[int, Selector]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place, (where, selector, _) in enumerate(self.questions.selectors):
            if isinstance(where, str):
                self._by_name.setdefault(where, []).append((place, selector))
            else:
                self._by_labels.setdefault(where, []).append((place, selector))

    def selecting(self, namespace: str, of_namespace: Labels, labels: Labels) -> list[int]:
        """The selectors that select a pod."""
        known = self._in_namespace.get(namespace)
        if known is None:
            known = list(self._by_name.get(namespace, ()))
            for where, several in self._by_labels.items():
                if where.matches(of_namespace):
                    known += several
            self._in_namespace[namespace] = known
        return [place for place, selector in known if selector.matches(labels)]


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds the positions that selectors and names of ports select."""

    namespaces: Mapping[str, int]
    labels_of: Mapping[str, Labels]  # of namespaces
    label_sets: Sequence[tuple[tuple[str, str], ...]]
    port_sets: Sequence[PortNumbers]

    def selected(
        self, plane: EditablePlane, asked: Iterable[tuple[Where, Selector, bool]]
    ) -> list[NDArray[np.int64]]:
        """For each selector, the positions it selects, ascending; hostNetwork pods too."""
        listed = list(asked)
        spaces = [self._spaces(where) for where, _, _ in listed]
        scopes: list[Scope] = [
            [plane.ranges[name] for name in names if name in plane.ranges] for names in spaces
        ]
        words = (plane.indexed + 63) >> 6
        sets = evaluate_selectors(
            plane.labels, (selector for _, selector, _ in listed), scopes, words
        )
        found = [members(sets, place) for place in range(len(listed))]
        count = plane.positions.identity.size
        if count > plane.indexed:
            later = range(plane.indexed, count)
            for place, (_, selector, _) in enumerate(listed):
                more = self._among(
                    plane, later, {self.namespaces[n] for n in spaces[place]}, selector
                )
                found[place] = np.concatenate((found[place], more))
        return found

    def _spaces(self, where: Where) -> list[str]:
        if isinstance(where, str):
            return [where] if where in self.namespaces else []
        return [name for name, labels in self.labels_of.items() if where.matches(labels)]

    def _among(
        self, plane: EditablePlane, later: range, spaces: set[int], selector: Selector
    ) -> NDArray[np.int64]:
        namespace = plane.positions.namespace[later.start :].tolist()
        labels = plane.positions.labels[later.start :].tolist()
        return np.array(
            [
                place
                for place, space, number in zip(later, namespace, labels, strict=True)
                if space in spaces and selector.matches(dict(self.label_sets[number]))
            ],
            np.int64,
        )

    def resolving(self, plane: EditablePlane, port: NamedPort) -> dict[int, NDArray[np.int64]]:
        """The positions whose pods resolve the name of a port, by the number they give it."""
        holders: dict[int, list[int]] = {}
        for place, numbers in enumerate(self.port_sets):
            for name, protocol, number in numbers:
                if (name, protocol) == (port.name, port.protocol):
                    holders.setdefault(number, []).append(place)
        ports = plane.positions.ports
        return {
            number: np.flatnonzero(np.isin(ports, several))
            for number, several in sorted(holders.items())
        }
