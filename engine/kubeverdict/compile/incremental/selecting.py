"""What policies ask, answered over the positions of a plane, or of a single new pod."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.incremental.plane import EditablePlane
from kubeverdict.compile.labels import PortNumbers, index_labels
from kubeverdict.compile.lowering import OtherPeer, Questions, Where
from kubeverdict.compile.rules import ANY_NODE, NO_MASK, Base, Derived
from kubeverdict.compile.selectors import Scope, evaluate_selectors
from kubeverdict.compile.sets import ALL, members
from kubeverdict.model.policy import BlockPeer
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.selectors import Operator, Selector

Labels = Mapping[str, str]


@dataclass(slots=True)
class SetNumbers:
    """Which sets of one plane stand for what some policies ask."""

    subjects: list[int]  # by selector
    peers: list[int]
    blocks: dict[BlockPeer, list[int]]  # each time it was asked
    others: list[tuple[OtherPeer, int]]
    named: dict[NamedPort, list[dict[int, int]]]  # set by port number, each time it was asked
    unions: list[tuple[int, int]]  # mask and number of each
    by_part: dict[int, list[int]]  # the unions that a set is a part of

    @classmethod
    def empty(cls) -> SetNumbers:
        return cls([], [], {}, [], {}, [], {})

    @classmethod
    def of(cls, asked: Questions, base: Base, derived: Derived, first: int) -> SetNumbers:
        """``first`` is the number that set 2 of ``base`` has in the plane."""

        def moved(number: int) -> int:
            return number if number < 2 else number - 2 + first

        made = cls(
            subjects=[moved(number) for number in base.subjects],
            peers=[moved(number) for number in base.peers],
            blocks={
                block: [moved(number)]
                for block, number in zip(asked.blocks, base.blocks, strict=True)
            },
            others=[
                (peer, moved(by_node[ANY_NODE]))
                for peer, by_node in zip(asked.others, base.others, strict=True)
            ],
            named={
                port: [{number: moved(which) for number, which in base.named.get(port, ())}]
                for port in asked.named
            },
            unions=[],
            by_part={},
        )
        for (parts, mask), number in derived.numbers.items():
            for part in parts:
                made.by_part.setdefault(moved(part), []).append(len(made.unions))
            made.unions.append((mask if mask == NO_MASK else moved(mask), moved(number)))
        return made

    def copy(self) -> SetNumbers:
        return SetNumbers(
            list(self.subjects),
            list(self.peers),
            {block: list(several) for block, several in self.blocks.items()},
            list(self.others),
            {port: list(several) for port, several in self.named.items()},
            list(self.unions),
            {part: list(several) for part, several in self.by_part.items()},
        )

    def add(self, more: SetNumbers) -> None:
        """Also stand for what another policy asks."""
        first = len(self.unions)
        self.subjects += more.subjects
        self.peers += more.peers
        self.others += more.others
        for block, sets in more.blocks.items():
            self.blocks.setdefault(block, []).extend(sets)
        self.unions += more.unions
        for port, several in more.named.items():
            self.named.setdefault(port, []).extend(several)
        for part, places in more.by_part.items():
            self.by_part.setdefault(part, []).extend(first + place for place in places)

    def unions_of(self, found: set[int]) -> set[int]:
        """The unions that have a member which is in the sets ``found`` and in no other part."""
        made: set[int] = set()
        for part in (ALL, *found):
            for place in self.by_part.get(part, ()):
                mask, number = self.unions[place]
                if mask in (NO_MASK, ALL) or mask in found:
                    made.add(number)
        return made


@dataclass(slots=True)
class _Filed:
    """The selectors, each with its place, that may select pods of a namespace, by a label that
    these have to have."""

    of_namespace: Labels
    by_label: dict[tuple[str, str], list[tuple[int, Selector]]] = field(default_factory=dict)
    others: list[tuple[int, Selector]] = field(default_factory=list)

    def add(self, asked: Iterable[tuple[int, Selector]]) -> None:
        for entry in asked:
            wanted = next(
                (one for one in entry[1].requirements if one.operator is Operator.IN), None
            )
            if wanted is None:
                self.others.append(entry)
                continue
            for value in wanted.values:
                self.by_label.setdefault((wanted.key, value), []).append(entry)

    def selecting(self, labels: Labels) -> list[int]:
        near = (self.by_label.get(label, ()) for label in labels.items())
        asked = chain(self.others, *near)
        return [place for place, selector in asked if selector.matches(labels)]


@dataclass(slots=True)
class AskedSets:
    """What some policies ask, by namespace, and the numbers of the sets in each plane. That of
    a policy which is gone stays: its sets are of no use, and do no harm."""

    numbering: list[SetNumbers]
    _by_name: dict[str, list[tuple[int, Selector]]] = field(default_factory=dict)
    _by_labels: dict[Selector, list[tuple[int, Selector]]] = field(default_factory=dict)
    _in_namespace: dict[str, _Filed] = field(default_factory=dict)
    _selectors: int = 0

    def add(self, questions: Questions, numbers: Sequence[SetNumbers]) -> None:
        """Also what another policy asks; ``numbers`` has one for each plane."""
        for place, (where, selector, _) in enumerate(questions.selectors, self._selectors):
            if isinstance(where, str):
                self._by_name.setdefault(where, []).append((place, selector))
            else:
                self._by_labels.setdefault(where, []).append((place, selector))
            for name, filed in self._in_namespace.items():
                if where == name if isinstance(where, str) else where.matches(filed.of_namespace):
                    filed.add([(place, selector)])
        self._selectors += len(questions.selectors)
        for mine, more in zip(self.numbering, numbers, strict=True):
            mine.add(more)

    def forget(self, namespace: str) -> None:
        """It has other labels."""
        self._in_namespace.pop(namespace, None)

    def shared(self) -> AskedSets:
        """The same, to which nothing may be added, for a state with other namespaces."""
        made = copy(self)
        made._in_namespace = {}  # by name
        return made

    def copy(self) -> AskedSets:
        return AskedSets(
            [each.copy() for each in self.numbering],
            {where: list(known) for where, known in self._by_name.items()},
            {where: list(known) for where, known in self._by_labels.items()},
            _selectors=self._selectors,
        )

    def selecting(self, namespace: str, of_namespace: Labels, labels: Labels) -> list[int]:
        """The selectors that select a pod."""
        known = self._in_namespace.get(namespace)
        if known is None:
            known = self._in_namespace[namespace] = _Filed(of_namespace)
            known.add(self._by_name.get(namespace, ()))
            for where, several in self._by_labels.items():
                if where.matches(of_namespace):
                    known.add(several)
        return known.selecting(labels)


class NamespaceIndex:
    """Finds namespaces by their labels; new ones may be behind."""

    def __init__(self, labels_of: Mapping[str, Labels]) -> None:
        self._names = list(labels_of)
        self._known = frozenset(labels_of)
        self._labels = index_labels(
            [labels.items() for labels in labels_of.values()],
            np.arange(len(labels_of), dtype=np.int32),
        )

    def selected(
        self, selector: Selector, labels_of: Mapping[str, Labels], relabelled: Collection[str]
    ) -> list[str]:
        """Those of ``labels_of``, which begins with the namespaces that there were, some of which
        are ``relabelled``."""
        count = len(self._names)
        sets = evaluate_selectors(self._labels, [selector], [[(0, count)]], (count + 63) >> 6)
        found = [self._names[place] for place in members(sets, 0).tolist()]
        if relabelled:
            found = [name for name in found if name not in relabelled]
        later = chain(
            islice(labels_of.items(), count, None),
            ((name, labels_of[name]) for name in relabelled if name in self._known),
        )
        return found + [name for name, labels in later if selector.matches(labels)]


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds the positions that selectors and names of ports select."""

    namespaces: Mapping[str, int]
    spaces: NamespaceIndex
    labels_of: Mapping[str, Labels]  # of namespaces
    relabelled: Collection[str]
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
        return self.spaces.selected(where, self.labels_of, self.relabelled)

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
