"""What list says, row by row, against the oracle: pods, workloads and addresses outside."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from kubeverdict.analyses.conditional import certain_connections
from kubeverdict.analyses.connections import Selection
from kubeverdict.analyses.matrix import EXTERNAL, matrix
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.pairs import count_pairs
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Direction
from kubeverdict.render import json as as_json
from kubeverdict.render.style import Style
from tests.analyses.reading import in_workloads
from tests.clusters.conditions import bound, with_conditions
from tests.counting import count_pairs as count_plainly
from tests.verbs.connected import IPV4, Connected, Open
from tests.verbs.plain import Plain, small_cluster

SEEDS = range(100)


def told(made: Cluster, **options: Any) -> dict[str, Any]:
    report = certain_connections(compile_cluster(made), **options)
    found: dict[str, Any] = json.loads("".join(as_json.connections(report, Style())))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_every_row_is_what_connects(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    connected = Connected(plain)
    expected = connected.on(plain)
    for made, by_pod in ((plain.oracle.cluster, True), (in_workloads(plain.oracle.cluster), False)):
        shown = told(made, by_pod=by_pod)
        of_workloads = Connected(Plain(made))
        assert of_workloads.listed(shown["connections"]) == expected
        assert "conditional" not in shown
        assert all(row["ports"] for row in shown["connections"])


@pytest.mark.parametrize("seed", SEEDS)
def test_what_depends_on_conditions_is_between_the_bounds(seed: int) -> None:
    made = in_workloads(with_conditions(small_cluster(seed), seed))
    least, most = (Plain(bound(made, at_least)) for at_least in (True, False))
    connected = Connected(least, most)
    certain, possible = connected.on(least), connected.on(most)
    shown = told(made)
    assert connected.listed(shown["connections"]) == certain
    between = {pair for pair, ports in possible.items() if ports != certain.get(pair)}
    conditional = shown.get("conditional", [])
    assert connected.listed(conditional, "at_most") == {pair: possible[pair] for pair in between}
    assert connected.listed(conditional, "at_least") == {
        pair: certain[pair] for pair in between & certain.keys()
    }


def namespace(end: str) -> str:
    return end.partition("/")[0] if "/" in end else ""


def rows_of(expected: Open) -> Counter[tuple[str, str]]:
    """How many rows pods need, by namespaces: one for each pair of pods, and one for each set of
    ports that some addresses share."""
    found: Counter[tuple[str, str]] = Counter()
    shared: dict[tuple[str, str], set[object]] = {}
    for (source, destination), ports in expected.items():
        ends = namespace(source), namespace(destination)
        if all(ends):
            found[ends] += 1
        else:
            shared.setdefault((source if ends[0] else "", destination if ends[1] else ""), set())
            shared[source if ends[0] else "", destination if ends[1] else ""].add(ports)
    for (source, destination), values in shared.items():
        found[namespace(source), namespace(destination)] += len(values)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_of_pairs_and_of_the_matrix(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    expected = Connected(plain).on(plain)
    compiled = compile_cluster(plain.oracle.cluster)
    report = certain_connections(compiled, by_pod=True, families=IPV4)
    table = matrix(report)
    counted = {
        (table.sources[row], table.destinations[column]): count
        for (row, column), count in table.counts.items()
    }
    assert counted == {
        (source or EXTERNAL, destination or EXTERNAL): count
        for (source, destination), count in rows_of(expected).items()
    }
    counts = count_plainly(plain.oracle, 4)
    for one in count_pairs(compiled):
        if 4 in one.families:
            assert (one.pairs, one.pair_ports) == (counts.pairs, counts.pair_ports)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_selection_is_those_rows_of_the_whole(seed: int) -> None:
    plain = Plain(small_cluster(seed))
    connected = Connected(plain)
    expected = connected.on(plain)
    made = plain.oracle.cluster
    first = made.namespaces[0].name
    for direction in (None, *Direction):
        selections = [(Selection(namespaces=(first,), direction=direction), is_in(first))]
        if plain.oracle.managed:
            focus = str(plain.oracle.managed[0])
            selections.append((Selection(focus, direction=direction), {focus}.__contains__))
        for selection, wanted in selections:
            shown = told(made, by_pod=True, selection=selection)
            assert connected.listed(shown["connections"]) == {
                pair: ports
                for pair, ports in expected.items()
                if (direction is not Direction.INGRESS and wanted(pair[0]))
                or (direction is not Direction.EGRESS and wanted(pair[1]))
            }


def is_in(name: str) -> Any:
    return lambda end: namespace(end) == name
