"""Sets as arrays: made, read, joined, chosen and renumbered."""

from __future__ import annotations

import numpy as np

from kubeverdict.compile import sets
from kubeverdict.kernels.bits import Sets

LISTS: tuple[list[int], ...] = ([0, 3, 64], [], [63, 64, 200])


def made(*lists: list[int]) -> Sets:
    return sets.from_positions([np.array(each, np.int64) for each in lists])


def read(found: Sets) -> list[list[int]]:
    return [sets.members(found, which).tolist() for which in range(found.start.size - 1)]


def test_positions_in_words() -> None:
    found = made(*LISTS)
    assert found.start.tolist() == [0, 2, 2, 5]
    assert found.word.tolist() == [0, 1, 0, 1, 3]
    assert found.bits.tolist() == [0b1001, 1, 1 << 63, 1, 1 << 8]
    assert tuple(read(found)) == LISTS


def test_bitmaps() -> None:
    maps = [sets.bitmap(np.array(each, np.int64), 4) for each in LISTS]
    assert maps[0].tolist() == [0b1001, 1, 0, 0]
    assert tuple(read(sets.from_bitmaps(maps, 4))) == LISTS


def test_joined_and_chosen() -> None:
    both = sets.join(made([1]), made([2], [70]))
    assert read(both) == [[1], [2], [70]]
    assert read(sets.chosen(both, np.array([2, 0, 2]))) == [[70], [1], [70]]


def test_renumbered() -> None:
    # Position 3 is nowhere, 0 and 64 become one.
    target = np.full(201, -1, np.int32)
    target[[0, 64, 63, 200]] = 5, 5, 6, 100
    assert read(sets.moved(made(*LISTS), target, 2)) == [[5], [], [5, 6, 100]]


def test_every_member() -> None:
    owner, position = sets.all_members(made(*LISTS))
    assert list(zip(owner.tolist(), position.tolist(), strict=True)) == [
        (0, 0),
        (0, 3),
        (0, 64),
        (2, 63),
        (2, 64),
        (2, 200),
    ]


def test_offsets() -> None:
    assert sets.offsets(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
