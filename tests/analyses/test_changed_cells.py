"""What a change does to the map: what whatif lists, and what list lists before and after."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.changed_cells import ChangedCells, Ranges, changed_cells
from kubeverdict.analyses.connections import connections
from kubeverdict.analyses.reach_map import CellState, MapPlaces, ReachMap, cell_ports
from kubeverdict.analyses.selected import PodKinds, selects
from kubeverdict.analyses.whatif import whatif
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Direction
from kubeverdict.model.profile import PROFILES
from tests.clusters.conditions import with_conditions
from tests.clusters.generated import random_cluster
from tests.clusters.records import cluster, pod, pods_where, policy

Pairs = set[tuple[int, int]]


def places_in(spans: Ranges) -> set[int]:
    return {place for first, last in spans for place in range(first, last + 1)}


def pairs(report: ChangedCells, opens: bool) -> Pairs:
    return {
        (source, destination)
        for opening, sources, destinations in report.cells
        if opening is opens
        for source in places_in(sources)
        for destination in places_in(destinations)
    }


def listed(compiled: CompiledPolicy, places: MapPlaces) -> Pairs:
    """The cells of the connections that the verb list would list, of both families."""
    numbers = {str(ref): number for number, ref in enumerate(places.workloads)}
    return {
        (
            numbers.get(one.source.whole, places.outside),
            numbers.get(one.destination.whole, places.outside),
        )
        for one in connections(compiled, families=(4, 6)).connections
    }


def alone(compiled: CompiledPolicy, places: MapPlaces) -> Pairs:
    """Cells of a workload with itself: a single pod is no connection, and a map shows it."""
    return {(place, place) for place in range(len(places.workloads))}


def clusters(seed: int) -> tuple[Cluster, Cluster]:
    """A cluster, and it with other policies."""
    made = random_cluster(seed, pods=40, policies=14, tiers=bool(seed % 2))
    others = random_cluster(seed + 1000, pods=2, policies=6, tiers=bool(seed % 2)).policies
    known = {namespace.name for namespace in made.namespaces}
    kept = Random(seed).sample(made.policies, k=len(made.policies) // 2)
    coming = [one for one in others if one.namespace is None or one.namespace in known]
    keys = {(one.kind, str(one)) for one in coming}
    kept = [one for one in kept if (one.kind, str(one)) not in keys]
    return made, replace(made, policies=(*kept, *coming))


PROFILE = [*PROFILES.values()]


@pytest.mark.parametrize("seed", range(12))
def test_the_map_shows_what_list_lists(seed: int) -> None:
    made, _ = clusters(seed)
    compiled = compile_cluster(made, PROFILE[seed % len(PROFILE)])
    places = MapPlaces(compiled)
    shown = ReachMap(compiled, places)
    whole = (0, places.size)
    cells = shown.cells(whole, whole)
    found = {(int(row), int(column)) for row, column in zip(*cells.nonzero(), strict=True)}
    expected = listed(compiled, places)
    assert found - alone(compiled, places) == expected - alone(compiled, places)
    assert expected <= found
    # A part is that part of the whole.
    middle = places.size // 2
    part = shown.cells((middle, places.size), (0, middle))
    assert (part == cells[middle:, :middle]).all()
    counts = shown.counts()
    assert int(counts.possible.sum()) == places.size**2
    assert int(counts.by_rule.sum()) == int((cells == CellState.BY_RULE).sum())
    assert int(counts.unprotected.sum()) == int((cells == CellState.UNPROTECTED).sum())


@pytest.mark.parametrize("seed", range(12))
def test_ports_of_a_cell_are_there_where_it_is_open(seed: int) -> None:
    made, _ = clusters(seed)
    compiled = compile_cluster(made, PROFILE[seed % len(PROFILE)])
    places = MapPlaces(compiled)
    cells = ReachMap(compiled, places).cells((0, places.size), (0, places.size))
    choose = Random(seed)
    for _ in range(20):
        source, destination = choose.randrange(places.size), choose.randrange(places.size)
        if (source, destination) == (places.outside, places.outside):
            continue
        ports = cell_ports(compiled, places, source, destination)
        assert any(ports.values()) == bool(cells[source, destination])


@pytest.mark.parametrize("seed", range(8))
def test_unprotected_is_what_no_policy_selects(seed: int) -> None:
    made, _ = clusters(2 * seed)
    compiled = compile_cluster(made)
    places = MapPlaces(compiled)
    cells = ReachMap(compiled, places).cells((0, places.size), (0, places.size))
    labels = {namespace.name: namespace.labels for namespace in made.namespaces}

    def free(place: int, direction: Direction) -> bool:
        pods = [pod for pod, own in zip(compiled.pods, places.of_pod, strict=True) if own == place]
        return any(
            not any(
                policy.pods.matches(pod.labels)
                and (
                    policy.namespace == pod.namespace
                    if policy.namespace is not None
                    else policy.namespaces.matches(labels[pod.namespace])
                )
                and (direction in policy.isolates or _has_rules(policy, direction))
                for policy in compiled.policies
            )
            for pod in pods
        )

    def _has_rules(policy: object, direction: Direction) -> bool:
        return any(rule.direction is direction for rule in policy.rules)  # type: ignore[attr-defined]

    for source, destination in zip(*(cells == CellState.UNPROTECTED).nonzero(), strict=True):
        if source != places.outside:
            assert free(int(source), Direction.EGRESS)
        if destination != places.outside:
            assert free(int(destination), Direction.INGRESS)


@pytest.mark.parametrize("seed", range(16))
def test_cells_change_where_whatif_says_so(seed: int) -> None:
    old, new = (compile_cluster(one, PROFILE[seed % len(PROFILE)]) for one in clusters(seed))
    places = MapPlaces(old)
    report = changed_cells(old, new, places)
    told = whatif(old, new)
    numbers = {str(ref): number for number, ref in enumerate(places.workloads)}
    for opens, effects in ((True, told.opened), (False, told.closed)):
        expected = {
            (
                numbers.get(one.source.whole, places.outside),
                numbers.get(one.destination.whole, places.outside),
            )
            for one in effects
        }
        found = pairs(report, opens)
        # whatif leaves out families that the input has nothing of, and pods with themselves.
        inside = {pair for pair in found if places.outside not in pair and pair[0] != pair[1]}
        assert inside == {
            pair for pair in expected if places.outside not in pair and pair[0] != pair[1]
        }
        assert expected <= found
    assert [(one.opened, one.closed) for one in report.totals] == [
        (one.opened, one.closed) for one in told.pairs
    ]
    for change in report.changes:
        if change.before is not None and change.after is not None:
            if "own-node" in (change.before.ingress.reason, change.before.egress.reason):
                continue  # no other pair of ends was at hand
            assert change.before.allowed is not change.opens
            assert change.after.allowed is change.opens


def test_only_so_many_changes_are_told_and_all_are_shown() -> None:
    old, new = (compile_cluster(one) for one in clusters(3))
    places = MapPlaces(old)
    whole, part = (changed_cells(old, new, places, most=most) for most in (1000, 2))
    assert len(part.changes) == 2 < len(whole.changes) == whole.number == part.number
    assert part.cells == whole.cells
    largest = sorted((one.pairs for one in whole.changes), reverse=True)[:2]
    assert sorted((one.pairs for one in part.changes), reverse=True) == largest


@pytest.mark.parametrize("seed", range(6))
def test_with_conditions_each_change_says_its_bound(seed: int) -> None:
    before, after = (with_conditions(one, seed) for one in clusters(seed))
    old, new = compile_cluster(before), compile_cluster(after)
    if not (old.least or new.least):
        pytest.skip("no rule has a condition")
    places = MapPlaces(old)
    report = changed_cells(old, new, places)
    assert {one.bound for one in report.changes} <= {"most", "least"}
    for bound, at_least in (("most", False), ("least", True)):
        sides = old.bound(at_least), new.bound(at_least)
        found = {
            (one.opens, one.sources, one.destinations)
            for one in report.changes
            if one.bound == bound
        }
        was, now = map(replace_least, sides)
        plain = changed_cells(was, now, places)
        assert found == {(one.opens, one.sources, one.destinations) for one in plain.changes}
    whole = (0, places.size)
    cells = ReachMap(old, places).cells(whole, whole)
    most, least = (
        ReachMap(replace_least(old.bound(one)), places).cells((0, places.size), (0, places.size))
        > 0
        for one in (False, True)
    )
    assert ((cells == CellState.CONDITIONAL) == (most & ~least)).all()


def replace_least(compiled: CompiledPolicy) -> CompiledPolicy:
    """One bound by itself."""
    return dataclasses.replace(compiled, least=())


@pytest.mark.parametrize("seed", range(8))
def test_pods_are_counted_as_selectors_say(seed: int) -> None:
    made, _ = clusters(seed)
    compiled = compile_cluster(made)
    kinds = PodKinds(compiled.pods)
    wanted = {(one.kind, str(one)) for one in compiled.policies}
    found = {(one.kind, one.name): one for one in selects(compiled, kinds, wanted)}
    labels = {namespace.name: namespace.labels for namespace in made.namespaces}
    assert found.keys() == wanted
    for written in compiled.policies:
        expected = sum(
            written.pods.matches(each.labels)
            and (
                written.namespace == each.namespace
                if written.namespace is not None
                else written.namespaces.matches(labels[each.namespace])
            )
            for each in compiled.pods
        )
        assert found[written.kind, str(written)].pods == expected


def test_peers_of_a_rule_are_counted() -> None:
    pods = [
        pod(f"shop/{name}-{n}", f"app={name}", f"10.0.{at}.{n + 1}")
        for at, name in enumerate("ab")
        for n in range(3)
    ]
    rules = [([pods_where("", "app=a")], None), ([pods_where("", "app=c")], None), (None, None)]
    compiled = compile_cluster(cluster(pods, [policy("shop/in", "app=b", ingress=rules)]))
    (found,) = selects(compiled, PodKinds(compiled.pods), {("NetworkPolicy", "shop/in")})
    assert (found.pods, [(one.pods, one.addresses) for one in found.rules]) == (
        3,
        [(3, False), (0, False), (6, True)],
    )
