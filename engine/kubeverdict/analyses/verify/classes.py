"""Which selectors can a pod meet together? Exactly, with a label set for each answer.

Labels of a pod that does not exist are free, so what counts of a key is which requirements its
value meets: of the values that selectors name each may differ, of all other values none does,
and the key may be absent. Going through the keys one by one, only the selectors that are still
met need to be remembered, not the labels that led there; so there are never more states than
combinations of selectors that a pod can really meet.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubeverdict.model.selectors import PARTIAL, Requirement, Selector

# Combinations of selectors, in one namespace, that are looked at.
MOST = 20_000

Labels = tuple[tuple[str, str], ...]


class TooManyError(Exception):
    """There are more combinations than can be looked at."""


def combinations(selectors: Sequence[Selector], needed: int = 0) -> dict[int, Labels]:
    """Every set of ``selectors`` that some pod meets, with the labels of a pod that meets these
    and no others, as few as there can be in front of more.

    Sets are bitmaps: bit ``i`` is set where selector ``i`` is met. With ``needed``, a bitmap,
    only sets that have one of its selectors. Raises TooManyError.
    """
    everything = (1 << len(selectors)) - 1
    if needed and not everything & needed:
        return {}
    by_key: dict[str, dict[Requirement, int]] = {}
    for number, selector in enumerate(selectors):
        if selector.clauses or any(one.operator in PARTIAL for one in selector.requirements):
            raise TooManyError  # what such selectors have in common is not worked out
        for requirement in selector.requirements:
            users = by_key.setdefault(requirement.key, {})
            users[requirement] = users.get(requirement, 0) | 1 << number
    states: dict[int, Labels] = {everything: ()}
    for key in sorted(by_key):
        choices = _choices(by_key[key])
        reached: dict[int, Labels] = {}
        for met, labels in states.items():
            for failed, value in choices:
                left = met & ~failed
                if needed and not left & needed:
                    continue
                known = reached.get(left)
                size = len(labels) + (value is not None)
                if known is None or size < len(known):
                    reached[left] = labels if value is None else (*labels, (key, value))
        if len(reached) > MOST:
            raise TooManyError
        states = reached
    return states


def _choices(requirements: dict[Requirement, int]) -> list[tuple[int, str | None]]:
    """What a key can do: the selectors that fail, and a value (None: the key is absent). The
    simplest value for each."""
    (key,) = {requirement.key for requirement in requirements}
    named = sorted({value for requirement in requirements for value in requirement.values})
    found: dict[int, str | None] = {}
    for value in (None, *named, _unnamed(named)):
        labels = {} if value is None else {key: value}
        failed = 0
        for requirement, users in requirements.items():
            if not requirement.matches(labels):
                failed |= users
        found.setdefault(failed, value)
    return list(found.items())


def _unnamed(named: Sequence[str]) -> str:
    """A value that nobody names."""
    value, number = "other", 1
    while value in named:
        number += 1
        value = f"other-{number}"
    return value
