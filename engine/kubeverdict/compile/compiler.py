"""The stages of compilation, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import block_sets, cut
from kubeverdict.compile.compiled import CompiledPolicy, Plane, freeze
from kubeverdict.compile.dialect import in_force
from kubeverdict.compile.identities import make_plane
from kubeverdict.compile.labels import classify, index_labels
from kubeverdict.compile.lowering import Questions, lower
from kubeverdict.compile.peers import with_others
from kubeverdict.compile.population import Population, namespace_labels, populate
from kubeverdict.compile.ports import PortList, cut_ports, port_runs
from kubeverdict.compile.rules import Base, Derived, RowMaker, rows_of, sets_of_uncounted
from kubeverdict.compile.uncertain import missing_tiers, sets_as_namespaces, uncertain_selectors
from kubeverdict.compile.universe import (
    Atoms,
    Universe,
    base_sets,
    locate,
    make_universe,
    planes,
)
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.jit import cache_directory
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.profile import REFERENCE, Profile

# From about this many pods on, some kernel is worth compiling.
_LARGE = 2_000


def kernels_missing(cluster: Cluster) -> bool:
    """Whether the first questions about ``cluster`` have to wait for kernels to be compiled."""
    return len(cluster.pods) >= _LARGE and not cache_directory().exists()


def compile_cluster(
    cluster: Cluster, profile: Profile = REFERENCE, *, static: bool = False
) -> CompiledPolicy:
    """Compile the policies of ``cluster`` as ``profile`` has them.

    ``static`` keeps pods that have a status and no address yet: they are judged by their labels
    and no ipBlock matches them. Raises UsageError for an address that is not one.
    """
    with collector_paused():  # until what the stages made on the way is gone
        return compilation(cluster, profile, static=static).compiled


def compile_populated(
    cluster: Cluster, population: Population, profile: Profile, *, static: bool = False
) -> CompiledPolicy:
    """The same with what :func:`populate` made of these pods, nodes and services: for whoever
    compiles them again with other policies."""
    with collector_paused():
        return _compilation(cluster, population, profile, static).compiled


@dataclass(frozen=True, slots=True, eq=False)
class PlaneParts:
    """What one plane was made from, by position."""

    universe: Universe
    base: Base
    derived: Derived
    table: NDArray[np.int64]  # (rows, 8) rows of set numbers, see compile.rules.Row
    sets: Sets


@dataclass(frozen=True, slots=True, eq=False)
class Compilation:
    """A compiled cluster, and what the stages made on the way: what a change of the cluster
    starts from."""

    compiled: CompiledPolicy
    population: Population
    questions: Questions
    labels_of: Mapping[str, Mapping[str, str]]  # of namespaces, in order of name
    lists: dict[PortList | None, int]
    atoms: Atoms
    planes: tuple[PlaneParts, ...]
    least: tuple[Compilation, ...] = ()  # of the other bound, see ``CompiledPolicy.least``


def compilation(cluster: Cluster, profile: Profile, *, static: bool = False) -> Compilation:
    """As :func:`compile_cluster`, with what it made on the way."""
    with collector_paused():
        return _compilation(cluster, populate(cluster, profile, static), profile, static)


def _compilation(
    cluster: Cluster,
    population: Population,
    profile: Profile,
    static: bool,
    at_least: bool = False,
) -> Compilation:
    labels_of = namespace_labels(cluster)
    policies, notes = in_force(cluster.policies, profile, population.pods, labels_of)
    questions = lower(policies, at_least)

    space = cut(questions.blocks)
    blocks = block_sets(space, list(questions.blocks))
    atoms = locate(population, space, blocks, profile)

    namespaces = {name: number for number, name in enumerate(labels_of)}
    kinds = classify(
        population, namespaces, questions.label_keys(), frozenset(questions.named), profile
    )
    namespace_index = index_labels(
        [labels.items() for labels in labels_of.values()],
        np.arange(len(labels_of), dtype=np.int32),
    )

    lists: dict[PortList | None, int] = {None: 0}
    parts: list[PlaneParts] = []
    for families in planes(population, atoms):
        universe = make_universe(families, population, kinds, atoms, space, questions, profile)
        base = base_sets(
            universe, questions, kinds, namespace_index, atoms, blocks, population, profile
        )
        base = with_others(base, questions, universe, population)
        maker = RowMaker(base, lists, profile)
        table, sets = maker.table(questions)
        parts.append(PlaneParts(universe, base, maker.derived, table, sets))
    ports = cut_ports(lists)
    made: tuple[Plane, ...] = tuple(
        make_plane(
            part.universe,
            *rows_of(part.table, part.sets),
            part.sets,
            ports,
            population,
            space,
            sets_of_uncounted(part.table, part.sets),
        )
        for part in parts
    )
    least: tuple[Compilation, ...] = ()
    if questions.conditional and not at_least:
        least = (_compilation(cluster, population, profile, static, at_least=True),)
    compiled = CompiledPolicy(
        cluster=cluster,
        profile=profile,
        static=static,
        pods=population.pods,
        excluded=population.excluded,
        hosts=tuple(str(address) for address in population.hosts),
        services=population.services,
        policies=policies,
        rules=tuple(questions.rules),
        notes=notes,
        addresses=space,
        ports=ports,
        port_runs=port_runs(lists),
        planes=made,
        pod_ids=population.pod_ids,
        uncertain=(
            *missing_tiers(policies),
            *sets_as_namespaces(policies, cluster.references.address_sets, labels_of, profile),
            *uncertain_selectors(policies, population, labels_of),
        ),
        at_least=at_least,
        least=tuple(bound.compiled for bound in least),
    )
    freeze((compiled.addresses, compiled.ports, compiled.port_runs, compiled.planes))
    return Compilation(
        compiled, population, questions, labels_of, lists, atoms, tuple(parts), least
    )
