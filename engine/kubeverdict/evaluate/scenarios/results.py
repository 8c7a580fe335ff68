"""What kernels find about scenarios, put into outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Protocol, TypeVar

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from kubeverdict.compile.compiled import Reason, RuleRef
from kubeverdict.compile.overlay.blocks import Piece
from kubeverdict.compile.overlay.overlay import Overlay, OverlayPlane
from kubeverdict.compile.sets import bitmap
from kubeverdict.evaluate.changed_rows import DeltaCounts
from kubeverdict.evaluate.scenarios.outcome import Example, Focus, Judged, Outcome
from kubeverdict.kernels import scenario_results
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.collect import Ground, Rules, RuleScratch
from kubeverdict.kernels.jit import in_threads
from kubeverdict.kernels.ports import END, Runs
from kubeverdict.model import ports
from kubeverdict.model.address_text import address_text
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Action

PROTOCOL = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What the kernel found, by plane: see ``kernels.scenario_results`` for the columns."""

    out: NDArray[np.int64]  # (planes, scenarios, COLUMNS)
    opened: NDArray[np.int64]  # (planes, scenarios, examples, EXAMPLE)
    closed: NDArray[np.int64]
    seconds: NDArray[np.float64]  # (scenarios,)


def no_results(planes: int, count: int, examples: int) -> Results:
    """Results to be filled in."""
    return Results(
        out=np.zeros((planes, count, scenario_results.COLUMNS), np.int64),
        opened=np.zeros((planes, count, examples, scenario_results.EXAMPLE), np.int64),
        closed=np.zeros((planes, count, examples, scenario_results.EXAMPLE), np.int64),
        seconds=np.zeros(count),
    )


def judge_all(
    kernel: Callable[..., None],
    results: Results,
    threads: int | None,
    planes: Callable[[], list[tuple[Any, ...]]],
) -> None:
    """Judge every scenario, in threads. ``planes`` makes what the kernel needs to know of each
    plane, and the memory for a thread to work in last."""

    def run(first: int, stop: int) -> None:
        started = perf_counter()
        workers = planes()
        # A workload that changes in several planes counts once.
        met = {name: getattr(workers[0][-1], name) for name in ("homes_met", "namespaces_met")}
        workers = [(*about, work._replace(**met)) for *about, work in workers]
        for begin in range(first, stop, scenario_results.TOGETHER):
            end = min(begin + scenario_results.TOGETHER, stop)
            for marks in met.values():
                marks.fill(0)
            for number, arguments in enumerate(workers):
                kernel(
                    begin,
                    end,
                    *arguments,
                    results.out[number],
                    results.opened[number],
                    results.closed[number],
                )
        # All of a slice take the same share of its time.
        results.seconds[first:stop] = (perf_counter() - started) / max(1, stop - first)

    count = results.seconds.size
    if results.out.shape[0]:
        in_threads(run, count, threads if count > 32 else 1)


def ground(
    overlay: Overlay,
    plane: OverlayPlane,
    sets: Sets,
    runs: Runs,
    subject: NDArray[np.int32],
    focus: Focus,
) -> Ground:
    """What the scenarios of a batch stand on, in one plane."""
    in_focus = plane.universe
    if focus.namespaces:
        ranges = [
            np.arange(plane.first[number], plane.first[number + 1])
            for name in focus.namespaces
            for number in overlay.numbers_of(name)
        ]
        in_focus = bitmap(np.concatenate([np.zeros(0, np.int64), *ranges]), plane.words)
    low, high = 0, END
    if focus.port is not None:
        low = focus.port[0] * PROTOCOL + focus.port[1]
        high = low + 1
    return Ground(
        sets=sets,
        runs=runs,
        universe=plane.universe,
        outside=plane.outside,
        focus=in_focus,
        weight=plane.weight,
        slices=plane.slices,
        subject=subject,
        base=len(overlay.compiled.policies),
        low=low,
        high=high,
    )


def outcome(
    overlay: Overlay,
    results: Results,
    scenario: int,
    name: str,
    example: Callable[[int, list[int], bool], Example],
) -> Outcome:
    """The outcome of one scenario. ``example(plane, columns, opens)`` makes an example."""
    planes = overlay.planes
    out = results.out[:, scenario]
    total = out.sum(axis=0)

    def examples() -> Iterator[Example]:
        for opens, found in ((True, results.opened), (False, results.closed)):
            for plane in range(len(planes)):
                for columns in found[plane, scenario].tolist():
                    if columns[scenario_results.STANDS_FOR]:
                        yield example(plane, columns, opens)

    return Outcome(
        name=name,
        counts=tuple(
            DeltaCounts(plane.families, *map(int, out[number, : scenario_results.OUTSIDE_OPENED]))
            for number, plane in enumerate(planes)
        ),
        workloads=int(total[scenario_results.WORKLOADS]),
        namespaces=int(total[scenario_results.NAMESPACES]),
        outside_opened=bool(total[scenario_results.OUTSIDE_OPENED]),
        outside_closed=bool(total[scenario_results.OUTSIDE_CLOSED]),
        examples=tuple(examples()),
        seconds=float(results.seconds[scenario]),
        broken=int(out[:, scenario_results.BROKEN].max(initial=0)),
        outside_broken=bool(total[scenario_results.OUTSIDE_BROKEN]),
    )


