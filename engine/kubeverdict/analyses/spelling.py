"""The word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kubeverdict.model.counts import count


class Guess(msgspec.Struct, frozen=True):
    """An existing word and how many letters it is away from the one that was written."""

    word: str
    letters: int

    def __str__(self) -> str:
        return f'did you mean "{self.word}"? {count(self.letters, "letter")} off'


def distance(one: str, other: str, limit: int) -> int:
    """Letters to insert, remove, replace or swap with a neighbour to get from one to the other.

    The optimal string alignment distance (Damerau 1964; Wagner and Fischer's table, three rows
    of it). Anything above ``limit`` comes out as ``limit + 1``: a word that far off is no guess,
    and giving up early keeps thousands of candidates cheap.
    """
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before_last: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, other_letter in enumerate(other, start=1):
            steps = min(
                last[j] + 1,
                row[j - 1] + 1,
                last[j - 1] + (letter != other_letter),
            )
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == other_letter:
                steps = min(steps, before_last[j - 2] + 1)
            row.append(steps)
        if min(row) > limit:
            return limit + 1
        before_last, last = last, row
    return min(last[-1], limit + 1)


def closest(word: str, candidates: Iterable[str]) -> Guess | None:
    """The candidate nearest to ``word``, if one is near enough to be a typing error.

    Near enough is a third of the word, and at most three letters: further off, a guess misleads
    more often than it helps. Ties go to the first in alphabetical order.
    """
    limit = min(3, max(1, len(word) // 3))
    best: Guess | None = None
    for candidate in sorted(set(candidates)):
        letters = distance(word, candidate, limit)
        if letters <= limit:
            best, limit = Guess(candidate, letters), letters - 1
    return best
