"""From scenarios to reports, in pieces that can be computed anywhere.

It connects packages that do not import each other: it brings together what reads scenarios, what
evaluates them and what reports on them. The command line calls it in its own process, a worker in
another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from kubeverdict.analyses.bulk import ScenarioReport, redundancies, report
from kubeverdict.errors import KubeverdictError
from kubeverdict.evaluate.scenarios.outcome import ANYTHING, Focus
from kubeverdict.evaluate.scenarios.workbench import evaluate
from kubeverdict.manifests.scenarios import Scenario
from kubeverdict.model.edit import Edit
from kubeverdict.model.unevaluated import merged
from kubeverdict.session.version import Version

# Pods of scenarios are added to the compiled base once a piece, so pieces are large.
PIECE = 2048


class ReportOptions(msgspec.Struct, frozen=True):
    """What is wanted of each scenario."""

    focus: Focus = ANYTHING
    examples: int = 3


def pieces(scenarios: Iterable[Scenario], size: int = PIECE) -> Iterator[list[Scenario]]:
    """The scenarios, ``size`` at a time."""
    left = iter(scenarios)
    while piece := list(islice(left, size)):
        yield piece


def reports(
    version: Version,
    scenarios: Sequence[Scenario],
    options: ReportOptions,
    threads: int | None = None,
) -> list[ScenarioReport]:
    """A report for each scenario, in their order; what is wrong with one stays with it."""
    edits: list[Edit] = []
    failed: dict[int, str] = {}
    for number, scenario in enumerate(scenarios):
        try:
            edits.append(version.resolver.edit(scenario))
        except KubeverdictError as error:
            failed[number] = str(error)
            edits.append(Edit(scenario.name))
    outcomes = evaluate(
        version.workbench, edits, focus=options.focus, examples=options.examples, threads=threads
    )
    known = version.compiled.unevaluated
    found = [
        report(outcome, merged(known, edit.unevaluated) if edit.unevaluated else known)
        for outcome, edit in zip(outcomes, edits, strict=True)
    ]
    single = [number for number, edit in enumerate(edits) if _takes_out_one(edit)]
    explained = redundancies(
        version.workbench, [found[n] for n in single], [edits[n].policies_out[0] for n in single]
    )
    for number, one in zip(single, explained, strict=True):
        found[number] = one
    for number, message in failed.items():
        found[number] = ScenarioReport(scenarios[number].name, error=message)
    return found


def _takes_out_one(edit: Edit) -> bool:
    """Whether an edit does nothing but take a single policy out."""
    return len(edit.policies_out) == 1 and edit == Edit(edit.name, edit.policies_out)
