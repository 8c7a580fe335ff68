"""The places of objects in a sequence that objects come to and go from."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


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


class ObjectList(Generic[Key, Item]):
    """Objects in a sequence that changes, each found by its key."""

    def __init__(self, items: Sequence[Item], keys: Iterable[Key]) -> None:
        self.places = Places({key: place for place, key in enumerate(keys)})
        self._items = list(items)
        self._all: tuple[Item, ...] | None = None

    def put(self, key: Key, item: Item) -> None:
        """In the place of the object of this key, or at the end."""
        place = self.places.get(key)
        if place is None:
            self.places = self.places.added(key)
            self._items.append(item)
        else:
            self._items[place] = item
        self._all = None

    def take(self, key: Key) -> None:
        del self._items[self.places[key]]
        self.places = self.places.removed(key)
        self._all = None

    def all(self) -> tuple[Item, ...]:
        """The objects now, in their order."""
        if self._all is None:
            self._all = tuple(self._items)
        return self._all
