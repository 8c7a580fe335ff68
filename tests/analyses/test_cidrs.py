"""The smallest CIDR set, against trying everything."""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.analyses.recommend.cidrs import cover
from kubeverdict.model.addresses import BITS, Address, Block, Family

BASE: dict[Family, int] = {4: 10 << 24, 6: 0xFD << 120}


def size(blocks: list[Block] | tuple[Block, ...]) -> int:
    return sum(block.last - block.first + 1 for block in blocks)


@cache
def blocks_around(family: Family, value: int) -> list[Block]:
    """Every block that holds an address, up to 64 wide."""
    return [Block(family, value >> bits << bits, BITS[family] - bits) for bits in range(7)]


def least(addresses: set[Address], most: int) -> tuple[int, int]:
    """The least weight and then the fewest blocks, by trying all sets of disjoint blocks."""
    choices = sorted({block for one in addresses for block in blocks_around(one.family, one.value)})
    best = (1 << 130, 0)
    for count in range(1, most + 1):
        for blocks in combinations(choices, count):
            if all(any(one in block for block in blocks) for one in addresses):
                best = min(best, (size(blocks), count))
    return best


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([4, 6]),
    st.sets(st.integers(0, 63), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_no_other_set_is_smaller(family: Family, offsets: set[int], most: int) -> None:
    addresses = {Address(family, BASE[family] + offset) for offset in offsets}
    found = cover(addresses, most)
    assert len(found) <= most
    assert all(any(one in block for block in found) for one in addresses)
    assert (size(found), len(found)) == least(addresses, most)


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=60),
    st.sets(st.integers(0, 2**128 - 1), max_size=5),
    st.integers(1, 40),
)
def test_it_holds_everything_within_the_limit(four: set[int], six: set[int], most: int) -> None:
    addresses = {Address(4, value) for value in four} | {Address(6, value) for value in six}
    found = cover(addresses, most)
    assert len(found) <= max(most, 2 if six else 1)
    assert all(any(one in block for block in found) for one in addresses)
    # Disjoint, ascending inside a family, and no block without an address.
    for family in (4, 6):
        own = [block for block in found if block.family == family]
        assert all(a.last < b.first for a, b in pairwise(own))
        assert all(any(one in block for one in addresses) for block in own)
    wider = cover(addresses, most + 1)
    assert size(wider) <= size(found)


def test_neighbours_become_one_block() -> None:
    addresses = [Address(4, BASE[4] + offset) for offset in range(8)]
    assert [str(block) for block in cover(addresses, 20)] == ["10.0.0.0/29"]
    assert [str(block) for block in cover(addresses[:7], 20)] == [
        "10.0.0.0/30",
        "10.0.0.4/31",
        "10.0.0.6/32",
    ]
    assert [str(block) for block in cover([addresses[0], addresses[7]], 1)] == ["10.0.0.0/29"]
    assert cover([], 3) == []
