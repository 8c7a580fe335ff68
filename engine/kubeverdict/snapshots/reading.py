"""From arrays and the tree that refers to them back to values, as late as possible.

The twin of :mod:`kubeverdict.snapshots.writing`: the same types in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.model.sources import FieldPath, Source
from kubeverdict.snapshots.columns import (
    Coded,
    Column,
    LazyMapping,
    Load,
    Made,
    Numbers,
    ReferenceColumn,
    Texts,
    TupleColumn,
    Values,
    making,
)
from kubeverdict.snapshots.container import SnapshotFile
from kubeverdict.snapshots.layout import (
    element_of,
    fields_of,
    is_array,
    is_entity,
    is_plain,
    is_product,
)
from kubeverdict.snapshots.writing import NUMBERS, SOURCE_FIELDS, Tree

T = TypeVar("T")

# What comes of a tree that is not as the types have it.
_MISFITS = (TypeError, ValueError, LookupError, AttributeError, OverflowError, msgspec.MsgspecError)


class SavedLine(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A line of a file. Implements ``model.sources.Origin`` for the one field whose line was
    stored; what is below that is on the same line, as far as is known."""

    file: str
    line: int

    def line_of(self, path: FieldPath) -> int:
        return self.line


def _source(file: str, line: int, path: FieldPath) -> Source:
    return Source(SavedLine(file, line), path)


class Reader:
    """Makes the values of one snapshot."""

    def __init__(self, container: SnapshotFile, tables: Mapping[str, Tree]) -> None:
        self._container = container
        self._trees = tables
        self._tables: dict[type, Made[Any]] = {}
        self._made: list[Any] = []  # products, in the order in which they were written

    def value(self, kind: Any, tree: Tree) -> Any:
        """The value behind a tree. Raises InputError where an array of it is damaged, or is not
        what its type says."""
        return self._fitting(lambda: self._value(kind, tree))

    def _fitting(self, make: Callable[[], T]) -> T:
        """What is made of a tree that may not be as the types have it."""
        with making:
            try:
                return make()
            except _MISFITS as error:
                raise self._unreadable(error) from error

    def _value(self, kind: Any, tree: Tree) -> Any:
        if is_array(kind):
            return self._array(kind, tree)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Sequence:
            return self.column(parts[0], tree)
        if origin is Mapping:
            keys, values = map(self.column, parts, tree)
            self._must(len(keys) == len(values), "keys without values")
            return LazyMapping(keys, values)
        if is_plain(kind):
            return msgspec.convert(tree, kind)
        if origin is tuple:
            return tuple(self._value(parts[0], part) for part in tree)
        if isinstance(tree, int):
            made = self._made[tree]
            self._must(tree >= 0 and type(made) is kind, "a value of another type")
            return made
        fields = fields_of(kind).values()
        self._must(len(tree) == len(fields), f"{kind.__name__} has other fields")
        made = kind(*map(self._value, fields, tree))
        self._made.append(made)
        return made

    def _array(self, kind: Any, number: int) -> NDArray[Any]:
        found = self._container.array(number)
        element = element_of(kind)
        self._must(element is None or found.dtype == element, f"array {number} is of another type")
        return found

    def column(self, kind: Any, tree: Tree) -> Column[Any]:
        """The items behind the tree of a column; nothing of them is read yet."""
        length = tree[0]
        self._must(type(length) is int and length >= 0, "a column without a length")
        if kind in NUMBERS:
            return Numbers(self._load(tree[1], length, NUMBERS[kind]), length)
        if kind is Source:
            return Made(_source, self._columns(SOURCE_FIELDS.values(), tree), length)
        if is_entity(kind):
            table = self._table(kind)
            return ReferenceColumn(self._places(tree[1], length, len(table)), table, length)
        if is_product(kind):
            return Made(kind, self._columns(fields_of(kind).values(), tree), length)
        if kind is str or is_plain(kind):
            return self._distinct(kind, *tree)
        parts = get_args(kind)
        if parts[1:] == (...,):
            items = self.column(parts[0], tree[2])
            return TupleColumn(self._edges(tree[1], length, len(items)), items, length)
        return Made(_pair, self._columns(parts, tree), length)

    def _columns(self, kinds: Iterable[Any], tree: Tree) -> Callable[[], list[Column[Any]]]:
        def columns() -> list[Column[Any]]:
            made = [self.column(*both) for both in zip(kinds, tree[1], strict=True)]
            fits = all(len(column) == tree[0] for column in made)
            self._must(fits, "columns of other lengths")
            return made

        return lambda: self._fitting(columns)

    def _table(self, kind: type) -> Made[Any]:
        if kind not in self._tables:
            tree = self._trees[kind.__name__]
            self._must(type(tree[0]) is int and tree[0] >= 0, "a column without a length")
            columns = self._columns(fields_of(kind).values(), tree)
            self._tables[kind] = Made(kind, columns, tree[0])
        return self._tables[kind]

    def _distinct(
        self, kind: Any, length: int, coded: int | None, count: int, start: int, data: int
    ) -> Column[Any]:
        self._must(type(count) is int and count >= 0, "a column without a length")
        self._must(coded is not None or count == length, "columns of other lengths")

        def text() -> NDArray[Any]:
            found = self._container.array(data)
            self._must(found.dtype == np.uint8 and found.ndim == 1, f"array {data} is no text")
            return found

        # Items of a JSON array begin behind its bracket.
        loads = self._edges(start, count, None, text), text
        distinct: Column[Any] = (
            Texts(*loads, count, self._unreadable)
            if kind is str
            else Values(kind, *loads, count, self._unreadable)
        )
        if coded is None:
            return distinct
        return Coded(self._places(coded, length, count), distinct, length)

    def _load(self, number: int, length: int, element: Any = None) -> Load:
        """Numbers of a given type, or any that count, as many as ``length``."""

        def load() -> NDArray[Any]:
            found = self._container.array(number)
            fits = found.shape == (length,)
            fits &= found.dtype == element if element is not None else found.dtype.kind in "iu"
            self._must(fits, f"array {number} is not what belongs there")
            return found

        return load

    def _places(self, number: int, length: int, among: int) -> Load:
        """Places among so many items."""
        load = self._load(number, length)

        def checked() -> NDArray[Any]:
            found = load()
            inside = not length or (int(found.min()) >= 0 and int(found.max()) < among)
            self._must(inside, f"array {number} leads nowhere")
            return found

        return checked

    def _edges(self, number: int, length: int, size: int | None, data: Load | None = None) -> Load:
        """Where each of ``length`` items begins and the last ends, among ``size`` others or in
        ``data``."""
        load = self._load(number, length + 1)

        def checked() -> NDArray[Any]:
            found = load()
            whole = size if data is None else data().size + 1
            ascending = bool((found[1:] >= found[:-1]).all()) and int(found[0]) >= 0
            inside = ascending and int(found[-1]) <= (whole or 0)
            self._must(inside, f"array {number} leads nowhere")
            return found

        return checked

    def _unreadable(self, error: Exception) -> Exception:
        return self._container.damaged(f"its content does not fit: {error}")

    def _must(self, fits: object, otherwise: str) -> None:
        if not fits:
            raise self._container.damaged(f"its content does not fit: {otherwise}")


def _pair(*items: Any) -> tuple[Any, ...]:
    return items
