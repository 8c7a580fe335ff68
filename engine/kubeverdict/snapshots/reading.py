"""From arrays and the tree that refers to them back to values, as late as possible.

The twin of :mod:`kubeverdict.snapshots.writing`: the same types in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from threading import RLock
from typing import Any, get_args, get_origin

import msgspec

from kubeverdict.model.sources import FieldPath, Source
from kubeverdict.snapshots.columns import (
    Coded,
    Column,
    Groups,
    LazyMapping,
    Load,
    Made,
    Numbers,
    Rows,
    Texts,
    Values,
)
from kubeverdict.snapshots.container import Container
from kubeverdict.snapshots.layout import fields_of, is_array, is_entity, is_plain, is_product
from kubeverdict.snapshots.writing import NUMBERS, SOURCE_FIELDS, Tree


class Place(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A line of a file. Implements ``model.sources.Origin`` for the one field whose line was
    stored; what is below that is on the same line, as far as anybody can tell."""

    file: str
    line: int

    def line_of(self, path: FieldPath) -> int:
        return self.line


def _source(file: str, line: int, path: FieldPath) -> Source:
    return Source(Place(file, line), path)


class Reader:
    """Makes the values of one snapshot."""

    def __init__(self, container: Container, tables: Mapping[str, Tree]) -> None:
        self._container = container
        self._trees = tables
        self._tables: dict[type, Made[Any]] = {}
        self._made: list[Any] = []  # products, in the order in which they were written
        self._lock = RLock()

    def value(self, kind: Any, tree: Tree) -> Any:
        """The value behind a tree. Raises InputError where an array of it is damaged."""
        with self._lock:
            return self._value(kind, tree)

    def _value(self, kind: Any, tree: Tree) -> Any:
        if is_array(kind):
            return self._container.array(tree)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Sequence:
            return self.column(parts[0], tree)
        if origin is Mapping:
            return LazyMapping(*map(self.column, parts, tree))
        if is_plain(kind):
            return msgspec.convert(tree, kind)
        if origin is tuple:
            return tuple(self._value(parts[0], part) for part in tree)
        if isinstance(tree, int):
            return self._made[tree]
        made = kind(*map(self._value, fields_of(kind).values(), tree))
        self._made.append(made)
        return made

    def column(self, kind: Any, tree: Tree) -> Column[Any]:
        """The items behind the tree of a column; nothing of them is read yet."""
        length = tree[0]
        if kind in NUMBERS:
            return Numbers(self._load(tree[1]), length)
        if kind is Source:
            return Made(_source, self._columns(SOURCE_FIELDS.values(), tree), length)
        if is_entity(kind):
            return Rows(self._load(tree[1]), self._table(kind), length)
        if is_product(kind):
            return Made(kind, self._columns(fields_of(kind).values(), tree), length)
        if kind is str or is_plain(kind):
            return self._distinct(kind, *tree)
        parts = get_args(kind)
        if parts[1:] == (...,):
            return Groups(self._load(tree[1]), self.column(parts[0], tree[2]), length)
        return Made(_pair, self._columns(parts, tree), length)

    def _columns(self, kinds: Any, tree: Tree) -> list[Column[Any]]:
        return list(map(self.column, kinds, tree[1]))

    def _table(self, kind: type) -> Made[Any]:
        if kind not in self._tables:
            tree = self._trees[kind.__name__]
            columns = self._columns(fields_of(kind).values(), tree)
            self._tables[kind] = Made(kind, columns, tree[0])
        return self._tables[kind]

    def _distinct(
        self, kind: Any, length: int, coded: int | None, count: int, start: int, data: int
    ) -> Column[Any]:
        loads = self._load(start), self._load(data)
        distinct: Column[Any] = Texts(*loads, count) if kind is str else Values(kind, *loads, count)
        return distinct if coded is None else Coded(self._load(coded), distinct, length)

    def _load(self, number: int) -> Load:
        return partial(self._container.array, number)


def _pair(*items: Any) -> tuple[Any, ...]:
    return items
