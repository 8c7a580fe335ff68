"""Numbers of rows that are alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.analyses.flow_groups import _numbered

# Any three of them have more combinations than a word can count.
LARGE = st.sampled_from([-(1 << 31), -1, 0, 1, (1 << 31) - 1])


@given(st.integers(1, 5), st.integers(1, 8), st.data())
def test_rows_are_numbered_in_their_order(width: int, length: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[LARGE] * width), min_size=length, max_size=length))
    found = _numbered(np.array(column, np.int32) for column in zip(*rows, strict=True))
    distinct = sorted(set(rows))
    assert found.tolist() == [distinct.index(row) for row in rows]
