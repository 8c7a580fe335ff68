"""Scenarios that switch policies on and off, judged in a batch over the base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from kubeverdict.compile.compiled import CompiledPolicy, Reason, RuleRef, freeze
from kubeverdict.compile.overlay.blocks import Piece
from kubeverdict.compile.overlay.candidates import Candidates, add_candidates
from kubeverdict.compile.overlay.overlay import Overlay
from kubeverdict.compile.sets import offsets
from kubeverdict.evaluate.scenarios.outcome import ANYTHING, Example, Focus, Outcome
from kubeverdict.evaluate.scenarios.results import (
    Results,
    decided,
    end,
    example_of,
    ground,
    judge_all,
    judged,
    no_results,
    outcome_in_bounds,
)
from kubeverdict.kernels import policy_scenarios, scenario_results
from kubeverdict.kernels.collect import Ground, Homes, Rules, RuleScratch, Scenarios, scratch
from kubeverdict.kernels.reach import View
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Policy

# Elementary steps of a scenario, roughly: half of what plain Python needs a tenth of a second for.
_WORK = 20_000


class PolicyBatch:
    """Scenarios to be judged together, in ``versions`` versions each."""

    def __init__(self, compiled: CompiledPolicy, versions: int = 2) -> None:
        self.versions = versions
        self.numbers: list[int] = []
        self.candidates: dict[Policy, int] = {}
        self.changes: list[list[tuple[int, int]]] = []
        self._base = len(compiled.policies)

    def add(self, number: int, base: Mapping[int, int], coming: Mapping[Policy, int]) -> None:
        """Add scenario ``number``: the versions, as bits, in which policies of the base (by
        number) and candidates are in force. The others stay as they are."""
        self.numbers.append(number)
        changes = list(base.items())
        # In evaluation order, which decides between rules that come at the same place.
        for policy in sorted(coming, key=lambda policy: policy.sort_key):
            candidate = self.candidates.setdefault(policy, len(self.candidates))
            changes.append((self._base + candidate, coming[policy]))
        self.changes.append(changes)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A batch with its candidates compiled: arrays for the kernel, by plane."""

    overlay: Overlay
    versions: int
    scenarios: Scenarios
    candidates: Candidates
    grounds: tuple[Ground, ...]
    rows: int  # of candidates, in the scenario that has most
    # Memory to look single connections up in, by plane, made when it is needed.
    workers: dict[int, _Worker] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.scenarios.start.size - 1

    def candidates_of(self, scenario: int) -> list[int]:
        """The candidates that a scenario switches."""
        part = slice(*self.scenarios.start[scenario : scenario + 2])
        own = self.scenarios.policy[part] - len(self.overlay.compiled.policies)
        found: list[int] = own[own >= 0].tolist()
        return found

    def beside_base(self, scenario: int) -> bool:
        """Whether a scenario can be judged over the base: each of its candidates can, and no two of
        them cut the same addresses."""
        cut: set[int] = set()
        for candidate in self.candidates_of(scenario):
            atoms = self.candidates.pieces.get(candidate, {}).keys()
            if candidate in self.candidates.apart or not cut.isdisjoint(atoms):
                return False
            cut |= atoms
        return True


def prepare(
    overlay: Overlay,
    batch: PolicyBatch,
    focus: Focus = ANYTHING,
    candidates: Candidates | None = None,
) -> Prepared:
    """Add the candidates of ``batch`` to the base, compiled, unless they are compiled already."""
    if candidates is None:
        candidates = add_candidates(overlay, list(batch.candidates))
    lengths = np.array([len(changes) for changes in batch.changes], np.int64)
    flat = [change for changes in batch.changes for change in changes]
    table = np.array(flat, np.int64).reshape(-1, 2)
    scenarios = Scenarios(
        start=offsets(lengths),
        policy=table[:, 0].astype(np.int32),
        version=table[:, 1].astype(np.uint8),
        directions=candidates.directions,
    )
    grounds = tuple(
        ground(overlay, plane, added.sets, candidates.runs, added.subject, focus)
        for plane, added in zip(overlay.planes, candidates.planes, strict=True)
    )
    freeze((scenarios, grounds, candidates.planes))
    rows = _most_rows(candidates, scenarios, len(overlay.compiled.policies))
    return Prepared(overlay, batch.versions, scenarios, candidates, grounds, rows)


