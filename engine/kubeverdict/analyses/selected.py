"""How many pods policies and their rules select: what an editor shows beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.compile.sets import ALL, members
from kubeverdict.model.cluster import Namespace, Pod
from kubeverdict.model.policy import Policy, Rule
from kubeverdict.model.sources import field_text

PolicyTitle = tuple[str, str]
"""The kind of a policy, and its name with the namespace."""


class RuleSelects(msgspec.Struct, frozen=True):
    """``pods`` are those of the other end that a rule is about; ``addresses``: also addresses
    that are no pod's. ``line`` is where the rule is written, ``field`` its path there."""

    field: str
    line: int
    direction: str
    action: str
    pods: int
    addresses: bool


class PolicySelects(msgspec.Struct, frozen=True):
    """``pods`` are the subject of a policy; ``line`` is where that is written."""

    kind: str
    name: str
    file: str
    line: int
    pods: int
    rules: tuple[RuleSelects, ...]


class PodKinds:
    """The pods of a cluster by namespace and labels, counted: what selectors are asked about."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter(
            (pod.namespace, tuple(pod.labels.items())) for pod in pods
        )
        self._in: dict[str, list[tuple[Mapping[str, str], int]]] = {}
        for (namespace, labels), count in counts.items():
            self._in.setdefault(namespace, []).append((dict(labels), count))

    def subjects(self, policy: Policy, namespaces: Iterable[Namespace]) -> int:
        """How many pods a policy selects."""
        if policy.namespace is not None:
            names = [policy.namespace]
        else:
            names = [one.name for one in namespaces if policy.namespaces.matches(one.labels)]
        return sum(
            count
            for name in names
            for labels, count in self._in.get(name, ())
            if policy.pods.matches(labels)
        )


def selects(
    compiled: CompiledPolicy, kinds: PodKinds, policies: Collection[PolicyTitle]
) -> tuple[PolicySelects, ...]:
    """What the policies of these kinds and names select, in evaluation order; ``kinds`` are of
    the pods of ``compiled``.

    Pods are counted in the plane where most are: both address families select the same pods,
    but for those that have no address of one. A policy whose rules this CNI does not apply
    selects as many pods as the rules that are left say.
    """
    found = [policy for policy in compiled.policies if (policy.kind, str(policy)) in policies]
    wanted = {id(policy) for policy in found}
    numbers: dict[int, list[int]] = {}
    for number, ref in enumerate(compiled.rules):
        if id(ref.policy) in wanted:
            numbers.setdefault(id(ref.policy), []).append(number)
    counters = [_Counter(plane) for plane in compiled.planes]
    return tuple(
        _of_policy(
            compiled,
            policy,
            kinds.subjects(policy, compiled.cluster.namespaces),
            numbers.get(id(policy), []),
            counters,
        )
        for policy in found
    )


def _of_policy(
    compiled: CompiledPolicy,
    policy: Policy,
    subjects: int,
    numbers: list[int],
    counters: list[_Counter],
) -> PolicySelects:
    source = policy.source
    rules: dict[int, tuple[Rule, list[int]]] = {}
    for number in numbers:
        rule = compiled.rules[number].rule
        rules.setdefault(id(rule), (rule, []))[1].append(number)
    return PolicySelects(
        policy.kind,
        str(policy),
        source.file,
        source.origin.line_of((*source.path, *policy.subject_field)),
        subjects,
        tuple(_of_rule(rule, ids, counters) for rule, ids in rules.values()),
    )


def _of_rule(rule: Rule, numbers: list[int], counters: list[_Counter]) -> RuleSelects:
    counted = [counter.peers(numbers) for counter in counters]
    return RuleSelects(
        field_text(rule.source.path),
        rule.source.line,
        rule.direction.word,
        rule.action.name.lower(),
        max(pods for pods, _ in counted),
        any(addresses for _, addresses in counted),
    )


class _Counter:
    """Counts the pods of sets of one plane."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def peers(self, rules: list[int]) -> tuple[int, bool]:
        """How many pods rules have as peers, and whether addresses are among them."""
        plane = self._plane
        held = np.zeros(plane.size, np.bool_)
        for place in np.flatnonzero(np.isin(plane.rows.rule, rules)).tolist():
            which = int(plane.rows.peer[place])
            if which == ALL:
                held[:] = True
            held[members(plane.sets, which)] = True
        return self._weight(held), bool(held[plane.external :].any())

    def _weight(self, held: NDArray[np.bool_]) -> int:
        pods = self._plane.pods
        return int(self._plane.weight[:pods][held[:pods]].sum())
