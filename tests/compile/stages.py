"""The stages of compilation on small clusters, and their numbers under readable names."""

from __future__ import annotations

from collections.abc import Iterable

from kubeverdict.compile.compiler import Compilation, PlaneParts, compilation
from kubeverdict.compile.population import Population
from kubeverdict.compile.sets import members
from kubeverdict.kernels.bits import Sets
from kubeverdict.model.address_text import address_text
from kubeverdict.model.cluster import Cluster, Node
from kubeverdict.model.policy import Policy
from kubeverdict.model.profile import REFERENCE, Profile
from tests.clusters.records import cluster, pod, port

HTTP, ADMIN = port("http", 8080), port("http", 9090)
PODS = (
    pod("shop/web-0", "app=web,hash=1", "10.0.0.1", ports=[HTTP], node="n1"),
    pod("shop/web-1", "app=web,hash=2", "10.0.0.2", ports=[HTTP], node="n2"),
    pod("data/db-0", "app=db", "10.0.1.1", ports=[ADMIN], node="n1"),
    pod("data/agent", "app=agent", "192.168.0.1", host_network=True, node="n1"),
    pod("data/done", "app=db", "10.0.1.9", phase="Succeeded"),
)
NODES = (
    Node("n1", ("192.168.0.1",), {"zone": "a"}),
    Node("n2", ("192.168.0.2",), {"zone": "b"}),
)


def shop(*policies: Policy, nodes: Iterable[Node] = NODES) -> Cluster:
    """Two replicas that differ in a label of their controller, a database, a pod on the host
    network and one that has finished."""
    return cluster(PODS, policies, namespaces={"shop": "team=a", "data": "team=b"}, nodes=nodes)


def made(made_of: Cluster, profile: Profile = REFERENCE) -> Compilation:
    return compilation(made_of, profile)


def only_plane(compiled: Compilation) -> PlaneParts:
    (plane,) = compiled.planes
    return plane


def names(compiled: Compilation, plane: PlaneParts) -> list[str]:
    """What is at each position: the pods of a group, a range of addresses, a host."""
    universe, population = plane.universe, compiled.population
    found = [""] * universe.size
    for end, name in enumerate(end_names(compiled)):
        at = int(universe.of_end[end])
        if at >= 0:
            found[at] = f"{found[at]} {name}".strip()
    for index, (one, _) in enumerate(population.host_pods, start=len(population.pods)):
        found[int(universe.groups.of_member[index])] = f"{one} on host"
    return found


def end_names(compiled: Compilation) -> list[str]:
    """Pods, hosts and intervals of addresses, in the order of ends."""
    population: Population = compiled.population
    space = compiled.compiled.addresses
    intervals = [space.interval(atom) for atom in range(space.atoms)]
    return [
        *map(str, population.pods),
        *(f"host {address}" for address in population.hosts),
        *(address_text(family, [(first, last)]) for family, first, last in intervals),
    ]


def held(sets: Sets, which: int, by_position: list[str]) -> list[str]:
    """The members of a set by their names."""
    return [by_position[at] for at in members(sets, which).tolist()]
