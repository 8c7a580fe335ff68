"""Scenarios in relation to one another: one after the other, in pairs, and what covers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from kubeverdict.compile.sets import members
from kubeverdict.compile.tiers import order_matters
from kubeverdict.errors import UsageError
from kubeverdict.evaluate.covers import Covers
from kubeverdict.evaluate.scenarios import policy_batches
from kubeverdict.evaluate.scenarios.outcome import ANYTHING, Focus, Outcome
from kubeverdict.evaluate.scenarios.policy_batches import Prepared
from kubeverdict.evaluate.scenarios.together import Together, Versions
from kubeverdict.evaluate.scenarios.workbench import Workbench, only_policies
from kubeverdict.kernels import scenario_results
from kubeverdict.model.edit import Edit, PolicyKey, policy_key
from kubeverdict.model.policy import Policy

_START, _END, _BEFORE, _AFTER = 1, 2, 4, 8
# The search for a safe order ends after so many sets of steps.
_MOST_STATES = 2_000
# The versions of a pair: the base, both edits, the first alone, the second alone.
_BASE, _TOGETHER, _FIRST, _SECOND = 1, 2, 4, 8


class Interaction(msgspec.Struct, frozen=True):
    """Two edits, by their places, that have to do with each other.

    ``overlap`` counts (pair, port) that either changes alone, ``conflict`` those that come out
    otherwise than each of them alone would have it.
    """

    first: int
    second: int
    overlap: int
    conflict: int


class SafeOrder(msgspec.Struct, frozen=True):
    """The places of some edits in an order in which none breaks a connection; None where none was
    found. ``complete`` tells whether there is then none: the search has a limit."""

    steps: tuple[int, ...] | None
    complete: bool = True


class Cover(msgspec.Struct, frozen=True):
    """Why nothing changes without a policy: it selects no pod, or others decide the same
    connections alike. Where ``covered_by`` is empty nothing that it allows gets through at the
    other end."""

    policy: Policy
    selects_nothing: bool
    covered_by: tuple[Policy, ...] = ()


# --- one after the other ---------------------------------------------------------------------


def rollout(
    bench: Workbench,
    edits: Sequence[Edit],
    *,
    focus: Focus = ANYTHING,
    examples: int = 3,
    threads: int | None = None,
) -> list[Outcome]:
    """Each of ``edits``, which change policies only, on top of those before it.

    Raises UsageError for an edit that changes anything else.
    """
    orders = [(tuple(range(step)), step) for step in range(len(edits))]
    prepared = [_Steps(bound, edits).prepare(orders, focus) for bound in bench.bounds(edits)]
    results = [policy_batches.judge(one, examples, threads) for one in prepared]
    return [
        policy_batches.outcome_of(prepared, results, step, edit.name)
        for step, edit in enumerate(edits)
    ]


def safe_order(bench: Workbench, edits: Sequence[Edit]) -> SafeOrder:
    """An order of ``edits`` in which no step breaks a connection that is open before the first
    and after the last, in neither bound.

    A step that breaks nothing now can be taken now: where rules add up, that never makes a later
    step worse, so that the search need not go back. Where their order matters it goes back, and
    tries each set of steps once, up to a limit.
    """
    bounds = [_Steps(bound, edits) for bound in bench.bounds(edits)]
    policies = (*bench.compiled.policies, *(one for edit in edits for one in edit.policies_in))
    goes_back = order_matters(policies)
    apart = _apart(edits)
    left: list[tuple[int, ...]] = [()]
    met: set[frozenset[int] | tuple[int, ...]] = set()
    while left:
        done = left.pop()
        if len(done) == len(edits):
            return SafeOrder(done)
        safe = sorted(set.intersection(*(set(steps.safe_after(done)) for steps in bounds)))
        for step in reversed(safe if goes_back else safe[:1]):
            order = (*done, step)
            # What is in force after some steps does not depend on their order, unless two of
            # them are about one policy.
            state = frozenset(order) if apart else order
            if state not in met:
                met.add(state)
                left.append(order)
        if len(met) > _MOST_STATES:
            return SafeOrder(None, complete=False)
    return SafeOrder(None)


def _apart(edits: Sequence[Edit]) -> bool:
    """Whether no two edits are about one policy."""
    keys = [key for edit in edits for key in _touched(edit)]
    return len(set(keys)) == len(keys)


def _touched(edit: Edit) -> set[PolicyKey]:
    return {*edit.policies_out, *map(policy_key, edit.policies_in)}


class _Steps:
    """Edits to be applied in some order."""

    def __init__(self, bench: Workbench, edits: Sequence[Edit]) -> None:
        for edit in edits:
            if not only_policies(edit):
                raise UsageError(f"{edit.name}: a rollout can change policies only")
        self._numbers = bench.numbers
        self._edits = edits
        self._together = Together(bench, edits)

    def safe_after(self, done: tuple[int, ...]) -> list[int]:
        """The steps that break nothing when they come next."""
        left = [step for step in range(len(self._edits)) if step not in done]
        prepared = self.prepare([(done, step) for step in left], ANYTHING)
        out = policy_batches.judge(prepared).out
        broken = out[:, :, [scenario_results.BROKEN, scenario_results.OUTSIDE_BROKEN]].any(
            axis=(0, 2)
        )
        return [left[place] for place in np.flatnonzero(~broken).tolist()]

    def prepare(self, orders: Sequence[tuple[tuple[int, ...], int]], focus: Focus) -> Prepared:
        """Scenarios that each compare the state before and after a step that follows others."""
        everything = range(len(self._edits))
        scenarios = []
        for done, step in orders:
            versions: dict[int | Policy, int] = {}
            later = [other for other in everything if other not in done and other != step]
            self._play((*done, step, *later), len(done), versions)
            base = {key: bits for key, bits in versions.items() if isinstance(key, int)}
            coming = {key: bits for key, bits in versions.items() if isinstance(key, Policy)}
            scenarios.append((base, coming))
        return self._together.prepare(scenarios, focus)

    def _play(self, order: Sequence[int], before: int, versions: dict[int | Policy, int]) -> None:
        """Note when each policy that the edits touch is in force, if they come in ``order`` and
        the step in question is number ``before``."""
        times = {_START: 0, _BEFORE: before, _AFTER: before + 1, _END: len(order)}
        in_force: dict[PolicyKey, int | Policy] = {}
        numbers = self._numbers
        since: dict[int | Policy, int] = {}
        until: dict[int | Policy, int] = {}
        for time, number in enumerate(order, start=1):
            edit = self._edits[number]
            coming = {policy_key(policy): policy for policy in edit.policies_in}
            for key in (*edit.policies_out, *coming):
                present = in_force.pop(key, numbers.get(key, -1))
                if present != -1:
                    until.setdefault(present, time)
            for key, policy in coming.items():
                in_force[key] = policy
                since[policy] = time
        for present in {**since, **until}:
            begin, end = since.get(present, 0), until.get(present, len(order) + 1)
            versions[present] = sum(bit for bit, time in times.items() if begin <= time < end)


# --- in pairs --------------------------------------------------------------------------------


def interactions(bench: Workbench, edits: Sequence[Edit]) -> Iterator[Interaction]:
    """The pairs of ``edits``, which change policies only, that overlap or conflict.

    Two edits of one policy are not compared. Of both bounds the larger numbers count.
    """
    found: dict[tuple[int, int], Interaction] = {}
    for bound in bench.bounds(edits):
        for one in _interactions(bound, edits):
            known = found.get((one.first, one.second), one)
            found[one.first, one.second] = Interaction(
                one.first,
                one.second,
                max(one.overlap, known.overlap),
                max(one.conflict, known.conflict),
            )
    yield from found.values()


def _interactions(bench: Workbench, edits: Sequence[Edit]) -> Iterator[Interaction]:
    keys = [_touched(edit) for edit in edits]
    together = Together(bench, edits)
    for first in range(len(edits) - 1):
        others = [n for n in range(first + 1, len(edits)) if keys[first].isdisjoint(keys[n])]
        if not others:
            continue
        pairs = [_pair(bench, edits[first], edits[second]) for second in others]
        prepared = together.prepare(pairs, ANYTHING)
        out = policy_batches.judge(prepared).out[:, :, scenario_results.COMBINATIONS :].sum(axis=0)
        overlaps, conflicts = out[:, _OVERLAPS].sum(axis=1), out[:, _CONFLICTS].sum(axis=1)
        for scenario in np.flatnonzero(overlaps + conflicts).tolist():
            overlap, conflict = int(overlaps[scenario]), int(conflicts[scenario])
            yield Interaction(first, others[scenario], overlap, conflict)


def _pair(bench: Workbench, first: Edit, second: Edit) -> Versions:
    """Two edits: alone and together."""
    base: dict[int, int] = {}
    coming: dict[Policy, int] = {}
    for edit, alone, without in ((first, _FIRST, _SECOND), (second, _SECOND, _FIRST)):
        for key in _touched(edit):
            if key in bench.numbers:
                base[bench.numbers[key]] = _BASE | without
        coming |= {policy: _TOGETHER | alone for policy in edit.policies_in}
    return base, coming


def _bits(combination: int) -> tuple[bool, bool, bool, bool]:
    base, together, first, second = (bool(combination & bit) for bit in (1, 2, 4, 8))
    return base, together, first, second


_OVERLAPS = [
    n for n in range(16) for base, _, first, second in [_bits(n)] if first == second != base
]
_CONFLICTS = [
    n
    for n in range(16)
    for base, together, first, second in [_bits(n)]
    if together != (not base if base in (not first, not second) else base)
]


# --- what covers a policy --------------------------------------------------------------------


def covers(bench: Workbench, keys: Sequence[PolicyKey]) -> list[Cover]:
    """For each of some policies whose removal changes nothing: why that is so."""
    rules = [Covers(bound.overlay) for bound in bench.bounds(())]
    return [_cover(bench, rules, bench.numbers[key]) for key in keys]


def _cover(bench: Workbench, rules: Sequence[Covers], number: int) -> Cover:
    policies = bench.compiled.policies
    alike = sorted({other for bound in rules for other in bound.alike(number)})
    selects = any(
        members(plane.sets, int(plane.subject[number])).size for plane in bench.overlay.planes
    )
    return Cover(
        policy=policies[number],
        selects_nothing=not selects,
        covered_by=tuple(policies[other] for other in alike),
    )
