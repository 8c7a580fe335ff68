"""Many scenarios against one cluster.

A scenario that changes policies only, or pods only, is judged over the overlay of the compiled
base, in a batch with others; any other by compiling the changed cluster as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from functools import cached_property
from time import perf_counter

from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compilation
from kubeverdict.compile.incremental.after import compiled_after, is_worth_following
from kubeverdict.compile.incremental.editable import CannotEdit, Editable
from kubeverdict.compile.overlay.making import make_overlay
from kubeverdict.compile.overlay.overlay import Overlay
from kubeverdict.errors import KubeverdictError
from kubeverdict.evaluate.scenarios import pod_batches, policy_batches, recompile
from kubeverdict.evaluate.scenarios.outcome import ANYTHING, Focus, Outcome
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.edit import Edit, PolicyKey, endpoints_key, policy_key
from kubeverdict.model.policy import Policy
from kubeverdict.model.profile import PROFILES

BEFORE, AFTER = 1, 2

# Bytes, see needed_memory.
_PROCESS, _PER_POD, _PER_POLICY, _PER_RULE = 200 << 20, 6_000, 6_000, 2_000

__all__ = ["Focus", "Outcome", "Workbench", "evaluate", "workbench"]


@dataclass(frozen=True, eq=False)
class Workbench:
    """A compiled cluster made ready for scenarios. Threads may share it."""

    compiled: CompiledPolicy
    overlay: Overlay

    @cached_property
    def least(self) -> Workbench:
        """The same for what is allowed at least. Costs something where rules of the cluster are
        conditional."""
        if self.compiled.least:
            return workbench(self.compiled.bound(at_least=True))
        compiled = dataclass_replace(self.compiled, at_least=True)
        return Workbench(compiled, dataclass_replace(self.overlay, compiled=compiled))

    def bounds(self, edits: Iterable[Edit]) -> tuple[Workbench, ...]:
        """The bounds in which edits have to be judged: what is allowed at most and, where rules
        are conditional, at least."""
        both = self.compiled.least or any(
            rule.condition for edit in edits for policy in edit.policies_in for rule in policy.rules
        )
        return (self, self.least) if both else (self,)

    @cached_property
    def numbers(self) -> dict[PolicyKey, int]:
        """The place of each policy in ``compiled.policies``."""
        return {policy_key(policy): i for i, policy in enumerate(self.compiled.policies)}

    @cached_property
    def _policies(self) -> frozenset[PolicyKey]:
        """As they are written: a CNI may enforce fewer."""
        return frozenset(map(policy_key, self.compiled.cluster.policies))

    @cached_property
    def _pods(self) -> frozenset[tuple[str, str]]:
        return frozenset((pod.namespace, pod.name) for pod in self.compiled.cluster.pods)

    @cached_property
    def _services(self) -> frozenset[tuple[str, str]]:
        return frozenset((one.namespace, one.name) for one in self.compiled.cluster.services)

    def missing(self, edit: Edit) -> str:
        """What ``edit`` takes out and the cluster has not, in a sentence; empty where there is
        no such thing. A profile that does not exist is missing too."""
        cluster = self.compiled.cluster
        gone: list[str] = []
        if edit.policies_out:
            gone += [
                "/".join(part for part in key if part)
                for key in edit.policies_out
                if key not in self.numbers and key not in self._policies
            ]
        if edit.pods_out:
            gone += [f"Pod/{'/'.join(key)}" for key in edit.pods_out if key not in self._pods]
        if edit.services_out:
            gone += [
                f"Service/{'/'.join(key)}" for key in edit.services_out if key not in self._services
            ]
        if edit.endpoints_out:
            lists = set(map(endpoints_key, cluster.endpoints))
            gone += ["/".join(key) for key in edit.endpoints_out if key not in lists]
        if edit.namespaces_out:
            names = {one.name for one in cluster.namespaces}
            gone += [f"Namespace/{name}" for name in edit.namespaces_out if name not in names]
        if edit.nodes_out:
            names = {one.name for one in cluster.nodes}
            gone += [f"Node/{name}" for name in edit.nodes_out if name not in names]
        if edit.profile and edit.profile not in PROFILES:
            return f"there is no CNI profile {edit.profile}: {', '.join(PROFILES)}"
        return f"cannot take out what the cluster has not: {', '.join(gone)}" if gone else ""

    def after(self, edit: Edit) -> CompiledPolicy:
        """The cluster after ``edit``, compiled: by what it touches, where that can be followed.
        Raises KubeverdictError where the cluster cannot be compiled."""
        editable = self._editable if is_worth_following(self.compiled, edit) else None
        copy = None if editable is None else editable.copy()
        return compiled_after(self.compiled, copy, edit)

    @cached_property
    def _editable(self) -> Editable | None:
        """What changes of the cluster start from; None where they cannot be followed."""
        compiled = self.compiled
        try:
            return Editable(compilation(compiled.cluster, compiled.profile, static=compiled.static))
        except CannotEdit:
            return None

    @cached_property
    def _on_hosts(self) -> frozenset[tuple[str, str]]:
        """Pods that are addresses of their nodes."""
        pods = (pod for pod, _ in self.compiled.excluded if pod.host_network)
        return frozenset((pod.namespace, pod.name) for pod in pods)

    def only_moves(self, edit: Edit) -> bool:
        """Whether an edit changes nothing but pods and labels of namespaces, in a way that the
        rules do not depend on."""
        profile = self.compiled.profile
        # Such a CNI looks names of ports up before it knows the pod, so pods change its rules.
        pods = {(pod.namespace, pod.name) for pod in edit.pods_in}
        return not (
            profile.resolves_names_early
            or edit.policies_in
            or edit.policies_out
            or edit.namespaces_out
            or edit.nodes_in
            or edit.nodes_out
            or edit.services_in
            or edit.services_out
            or edit.profile
            or any(pod.host_network or not _is_addressed(pod) for pod in edit.pods_in)
            or not self._on_hosts.isdisjoint(pods.union(edit.pods_out))
        )


def workbench(compiled: CompiledPolicy) -> Workbench:
    """Make ``compiled`` ready for scenarios. Costs about as much as compiling it did."""
    return Workbench(compiled, make_overlay(compiled))


def evaluate(
    workbench: Workbench,
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
    outcomes: list[Outcome | None] = [
        Outcome(edit.name, error=missing) if (missing := workbench.missing(edit)) else None
        for edit in edits
    ]
    batch = policy_batches.PolicyBatch(workbench.compiled)
    moved = pod_batches.PodBatch(workbench.compiled)
    for number, edit in enumerate(edits):
        if outcomes[number] is not None:
            continue
        if only_policies(edit):
            batch.add(number, *switched(workbench, edit))
        elif workbench.only_moves(edit):
            moved.add(number, edit)
    if batch.numbers:
        prepared = [
            policy_batches.prepare(one.overlay, batch, focus) for one in workbench.bounds(edits)
        ]
        found = [policy_batches.judge(one, examples, threads) for one in prepared]
        for scenario, number in enumerate(batch.numbers):
            if prepared[0].beside_base(scenario):
                outcomes[number] = policy_batches.outcome_of(
                    prepared, found, scenario, edits[number].name
                )
    if moved.numbers:
        ready = [pod_batches.prepare(one.overlay, moved, focus) for one in workbench.bounds(())]
        found = [pod_batches.judge(one, examples, threads) for one in ready]
        for scenario, number in enumerate(moved.numbers):
            outcomes[number] = pod_batches.outcome_of(ready, found, scenario, edits[number].name)
    return [
        outcome if outcome is not None else _whole(workbench, edit, focus, examples)
        for edit, outcome in zip(edits, outcomes, strict=True)
    ]


def _is_addressed(pod: Pod) -> bool:
    """Whether the addresses of a pod are such."""
    return all(parse_address(text) is not None for text in pod.addresses)


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
    try:
        new = bench.after(edit)
        found = recompile.outcome(edit.name, bench.compiled, new, focus, examples)
    except KubeverdictError as error:
        return Outcome(edit.name, error=str(error), seconds=perf_counter() - started)
    return replace(found, seconds=perf_counter() - started)


def needed_memory(cluster: Cluster) -> int:
    """Bytes that a process is expected to hold at most while it judges scenarios of ``cluster``.

    A straight line through what was measured on the shapes of the benchmarks; it grows with
    pods, policies and their rules, never with pairs of them.
    """
    rules = sum(len(policy.rules) for policy in cluster.policies)
    return (
        _PROCESS
        + _PER_POD * len(cluster.pods)
        + _PER_POLICY * len(cluster.policies)
        + _PER_RULE * rules
    )