def between(most: Outcome, least: Outcome | None = None) -> Outcome:
    """An outcome from those of one bound or both."""
    return replace(most, at_least=least) if least is not None else most


class InBound(Protocol):
    """A batch that was prepared in one of the bounds that conditional rules make."""

    @property
    def overlay(self) -> Overlay: ...


Prepared_ = TypeVar("Prepared_", bound=InBound)


def outcome_in_bounds(
    bounds: Sequence[Prepared_],
    results: Sequence[Results],
    scenario: int,
    name: str,
    example: Callable[[Sequence[Prepared_], int, list[int], bool], Example],
) -> Outcome:
    """The outcome of one scenario of a batch, which was prepared and judged in one bound, what is
    allowed at most, or in both. ``example(bounds, plane, columns, opens)`` makes an example of the
    first of some bounds."""

    def of_bound(number: int) -> Outcome:
        order = (bounds[number], *bounds[:number], *bounds[number + 1 :])
        return outcome(
            bounds[number].overlay, results[number], scenario, name, partial(example, order)
        )

    return between(*map(of_bound, range(len(bounds))))


def example_of(
    overlay: Overlay,
    plane: OverlayPlane,
    columns: Sequence[int],
    opens: bool,
    find: Callable[[int, int], Pod | str],
    verdicts: tuple[Judged | None, Judged | None],
) -> Example:
    """An example in words of the input. ``find(position, which)`` is end number ``which`` of those
    at a position; ``verdicts`` are before and after."""
    source = columns[scenario_results.SOURCE]
    destination = columns[scenario_results.DESTINATION]
    protocol, port = divmod(columns[scenario_results.PLACE], PROTOCOL)
    return Example(
        opens=opens,
        source=find(source, 0),
        # Where both are of one kind, two pods of it.
        destination=find(destination, int(source == destination)),
        protocol=ports.Protocol(protocol),
        port=port,
        family=plane.families[0] if len(overlay.planes) > 1 else None,
        before=verdicts[0],
        after=verdicts[1],
    )


def decided(
    sides: tuple[Rules, Rules],
    ends: tuple[int, int],
    place: int,
    version: int,
    changes: NDArray[np.int32],
    standing: Ground,
    work: RuleScratch,
) -> tuple[int, int]:
    """What decides egress and ingress between two positions in a version: rule ids or reasons."""
    ingress, egress = sides
    source, destination = ends
    decide = scenario_results.decide.on(ingress.table.size + egress.table.size)
    return (
        int(decide(egress, source, destination, place, version, changes, standing, work)),
        int(decide(ingress, destination, source, place, version, changes, standing, work)),
    )


def judged(
    allowed: bool, own: Sequence[RuleRef | Reason], other: Sequence[RuleRef | Reason], most: bool
) -> Judged:
    """A verdict from what decides egress and ingress, in a bound (``most`` or not) and, if there
    is one, in the other."""
    egress, ingress = own
    if not other or all(_allows(one, at_least=most) for one in other) == allowed:
        return Judged(allowed, egress, ingress)
    return Judged(allowed, egress, ingress, other=Judged(not allowed, other[0], other[1]))


def _allows(decided: RuleRef | Reason, at_least: bool) -> bool:
    if isinstance(decided, RuleRef):
        return decided.rule.counted(at_least) is Action.ALLOW
    return decided not in (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS)


def end(
    overlay: Overlay,
    plane: OverlayPlane,
    position: int,
    which: int,
    pieces: dict[int, tuple[Piece, Piece]],
) -> Pod | str:
    """What is at a position: pod number ``which`` of it, or addresses."""
    compiled = overlay.compiled
    if position < plane.pods:
        pod: Pod = overlay.pods[plane.member[plane.member_start[position] + which]]
        return pod
    if plane.pods + plane.atoms.size <= position < plane.twins:
        return compiled.hosts[int(np.flatnonzero(plane.hosts == position)[0])]
    twin = position >= plane.twins
    atom = position - (plane.twins if twin else plane.pods)
    parts = pieces.get(atom)
    family, first, last = compiled.addresses.interval(atom) if parts is None else parts[twin]
    return address_text(family, [(first, last)])
