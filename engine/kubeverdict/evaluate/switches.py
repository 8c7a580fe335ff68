"""Scenarios that switch policies on and off, judged in a batch beside the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.beside import Beside, OpenPlane
from kubeverdict.compile.candidates import Candidates, WithCandidates, add_candidates
from kubeverdict.compile.compiled import CompiledPolicy, Reason, RuleRef, freeze
from kubeverdict.compile.outside import Piece
from kubeverdict.compile.sets import bitmap, offsets
from kubeverdict.evaluate.delta import DeltaCounts
from kubeverdict.evaluate.outcome import ANYTHING, Example, Focus, Judged, Outcome
from kubeverdict.evaluate.whole import range_text
from kubeverdict.kernels import whatif
from kubeverdict.kernels.collect import Ground, Homes, Rules, Scenarios, Scratch, scratch
from kubeverdict.kernels.jit import in_threads
from kubeverdict.kernels.ports import END
from kubeverdict.kernels.reach import View
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Policy
from kubeverdict.model.ports import Protocol

_PROTOCOL = 65536
# Elementary steps of a scenario, roughly: half of what plain Python needs a tenth of a second for.
_WORK = 20_000


class Batch:
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

    beside: Beside
    versions: int
    scenarios: Scenarios
    candidates: Candidates
    grounds: tuple[Ground, ...]
    rows: int  # of candidates, in the scenario that has most

    @property
    def count(self) -> int:
        return self.scenarios.start.size - 1


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What the kernel found, by plane: see ``kernels.whatif`` for the columns."""

    out: NDArray[np.int64]  # (planes, scenarios, COLUMNS)
    opened: NDArray[np.int64]  # (planes, scenarios, examples, EXAMPLE)
    closed: NDArray[np.int64]
    seconds: NDArray[np.float64]  # (scenarios,)


def prepare(beside: Beside, batch: Batch, focus: Focus = ANYTHING) -> Prepared:
    """Compile the candidates of ``batch`` beside the base."""
    candidates = add_candidates(beside, list(batch.candidates))
    lengths = np.array([len(changes) for changes in batch.changes], np.int64)
    flat = [change for changes in batch.changes for change in changes]
    table = np.array(flat, np.int64).reshape(-1, 2)
    scenarios = Scenarios(
        start=offsets(lengths),
        policy=table[:, 0].astype(np.int32),
        version=table[:, 1].astype(np.uint8),
        speaks=candidates.speaks,
    )
    grounds = tuple(
        _ground(beside, plane, added, candidates, focus)
        for plane, added in zip(beside.planes, candidates.planes, strict=True)
    )
    freeze((scenarios, grounds, candidates.planes))
    rows = _most_rows(candidates, scenarios, len(beside.compiled.policies))
    return Prepared(beside, batch.versions, scenarios, candidates, grounds, rows)


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


def _ground(
    beside: Beside, plane: OpenPlane, added: WithCandidates, candidates: Candidates, focus: Focus
) -> Ground:
    in_focus = plane.universe
    if focus.namespaces:
        known = [beside.namespaces[name] for name in focus.namespaces if name in beside.namespaces]
        ranges = [np.arange(plane.first[n], plane.first[n + 1]) for n in known]
        in_focus = bitmap(np.concatenate([np.zeros(0, np.int64), *ranges]), plane.words)
    low, high = 0, END
    if focus.port is not None:
        low = focus.port[0] * _PROTOCOL + focus.port[1]
        high = low + 1
    return Ground(
        sets=added.sets,
        runs=candidates.runs,
        universe=plane.universe,
        outside=plane.outside,
        focus=in_focus,
        weight=plane.weight,
        slices=plane.slices,
        subject=added.subject,
        base=len(beside.compiled.policies),
        low=low,
        high=high,
    )


def judge(prepared: Prepared, examples: int = 0, threads: int | None = None) -> Results:
    """Judge every scenario, in threads."""
    planes, count = len(prepared.grounds), prepared.count
    results = Results(
        out=np.zeros((planes, count, whatif.COLUMNS), np.int64),
        opened=np.zeros((planes, count, examples, whatif.EXAMPLE), np.int64),
        closed=np.zeros((planes, count, examples, whatif.EXAMPLE), np.int64),
        seconds=np.zeros(count),
    )
    kernel = whatif.judge_scenarios.on(count * _WORK)

    def run(first: int, stop: int) -> None:
        started = perf_counter()
        workers = [_worker(prepared, number) for number in range(planes)]
        # A workload that changes in both planes counts once: one scenario is done before the
        # next begins, and the planes share the marks of what was met.
        step = stop - first if planes == 1 else 1
        for begin in range(first, stop, max(1, step)):
            for number, arguments in enumerate(workers):
                work = arguments[-1]._replace(
                    homes_met=workers[0][-1].homes_met,
                    namespaces_met=workers[0][-1].namespaces_met,
                )
                kernel(
                    begin,
                    begin + step,
                    prepared.scenarios,
                    prepared.versions,
                    *arguments[:-1],
                    work,
                    results.out[number],
                    results.opened[number],
                    results.closed[number],
                )
        # All of a slice take the same share of its time.
        results.seconds[first:stop] = (perf_counter() - started) / max(1, stop - first)

    in_threads(run, count, threads if count > 32 else 1)
    return results


