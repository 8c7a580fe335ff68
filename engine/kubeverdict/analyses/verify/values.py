"""Values of one label, one for each way in which requirements can distinguish values.

Requirements that name whole values are met by one of these, or by a value that nobody names. Those
that look at parts of a value can be met together in more ways: values are spelt out, and of those
that have met the same and can go on alike only the shortest is kept. (These are the states of the
automaton by which Aho and Corasick find several texts at once, 1975.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase, digits
from typing import NamedTuple

from kubeverdict.model.selectors import PARTIAL, Operator, Requirement

# Values of one label that are spelt out.
MOST = 20_000
# What the API lets a label's value be: so long, these characters, and the first of them at its
# ends.
_LONGEST = 63
_AT_ENDS = ascii_lowercase + ascii_uppercase + digits
_ANYWHERE = _AT_ENDS + "-_."


class TooManyError(Exception):
    """There is more to look at than can be; the text says what."""


def label_values(requirements: Collection[Requirement]) -> list[str | None]:
    """For each way in which ``requirements`` on one key can be met together at least one value
    that does so, simple ones first; None stands for no label. Raises TooManyError."""
    partial = [one for one in requirements if one.operator in PARTIAL]
    whole = (one for one in requirements if one.operator not in PARTIAL)
    named = sorted({value for one in whole for value in one.values})
    spelt = list(_spelt(partial, named)) if partial else [_unnamed(named)]
    return [None, *named, *spelt]


def _unnamed(named: Sequence[str]) -> str:
    """A value that nobody names."""
    value, number = "other", 1
    while value in named:
        number += 1
        value = f"other-{number}"
    return value


class _Spelling(NamedTuple):
    """What matters of a value spelt so far: all of it while a text may begin so, the longest part
    at its end that a text begins with, which texts it holds or began with, and whether it may end
    here."""

    whole: str | None
    end: str
    seen: frozenset[tuple[Operator, str]]
    complete: bool


def _spelt(partial: Sequence[Requirement], named: Sequence[str]) -> Iterator[str]:
    """The shortest value of each spelling."""
    asked = {(one.operator, text) for one in partial for text in one.values}
    texts = {text for _, text in asked}
    starts = {text[:size] for text in (*texts, *named) for size in range(len(text) + 1)}
    written = {char for text in (*texts, *named) for char in text}
    letters = [char for char in _ANYWHERE if char in written]
    letters += [char for char in f"x{_AT_ENDS}" if char not in written][:1]

    def then(before: _Spelling, char: str) -> _Spelling:
        whole = None if before.whole is None else before.whole + char
        end = before.end + char
        while end not in starts:
            end = end[1:]
        found = {
            (operator, text)
            for operator, text in asked
            if (operator is Operator.CONTAINS and end.endswith(text))
            or (operator is Operator.STARTS_WITH and whole == text)
        }
        known = whole if whole in starts else None
        return _Spelling(known, end, before.seen | found, char in _AT_ENDS)

    empty = frozenset(
        (operator, text)
        for operator, text in asked
        if not text and operator is not Operator.ENDS_WITH
    )
    now = {_Spelling("", "", empty, True): ""}
    known = set(now)
    while now:
        yield from (value for spelling, value in now.items() if spelling.complete)
        longer: dict[_Spelling, str] = {}
        for spelling, value in now.items():
            for char in letters:
                if len(value) < _LONGEST and (value or char in _AT_ENDS):
                    after = then(spelling, char)
                    if after not in known:
                        known.add(after)
                        longer[after] = value + char
        if len(known) > MOST:
            key = partial[0].key
            raise TooManyError(f"more than {MOST:,} kinds of values of the label {key}")
        now = longer
