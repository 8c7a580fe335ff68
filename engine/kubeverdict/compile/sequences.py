"""Sequences that objects are added to and removed from, and the places of objects in them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from itertools import accumulate, chain, islice
from operator import is_not
from typing import Any, Generic, NamedTuple, TypeVar, overload

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Value = TypeVar("Value")

_CHUNK = 256  # items: about the square root of what large clusters have


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


class Chunks(Sequence[Item]):
    """A sequence that shares all but a small part with the one that it was made of.

    A value: :meth:`replaced`, :meth:`inserted` and :meth:`removed` make another one.
    """

    __slots__ = ("_first", "_known", "_parts")

    def __init__(
        self,
        parts: Sequence[tuple[Item, ...]],
        known: Mapping[Callable[..., Any], list[Any]] | None = None,
    ) -> None:
        self._parts = parts
        self._first = [0, *accumulate(map(len, parts))]
        # What was asked of each part, None where it was not yet.
        self._known: dict[Callable[..., Any], list[Any]] = dict(known or {})

    @classmethod
    def of(cls, items: Sequence[Item]) -> Chunks[Item]:
        return cls([tuple(items[at : at + _CHUNK]) for at in range(0, len(items), _CHUNK)])

    def __len__(self) -> int:
        return self._first[-1]

    def __iter__(self) -> Iterator[Item]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            if places.step != 1 or not places:
                return [self[at] for at in places]
            part, place = self._at(places.start)
            behind = chain.from_iterable(self._parts[part:])
            return list(islice(behind, place, place + len(places)))
        part, place = self._at(index + len(self) if index < 0 else index)
        return self._parts[part][place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    def __hash__(self) -> int:
        return hash(tuple(self))

    def replaced(self, index: int, item: Item) -> Chunks[Item]:
        part, place = self._at(index)
        old = self._parts[part]
        return self._with(part, (*old[:place], item, *old[place + 1 :]))

    def inserted(self, index: int, item: Item) -> Chunks[Item]:
        """With ``item`` before the one at ``index``, or at the end."""
        if not self._parts:
            return Chunks([(item,)], {fold: [None] for fold in self._known})
        # At the border of two parts it goes to the end of the first.
        part, place = self._at(index - 1) if index else (0, -1)
        old = self._parts[part]
        return self._with(part, (*old[: place + 1], item, *old[place + 1 :]))

    def appended(self, item: Item) -> Chunks[Item]:
        return self.inserted(len(self), item)

    def removed(self, index: int) -> Chunks[Item]:
        part, place = self._at(index)
        old = self._parts[part]
        return self._with(part, (*old[:place], *old[place + 1 :]))

    def folded(self, fold: Callable[[Sequence[Item]], Value]) -> list[Value]:
        """``fold`` (a function of a module, never None) of each part, in order. Versions that share
        a part ask once."""
        found = self._known.setdefault(fold, [None] * len(self._parts))
        for at, part in enumerate(self._parts):
            if found[at] is None:
                found[at] = fold(part)
        return found

    def _at(self, index: int) -> tuple[int, int]:
        """The part that has an item, and its place there."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self._first, index) - 1
        return part, index - self._first[part]

    def _with(self, part: int, items: tuple[Item, ...]) -> Chunks[Item]:
        # Bisection wants no empty part, and large ones take long to go through.
        half = len(items) // 2 if len(items) >= 2 * _CHUNK else 0
        kept = [one for one in (items[:half], items[half:]) if one]
        known = {
            fold: [*found[:part], *(None for _ in kept), *found[part + 1 :]]
            for fold, found in self._known.items()
        }
        return Chunks([*self._parts[:part], *kept, *self._parts[part + 1 :]], known)


def folded(items: Sequence[Item], fold: Callable[[Sequence[Item]], Value]) -> list[Value]:
    """``fold`` of the parts of a sequence that changes (:meth:`Chunks.folded`), or of all of
    another one."""
    return items.folded(fold) if isinstance(items, Chunks) else [fold(items)]


class ChangedPart(NamedTuple):
    """Where two sequences differ: items ``start`` to ``before`` of the one have become ``start`` to
    ``after`` of the other; what is behind has moved by ``shift``."""

    start: int
    before: int
    after: int

    @property
    def shift(self) -> int:
        return self.after - self.before


def changed(before: Sequence[Item], after: Sequence[Item]) -> ChangedPart:
    """The smallest part of two sequences that holds all changes. Items are the same where they are
    one object; parts that two Chunks share are not gone through."""
    if before is after:
        return ChangedPart(0, 0, 0)
    start, shared = 0, 0
    if isinstance(before, Chunks) and isinstance(after, Chunks):
        start = _alike(before._parts, after._parts)
        rest = min(len(before._parts), len(after._parts)) - start
        shared = _alike(before._parts[::-1], after._parts[::-1], rest)
        first = before._first[start]
        stop_before = before._first[len(before._parts) - shared]
        stop_after = after._first[len(after._parts) - shared]
    else:
        first, stop_before, stop_after = 0, len(before), len(after)
    mine, other = before[first:stop_before], after[first:stop_after]
    same = _alike(mine, other)
    behind = _alike(mine[::-1], other[::-1], min(len(mine), len(other)) - same)
    return ChangedPart(first + same, stop_before - behind, stop_after - behind)


def _alike(one: Sequence[object], other: Sequence[object], most: int | None = None) -> int:
    """How many items, and not more than ``most``, are the same at the beginning."""
    count = min(len(one), len(other)) if most is None else most
    for place, different in enumerate(map(is_not, one, other)):
        if different or place >= count:
            return min(place, count)
    return count


class ObjectList(Generic[Key, Item]):
    """Objects in a sequence that changes, each found by its key."""

    def __init__(self, items: Sequence[Item], places: Mapping[Key, int]) -> None:
        """``places`` are those of ``items`` by key, ascending; they must not change."""
        self.places = Places(places)
        self._all = items if isinstance(items, Chunks) else Chunks.of(items)

    @property
    def all(self) -> Sequence[Item]:
        """The objects now, in their order."""
        return self._all

    def copy(self) -> ObjectList[Key, Item]:
        return copy(self)

    def put(self, key: Key, item: Item) -> None:
        """In the place of the object of this key, or at the end."""
        place = self.places.get(key)
        if place is None:
            self.places = self.places.added(key)
            self._all = self._all.appended(item)
        else:
            self._all = self._all.replaced(place, item)

    def take(self, key: Key) -> None:
        self._all = self._all.removed(self.places[key])
        self.places = self.places.removed(key)
