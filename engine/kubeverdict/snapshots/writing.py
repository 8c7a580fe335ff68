"""From values to arrays and a tree of plain values that refers to them.

A value is taken apart by its declared type, see :mod:`kubeverdict.snapshots.layout`:

* an array is stored as it is, dataclasses and NamedTuples field by field;
* ``Sequence[X]`` becomes columns, which :mod:`kubeverdict.snapshots.reading` makes into a
  sequence that makes its items when they are asked for, and ``Mapping[K, V]`` two of them;
* anything else becomes what JSON can say.

Pods, policies, rules and whatever else has an identity stand in one table for each type, and
are named by their row in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.sets import offsets
from kubeverdict.model.sources import FieldPath, Source
from kubeverdict.snapshots.columns import encode_text
from kubeverdict.snapshots.container import Builder
from kubeverdict.snapshots.layout import fields_of, is_array, is_entity, is_plain, is_product

Tree = Any
"""What refers to arrays: lists, numbers, strings and None."""

# A source is stored with its file and line: the document that holds them is not there later.
SOURCE_FIELDS = {"file": str, "line": int, "path": FieldPath}
NUMBERS = {bool: np.bool_, int: np.int64, float: np.float64}


class Writer:
    """Collects the arrays of one snapshot."""

    def __init__(self) -> None:
        self.builder = Builder()
        self._written: dict[int, int] = {}  # number of a product, by id
        self._rows: dict[type, dict[int, int]] = {}  # row of an entity, by id
        self._entities: dict[type, list[Any]] = {}

    def value(self, kind: Any, value: Any, name: str) -> Tree:
        """The tree of one value. ``name`` is what its arrays are called when they are damaged."""
        if is_array(kind):
            return self.builder.add(name, value)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Sequence:
            return self.column(parts[0], value, name)
        if origin is Mapping:
            keys = self.column(parts[0], list(value), f"{name}.keys")
            return [keys, self.column(parts[1], list(value.values()), name)]
        if is_plain(kind):
            return msgspec.to_builtins(value)
        if origin is tuple and parts[1:] == (...,):
            return [
                self.value(parts[0], part, f"{name}[{number}]") for number, part in enumerate(value)
            ]
        if not (is_product(kind) or is_entity(kind)):
            raise TypeError(f"{name}: no way to store {kind}")
        if id(value) in self._written:
            return self._written[id(value)]
        tree = [
            self.value(part, getattr(value, field), f"{name}.{field}")
            for field, part in fields_of(kind).items()
        ]
        self._written[id(value)] = len(self._written)
        return tree

    def tables(self) -> Tree:
        """The trees of all tables, by type; the values that name their rows come first."""
        trees: dict[str, Tree] = {}
        while len(trees) < len(self._entities):
            kind = list(self._entities)[len(trees)]
            items = self._entities[kind]
            count = len(items)
            trees[kind.__name__] = self._parts(fields_of(kind), items, attrgetter, kind.__name__)
            assert len(items) == count, "a table that has been written must not grow"
        return trees

    def column(self, kind: Any, values: Sequence[Any], name: str) -> Tree:
        """The tree of a column: its length, then what depends on the type of its items."""
        count = len(values)
        add = self.builder.add
        if kind in NUMBERS:
            return [count, add(name, np.array(values, NUMBERS[kind]))]
        if kind is Source:
            return self._parts(SOURCE_FIELDS, values, attrgetter, name)
        if is_entity(kind):
            return [count, add(f"{name}.row", small(self._rows_of(kind, values)))]
        if is_product(kind):
            return self._parts(fields_of(kind), values, attrgetter, name)
        if kind is str or is_plain(kind):
            return self._distinct(kind, values, name)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is tuple and parts[1:] == (...,):
            start = offsets(np.fromiter(map(len, values), np.int64, count))
            items = [item for value in values for item in value]
            return [count, add(f"{name}.start", start), self.column(parts[0], items, name)]
        if origin is tuple:
            return self._parts(dict(enumerate(parts)), values, itemgetter, name)
        raise TypeError(f"{name}: no way to store many of {kind}")

    def _parts(
        self,
        parts: Mapping[Any, Any],
        values: Sequence[Any],
        getter: Callable[[Any], Callable[[Any], Any]],
        name: str,
    ) -> Tree:
        """A column for each field of the items."""
        return [
            len(values),
            [
                self.column(part, list(map(getter(field), values)), f"{name}.{field}")
                for field, part in parts.items()
            ],
        ]

    def _rows_of(self, kind: type, values: Sequence[Any]) -> NDArray[np.int64]:
        rows = self._rows.setdefault(kind, {})
        items = self._entities.setdefault(kind, [])
        found = np.empty(len(values), np.int64)
        for place, value in enumerate(values):
            row = rows.setdefault(id(value), len(rows))
            if row == len(items):
                items.append(value)
            found[place] = row
        return found

    def _distinct(self, kind: Any, values: Sequence[Any], name: str) -> Tree:
        """Values as bytes: each distinct one once, with a number for each item, unless all are
        distinct."""
        add = self.builder.add
        encode = encode_text if kind is str else msgspec.json.Encoder().encode
        numbers: dict[bytes, int] = {}
        codes = [numbers.setdefault(encode(value), len(numbers)) for value in values]
        coded = None
        if len(numbers) < len(values):
            coded = add(f"{name}.code", small(np.array(codes, np.int64)))
        lengths = np.fromiter(map(len, numbers), np.int64, len(numbers))
        if kind is str:
            data = b"".join(numbers)
            start = offsets(lengths)
        else:
            data = b"[%s]" % b",".join(numbers)
            start = offsets(lengths + 1) + 1
        bytes_of = np.frombuffer(data, np.uint8)
        return [
            len(values),
            coded,
            len(numbers),
            add(f"{name}.start", small(start)),
            add(name, bytes_of),
        ]


def small(numbers: NDArray[np.int64]) -> NDArray[Any]:
    """The numbers (none negative) in the smallest type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
