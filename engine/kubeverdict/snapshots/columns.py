"""Sequences over the arrays of a snapshot that make an item when it is asked for.

Going through a column makes all of its items at once, which takes a fraction of the time of
making them one by one. Items that have an identity are made once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from operator import index
from threading import RLock
from typing import Any, Generic, SupportsIndex, TypeVar, overload

import msgspec
from numpy.typing import NDArray

from kubeverdict.model.gc_pause import collector_paused

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

# Where a column gets an array from. It is checked then, so it is not asked for before it is needed.
Load = Callable[[], NDArray[Any]]
# What comes of text or JSON that cannot be read back, and who says which file that is in.
_UNREADABLE = (UnicodeDecodeError, msgspec.MsgspecError)
Unreadable = Callable[[Exception], Exception]
# Items and columns are made in one thread: two must not get different objects for one pod.
making = RLock()
# Making an item by itself takes about so many times as long as making it with all the others.
_SINGLY = 8


def _as_it_is(error: Exception) -> Exception:
    return error


class Column(Sequence[T]):
    """A sequence whose items are made by :meth:`one` or, together, by :meth:`all`."""

    def __init__(self, length: int) -> None:
        self._length = length

    def one(self, place: int) -> T:
        """The item at ``place``, from 0."""
        raise NotImplementedError

    def all(self) -> list[T]:
        """Every item, in a list that must not be changed."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> T | tuple[T, ...]:
        if isinstance(place, slice):
            return tuple(self.all()[place])
        number = index(place)
        if number < 0:
            number += self._length
        if not 0 <= number < self._length:
            raise IndexError(place)
        return self.one(number)

    def __iter__(self) -> Iterator[T]:
        return iter(self.all())


class Numbers(Column[T]):
    """Integers, floats or truth values, as an array has them."""

    def __init__(self, load: Load, length: int) -> None:
        super().__init__(length)
        self._load = load

    @cached_property
    def _array(self) -> NDArray[Any]:
        return self._load()

    def one(self, place: int) -> T:
        item: T = self._array[place].item()
        return item

    def all(self) -> list[T]:
        items: list[T] = self._array.tolist()
        return items


class Texts(Column[str]):
    """Strings: UTF-8, one behind the other. ``start`` (items + 1,) says where each begins."""

    def __init__(
        self, start: Load, data: Load, length: int, unreadable: Unreadable = _as_it_is
    ) -> None:
        super().__init__(length)
        self._loads = start, data
        self._unreadable = unreadable

    @cached_property
    def _arrays(self) -> tuple[NDArray[Any], memoryview]:
        start, data = self._loads
        return start(), data().data

    def one(self, place: int) -> str:
        start, data = self._arrays
        return self._decoded(bytes(data[start[place] : start[place + 1]]))

    def all(self) -> list[str]:
        start, data = self._arrays
        edges = start.tolist()
        spans = pairwise(edges)
        whole = bytes(data)
        if whole.isascii():
            text = whole.decode("ascii")
            return [text[first:stop] for first, stop in spans]
        return [self._decoded(whole[first:stop]) for first, stop in spans]

    def _decoded(self, data: bytes) -> str:
        try:
            return decode_text(data)
        except UnicodeDecodeError as error:
            raise self._unreadable(error) from error


def encode_text(text: str) -> bytes:
    """UTF-8, and something for what UTF-8 has not: a file name may be no text at all."""
    return text.encode("utf-8", "surrogatepass")


def decode_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


class Values(Column[T]):
    """Values without an identity: a JSON array, and in ``start`` (items + 1,) where each item of
    it begins."""

    def __init__(
        self,
        kind: Any,
        start: Load,
        data: Load,
        length: int,
        unreadable: Unreadable = _as_it_is,
    ) -> None:
        super().__init__(length)
        self._loads = start, data
        self._kind = kind
        self._unreadable = unreadable

    @cached_property
    def _arrays(self) -> tuple[NDArray[Any], memoryview]:
        start, data = self._loads
        return start(), data().data

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[T]:
        return msgspec.json.Decoder(self._kind)

    def one(self, place: int) -> T:
        start, data = self._arrays
        try:
            # Up to the comma or the bracket.
            return self._decoder.decode(data[start[place] : start[place + 1] - 1])
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    def all(self) -> list[T]:
        data = self._arrays[1]
        try:
            items: list[T] = msgspec.json.decode(data, type=list[self._kind])  # type: ignore
        except _UNREADABLE as error:
            raise self._unreadable(error) from error
        if len(items) != self._length:
            raise self._unreadable(ValueError(f"{len(items)} items, not {self._length}"))
        return items


