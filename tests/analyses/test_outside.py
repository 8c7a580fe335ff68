from __future__ import annotations

from kubeverdict.analyses.cells import Intervals
from kubeverdict.analyses.outside import outside
from kubeverdict.model.addresses import Family

V4_END = 2**32 - 1
SPACE: list[tuple[tuple[Family, int, int], int]] = [
    ((4, 0, 99), 7),
    ((4, 100, V4_END), 8),
    ((6, 0, 2**128 - 1), -1),
]


def listed(intervals: Intervals) -> list[tuple[int, int, int]]:
    return [
        (first, last, identity)
        for (_, first, last), identity in zip(
            intervals.bounds, intervals.identity.tolist(), strict=True
        )
    ]


def test_what_the_plane_does_not_serve_is_left_out() -> None:
    assert listed(outside(SPACE, [])) == [(0, 99, 7), (100, V4_END, 8)]


def test_a_node_that_is_treated_like_its_neighbours_is_one_of_them() -> None:
    assert listed(outside(SPACE, [("0.0.0.9", 7)])) == [(0, 99, 7), (100, V4_END, 8)]


def test_other_nodes_are_cut_out() -> None:
    hosts = [("0.0.0.100", 9), ("0.0.0.0", 9), ("0.0.0.99", 6), ("0.0.0.50", 9), ("::1", 5)]
    assert listed(outside(SPACE, hosts)) == [
        (0, 0, 9),
        (1, 49, 7),
        (50, 50, 9),
        (51, 98, 7),
        (99, 99, 6),
        (100, 100, 9),
        (101, V4_END, 8),
    ]
