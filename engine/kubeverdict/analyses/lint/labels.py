"""The label that was meant: what exists nearest to a selector that matches nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from kubeverdict.analyses.lint.finding import listed
from kubeverdict.analyses.spelling import Guess, closest
from kubeverdict.model.selectors import Operator, Requirement, Selector

_DIGITS = re.compile(r"\d")
_POSITIVE = (Operator.IN, Operator.EXISTS)


class Miss(msgspec.Struct, frozen=True):
    """Why a selector matches nothing, and what may have been meant."""

    text: str
    word: str = ""
    guess: Guess | None = None

    @property
    def fix(self) -> str:
        """What to write instead; empty where nothing suggests itself."""
        return f'Write "{self.guess.word}".' if self.guess else ""

    @property
    def is_typo(self) -> bool:
        """One letter off. Short words and those that differ in a digit have neighbours that are no
        typing errors: v1 and v2, app-1 and app-11."""
        if self.guess is None or self.guess.letters != 1 or len(self.word) < 4:
            return False
        return _DIGITS.sub("", self.word) != _DIGITS.sub("", self.guess.word)


class Vocabulary:
    """The labels of some things: namespaces, or the pods in a few of them."""

    def __init__(self, things: Iterable[Mapping[str, str]]) -> None:
        self._things = list(things)
        self._values: dict[str, set[str]] = {}
        for labels in self._things:
            for key, value in labels.items():
                self._values.setdefault(key, set()).add(value)
        self._misses: dict[Requirement, Miss | None] = {}

    def __bool__(self) -> bool:
        return bool(self._things)

    def miss(self, selector: Selector, things: str) -> Miss:
        """Why ``selector`` matches none of the ``things`` (what they are called, as one)."""
        for requirement in selector.requirements:
            if requirement not in self._misses:
                self._misses[requirement] = self._alone(requirement, things)
            found = self._misses[requirement]
            if found is not None:
                return found
        return Miss(f"no {things} has all of {selector}")

    def _alone(self, requirement: Requirement, things: str) -> Miss | None:
        """The miss of one requirement, if it is met by nothing."""
        key = requirement.key
        values = self._values.get(key)
        if requirement.operator not in _POSITIVE:
            met = any(map(requirement.matches, self._things))
            return None if met else Miss(f"every {things} fails {requirement}")
        if values and not (requirement.values and values.isdisjoint(requirement.values)):
            return None
        if values is None:
            return _near(f"no {things} has the label {key}", key, self._values, "")
        text, there = f"no {things} has {requirement}", f"; {key} is {listed(sorted(values))}"
        found = [_near(text, word, values, there) for word in requirement.values]
        return min(found, key=lambda miss: miss.guess.letters if miss.guess else 9)

    def dead_values(self, selector: Selector, things: str) -> Iterator[Miss]:
        """Values of a list that nothing has, where something has others."""
        for requirement in selector.terms():
            if requirement.operator is Operator.IN and len(requirement.values) > 1:
                values = self._values.get(requirement.key, set())
                if values.isdisjoint(requirement.values):
                    continue
                for word in requirement.values:
                    if word not in values:
                        text = f"no {things} has {requirement.key}={word}"
                        yield _near(text, word, values, "")


def near(word: str, candidates: Iterable[str]) -> Guess | None:
    """As :func:`~kubeverdict.analyses.spelling.closest`, fast among thousands: what differs in
    more than three letters, wherever they stand, is not compared."""
    letters = Counter(word)
    likely = [one for one in candidates if abs(len(one) - len(word)) <= 3]
    if len(likely) > 32:
        likely = [one for one in likely if (Counter(one) - letters).total() <= 3]
    return closest(word, likely)


def _near(text: str, word: str, candidates: Iterable[str], otherwise: str) -> Miss:
    guess = near(word, candidates)
    return Miss(f"{text} ({guess})" if guess else f"{text}{otherwise}", word, guess)