def _most_rows(candidates: Candidates, scenarios: Scenarios, base: int) -> int:
    """The rows of candidates of one direction, in the scenario that has most."""
    most = 0
    own = np.flatnonzero(scenarios.policy >= base)
    scenario = np.searchsorted(scenarios.start, own, side="right") - 1
    for added in candidates.planes:
        for side in (added.ingress, added.egress):
            rows = np.diff(side.extra)[scenarios.policy[own] - base]
            most = max(most, int(np.bincount(scenario, weights=rows).max(initial=0)))
    return most


def judge(prepared: Prepared, examples: int = 0, threads: int | None = None) -> Results:
    """Judge every scenario, in threads."""
    planes, count = len(prepared.grounds), prepared.count
    results = no_results(planes, count, examples)
    kernel = policy_scenarios.judge_scenarios.on(count * _WORK)

    def workers() -> list[_Worker]:
        return [_worker(prepared, number) for number in range(planes)]

    judge_all(kernel, results, threads, workers)
    return results


_Worker = tuple[Scenarios, int, Ground, tuple[Rules, Rules], tuple[View, View], Homes, RuleScratch]


def _worker(prepared: Prepared, number: int) -> _Worker:
    """What the kernel needs to know of a plane, and memory to work in."""
    plane = prepared.overlay.planes[number]
    added = prepared.candidates.planes[number]
    standing = prepared.grounds[number]
    sides = (added.ingress, added.egress)
    views = (plane.ingress_by_peer, plane.egress_by_peer)
    work = scratch(standing, sides, views, plane.homes, prepared.versions, prepared.rows)
    return prepared.scenarios, prepared.versions, standing, sides, views, plane.homes, work


def outcome_of(
    bounds: Sequence[Prepared], results: Sequence[Results], scenario: int, name: str
) -> Outcome:
    """The outcome of one scenario of the batch, which was prepared and judged in one bound, what
    is allowed at most, or in both."""

    return outcome_in_bounds(bounds, results, scenario, name, partial(_example, scenario))


def _example(
    scenario: int, bounds: Sequence[Prepared], number: int, example: list[int], opens: bool
) -> Example:
    """An example of the first of ``bounds``."""
    prepared, *others = bounds
    overlay = prepared.overlay
    plane = overlay.planes[number]
    pieces = _pieces(prepared, scenario)

    def find(position: int, which: int) -> Pod | str:
        return end(overlay, plane, position, which, pieces)

    most = not overlay.compiled.at_least
    ends = example[scenario_results.SOURCE], example[scenario_results.DESTINATION]
    own = _refs(prepared, example[scenario_results.DECIDED :])
    other: tuple[RuleRef | Reason, ...] = ()
    for bound in others:
        other = _decided(bound, scenario, number, ends, example[scenario_results.PLACE])
    before = judged(not opens, own[:2], other[:2], most)
    after = judged(opens, own[2:], other[2:], most)
    return example_of(overlay, plane, example, opens, find, (before, after))


def _decided(
    prepared: Prepared, scenario: int, number: int, ends: tuple[int, int], place: int
) -> tuple[RuleRef | Reason, ...]:
    """What decides egress and ingress before a scenario, and after it."""
    worker = prepared.workers.get(number)
    if worker is None:
        worker = prepared.workers[number] = _worker(prepared, number)
    scenarios, versions, standing, sides, _, _, work = worker
    part = slice(*scenarios.start[scenario : scenario + 2])
    changes = scenarios.policy[part]
    usual = work.state[changes]
    work.state[changes] = scenarios.version[part]
    found: list[int] = []
    for version in (1 << (versions - 2), 1 << (versions - 1)):
        found += decided(sides, ends, place, version, changes, standing, work)
    work.state[changes] = usual
    return _refs(prepared, found)


def _refs(prepared: Prepared, rules: Iterable[int]) -> tuple[RuleRef | Reason, ...]:
    return tuple(_decision(prepared, rule) for rule in rules)


def _decision(prepared: Prepared, rule: int) -> RuleRef | Reason:
    known = prepared.overlay.compiled.rules
    if rule < 0:
        return Reason(rule)
    return known[rule] if rule < len(known) else prepared.candidates.rules[rule - len(known)]


def _pieces(prepared: Prepared, scenario: int) -> dict[int, tuple[Piece, Piece]]:
    """What the candidates of a scenario cut atoms into."""
    found: dict[int, tuple[Piece, Piece]] = {}
    for candidate in prepared.candidates_of(scenario):
        found |= prepared.candidates.pieces.get(candidate, {})
    return found
