"""Kernels of scenarios against naive twins: rule by rule, pair by pair, port by port."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.compile.compiled import freeze
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.overlay.making import make_overlay
from kubeverdict.compile.overlay.overlay import Overlay, OverlayPlane
from kubeverdict.compile.sets import members
from kubeverdict.evaluate.pairs import destination_groups, pod_space
from kubeverdict.evaluate.scenarios.outcome import ANYTHING
from kubeverdict.evaluate.scenarios.results import ground
from kubeverdict.kernels import (
    adding,
    pod_scenarios,
    policy_scenarios,
    ports,
    reach,
    scenario_results,
)
from kubeverdict.kernels.collect import (
    ACTION,
    PEER,
    POLICY,
    PORTS,
    SUBJECT,
    TIER,
    Ground,
    Rules,
    Scenarios,
    scratch,
)
from kubeverdict.kernels.jit import Kernel
from kubeverdict.kernels.pod_scenarios import Moves
from kubeverdict.kernels.ports import Runs
from kubeverdict.model.policy import Action
from tests.clusters.generated import random_cluster

Form = Callable[[Kernel], Callable[..., Any]]


@pytest.fixture(params=["plain", "compiled"], scope="module")
def form(request: pytest.FixtureRequest) -> Form:
    return lambda kernel: getattr(kernel, request.param)


# --- ports -----------------------------------------------------------------------------------

places = st.integers(0, 40)
port_lists = st.lists(
    st.lists(st.tuples(places, places).map(sorted), max_size=3), min_size=1, max_size=5
)


def runs_of(lists: list[list[list[int]]]) -> Runs:
    """Lists of ranges over a few places of TCP; list 0 is everything."""
    start, low, high = [0, 1], [0], [ports.END]
    for ranges in lists:
        held = sorted({place for first, last in ranges for place in range(first, last + 1)})
        for place in held:
            if high[-1] == place and len(low) > start[-1]:
                high[-1] = place + 1
            else:
                low.append(place)
                high.append(place + 1)
        start.append(len(low))
    return Runs(np.array(start, np.int64), np.array(low, np.int32), np.array(high, np.int32))


@settings(max_examples=60, deadline=None)
@given(lists=port_lists, window=st.tuples(places, places).map(sorted))
def test_patterns(form: Form, lists: list[list[list[int]]], window: list[int]) -> None:
    runs = runs_of(lists)
    freeze(runs)
    low, high = window[0], window[1] + 1
    cut = ports.cut_memory(runs)
    form(ports.new_cut)(cut)
    for number in range(1, len(lists) + 1):
        form(ports.add_list)(cut, number)
        form(ports.add_list)(cut, number)
    count = form(ports.patterns)(cut, runs, low, high)
    held = form(ports.holds)
    # A naive twin: places by the lists that hold them.
    by_lists: dict[tuple[bool, ...], list[int]] = {}
    for place in range(low, high):
        key = tuple(bool(held(runs, number, place)) for number in range(1, len(lists) + 1))
        by_lists.setdefault(key, []).append(place)
    found = {}
    for q in range(count):
        place = int(cut.place[q])
        if place >= 0:
            key = tuple(bool(held(runs, n, place)) for n in range(1, len(lists) + 1))
            assert key not in found
            found[key] = int(cut.weight[q])
    assert found == {key: sum(place > 0 for place in inside) for key, inside in by_lists.items()}


@pytest.mark.parametrize(
    ("low", "high", "count"),
    [(0, 1, 0), (0, 2, 1), (80, 81, 1), (65535, 65538, 2), (0, ports.END, 3 * 65535)],
)
def test_ports_in(form: Form, low: int, high: int, count: int) -> None:
    assert form(ports.ports_in)(low, high) == count


# --- switched policies -----------------------------------------------------------------------


def opened(seed: int, tiers: bool = False) -> tuple[Overlay, OverlayPlane]:
    overlay = make_overlay(compile_cluster(random_cluster(seed, pods=14, policies=10, tiers=tiers)))
    return overlay, overlay.planes[0]


def standing(overlay: Overlay, plane: OverlayPlane) -> Ground:
    return ground(overlay, plane, plane.sets, overlay.runs, plane.subject, ANYTHING)


class Naive:
    """Verdicts between positions, straight from the table of rules."""

    def __init__(self, overlay: Overlay, plane: OverlayPlane) -> None:
        self._runs = overlay.runs
        self._plane = plane
        self._sets = [
            set(members(plane.sets, number).tolist()) for number in range(plane.sets.start.size - 1)
        ]
        inside = np.unpackbits(plane.universe.view(np.uint8), bitorder="little")
        self.ends = np.flatnonzero(inside).tolist()
        edges = {0, 1, *overlay.runs.low.tolist(), *overlay.runs.high.tolist()}
        edges |= {p * 65536 + step for p in range(4) for step in (0, 1)}
        cells = sorted(edge for edge in edges if edge <= 3 * 65536)
        self.cells = [
            (first, stop - first) for first, stop in itertools.pairwise(cells) if first % 65536
        ]

    def allowed(self, source: int, destination: int, place: int, off: set[int]) -> bool:
        plane = self._plane
        return self._side(plane.egress, source, destination, place, off) and self._side(
            plane.ingress, destination, source, place, off
        )

    def _side(self, rules: Rules, subject: int, other: int, place: int, off: set[int]) -> bool:
        if subject >= self._plane.pods:
            return True
        passed = None
        for row in rules.table:
            in_force = row[POLICY] not in off and row[TIER] != passed
            if not in_force or subject not in self._sets[row[SUBJECT]]:
                continue
            if other not in self._sets[row[PEER]]:
                continue
            if not ports.holds.plain(self._runs, row[PORTS], place):
                continue
            if row[ACTION] != Action.PASS:
                return bool(row[ACTION] == Action.ALLOW)
            passed = row[TIER]
        return True

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """Source, destination and the ordered pairs of different pods between them."""
        weight = self._plane.weight
        for source in self.ends:
            for destination in self.ends:
                if min(source, destination) >= self._plane.pods:
                    continue
                count = weight[source] * (weight[destination] - (source == destination))
                outside = max(source, destination) >= self._plane.pods
                if count or outside:
                    yield source, destination, int(count)


@pytest.mark.parametrize(("seed", "tiers"), [(1, False), (2, True), (3, False), (4, True)])
def test_judge_scenarios(form: Form, seed: int, tiers: bool) -> None:
    overlay, plane = opened(seed, tiers)
    naive = Naive(overlay, plane)
    random = Random(seed)
    policies = range(len(overlay.compiled.policies))
    offs = [{number} for number in policies]
    offs += [set(random.sample(policies, 4)) for _ in range(3)]
    start = np.cumsum([0, *map(len, offs)]).astype(np.int64)
    flat = np.array([number for off in offs for number in sorted(off)], np.int32)
    scenarios = Scenarios(start, flat, np.ones(flat.size, np.uint8), overlay.directions)
    out = np.zeros((len(offs), scenario_results.COLUMNS), np.int64)
    examples = [np.zeros((len(offs), 2, scenario_results.EXAMPLE), np.int64) for _ in range(2)]
    sides = (plane.ingress, plane.egress)
    views = (plane.ingress_by_peer, plane.egress_by_peer)
    base = standing(overlay, plane)
    freeze((scenarios, base))
    work = scratch(base, sides, views, plane.homes, 2, 0)
    form(policy_scenarios.judge_scenarios)(
        0, len(offs), scenarios, 2, base, sides, views, plane.homes, work, out, *examples
    )
    for number, off in enumerate(offs):
        assert out[number, : scenario_results.WORKLOADS].tolist() == switched(naive, off)


def switched(naive: Naive, off: set[int]) -> list[int]:
    """Pairs and ports opened and closed, and whether an address outside gains or loses one."""
    found = [0] * 6
    for source, destination, count in naive.pairs():
        gains = loses = False
        for place, size in naive.cells:
            was = naive.allowed(source, destination, place, set())
            now = naive.allowed(source, destination, place, off)
            found[scenario_results.PORTS_OPENED] += count * size * (now and not was)
            found[scenario_results.PORTS_CLOSED] += count * size * (was and not now)
            gains |= now and not was
            loses |= was and not now
        found[scenario_results.PAIRS_OPENED] += count * gains
        found[scenario_results.PAIRS_CLOSED] += count * loses
        if not count:
            found[scenario_results.OUTSIDE_OPENED] |= gains
            found[scenario_results.OUTSIDE_CLOSED] |= loses
    return found


# --- moves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "tiers"), [(5, False), (6, True), (7, False)])
def test_judge_moves(form: Form, seed: int, tiers: bool) -> None:
    """One pod goes, comes, or takes the place of another."""
    overlay, plane = opened(seed, tiers)
    naive = Naive(overlay, plane)
    random = Random(seed)
    there = [position for position in range(plane.pods) if plane.weight[position]]
    wanted = [(position, -1) for position in there[:4]]
    wanted += [(-1, position) for position in there[:4]]
    wanted += [(a, b) for a, b in (random.sample(there, 2) for _ in range(6))]
    homes = [int(plane.homes.workload[plane.homes.start[max(pair)]]) for pair in wanted]
    made = Moves(
        start=np.arange(len(wanted) + 1, dtype=np.int64),
        before=np.array([before for before, _ in wanted], np.int32),
        after=np.array([after for _, after in wanted], np.int32),
        pods=np.ones(len(wanted), np.int64),
        home=np.array(homes, np.int32),
    )
    base = standing(overlay, plane)
    freeze((made, base))
    sides = (plane.ingress, plane.egress)
    views = (plane.ingress_by_peer, plane.egress_by_peer)
    work = scratch(base, sides, views, plane.homes, 2, 0)
    out = np.zeros((len(wanted), scenario_results.COLUMNS), np.int64)
    examples = [np.zeros((len(wanted), 1, scenario_results.EXAMPLE), np.int64) for _ in range(2)]
    among = np.empty((1, 4), np.int64)
    form(pod_scenarios.judge_moves)(
        0, len(wanted), made, base, sides, views, plane.homes, among, work, out, *examples
    )
    for number, (before, after) in enumerate(wanted):
        assert out[number, : scenario_results.WORKLOADS].tolist() == moved(
            naive, plane, before, after
        )


def moved(naive: Naive, plane: OverlayPlane, before: int, after: int) -> list[int]:
    found = [0] * 6
    for other in naive.ends:
        stays = int(plane.weight[other]) - (other == before)
        outside = other >= plane.pods
        if not (stays or outside):
            continue
        for into in (True, False):
            gains = loses = False
            for place, size in naive.cells:
                was, now = (
                    own >= 0
                    and naive.allowed(*((other, own) if into else (own, other)), place, set())
                    for own in (before, after)
                )
                found[scenario_results.PORTS_OPENED] += stays * size * (now and not was)
                found[scenario_results.PORTS_CLOSED] += stays * size * (was and not now)
                gains |= now and not was
                loses |= was and not now
            found[scenario_results.PAIRS_OPENED] += stays * gains
            found[scenario_results.PAIRS_CLOSED] += stays * loses
            if outside:
                found[scenario_results.OUTSIDE_OPENED] |= gains
                found[scenario_results.OUTSIDE_CLOSED] |= loses
    return found


# --- rules that only allow -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_count_adding(form: Form, seed: int) -> None:
    """As rows that are folded in order, which has a twin of its own."""
    compiled = compile_cluster(random_cluster(seed, pods=60, policies=25))
    for plane in compiled.planes:
        groups = destination_groups(plane.matrix.into, plane.matrix.out_to, np.arange(plane.pods))
        space = pod_space(plane, compiled.ports)
        freeze(groups)
        several = (groups.first, groups.start, groups.member)
        views = (plane.matrix.into, plane.matrix.out_to)
        out = np.zeros((2, groups.first.size, 2), np.int64)
        work = adding.adding_memory(space, compiled.port_runs)
        form(adding.count_adding)(
            0, groups.first.size, *several, *views, space, compiled.port_runs, work, out[0]
        )
        form(reach.count_rows)(
            0, groups.first.size, *several, *views, space, reach.scratch(space), out[1]
        )
        assert out[0].tolist() == out[1].tolist()