class Coded(Column[T]):
    """Items of which many are the same: each distinct one once, and a number for each item.

    Distinct ones are kept, so that items that are the same take memory once.
    """

    def __init__(self, codes: Load, distinct: Column[T], length: int) -> None:
        super().__init__(length)
        self._load = codes
        self._distinct = distinct
        self._kept: dict[int, T] = {}

    @cached_property
    def _codes(self) -> NDArray[Any]:
        return self._load()

    @cached_property
    def _all(self) -> list[T]:
        return self._distinct.all()

    def one(self, place: int) -> T:
        code = int(self._codes[place])
        if code not in self._kept:
            self._kept[code] = self._distinct.one(code)
        return self._kept[code]

    def all(self) -> list[T]:
        return list(map(self._all.__getitem__, self._codes.tolist()))


class Made(Column[T]):
    """Objects put together from columns, each once. The columns are made when the first object
    is: most questions are about a few kinds of them."""

    def __init__(
        self, make: Callable[..., T], columns: Callable[[], Sequence[Column[Any]]], length: int
    ) -> None:
        super().__init__(length)
        self._make = make
        self._parts = columns
        self._some: dict[int, T] = {}
        self._items: list[T] | None = None

    @cached_property
    def _columns(self) -> Sequence[Column[Any]]:
        return self._parts()

    def one(self, place: int) -> T:
        if self._items is not None:
            return self._items[place]
        if place not in self._some:
            with making:
                if self._items is not None:  # meanwhile all were made
                    return self._items[place]
                if place not in self._some:
                    parts = (column.one(place) for column in self._columns)
                    self._some[place] = self._make(*parts)
        return self._some[place]

    def all(self) -> list[T]:
        if self._items is None:
            with making, collector_paused():
                if self._items is None:
                    parts = [column.all() for column in self._columns]
                    items = list(map(self._make, *parts))
                    for place, item in self._some.items():
                        items[place] = item
                    self._items = items
        return self._items


class ReferenceColumn(Column[T]):
    """Items of another column, by their places there."""

    def __init__(self, rows: Load, table: Column[T], length: int) -> None:
        super().__init__(length)
        self._load = rows
        self._table = table

    @cached_property
    def _rows(self) -> NDArray[Any]:
        return self._load()

    def one(self, place: int) -> T:
        return self._table.one(int(self._rows[place]))

    def all(self) -> list[T]:
        rows = self._rows.tolist()
        if len(rows) * _SINGLY < len(self._table):
            return list(map(self._table.one, rows))
        return list(map(self._table.all().__getitem__, rows))


class TupleColumn(Column[tuple[T, ...]]):
    """Tuples of items of another column, which follow one another there: tuple ``i`` is from
    ``start[i]`` to ``start[i + 1]``."""

    def __init__(self, start: Load, items: Column[T], length: int) -> None:
        super().__init__(length)
        self._load = start
        self._members = items

    @cached_property
    def _start(self) -> NDArray[Any]:
        return self._load()

    def one(self, place: int) -> tuple[T, ...]:
        first, stop = self._start[place : place + 2].tolist()
        return tuple(map(self._members.one, range(first, stop)))

    def all(self) -> list[tuple[T, ...]]:
        edges = self._start.tolist()
        items = self._members.all()
        return [tuple(items[first:stop]) for first, stop in pairwise(edges)]


class LazyMapping(Mapping[K, V], Generic[K, V]):
    """A mapping whose table is made at the first lookup."""

    def __init__(self, keys: Column[K], values: Column[V]) -> None:
        self._columns = keys, values

    @cached_property
    def _table(self) -> dict[K, V]:
        keys, values = self._columns
        with collector_paused():
            return dict(zip(keys.all(), values.all(), strict=True))

    def __getitem__(self, key: K) -> V:
        return self._table[key]

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[K]:
        return iter(self._table)
