"""What diff says of two versions of a cluster, against what the oracle says of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.conditional import certain_differences
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.render import json as as_json
from kubeverdict.render.style import Style
from tests.analyses.reading import in_workloads
from tests.clusters.conditions import bound, with_conditions
from tests.verbs.connected import IPV4, Connected, Open, Pair, Port
from tests.verbs.plain import Plain, small_versions

SEEDS = range(100)
Change = tuple[frozenset[Port], frozenset[Port]]
NONE: frozenset[Port] = frozenset()


def told(old: Cluster, new: Cluster) -> dict[str, Any]:
    report = certain_differences(*map(compile_cluster, (old, new)), families=IPV4)
    found: dict[str, Any] = json.loads(as_json.differences(report, Style()))
    return found


def changes(before: Open, after: Open) -> dict[Pair, Change]:
    """Ports before and after, where these differ."""
    found = {pair: (before.get(pair, NONE), after.get(pair, NONE)) for pair in {**before, **after}}
    return {pair: ports for pair, ports in found.items() if ports[0] != ports[1]}


def told_changes(connected: Connected, shown: dict[str, Any]) -> dict[Pair, Change]:
    """The same as a report has it."""
    added, removed = (connected.listed(shown[kind]) for kind in ("added", "removed"))
    before, after = (connected.listed(shown["changed"], side) for side in ("before", "after"))
    kinds = [added.keys(), removed.keys(), before.keys()]
    assert before.keys() == after.keys()
    assert sum(map(len, kinds)) == len(set().union(*kinds)), "a pair changes in one way"
    return changes(removed | before, added | after)


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_and_ports_that_open_and_close(seed: int) -> None:
    old, new = map(Plain, small_versions(seed))
    connected = Connected(old, new)
    shown = told(old.oracle.cluster, new.oracle.cluster)
    assert told_changes(connected, shown) == changes(connected.on(old), connected.on(new))
    names = [{f"{pod}[Pod]" for pod in plain.oracle.managed} for plain in (old, new)]
    assert shown["workloads"] == {
        "added": sorted(names[1] - names[0]),
        "removed": sorted(names[0] - names[1]),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_workloads_of_the_same_pods(seed: int) -> None:
    before, after = small_versions(seed)
    old = Plain(in_workloads(before))
    new = Plain(replace(old.oracle.cluster, policies=after.policies))
    connected = Connected(old, new)
    shown = told(old.oracle.cluster, new.oracle.cluster)
    assert told_changes(connected, shown) == changes(connected.on(old), connected.on(new))


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_that_depend_on_conditions(seed: int) -> None:
    before, after = (with_conditions(one, seed) for one in small_versions(seed))
    versions = [
        [Plain(bound(made, at_least)) for made in (before, after)] for at_least in (False, True)
    ]
    connected = Connected(*versions[0], *versions[1])
    most, least = (changes(connected.on(old), connected.on(new)) for old, new in versions)
    shown = told(before, after)
    certain = told_changes(connected, shown)
    assert certain == {pair: ports for pair, ports in most.items() if least.get(pair) == ports}
    conditional = {
        pair
        for row in shown.get("conditional", [])
        for pair in connected.listed([{**row, "ports": "all"}])
    }
    assert conditional == (most.keys() | least.keys()) - certain.keys()
