"""The stages of compilation, in order."""

from __future__ import annotations

import numpy as np

from kubeverdict.compile.addresses import block_sets, cut
from kubeverdict.compile.compiled import CompiledPolicy, Plane, freeze
from kubeverdict.compile.dialect import in_force
from kubeverdict.compile.identities import make_plane
from kubeverdict.compile.labels import classify, index_labels
from kubeverdict.compile.lowering import lower
from kubeverdict.compile.population import Population, namespace_labels, populate
from kubeverdict.compile.ports import PortList, cut_ports, port_runs
from kubeverdict.compile.rules import RowMaker
from kubeverdict.compile.uncertain import uncertain_selectors
from kubeverdict.compile.universe import base_sets, locate, make_universe, planes
from kubeverdict.kernels.jit import cache_directory
from kubeverdict.model.bulk import collector_paused
from kubeverdict.model.cluster import Cluster
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
    with collector_paused():
        return compile_populated(
            cluster, populate(cluster, profile, static), profile, static=static
        )


def compile_populated(
    cluster: Cluster, population: Population, profile: Profile, *, static: bool = False
) -> CompiledPolicy:
    """The same with what :func:`populate` made of these pods, nodes and services: for whoever
    compiles them again with other policies."""
    with collector_paused():
        labels_of = namespace_labels(cluster)
        policies, notes = in_force(cluster.policies, profile, population.pods, labels_of)
        questions = lower(policies)

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
        halves = []
        for families in planes(population, atoms):
            universe = make_universe(families, population, kinds, atoms, space, profile)
            base = base_sets(
                universe, questions, kinds, namespace_index, atoms, blocks, population, profile
            )
            maker = RowMaker(base, lists, profile)
            halves.append((universe, *maker.make(questions)))
        ports = cut_ports(lists)
        made: tuple[Plane, ...] = tuple(
            make_plane(universe, rows, ingress_rows, sets, ports, population, space)
            for universe, rows, ingress_rows, sets in halves
        )
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
            uncertain=uncertain_selectors(policies, population, labels_of),
        )
        freeze((compiled.addresses, compiled.ports, compiled.port_runs, compiled.planes))
        return compiled
