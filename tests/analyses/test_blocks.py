from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.analyses.blocks import blocks

tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from(["a", "b", None]), min_size=width, max_size=width),
        min_size=1,
        max_size=4,
    )
)


@given(tables)
def test_each_asked_cell_is_in_exactly_one_block_of_its_value(
    table: list[list[str | None]],
) -> None:
    found = blocks(table)
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            holding = [one for one in found if row in one.rows and column in one.columns]
            assert len(holding) <= 1
            if value is not None:
                assert [one.value for one in holding] == [value]
    for block in found:
        row, column = block.sample
        assert row in block.rows and column in block.columns
        assert table[row][column] == block.value


def test_equal_rows_and_columns_stay_together() -> None:
    found = blocks([list("aab"), list("aab"), list("bbb")])
    assert [(one.rows, one.columns, one.value) for one in found] == [
        ((0, 1), (0, 1), "a"),
        ((0, 1), (2,), "b"),
        ((2,), (0, 1, 2), "b"),
    ]


def test_a_pod_and_itself_do_not_tear_a_workload_apart() -> None:
    table = [[None, "a", "a"], ["a", None, "a"], ["a", "a", None]]
    (block,) = blocks(table)
    assert (block.rows, block.columns, block.value) == ((0, 1, 2), (0, 1, 2), "a")


def test_a_table_of_nobody_has_no_blocks() -> None:
    assert blocks([[None]]) == []
