"""Which selectors can a pod meet together? Exactly, with a label set for each answer.

Labels of a pod that does not exist are free, so what counts of a key is which requirements its
value meets: of the values that :mod:`.values` gives each may differ, and no other does. Going
through the keys one by one, only what is left of selectors needs to be remembered, not the labels
that led there; so there are never more states than combinations of selectors that a pod can
really meet, and of what boolean ones of them leave open.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    keys = sorted({term.key for one in selectors for term in one.terms()})
    boolean = [number for number, one in enumerate(selectors) if one.clauses]
    states: dict[_State, Labels] = {}

    def reach(states: dict[_State, Labels], state: _State, labels: Labels) -> None:
        met, rest = state
        for number, one in zip(boolean, rest, strict=True):
            if one is NOTHING:
                met &= ~(1 << number)
        if not needed or met & needed:
            known = states.get((met, rest))
            if known is None or len(labels) < len(known):
                states[met, rest] = labels

    first = _Left("", None)
    reach(states, (everything, tuple(first.of(selectors[n]) for n in boolean)), ())
    for key in keys:
        choices = _choices(key, selectors)
        reached: dict[_State, Labels] = {}
        for (met, rest), labels in states.items():
            for failed, left in choices:
                state = met & ~failed, tuple(map(left.of, rest)) if rest else ()
                reach(reached, state, (*labels, *left.labels.items()))
        if len(reached) > MOST:
            raise TooManyError(f"more than {MOST:,} combinations of selectors")
        states = reached
    return {met: labels for (met, _), labels in states.items()}


def _choices(key: str, selectors: Sequence[Selector]) -> list[tuple[int, _Left]]:
    """What a key can do: the selectors that fail whatever else there is, and what is left of the
    boolean ones. Of values (None: the key is absent) with the same effect only the simplest is
    kept."""
    required: dict[Requirement, int] = {}
    inside: dict[Requirement, None] = {}
    for number, selector in enumerate(selectors):
        for one in selector.requirements:
            if one.key == key:
                required[one] = required.get(one, 0) | 1 << number
        for part in (part for clause in selector.clauses for part in clause.parts):
            inside |= {one: None for one in part.terms() if one.key == key}
    found: dict[tuple[object, ...], tuple[int, _Left]] = {}
    for value in label_values({**required, **inside}.keys()):
        labels = {} if value is None else {key: value}
        failed = 0
        for one, users in required.items():
            if not one.matches(labels):
                failed |= users
        held = (one.matches(labels) for one in inside)
        found.setdefault((failed, *held), (failed, _Left(key, value)))
    return list(found.values())


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
