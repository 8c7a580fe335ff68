"""Columns are the sequences that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from kubeverdict.model.ports import Protocol
from kubeverdict.snapshots.columns import Column, Made
from kubeverdict.snapshots.container import SnapshotFile
from kubeverdict.snapshots.reading import Reader
from kubeverdict.snapshots.writing import Writer


class Leaf(msgspec.Struct, frozen=True, eq=False):
    name: str
    number: int


class Branch(msgspec.Struct, frozen=True, eq=False):
    leaves: tuple[Leaf, ...]
    first: Leaf
    weight: float
    bent: bool = False


class Couple(NamedTuple):
    one: Leaf
    other: Leaf


class Pair(msgspec.Struct, frozen=True):
    one: Leaf
    other: Leaf


def stored(kind: Any, values: Sequence[Any]) -> Column[Any]:
    writer = Writer()
    tree = writer.column(kind, values, "column")
    data = b"".join(writer.builder.parts([tree, writer.tables()], ""))
    container = SnapshotFile(data, "test", "")
    tree, tables = msgspec.msgpack.decode(container.header.tree)
    return Reader(container, tables).column(kind, tree)


TEXTS = ["a", "", "ö", "日本", "\udcff", "a", 'a,b]"\\']
PLAIN: list[tuple[Any, list[Any]]] = [
    (str, []),
    (str, ["a"]),
    (str, TEXTS),
    (str, ["web", "db", "web", "web"]),
    (int, [0, -1, 2**63 - 1]),
    (bool, [True, False]),
    (float, [0.0, -0.5, 1e300, float("inf")]),
    (str | None, [None, "", "None", None]),
    (int | str, [80, "80", "http", 80]),
    (Protocol, [Protocol.UDP, Protocol.TCP, Protocol.UDP]),
    (tuple[str, ...], [(), ("a", "b"), (), ("",)]),
    (dict[str, str], [{"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {}]),
    (tuple[str, int], [("a", 1), ("b", 2**100)]),
]


@pytest.mark.parametrize("kind, values", PLAIN, ids=lambda part: str(part)[:40])
def test_one_by_one_and_all_at_once(kind: Any, values: list[Any]) -> None:
    column = stored(kind, values)
    assert len(column) == len(values)
    assert [column[place] for place in range(len(values))] == values
    assert list(stored(kind, values)) == values
    assert [type(item) for item in column] == [type(item) for item in values]
    # The order of the entries of a mapping shows in reports.
    assert list(map(str, column)) == list(map(str, values))


def test_as_a_sequence() -> None:
    column = stored(str, TEXTS)
    assert column[-1] == TEXTS[-1] and column[np.int32(2)] == TEXTS[2]
    assert column[1:4] == tuple(TEXTS[1:4]) and column[::-1] == tuple(TEXTS[::-1])
    assert (*column, "more") == (*TEXTS, "more")
    assert "ö" in column and "x" not in column
    assert list(reversed(column)) == TEXTS[::-1]
    assert column.index("日本") == 3 and column.count("a") == 2
    for place in (len(TEXTS), -len(TEXTS) - 1):
        with pytest.raises(IndexError):
            column[place]
    with pytest.raises(TypeError):
        column["a"]  # type: ignore[call-overload]


def leaves(count: int) -> list[Leaf]:
    return [Leaf(f"leaf {number}", number) for number in range(count)]


@pytest.mark.parametrize("at_once_first", [False, True])
def test_an_object_stays_one_object(at_once_first: bool) -> None:
    a, b, c = leaves(3)
    branches = [Branch((a, b), b, 1.0), Branch((), a, 2.0, True), Branch((c, a, c), c, 0.0)]
    column = stored(Branch, [*branches, branches[0]])
    if at_once_first:
        list(column)
    one = column[0]
    assert one is column[3] is next(iter(column)) is column[:1][0]
    assert one.first is one.leaves[1]
    assert column[1].first is one.leaves[0] is column[2].leaves[1]
    assert column[2].leaves[0] is column[2].leaves[2] is column[2].first
    assert [leaf.name for leaf in column[2].leaves] == ["leaf 2", "leaf 0", "leaf 2"]
    assert [(branch.weight, branch.bent) for branch in column][:2] == [(1.0, False), (2.0, True)]


def test_pairs_of_objects_and_text() -> None:
    a, b = leaves(2)
    column = stored(tuple[Leaf, str], [(a, "one"), (b, "two"), (a, "three")])
    assert column[0][0] is column[2][0] is next(iter(column))[0]
    assert [(leaf.number, text) for leaf, text in column] == [(0, "one"), (1, "two"), (0, "three")]
    couples = stored(Couple, [Couple(a, b)])
    assert isinstance(couples[0], Couple) and couples[0].other.name == "leaf 1"
    pairs = stored(Pair, [Pair(a, b), Pair(b, b)])
    assert pairs[1].one is pairs[1].other is pairs[0].other and pairs[1].one.number == 1


def test_a_few_of_many_do_not_bring_the_others() -> None:
    many = leaves(1000)
    writer = Writer()
    trees = [writer.column(Leaf, values, "leaves") for values in (many, many[500:503])]
    container = SnapshotFile(
        b"".join(writer.builder.parts([trees, writer.tables()], "")), "test", ""
    )
    trees, tables = msgspec.msgpack.decode(container.header.tree)
    reader = Reader(container, tables)
    everything, few = (reader.column(Leaf, tree) for tree in trees)
    assert [leaf.number for leaf in few] == [500, 501, 502]
    assert len(reader._table(Leaf)._some) == 3
    assert list(everything)[501] is few[1]


def test_threads_get_the_same_object() -> None:
    column = stored(Leaf, leaves(300))
    threads = 8
    start = Barrier(threads)

    def ask(number: int) -> list[int]:
        start.wait()
        if number == 3:
            return list(map(id, column))
        return [id(column[place]) for place in range(300)]

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(ask, range(threads)))
    assert all(one == found[0] for one in found)


def test_equal_values_are_kept_once() -> None:
    column = stored(dict[str, str], [{"app": "web"}, {"app": "db"}, {"app": "web"}])
    assert column[0] is column[2]


def test_what_has_no_way_to_be_stored_is_said() -> None:
    with pytest.raises(TypeError, match=r"column: no way to store many of .*Leaf"):
        stored(Leaf | None, [None])


def test_columns_of_objects_are_made_with_the_first_of_them() -> None:
    made: list[str] = []

    def columns() -> list[Column[Any]]:
        made.append("columns")
        return []

    objects = Made(object, columns, 3)
    assert len(objects) == 3 and not made
    assert objects[1] is objects[1]
    assert made == ["columns"]
