"""An order of rows in which those that are alike stand together, so that blocks show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def alike_together(table: NDArray[np.bool_]) -> list[int]:
    """An order of the rows of ``table`` (rows, columns).

    The fullest row comes first, then always the row that is most like the one before it, by the
    Jaccard index (what both have, of what either has); of equals the one that came first. This is
    the nearest neighbour heuristic of seriation (Hahsler, Hornik and Buchta, "Getting Things in
    Order", 2008). Takes time and memory for the square of the number of rows.
    """
    count = table.shape[0]
    if not count:
        return []
    # Sums of ones are exact in single precision up to 2**24.
    ones = table.astype(np.float32)
    common = ones @ ones.T
    size = np.diag(common)
    either = size[:, None] + size[None, :] - common
    likeness = common / np.maximum(either, 1)
    left = np.ones(count, np.bool_)
    order = [int(np.argmax(size))]
    left[order[0]] = False
    for _ in range(count - 1):
        following = int(np.argmax(np.where(left, likeness[order[-1]], -1)))
        order.append(following)
        left[following] = False
    return order
