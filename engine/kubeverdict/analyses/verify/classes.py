"""Which selectors can a pod meet together? Exactly, with a label set for each answer.

Labels of a pod that does not exist are free, so what counts of a key is which requirements its
value meets: of the values that :mod:`.values` gives each may differ, and no other does. Going
through the keys one by one, only what is left of selectors needs to be remembered, not the labels
that led there; so there are never more states than combinations of selectors that a pod can
really meet, and of what boolean ones of them leave open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from kubeverdict.analyses.verify.values import TooManyError, label_values
from kubeverdict.model.selectors import NOTHING, Requirement, Selector

# Combinations of selectors, in one namespace, that are looked at.
MOST = 20_000

Labels = tuple[tuple[str, str], ...]
# The selectors that may still be met, and what is left of the boolean ones.
_State = tuple[int, tuple[Selector, ...]]


def combinations(selectors: Sequence[Selector], needed: int = 0) -> dict[int, Labels]:
    """Every set of ``selectors`` that some pod meets, with the labels of a pod that meets these
    and no others, as few as there can be in front of more.

    Sets are bitmaps: bit ``i`` is set where selector ``i`` is met. With ``needed``, a bitmap,
    only sets that have one of its selectors. Raises TooManyError.
    """
    everything = (1 << len(selectors)) - 1
    if needed and not everything & needed:
        return {}
    boolean = [number for number, one in enumerate(selectors) if one.clauses]
    required, inside = _by_key(selectors)
    states: dict[_State, Labels] = {}

    def failing(rest: tuple[Selector, ...]) -> int:
        """The boolean selectors that cannot be met any more."""
        parts = zip(boolean, rest, strict=True)
        return sum(1 << number for number, one in parts if one is NOTHING)

    first = _Left("", None)
    rest = tuple(first.of(selectors[number]) for number in boolean)
    met = everything & ~failing(rest)
    if not needed or met & needed:
        states[met, rest] = ()
    for key in sorted({*required, *inside}):
        choices = _choices(key, required.get(key, {}), inside.get(key, {}))
        reached: dict[_State, Labels] = {}
        for (met, rest), labels in states.items():
            for failed, left in choices:
                now, after = met & ~failed, rest
                if rest:
                    after = tuple(map(left.of, rest))
                    now &= ~failing(after)
                if needed and not now & needed:
                    continue
                known = reached.get((now, after))
                if known is None or len(labels) + len(left.labels) < len(known):
                    reached[now, after] = (*labels, *left.labels.items())
        if len(reached) > MOST:
            raise TooManyError(f"more than {MOST:,} combinations of selectors")
        states = reached
    return {met: labels for (met, _), labels in states.items()}


def _by_key(
    selectors: Sequence[Selector],
) -> tuple[dict[str, dict[Requirement, int]], dict[str, dict[Requirement, None]]]:
    """What is asked of each label: outright, with the selectors that do so as a bitmap, and inside
    of boolean selectors."""
    required: dict[str, dict[Requirement, int]] = {}
    inside: dict[str, dict[Requirement, None]] = {}
    for number, selector in enumerate(selectors):
        for one in selector.requirements:
            users = required.setdefault(one.key, {})
            users[one] = users.get(one, 0) | 1 << number
        for clause in selector.clauses:
            for part in clause.parts:
                for one in part.terms():
                    inside.setdefault(one.key, {})[one] = None
    return required, inside


def _choices(
    key: str, required: dict[Requirement, int], inside: dict[Requirement, None]
) -> list[tuple[int, _Left]]:
    """What a key can do: the selectors that fail whatever else there is, and what is left of the
    boolean ones. Of values (None: the key is absent) with the same effect only the simplest is
    kept."""
    found: dict[tuple[object, ...], tuple[int, _Left]] = {}
    users = required.values()
    for value, matched, held in _effects(key, tuple(required), tuple(inside)):
        failed = 0
        for one, met in zip(users, matched, strict=True):
            if not met:
                failed |= one
        if (failed, held) not in found:
            found[failed, held] = failed, _Left(key, value)
    return list(found.values())


_Met = tuple[bool, ...]


@lru_cache(maxsize=10_000)
def _effects(
    key: str, required: tuple[Requirement, ...], inside: tuple[Requirement, ...]
) -> list[tuple[str | None, _Met, _Met]]:
    """Values of a label, simple ones first, and which requirements each meets. The policies of a
    namespace ask the same of every assertion."""
    found: dict[tuple[_Met, _Met], str | None] = {}
    for value in label_values(dict.fromkeys((*required, *inside)).keys()):
        labels = {} if value is None else {key: value}
        met, held = (tuple(one.matches(labels) for one in some) for some in (required, inside))
        found.setdefault((met, held), value)
    return [(value, met, held) for (met, held), value in found.items()]


class _Left:
    """What selectors still ask of a pod once the value of one label is known."""

    def __init__(self, key: str, value: str | None) -> None:
        self.labels = {} if value is None else {key: value}
        self._key = key
        self._known: dict[Selector, Selector] = {}

    def of(self, selector: Selector) -> Selector:
        """The rest of a selector: everything where it is met, NOTHING where it cannot be."""
        found = self._known.get(selector)
        if found is None:
            found = self._known[selector] = self._rest(selector)
        return found

    def _rest(self, selector: Selector) -> Selector:
        own = [one for one in selector.requirements if one.key == self._key]
        if not all(one.matches(self.labels) for one in own):
            return NOTHING
        parts = [Selector.of(one for one in selector.requirements if one.key != self._key)]
        for clause in selector.clauses:
            combined = Selector.none_of if clause.negated else Selector.any_of
            parts.append(combined(map(self.of, clause.parts)))
        left = Selector.all_of(parts)
        return NOTHING if NOTHING.clauses[0] in left.clauses else left
