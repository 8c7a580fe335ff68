"""Tables of sources by destinations, cut into blocks of equal values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

Value = TypeVar("Value", bound=Hashable)


class CellBlock(msgspec.Struct, Generic[Value], frozen=True):
    """All of ``rows`` by all of ``columns`` hold ``value``; ``sample`` is a cell that does."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    value: Value
    sample: tuple[int, int]


def blocks(table: Sequence[Sequence[Value | None]]) -> list[CellBlock[Value]]:
    """Cut ``table`` into blocks: equal rows are taken together, then equal columns.

    None is a cell that does not count (a pod and itself): it takes the value of the cells
    around it, so that it never tears a block apart. Blocks come in the order of their first cell.
    """
    filled = [_filled(table, row) for row in range(len(table))]
    alike: dict[tuple[Value | None, ...], list[int]] = {}
    for row, values in enumerate(filled):
        alike.setdefault(values, []).append(row)
    found = []
    for values, rows in alike.items():
        columns: dict[Value, list[int]] = {}
        for column, value in enumerate(values):
            if value is not None:
                columns.setdefault(value, []).append(column)
        for value, members in columns.items():
            sample = next(
                (
                    (row, column)
                    for row in rows
                    for column in members
                    if table[row][column] is not None
                ),
                None,
            )
            if sample is not None:
                found.append(CellBlock(tuple(rows), tuple(members), value, sample))
    return found


def _filled(table: Sequence[Sequence[Value | None]], row: int) -> tuple[Value | None, ...]:
    """The row with each empty cell filled from its column, or else from the row itself."""
    values = table[row]
    if None not in values:
        return tuple(values)
    around = next((value for value in values if value is not None), None)
    return tuple(
        value
        if value is not None
        else next((other[column] for other in table if other[column] is not None), around)
        for column, value in enumerate(values)
    )
