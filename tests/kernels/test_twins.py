"""Each kernel against its naive twin, as plain Python and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.compile.labels import index_labels
from kubeverdict.kernels import addresses, bits, partition, selectors, sets
from kubeverdict.kernels.jit import Kernel
from kubeverdict.kernels.selectors import Queries
from tests.kernels import naive

SIZE = 200
Form = Callable[[Kernel], Callable[..., Any]]

positions = st.integers(0, SIZE - 1)
some_set = st.one_of(
    st.sets(positions, max_size=8),
    st.tuples(positions, positions).map(lambda ends: set(range(min(ends), max(ends) + 1))),
)
many_sets = st.lists(some_set, min_size=1, max_size=6)


@pytest.fixture(params=["plain", "compiled"], scope="module")
def form(request: pytest.FixtureRequest) -> Form:
    return lambda kernel: getattr(kernel, request.param)


def words() -> int:
    return (SIZE + 63) // 64


@pytest.mark.parametrize("value", [1, 2, 3, 1 << 63, (1 << 64) - 1, 0x8000000000000001, 0xF0F0])
def test_word(form: Form, value: int) -> None:
    word = np.uint64(value)
    assert form(bits.count_ones)(word) == value.bit_count()
    assert form(bits.lowest)(word) == (value & -value).bit_length() - 1
    assert form(bits.highest)(word) == value.bit_length() - 1


@given(st.lists(st.integers(-5, 300), max_size=60), st.integers(0, 60))
def test_sort(form: Form, values: list[int], count: int) -> None:
    count = min(count, len(values))
    row = np.array(values, np.int32)
    form(bits.sort)(row, count)
    assert row.tolist() == sorted(values[:count]) + values[count:]


@given(some_set, positions)
def test_has(form: Form, one: set[int], position: int) -> None:
    assert form(bits.has)(naive.packed([set(), one]), 1, position) == (position in one)


@given(st.lists(st.tuples(positions, positions, st.booleans()), max_size=5))
def test_fill_and_clear(form: Form, ranges: list[tuple[int, int, bool]]) -> None:
    row = np.zeros(words(), np.uint64)
    for low, high, take in ranges:
        form(bits.fill if take else bits.clear)(row, low, high)
    (expected,) = naive.spans([ranges])
    assert {place for place in range(SIZE) if int(row[place // 64]) >> place % 64 & 1} == expected


@given(st.data())
def test_combine(form: Form, data: st.DataObject) -> None:
    known = data.draw(many_sets)
    number = st.integers(0, len(known) - 1)
    unions = data.draw(st.lists(st.lists(number, max_size=4), max_size=5))
    masks = data.draw(
        st.lists(st.integers(-1, len(known) - 1), min_size=len(unions), max_size=len(unions))
    )
    start = np.cumsum([0, *map(len, unions)])
    made = form(sets.combine)(
        start.astype(np.int64),
        np.array([part for union in unions for part in union], np.int64),
        np.array(masks, np.int64),
        naive.packed(known),
        words(),
    )
    assert naive.opened(made) == naive.combine(unions, masks, known)


@given(many_sets, st.data())
def test_project(form: Form, known: list[set[int]], data: st.DataObject) -> None:
    drawn = data.draw(st.dictionaries(positions, st.lists(positions, max_size=3), max_size=30))
    targets = [drawn.get(position, []) for position in range(SIZE)]
    start = np.cumsum([0, *map(len, targets)]).astype(np.int64)
    target = np.array([one for row in targets for one in row], np.int32)
    made = form(sets.project)(naive.packed(known), start, target, words())
    assert naive.opened(made) == naive.project(known, targets)


@given(st.lists(st.lists(st.tuples(positions, positions, st.booleans()), max_size=4), max_size=4))
def test_spans(form: Form, pieces: list[list[tuple[int, int, bool]]]) -> None:
    flat = [piece for ranges in pieces for piece in ranges]
    made = form(sets.spans)(
        np.cumsum([0, *map(len, pieces)]).astype(np.int64),
        np.array([low for low, _, _ in flat], np.int64),
        np.array([high for _, high, _ in flat], np.int64),
        np.array([take for _, _, take in flat], np.bool_),
        words(),
    )
    assert naive.opened(made) == naive.spans(pieces)


@given(many_sets, st.lists(st.integers(-1, 1), min_size=SIZE, max_size=SIZE))
def test_refine(form: Form, known: list[set[int]], initial: list[int]) -> None:
    part = np.array(initial, np.int32)
    parts = form(partition.refine)(np.arange(len(known)), naive.packed(known), part, 2)
    found = [
        frozenset(np.flatnonzero(part == number).tolist())
        for number in range(parts)
        if (part == number).any()
    ]
    assert sorted(found, key=min) == naive.refine(known, initial)


@given(many_sets, st.data())
def test_index_rows(form: Form, known: list[set[int]], data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.integers(0, len(known) - 1), max_size=8))
    part = np.zeros(SIZE, np.int32)
    form(partition.refine)(np.arange(len(known)), naive.packed(known), part, 1)
    parts = int(part.max()) + 1
    first, bitmap = form(partition.representatives)(part, parts, words())
    assert [int(part[position]) for position in first] == list(range(parts))
    start, row = form(partition.index_rows)(
        np.array(keys, np.int32), naive.packed(known), bitmap, part, parts
    )
    found = [row[start[number] : start[number + 1]].tolist() for number in range(parts)]
    assert found == naive.index_rows(keys, known, part.tolist(), parts)


@given(
    st.sets(st.integers(1, 2**32 - 1), max_size=20),
    st.lists(st.integers(0, 2**32 - 1), max_size=20),
)
def test_ipv4(form: Form, edges: set[int], asked: list[int]) -> None:
    bounds = sorted({0, *edges})
    asked = [*asked, *bounds, *(bound - 1 for bound in bounds[1:]), 2**32 - 1]
    array = np.array(bounds, np.uint32)
    out = np.empty(len(asked), np.int32)
    index = form(addresses.upper_index)(array)
    form(addresses.find_ipv4)(np.array(asked, np.uint32), array, index, out)
    assert out.tolist() == [naive.interval(bounds, address) for address in asked]


@given(
    st.sets(st.integers(1, 2**128 - 1), max_size=10),
    st.lists(st.integers(0, 2**128 - 1), max_size=10),
)
def test_ipv6(form: Form, edges: set[int], asked: list[int]) -> None:
    bounds = sorted({0, *edges})
    asked = [*asked, *bounds, *(bound - 1 for bound in bounds[1:])]

    def halves(values: list[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
        return np.array([(value >> 64, value & 2**64 - 1) for value in values], np.uint64)

    out = np.empty(len(asked), np.int32)
    form(addresses.find_ipv6)(halves(asked), halves(bounds), out)
    assert out.tolist() == [naive.interval(bounds, address) for address in asked]


label_sets = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2"]))
requirement = st.tuples(
    st.sampled_from("abcd"), st.booleans(), st.lists(st.sampled_from(["", "1", "2", "3"]))
)


@settings(max_examples=200)
@given(st.lists(label_sets, min_size=1, max_size=5), st.data())
def test_select(form: Form, distinct: list[dict[str, str]], data: st.DataObject) -> None:
    # More members than fit in a word, so that both strategies and both ends of a range are met.
    of_member = data.draw(st.lists(st.integers(0, len(distinct) - 1), min_size=SIZE, max_size=SIZE))
    low, high = sorted(data.draw(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))))
    scope = data.draw(st.sampled_from([[(low, high)], [(0, low), (high, SIZE)], []]))
    asked = data.draw(st.lists(requirement, max_size=3))
    known = index_labels([labels.items() for labels in distinct], np.array(of_member, np.int32))
    values = [
        [known.pairs.get((key, value), -1) for value in wanted] or [known.keys.get(key, -1)]
        for key, _, wanted in asked
    ]
    queries = Queries(
        scope_start=np.array([0, len(scope)], np.int64),
        scope_low=np.array([first for first, _ in scope], np.int64),
        scope_high=np.array([stop for _, stop in scope], np.int64),
        requirement_start=np.array([0, len(asked)], np.int64),
        negative=np.array([negative for _, negative, _ in asked], np.bool_),
        value_start=np.cumsum([0, *map(len, values)]).astype(np.int64),
        value=np.array([value for row in values for value in row], np.int64),
    )
    (found,) = naive.opened(form(selectors.select)(known.index, queries, words()))
    assert found == naive.select([distinct[number] for number in of_member], scope, asked)
