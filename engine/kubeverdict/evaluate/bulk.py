"""Many scenarios against one cluster.

A scenario that changes policies only, or pods only, is judged beside the compiled base, in a
batch with others; any other by compiling the changed cluster as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

from msgspec.structs import replace

from kubeverdict.compile.beside import Beside, make_beside
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import KubeverdictError
from kubeverdict.evaluate import whole
from kubeverdict.evaluate.outcome import ANYTHING, Focus, Outcome
from kubeverdict.evaluate.switches import Batch, beside_base, judge, outcome, prepare
from kubeverdict.model.edit import Edit, PolicyKey, edited, policy_key
from kubeverdict.model.policy import Policy
from kubeverdict.model.profile import PROFILES

BEFORE, AFTER = 1, 2

__all__ = ["Focus", "Outcome", "Workbench", "evaluate", "workbench"]


@dataclass(frozen=True, eq=False)
class Workbench:
    """A compiled cluster made ready for scenarios. Threads may share it."""

    compiled: CompiledPolicy
    beside: Beside

    @cached_property
    def numbers(self) -> dict[PolicyKey, int]:
        """The place of each policy in ``compiled.policies``."""
        return {policy_key(policy): i for i, policy in enumerate(self.compiled.policies)}


def workbench(compiled: CompiledPolicy) -> Workbench:
    """Make ``compiled`` ready for scenarios. Costs about as much as compiling it did."""
    return Workbench(compiled, make_beside(compiled))


def evaluate(
    bench: Workbench,
    edits: Sequence[Edit],
    *,
    focus: Focus = ANYTHING,
    examples: int = 3,
    threads: int | None = None,
) -> list[Outcome]:
    """What each of ``edits`` changes in the cluster, one outcome each, in their order.

    ``examples`` is how many connections that open, and how many that close, each outcome shows.
    An edit that cannot be judged has an outcome that says why.
    """
    outcomes: list[Outcome | None] = [None] * len(edits)
    batch = Batch(bench.compiled)
    for number, edit in enumerate(edits):
        if only_policies(edit):
            batch.add(number, *switched(bench, edit))
    prepared = prepare(bench.beside, batch, focus)
    results = judge(prepared, examples, threads)
    for scenario, number in enumerate(batch.numbers):
        if beside_base(prepared, scenario):
            outcomes[number] = outcome(prepared, results, scenario, edits[number].name)
    return [
        found if found is not None else _whole(bench, edit, focus, examples)
        for edit, found in zip(edits, outcomes, strict=True)
    ]


def only_policies(edit: Edit) -> bool:
    """Whether an edit changes nothing but policies, as far as connections of pods go."""
    return not (
        edit.pods_in
        or edit.pods_out
        or edit.namespaces_in
        or edit.namespaces_out
        or edit.nodes_in
        or edit.nodes_out
        or edit.services_in
        or edit.services_out
        or edit.profile
    )


def switched(bench: Workbench, edit: Edit) -> tuple[dict[int, int], dict[Policy, int]]:
    """The versions in which the policies of an edit are in force: before it, or after it."""
    coming = {policy_key(policy): policy for policy in edit.policies_in}
    gone = {*edit.policies_out, *coming}
    off = {bench.numbers[key]: BEFORE for key in gone if key in bench.numbers}
    return off, {policy: AFTER for policy in coming.values()}


def _whole(bench: Workbench, edit: Edit, focus: Focus, examples: int) -> Outcome:
    started = perf_counter()
    compiled = bench.compiled
    profile = PROFILES[edit.profile] if edit.profile else compiled.profile
    try:
        changed = edited(compiled.cluster, edit)
        new = compile_cluster(changed, profile, static=compiled.static)
        found = whole.outcome(edit.name, compiled, new, focus, examples)
    except KubeverdictError as error:
        return Outcome(edit.name, error=str(error), seconds=perf_counter() - started)
    return replace(found, seconds=perf_counter() - started)
