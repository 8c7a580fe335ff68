"""The places of objects in a sequence that objects come to and go from."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


class Places(Mapping[Key, int]):
    """Place by key. New keys go to the end; where one is taken out, those behind move up.

    A value: :meth:`added` and :meth:`removed` make another one, at the cost of what was changed
    since ``first`` and not of its size.
    """

    def __init__(
        self,
        first: Mapping[Key, int],
        later: Mapping[Key, int] | None = None,
        gone: tuple[int, ...] = (),
    ) -> None:
        self._first = first  # as at the start
        self._later: Mapping[Key, int] = later or {}  # numbered on from there, as if none had gone
        self._gone = gone  # ascending numbers of what was taken out
        self._serial = len(first) + len(self._later)

    def added(self, key: Key) -> Places[Key]:
        made = Places(self._first, {**self._later, key: self._serial}, self._gone)
        made._serial = self._serial + 1
        return made

    def removed(self, key: Key) -> Places[Key]:
        number = self._number(key)
        gone = list(self._gone)
        insort(gone, number)
        later = {one: at for one, at in self._later.items() if at != number}
        made = Places(self._first, later, tuple(gone))
        made._serial = self._serial
        return made

    def _number(self, key: Key) -> int:
        number = self._later.get(key)
        if number is not None:
            return number
        number = self._first[key]
        at = bisect_left(self._gone, number)
        if at < len(self._gone) and self._gone[at] == number:
            raise KeyError(key)
        return number

    def __getitem__(self, key: Key) -> int:
        number = self._number(key)
        return number - bisect_left(self._gone, number)

    def __len__(self) -> int:
        return self._serial - len(self._gone)

    def __iter__(self) -> Iterator[Key]:
        gone = set(self._gone)
        if gone:
            yield from (key for key, at in self._first.items() if at not in gone)
        else:
            yield from self._first
        yield from self._later
