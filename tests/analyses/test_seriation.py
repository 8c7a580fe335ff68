from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.analyses.seriation import alike_together


def rows(*lines: str) -> np.typing.NDArray[np.bool_]:
    return np.array([[sign == "x" for sign in line] for line in lines], np.bool_)


def test_the_fullest_comes_first_then_what_is_most_like_it() -> None:
    assert alike_together(rows("..x.", "xx..", "..xx", "xxx.", "xx..")) == [3, 1, 4, 0, 2]


def test_of_equals_the_first() -> None:
    assert alike_together(rows("..", "..", "..")) == [0, 1, 2]
    assert alike_together(np.zeros((0, 0), np.bool_)) == []


@given(st.integers(0, 12), st.integers(0, 8), st.randoms(use_true_random=False))
def test_each_row_once_and_equal_rows_as_neighbours(
    count: int, width: int, random: np.random.Generator
) -> None:
    table = np.array(
        [[random.random() < 0.4 for _ in range(width)] for _ in range(count)], np.bool_
    )
    table = table.reshape(count, width)
    order = alike_together(table)
    assert sorted(order) == list(range(count))
    keys = [table[row].tobytes() for row in order]
    full = [key for row, key in zip(order, keys, strict=True) if table[row].any()]
    assert sum(a != b for a, b in pairwise(full)) == max(0, len(set(full)) - 1)
