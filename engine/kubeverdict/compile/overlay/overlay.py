"""A compiled cluster to which candidates can be added: policies and pods that are not there yet.

In :class:`~kubeverdict.compile.compiled.Plane` ends that no rule distinguishes are one identity,
and rules with the same effect are one row. A candidate may distinguish more, and takes single
policies away. So here the ends are *positions*: pods of one namespace with the same labels and
ports, whatever the policies ask; and the rules that have an end as subject are listed policy by
policy. Labels that a controller writes to distinguish its own pods count only where a policy asks
about them.

Each atom of external address space has two positions, the second its *twin*, which are alike to
every rule of the cluster. A candidate whose blocks cut an atom in two has the twin stand for one
of the parts, so that nothing need be renumbered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.labels import LabelIds, PortNumbers
from kubeverdict.compile.lowering import Questions, Where, lower
from kubeverdict.compile.population import namespace_labels
from kubeverdict.compile.tiers import isolates, tier_numbers
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.collect import Homes, Rules
from kubeverdict.kernels.ports import Runs
from kubeverdict.kernels.reach import View
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Pod
from kubeverdict.model.policy import Direction, Policy, SortKey, Tier

# The order, inside its tier, of what isolation denies: behind every rule.
LAST = 1 << 40


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Lowest and highest address of the pods at each position, for one family.

    ``low`` and ``high`` (positions of pods, 2) are halves, the upper first; where no pod has an
    address of the family, low is above high.
    """

    family: Family
    low: NDArray[np.uint64]
    high: NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class OverlayPlane:
    """One plane. Positions are groups of pods, atoms, hosts where they are distinguished, twins."""

    families: tuple[Family, ...]
    pods: int  # positions below are groups of pods
    hosts: NDArray[np.int32]  # (hosts,) position of each; -1 where it is none
    atoms: NDArray[np.int32]  # (atoms,) position of each atom; -1 of another family
    twins: int  # position of the twin of atom 0
    size: int
    position: NDArray[np.int32]  # (pods of all,) -1 where it has no such address
    member_start: NDArray[np.int64]  # (pods + 1,) pods by position
    member: NDArray[np.int32]
    weight: NDArray[np.int64]  # (size,) pods at each position
    slices: NDArray[np.uint64]  # (bits, words)
    universe: NDArray[np.uint64]  # (words,) positions that can be an end
    outside: NDArray[np.uint64]  # (words,) those of them that are no pods
    sets: Sets
    ingress: Rules
    egress: Rules
    ingress_by_peer: View  # merged rules of the base, listed by source, about destinations
    egress_by_peer: View  # the same, listed by destination, about sources
    subject: NDArray[np.int32]  # (policies,) set of the positions that each selects
    labels: LabelIds
    first: NDArray[np.int64]  # (namespaces + 1,) positions of each namespace
    ports: NDArray[np.int32]  # (pods,) port set of each position
    as_subject: NDArray[np.int32]  # (pods,) -1 where a group is not selected as pods
    as_peer: NDArray[np.int32]  # (pods,) the position that a group is, as a peer
    spans: tuple[Spans, ...]
    homes: Homes

    @property
    def words(self) -> int:
        return (self.size + 63) >> 6


@dataclass(frozen=True, eq=False)
class Overlay:
    """A compiled cluster whose planes take candidates."""

    compiled: CompiledPolicy
    planes: tuple[OverlayPlane, ...]
    pods: Sequence[Pod]  # those of the cluster that policies manage, then visitors
    visitors: NDArray[np.int64]  # (visitors,) their places in pods; -1 where policies do not
    workloads: NDArray[np.int32]  # (pods,) number of the workload of each
    runs: Runs
    namespaces: Mapping[str, int]
    namespace_labels: LabelIds
    port_sets: tuple[PortNumbers, ...]
    directions: NDArray[np.uint8]  # (policies,) a bit for each direction that it judges
    first_rule: NDArray[np.int64]  # (policies + 1,) rule ids

    def numbers_of(self, namespace: str) -> list[int]:
        """The numbers of a namespace, those of visitors with other labels included."""
        return [
            number
            for name, number in self.namespaces.items()
            if name.partition("/")[0] == namespace
        ]

    @cached_property
    def interleaved(self) -> bool:
        """Whether a rule of the cluster has a precedence of its own."""
        return any(ref.rule.precedence is not None for ref in self.compiled.rules)

    @cached_property
    def tiers(self) -> dict[Tier, int]:
        """Numbers of tiers."""
        return tier_numbers(self.compiled.policies)

    @cached_property
    def sort_keys(self) -> list[SortKey]:
        return [policy.sort_key for policy in self.compiled.policies]

    @cached_property
    def labels_of_namespaces(self) -> dict[str, dict[str, str]]:
        return namespace_labels(self.compiled.cluster)

    @cached_property
    def atom_starts(self) -> dict[Family, list[int]]:
        """Where the atoms of each family start."""
        space = self.compiled.addresses
        return {
            4: space.ipv4.tolist(),
            6: [upper << 64 | lower for upper, lower in space.ipv6.tolist()],
        }

    @cached_property
    def questions(self) -> Questions:
        return lower(self.compiled.policies, self.compiled.at_least)


def directions_of(policy: Policy) -> int:
    """A bit for each direction that a policy judges for its subjects."""
    ruled = {rule.direction for rule in policy.rules}
    return sum(1 << one for one in Direction if one in ruled or isolates(policy, one))


def where(policy: Policy) -> Where:
    """Where the subjects of a policy are."""
    return policy.namespace if policy.namespace is not None else policy.namespaces
