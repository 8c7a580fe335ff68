"""Batches in which the policies of several edits are switched together, in four versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.dialect import adapt
from kubeverdict.compile.overlay.candidates import Candidates
from kubeverdict.evaluate.scenarios import policy_batches
from kubeverdict.evaluate.scenarios.outcome import Focus
from kubeverdict.evaluate.scenarios.policy_batches import PolicyBatch, Prepared
from kubeverdict.evaluate.scenarios.workbench import Workbench, workbench
from kubeverdict.model.edit import Edit, PolicyKey, policy_key
from kubeverdict.model.policy import Policy

VERSIONS = 4
Versions = tuple[Mapping[int, int], Mapping[Policy, int]]
"""The versions, as bits, in which policies of the base (by number in ``Workbench.numbers``) and of
the edits are in force; other policies of the base always are."""


class Together:
    """A cluster and the policies of some edits of it.

    These are added to the compiled cluster. Where one of them cannot be (a rule with a precedence
    of its own, a peer that is no set of pods or addresses), or two of them cut the same addresses,
    the cluster is compiled once more with all of them in it, each switched on where it is wanted.
    """

    def __init__(self, bench: Workbench, edits: Sequence[Edit]) -> None:
        self._bench = bench
        self._policies = list(
            dict.fromkeys(policy for edit in edits for policy in edit.policies_in)
        )
        self._candidates: Candidates | None = None
        self._within: _Within | None = None

    def prepare(self, scenarios: Sequence[Versions], focus: Focus) -> Prepared:
        """A batch of ``scenarios``, ready to be judged."""
        if self._within is None:
            batch = PolicyBatch(self._bench.compiled, VERSIONS)
            # All of them, so that they are numbered alike in each batch and compiled once.
            for policy in self._policies:
                batch.candidates.setdefault(policy, len(batch.candidates))
            for number, (base, coming) in enumerate(scenarios):
                batch.add(number, base, coming)
            prepared = policy_batches.prepare(self._bench.overlay, batch, focus, self._candidates)
            if all(map(prepared.beside_base, range(prepared.count))):
                self._candidates = prepared.candidates
                return prepared
            self._within = _Within(self._bench, self._policies)
        return self._within.prepare(scenarios, focus)


class _Within:
    """A cluster with more policies in it, which are in force where a scenario says so."""

    def __init__(self, bench: Workbench, policies: Sequence[Policy]) -> None:
        old = bench.compiled
        cluster = replace(old.cluster, policies=(*old.cluster.policies, *policies))
        made = workbench(compile_cluster(cluster, old.profile, static=old.static))
        self._bench = made.least if old.at_least else made
        # Several may have one key: that of the base comes first, then the others in their order.
        places: dict[PolicyKey, list[int]] = {}
        for place, policy in enumerate(self._bench.compiled.policies):
            places.setdefault(policy_key(policy), []).append(place)
        self._base = {number: places[key].pop(0) for key, number in bench.numbers.items()}
        enforced = adapt(policies, old.profile, old.pods, bench.overlay.labels_of_namespaces)
        self._coming = {
            policy: places[policy_key(policy)].pop(0)
            for policy, known in zip(policies, enforced, strict=True)
            if known is not None
        }

    def prepare(self, scenarios: Sequence[Versions], focus: Focus) -> Prepared:
        batch = PolicyBatch(self._bench.compiled, VERSIONS)
        for number, (base, coming) in enumerate(scenarios):
            versions = {self._base[one]: bits for one, bits in base.items()}
            versions |= {place: coming.get(one, 0) for one, place in self._coming.items()}
            batch.add(number, versions, {})
        return policy_batches.prepare(self._bench.overlay, batch, focus)