_Worker = tuple[Ground, tuple[Rules, Rules], tuple[View, View], Homes, Scratch]


def _worker(prepared: Prepared, number: int) -> _Worker:
    """What the kernel needs to know of a plane, and memory to work in."""
    plane = prepared.beside.planes[number]
    added = prepared.candidates.planes[number]
    ground = prepared.grounds[number]
    sides = (added.ingress, added.egress)
    views = (plane.ingress_by_peer, plane.egress_by_peer)
    work = scratch(ground, sides, views, plane.homes, prepared.versions, prepared.rows)
    return ground, sides, views, plane.homes, work


def beside_base(prepared: Prepared, scenario: int) -> bool:
    """Whether a scenario can be judged beside the base: each of its candidates can, and no two
    of them cut the same addresses."""
    base = len(prepared.beside.compiled.policies)
    start = prepared.scenarios.start
    changed = prepared.scenarios.policy[start[scenario] : start[scenario + 1]]
    cut: set[int] = set()
    for candidate in (changed[changed >= base] - base).tolist():
        if candidate in prepared.candidates.apart:
            return False
        atoms = prepared.candidates.pieces.get(candidate, {}).keys()
        if not cut.isdisjoint(atoms):
            return False
        cut |= atoms
    return True


def outcome(prepared: Prepared, results: Results, scenario: int, name: str) -> Outcome:
    """The outcome of one scenario of the batch."""
    planes = prepared.beside.planes
    out = results.out[:, scenario]
    total = out.sum(axis=0)
    examples = tuple(
        _example(prepared, scenario, number, example, opens)
        for opens, found in ((True, results.opened), (False, results.closed))
        for number in range(len(planes))
        for example in found[number, scenario].tolist()
        if example[whatif.STANDS_FOR]
    )
    return Outcome(
        name=name,
        counts=tuple(
            DeltaCounts(plane.families, *map(int, out[number, : whatif.OUTSIDE_OPENED]))
            for number, plane in enumerate(planes)
        ),
        workloads=int(total[whatif.WORKLOADS]),
        namespaces=int(total[whatif.NAMESPACES]),
        outside_opened=bool(total[whatif.OUTSIDE_OPENED]),
        outside_closed=bool(total[whatif.OUTSIDE_CLOSED]),
        examples=examples,
        seconds=float(results.seconds[scenario]),
        broken=int(out[:, whatif.BROKEN].max()),
    )


def _example(
    prepared: Prepared, scenario: int, number: int, example: list[int], opens: bool
) -> Example:
    planes = prepared.beside.planes
    plane = planes[number]
    source, destination = example[whatif.SOURCE], example[whatif.DESTINATION]
    protocol, port = divmod(example[whatif.PLACE], _PROTOCOL)
    decided = [_decision(prepared, rule) for rule in example[whatif.DECIDED :]]
    return Example(
        opens=opens,
        source=_end(prepared, scenario, plane, source, 0),
        # Where both are of one kind, two pods of it.
        destination=_end(prepared, scenario, plane, destination, int(source == destination)),
        protocol=Protocol(protocol),
        port=port,
        family=plane.families[0] if len(planes) > 1 else None,
        before=Judged(not opens, decided[0], decided[1]),
        after=Judged(opens, decided[2], decided[3]),
    )


def _decision(prepared: Prepared, rule: int) -> RuleRef | Reason:
    known = prepared.beside.compiled.rules
    if rule < 0:
        return Reason(rule)
    return known[rule] if rule < len(known) else prepared.candidates.rules[rule - len(known)]


def _end(
    prepared: Prepared, scenario: int, plane: OpenPlane, position: int, which: int
) -> Pod | str:
    compiled = prepared.beside.compiled
    if position < plane.pods:
        pod: Pod = compiled.pods[plane.member[plane.member_start[position] + which]]
        return pod
    if plane.pods + plane.atoms.size <= position < plane.twins:
        return compiled.hosts[int(np.flatnonzero(plane.hosts == position)[0])]
    twin = position >= plane.twins
    atom = position - (plane.twins if twin else plane.pods)
    pieces = _pieces(prepared, scenario).get(atom)
    return range_text(*(compiled.addresses.interval(atom) if pieces is None else pieces[twin]))


def _pieces(prepared: Prepared, scenario: int) -> dict[int, tuple[Piece, Piece]]:
    """What the candidates of a scenario cut atoms into."""
    base = len(prepared.beside.compiled.policies)
    start = prepared.scenarios.start
    changed = prepared.scenarios.policy[start[scenario] : start[scenario + 1]]
    found: dict[int, tuple[Piece, Piece]] = {}
    for candidate in (changed[changed >= base] - base).tolist():
        found |= prepared.candidates.pieces.get(candidate, {})
    return found
