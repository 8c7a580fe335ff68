"""Pods that look alike become groups, and labels an index."""

from __future__ import annotations

import numpy as np
import pytest

from kubeverdict.compile.labels import Groups, Kinds, classify, group, index_labels
from kubeverdict.compile.population import Population, populate
from kubeverdict.model.ports import NamedPort, Protocol
from kubeverdict.model.profile import REFERENCE
from tests.compile.stages import shop

POPULATION = populate(shop(), REFERENCE, static=False)
NAMESPACES = {"data": 0, "shop": 1}
HTTP = NamedPort(Protocol.TCP, "http")
NOBODY = np.full(3, -1, np.int32)


def kinds(*keys: str, named: frozenset[NamedPort] = frozenset()) -> Kinds:
    return classify(POPULATION, NAMESPACES, frozenset(keys), named, REFERENCE)


def grouped(
    found: Kinds, atom: np.ndarray = NOBODY, inside: object = None, by_node: bool = False
) -> Groups:
    there = np.ones(3, np.bool_) if inside is None else np.array(inside, np.bool_)
    return group(found, POPULATION, atom, there, by_node)


def members(population: Population, groups: Groups) -> list[str]:
    """The pods of each group."""
    found = [""] * groups.count
    for pod, number in zip(population.pods, groups.of_member.tolist(), strict=True):
        if number >= 0:
            found[number] = f"{found[number]} {pod.name}".strip()
    return found


def test_only_labels_that_are_asked_about_count() -> None:
    found = kinds("app")
    assert found.namespace.tolist() == [1, 1, 0]
    assert [found.label_sets[number] for number in found.labels.tolist()] == [
        (("app", "web"),),
        (("app", "web"),),
        (("app", "db"),),
    ]


def test_only_names_of_ports_that_are_asked_about_count() -> None:
    found = kinds("app", named=frozenset({HTTP}))
    sets = [found.port_sets[number] for number in found.ports.tolist()]
    assert sets == [(("http", Protocol.TCP, 8080),)] * 2 + [(("http", Protocol.TCP, 9090),)]
    assert kinds("app").ports.tolist() == [0, 0, 0]


def test_replicas_are_one_group_and_namespaces_are_ranges() -> None:
    groups = grouped(kinds("app"))
    assert members(POPULATION, groups) == ["db-0", "web-0 web-1"]
    assert groups.weight.tolist() == [1, 2]
    assert groups.first.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("found", "atom", "by_node"),
    [
        (kinds("app", "hash"), NOBODY, False),
        (kinds("app"), np.array([-1, 4, -1], np.int32), False),
        (kinds("app"), NOBODY, True),
    ],
    ids=("label", "address", "node"),
)
def test_what_tells_replicas_apart(found: Kinds, atom: np.ndarray, by_node: bool) -> None:
    groups = grouped(found, atom, by_node=by_node)
    assert sorted(members(POPULATION, groups)) == ["db-0", "web-0", "web-1"]


def test_members_outside_a_plane_have_no_group() -> None:
    groups = grouped(kinds("app"), inside=[True, False, False])
    assert groups.of_member.tolist() == [0, -1, -1]
    assert groups.first.tolist() == [0, 0, 1]


def test_labels_are_indexed_both_ways() -> None:
    sets = [[("app", "web")], [("app", "db"), ("env", "")]]
    found = index_labels(sets, np.array([0, 1, 0], np.int32))
    assert found.pairs == {("app", "web"): 0, ("app", "db"): 1, ("env", ""): 2}
    assert found.keys == {"app": 3, "env": 4}
    index = found.index
    rows = [
        index.label[first:last].tolist()
        for first, last in zip(index.label_start[:-1], index.label_start[1:], strict=True)
    ]
    assert rows == [[0, 3], [1, 3, 2, 4], [0, 3]]
    carriers = [
        index.posting[first:last].tolist()
        for first, last in zip(index.posting_start[:-1], index.posting_start[1:], strict=True)
    ]
    assert carriers == [[0, 2], [1], [1], [0, 1, 2], [1]]
