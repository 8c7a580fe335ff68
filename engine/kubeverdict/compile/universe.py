"""Stage 3: one plane's positions, and the sets that rules are made of.

Positions are numbered groups of pods first, then address atoms, then hosts where the profile
distinguishes hosts from other addresses. They are the raw material of identities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.addresses import atoms_of_ipv4, atoms_of_ipv6
from kubeverdict.compile.compiled import AddressSpace
from kubeverdict.compile.labels import Groups, Kinds, LabelIds, group, index_labels
from kubeverdict.compile.lowering import Questions
from kubeverdict.compile.population import Population
from kubeverdict.compile.rules import Base, resolve_names
from kubeverdict.compile.selectors import Scope, evaluate_selectors, merged_ranges
from kubeverdict.compile.sets import ALL, EMPTY, from_positions, join, moved
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.sets import project
from kubeverdict.model.addresses import Family
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.profile import Profile
from kubeverdict.model.selectors import Selector

POD, HOST_POD, SERVICE = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Universe:
    """The positions of one plane. ``of_end`` gives the position of every endpoint id, or -1."""

    families: tuple[Family, ...]
    groups: Groups
    atoms: int
    size: int
    of_end: NDArray[np.int32]
    namespaces: dict[str, Scope]

    @property
    def words(self) -> int:
        return (self.size + 63) >> 6


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """The address atom of each pod and host by family, before planes are distinguished.

    ``pods`` holds -1 where no block of any rule can match the pod.
    """

    pods: dict[Family, NDArray[np.int32]]
    hosts: NDArray[np.int32]


def locate(population: Population, space: AddressSpace, blocks: Sets, profile: Profile) -> Atoms:
    """Find the atoms of pods and hosts."""
    covered = np.zeros(((space.atoms + 63) >> 6) << 6, np.bool_)
    if blocks.word.size:
        every = np.zeros(covered.size >> 6, np.uint64)
        np.bitwise_or.at(every, blocks.word, blocks.bits)
        covered = np.unpackbits(every.view(np.uint8), bitorder="little").astype(np.bool_)
    found: dict[Family, NDArray[np.int32]] = {
        4: atoms_of_ipv4(space, population.ipv4),
        6: atoms_of_ipv6(space, population.ipv6),
    }
    for family, has in ((4, population.has_ipv4), (6, population.has_ipv6)):
        atom = found[4 if family == 4 else 6]
        atom[~has] = -1
        atom[(atom >= 0) & ~covered[atom]] = -1
        if not profile.ipblock_matches_pods:
            atom[:] = -1
    hosts = np.empty(len(population.hosts), np.int32)
    for index, address in enumerate(population.hosts):
        if address.family == 4:
            hosts[index] = atoms_of_ipv4(space, np.array([address.value], np.uint32))[0]
        else:
            halves = (address.value >> 64, address.value & ((1 << 64) - 1))
            hosts[index] = atoms_of_ipv6(space, np.array([halves], np.uint64))[0]
    return Atoms(pods=found, hosts=hosts)


def planes(population: Population, atoms: Atoms) -> list[tuple[Family, ...]]:
    """The families that each plane serves: both in one where no pod distinguishes them."""
    four, six = population.has(4), population.has(6)
    if not len(population.pods):
        return [(4, 6)]
    used: list[Family] = [family for family in (4, 6) if population.has(family).any()]
    alike = bool((four == six).all())
    if len(used) == 1:
        return [(used[0],)]
    if alike and (atoms.pods[4] == -1).all() and (atoms.pods[6] == -1).all():
        return [(4, 6)]
    return [(4,), (6,)]


def make_universe(
    families: tuple[Family, ...],
    population: Population,
    kinds: Kinds,
    atoms: Atoms,
    space: AddressSpace,
    questions: Questions,
    profile: Profile,
) -> Universe:
    """Number the positions of a plane and find that of every endpoint id."""
    pods = len(population.pods)
    inside = np.ones(kinds.labels.size, np.bool_)
    inside[:pods] = population.has(families[0])
    for index, (_, host) in enumerate(population.host_pods, start=pods):
        inside[index] = population.hosts[host].family in families
    atom = np.full(kinds.labels.size, -1, np.int32)
    if len(families) == 1:
        atom[:pods] = atoms.pods[families[0]]
    groups = group(kinds, population, atom, inside, questions.tells_own_node)

    apart = bool(population.host_pods) or not profile.ipblock_matches_nodes
    apart |= questions.tells_nodes
    host_position = np.arange(len(population.hosts), dtype=np.int32) + (groups.count + space.atoms)
    if not apart:
        host_position = atoms.hosts + np.int32(groups.count)
    for index, address in enumerate(population.hosts):
        if address.family not in families:
            host_position[index] = -1
    atom_position = np.arange(space.atoms, dtype=np.int32) + groups.count
    if 4 not in families:
        atom_position[: space.ipv4.size] = -1
    if 6 not in families:
        atom_position[space.ipv4.size :] = -1
    service_members = groups.of_member[pods + len(population.host_pods) :]
    return Universe(
        families=families,
        groups=groups,
        atoms=space.atoms,
        size=groups.count + space.atoms + (len(population.hosts) if apart else 0),
        of_end=np.concatenate(
            (groups.of_member[:pods], host_position, service_members, atom_position)
        ).astype(np.int32),
        namespaces={
            name: ((int(groups.first[number]), int(groups.first[number + 1])),)
            for name, number in kinds.namespaces.items()
        },
    )


def base_sets(
    universe: Universe,
    questions: Questions,
    kinds: Kinds,
    namespace_labels: LabelIds,
    atoms: Atoms,
    blocks: Sets,
    population: Population,
    profile: Profile,
) -> Base:
    """Evaluate every distinct selector, block and named port of the policies in this plane."""
    groups = universe.groups
    labels = index_labels(kinds.label_sets, groups.labels)
    scopes = _scopes(universe, questions, kinds, namespace_labels)
    found = evaluate_selectors(
        labels, (selector for _, selector, _ in questions.selectors), scopes, universe.words
    )
    everything = np.ones(universe.size, np.bool_)
    everything[: groups.count] = groups.role != HOST_POD
    fixed = from_positions([np.flatnonzero(everything), np.zeros(0, np.int64)])
    assert (ALL, EMPTY) == (0, 1)
    count = len(questions.selectors)
    parts = [fixed]
    subjects = peers = range(2, 2 + count)
    if groups.count and groups.role.any():
        to_pods, to_hosts = fold_hosts(universe, population)
        as_subjects = moved(found, to_pods, universe.words)
        as_peers = moved(found, to_hosts, universe.words)
        parts += [as_subjects, as_peers]
        written_only = profile.hostnetwork_peers == "with-pod-selector"
        peer_numbers = [
            2 + index if written_only and not written else 2 + count + index
            for index, (_, _, written) in enumerate(questions.selectors)
        ]
        behind = 2 + 2 * count
    else:
        parts.append(found)
        peer_numbers = list(peers)
        behind = 2 + count
    parts.append(_block_positions(universe, blocks, atoms, population, profile))
    names, holders = resolve_names(questions.named, kinds.port_sets, groups.ports)
    behind_blocks = behind + blocks.start.size - 1
    named: dict[NamedPort, list[tuple[int, int]]] = {}
    for index, (port, number) in enumerate(names):
        named.setdefault(port, []).append((number, behind_blocks + index))
    unnamed: dict[NamedPort, list[tuple[int, int]]] = {}
    others: list[NDArray[np.int64]] = []
    for (port, number), own in zip(names, holders, strict=True):
        if port in questions.unnamed:
            place = behind_blocks + len(names) + len(others)
            unnamed.setdefault(port, []).append((number, place))
            others.append(np.setdiff1d(np.flatnonzero(everything), own))
    parts.append(from_positions([*holders, *others]))
    return Base(
        sets=join(*parts),
        words=universe.words,
        subjects=subjects,
        peers=peer_numbers,
        blocks=range(behind, behind_blocks),
        named=named,
        unnamed=unnamed,
    )


def _scopes(
    universe: Universe, questions: Questions, kinds: Kinds, namespace_labels: LabelIds
) -> list[Scope]:
    """Where each selector looks, as ranges of groups."""
    wheres = [where for where, _, _ in questions.selectors]
    by_labels = {
        where: index
        for index, where in enumerate(
            dict.fromkeys(where for where in wheres if isinstance(where, Selector))
        )
    }
    total = len(kinds.namespaces)
    matched = evaluate_selectors(
        namespace_labels, by_labels, [[(0, total)]] * len(by_labels), (total + 63) >> 6
    )
    ranges = dict(zip(by_labels, merged_ranges(universe.groups.first, matched), strict=True))
    scopes: list[Scope] = []
    for where in wheres:
        here = universe.namespaces.get(where, ()) if isinstance(where, str) else ranges[where]
        scopes.append(here)
    return scopes


def fold_hosts(
    universe: Universe, population: Population
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where each group goes when it is a subject, and when it is a peer; -1 is nowhere."""
    groups = universe.groups
    to_pods = np.arange(universe.size, dtype=np.int32)
    to_hosts = to_pods.copy()
    to_pods[: groups.count][groups.role != POD] = -1
    pods = len(population.pods)
    for index, (_, host) in enumerate(population.host_pods, start=pods):
        if groups.of_member[index] >= 0:
            to_hosts[groups.of_member[index]] = universe.of_end[pods + host]
    return to_pods, to_hosts


def _block_positions(
    universe: Universe, blocks: Sets, atoms: Atoms, population: Population, profile: Profile
) -> Sets:
    """Sets of atoms as sets of positions: the atom itself, and the groups and hosts in it."""
    groups = universe.groups
    atom = [np.arange(universe.atoms, dtype=np.int64)]
    position = [universe.of_end[universe.of_end.size - universe.atoms :].astype(np.int64)]
    inside = np.flatnonzero(groups.atom >= 0)
    atom.append(groups.atom[inside].astype(np.int64))
    position.append(inside)
    if universe.size > groups.count + universe.atoms and profile.ipblock_matches_nodes:
        pods = len(population.pods)
        atom.append(atoms.hosts.astype(np.int64))
        position.append(universe.of_end[pods : pods + atoms.hosts.size].astype(np.int64))
    of_atom, target = np.concatenate(atom), np.concatenate(position)
    of_atom, target = of_atom[target >= 0], target[target >= 0]
    order = np.argsort(of_atom, kind="stable")
    start = np.searchsorted(of_atom[order], np.arange(universe.atoms + 1)).astype(np.int64)
    work = blocks.word.size * 64
    return Sets(*project.on(work)(blocks, start, target[order].astype(np.int32), universe.words))
