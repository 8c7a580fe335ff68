"""Rules listed by the ends that find them, and rules that come to the same as one."""

from __future__ import annotations

import numpy as np

from kubeverdict.compile.indexing import (
    bit_slices,
    distinct_sets,
    indexed,
    matrix_views,
    merged,
    of_direction,
    parts_of,
)
from kubeverdict.compile.sets import from_positions, members
from kubeverdict.kernels.flows import Rows
from kubeverdict.model.policy import Action, Direction

# Sets of identities: everything, nothing, the first three, the third and fourth, the last.
SIZE = 6
SETS = from_positions(
    [np.array(each, np.int64) for each in (range(SIZE), [], [0, 1, 2], [2, 3], [5])]
)
ALL, EMPTY, FIRST, MIDDLE, LAST = range(5)
ALLOW, DENY = Action.ALLOW, Action.DENY


def rows(*found: tuple[int, int, int, int, int]) -> Rows:
    """Rows of subject, peer, ports, action and tier; their rule is their place."""
    table = np.array(found, np.int32).reshape(-1, 5)
    subject, peer, ports, action, tier = table.T
    rule = np.arange(len(table), dtype=np.int32)
    return Rows(subject, peer, ports, action.astype(np.uint8), tier, rule)


def test_weights_bit_by_bit() -> None:
    slices = bit_slices(np.array([1, 2, 3, 0, 4], np.int64), 1)
    assert slices.tolist() == [[0b00101], [0b00110], [0b10000]]
    assert bit_slices(np.zeros(0, np.int64), 0).shape == (1, 0)


def test_sets_that_occur() -> None:
    assert distinct_sets(np.array([LAST, ALL, FIRST, FIRST, EMPTY])).tolist() == [FIRST, LAST]


def test_identities_that_no_set_tells_apart_are_one_part() -> None:
    keys = np.array([FIRST, MIDDLE], np.int32)
    part = parts_of(keys, SETS, 5, SIZE).tolist()
    # 0 and 1 are alike; 5 takes no part.
    assert part[0] == part[1] and part[5] == -1
    assert len(set(part)) == 5


def test_each_part_lists_the_rows_that_it_finds_in_order() -> None:
    keys = np.array([MIDDLE, FIRST, ALL, LAST], np.int32)
    part = parts_of(keys, SETS, SIZE, SIZE)
    start, row = indexed(keys, SETS, part)
    listed = [row[start[at] : start[at + 1]].tolist() for at in part.tolist()]
    assert listed == [[1, 2], [1, 2], [0, 1, 2], [0, 2], [2], [2, 3]]


def test_rows_of_a_direction() -> None:
    found = rows((FIRST, ALL, 0, ALLOW, 0), (LAST, ALL, 0, ALLOW, 0), (MIDDLE, ALL, 0, ALLOW, 0))
    assert of_direction(found, 1, Direction.INGRESS).rule.tolist() == [0]
    assert of_direction(found, 1, Direction.EGRESS).rule.tolist() == [1, 2]


def united(found: Rows) -> list[tuple[int, list[int], int]]:
    """Rule, the ends it is about, and its ports, for each row that is left."""
    kept, _, about, sets = merged(found, found.subject, found.peer, SETS, SIZE)
    return [
        (int(kept.rule[at]), members(sets, int(about[at])).tolist(), int(kept.ports[at]))
        for at in range(kept.rule.size)
    ]


def test_rules_for_the_same_ends_and_ports_are_one_about_all_of_their_peers() -> None:
    found = rows(
        (FIRST, MIDDLE, 1, ALLOW, 0),
        (LAST, MIDDLE, 1, ALLOW, 0),
        (FIRST, LAST, 1, ALLOW, 0),
        (FIRST, LAST, 2, ALLOW, 0),
    )
    assert united(found) == [(0, [2, 3, 5], 1), (1, [2, 3], 1), (3, [5], 2)]


def test_rules_of_a_tier_that_denies_stay_apart() -> None:
    found = rows(
        (FIRST, MIDDLE, 1, ALLOW, 0),
        (FIRST, LAST, 1, ALLOW, 0),
        (FIRST, LAST, 0, DENY, 0),
        (FIRST, MIDDLE, 1, ALLOW, 1),
        (FIRST, LAST, 1, ALLOW, 1),
    )
    assert united(found) == [(0, [2, 3], 1), (1, [5], 1), (2, [5], 0), (3, [2, 3, 5], 1)]


def test_the_matrix_lists_rows_by_destination() -> None:
    found = rows((FIRST, MIDDLE, 1, ALLOW, 0), (MIDDLE, LAST, 1, ALLOW, 0))
    into, out_to, _ = matrix_views(found, 1, SETS, 4, SIZE)
    # Ingress rules are found by their subjects, which are pods; egress rules by their peers.
    assert into.found_by.tolist() == [FIRST] and into.sources.tolist() == [MIDDLE]
    assert out_to.found_by.tolist() == [LAST] and out_to.sources.tolist() == [MIDDLE]
    assert into.part.tolist()[4:] == [-1, -1] and out_to.part.tolist().count(-1) == 0
