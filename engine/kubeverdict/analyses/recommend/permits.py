"""What recommended policies permit, and what of it was seen, by rule.

A rule permits what it would let through if there were no other policies than the recommended ones,
and what other policies, of other tiers above all, do not deny: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.judged_traffic import JudgedTraffic, judged
from kubeverdict.analyses.recommend.stages import (
    has_others,
    is_network_policy,
    with_network_policies,
)
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.sets import members
from kubeverdict.evaluate.flows import Verdicts, judge
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import BlockPeer, Policy
from kubeverdict.model.profile import Profile

# Connections that are judged at once.
_CHUNK = 2_000_000


class Alone(NamedTuple):
    """A cluster whose NetworkPolicies are the recommended ones: together with the policies of other
    tiers that it has, and (``bare``) alone; the same where it has no others. Rules are numbered as
    those of ``bare``."""

    with_tiers: CompiledPolicy
    bare: CompiledPolicy

    @classmethod
    def of(
        cls, cluster: Cluster, policies: Sequence[Policy], profile: Profile, static: bool
    ) -> Alone:
        nothing = Cluster(cluster.namespaces, cluster.pods, tuple(policies), cluster.nodes)
        bare = compile_cluster(nothing, profile, static=static)
        if not has_others(cluster):
            return cls(bare, bare)
        applied = with_network_policies(cluster, policies)
        return cls(compile_cluster(applied, profile, static=static), bare)

    @property
    def numbers(self) -> dict[int, int]:
        """The rules of ``bare`` by their numbers in ``with_tiers``: the order is the same."""
        rules = enumerate(self.with_tiers.rules)
        own = (number for number, ref in rules if is_network_policy(ref.policy))
        return {number: place for place, number in enumerate(own)}


@dataclass(frozen=True, slots=True, eq=False)
class Permits:
    """(pod pair, port) combinations, in any address family, that get through, by the rule that
    they are counted for; all (rules,). ``by_itself`` is what gets through without other tiers,
    ``conditionally`` what of ``each`` gets through under conditions only."""

    each: NDArray[np.int64]
    by_itself: NDArray[np.int64]
    conditionally: NDArray[np.int64]


def permitted(alone: Alone) -> Permits:
    """What each rule permits."""
    compiled = alone.with_tiers
    found = Permits(*(np.zeros(len(alone.bare.rules), np.int64) for _ in range(3)))
    kinds = _Kinds(compiled)
    numbers = alone.numbers
    rows_of: dict[int, list[tuple[int, int]]] = {}
    for number, plane in enumerate(compiled.planes):
        for row in np.flatnonzero(plane.rows.rule >= 0).tolist():
            rule = numbers.get(int(plane.rows.rule[row]))
            if rule is not None:
                rows_of.setdefault(rule, []).append((number, row))
    pending: list[NDArray[np.int64]] = []
    size = 0
    for rule, rows in rows_of.items():
        cells = np.hstack([_cells(compiled, kinds, plane, row) for plane, row in rows])
        if len(compiled.planes) > 1:
            # Pods with both families have the same cell in both planes.
            cells = np.unique(cells, axis=1)
        pending.append(np.vstack((cells, np.full(cells.shape[1], rule))))
        size += cells.shape[1]
        if size >= _CHUNK:
            _judge_cells(alone, kinds, np.hstack(pending), found)
            pending, size = [], 0
    if pending:
        _judge_cells(alone, kinds, np.hstack(pending), found)
    return found


def seen_by_rule(alone: Alone, bare: JudgedTraffic) -> NDArray[np.int64]:
    """(rules,) distinct connections between pods in traffic, as ``alone.bare`` judges it, by the
    rule that they are counted for."""
    traffic = bare.traffic
    has_tiers = alone.with_tiers is not alone.bare
    tiered = judged(alone.with_tiers, traffic) if has_tiers else bare
    is_pod = np.array([end.pod is not None and not end.pod.host_network for end in traffic.ends])
    keep = tiered.verdicts.allowed & (bare.source != bare.destination) & (traffic.protocol < 3)
    if is_pod.size:
        keep &= is_pod[traffic.source] & is_pod[traffic.destination]
    found = _deciding(bare.verdicts)[keep]
    return np.bincount(found[found >= 0], minlength=len(alone.bare.rules)).astype(np.int64)


def _deciding(verdicts: Verdicts) -> NDArray[np.int32]:
    """A connection between pods is counted once: for the rule that lets it in, or, where none
    does, for the one that lets it out."""
    return np.where(verdicts.ingress >= 0, verdicts.ingress, verdicts.egress)


class _Kinds:
    """Pods that no rule distinguishes in any plane. ``sample`` (2, kinds) is a pod of each, and
    another where there is one; ``weight`` (kinds,) counts them."""

    def __init__(self, compiled: CompiledPolicy) -> None:
        pods = len(compiled.pods)
        identities = np.stack([plane.ends.identity[:pods] for plane in compiled.planes])
        # (planes, kinds) -1 where they are not in a plane
        self._identity, kind, self.weight = np.unique(
            identities, axis=1, return_inverse=True, return_counts=True
        )
        order = np.argsort(kind.ravel(), kind="stable")
        last = np.cumsum(self.weight) - 1
        self.sample = np.stack((order[last - self.weight + 1], order[last]))
        self._planes = compiled.planes
        self._inside: dict[tuple[int, int], NDArray[np.int64]] = {}

    def inside(self, plane: int, which: int) -> NDArray[np.int64]:
        """The kinds in a set of a plane; the rules of a policy share theirs."""
        known = self._inside.get((plane, which))
        if known is None:
            is_in = np.zeros(self._planes[plane].size + 1, np.bool_)  # the last stands for -1
            is_in[members(self._planes[plane].sets, which)] = True
            known = np.flatnonzero(is_in[self._identity[plane]])
            self._inside[plane, which] = known
        return known


def _cells(compiled: CompiledPolicy, kinds: _Kinds, number: int, row: int) -> NDArray[np.int64]:
    """(3, n): source and destination kind and port atom of everything between pods that one row
    of a plane is about."""
    plane = compiled.planes[number]
    rows = plane.rows
    subjects = kinds.inside(number, int(rows.subject[row]))
    peers = kinds.inside(number, int(rows.peer[row]))
    atoms = members(compiled.ports.sets, int(rows.ports[row]))
    atoms = atoms[compiled.ports.weight[atoms] > 0]
    sides = np.meshgrid(subjects, peers, atoms, indexing="ij")
    subject, peer, atom = (side.ravel() for side in sides)
    source, destination = (peer, subject) if row < plane.ingress_rows else (subject, peer)
    return np.stack((source, destination, atom))


def _judge_cells(alone: Alone, kinds: _Kinds, cells: NDArray[np.int64], out: Permits) -> None:
    """Add cells up, each with the rule that it is a cell of."""
    source, destination, atom, rule = cells
    ports = alone.with_tiers.ports
    place = ports.first[atom]
    ends = kinds.sample[0][source], kinds.sample[1][destination]
    flows = *ends, place >> 16, place & 0xFFFF
    bare = judge(alone.bare, *flows)
    tiered = bare if alone.with_tiers is alone.bare else judge(alone.with_tiers, *flows)
    own = _deciding(bare) == rule
    pairs = kinds.weight[source] * (kinds.weight[destination] - (source == destination))
    weight = pairs * ports.weight[atom]
    for sums, allowed in ((out.by_itself, bare.allowed), (out.each, tiered.allowed)):
        counts = own & allowed
        sums += np.bincount(rule[counts], weight[counts], sums.size).astype(np.int64)
    for least in alone.with_tiers.least:
        counts = own & tiered.allowed & ~judge(least, *flows).allowed
        sums = out.conditionally
        sums += np.bincount(rule[counts], weight[counts], sums.size).astype(np.int64)


def addresses_seen(bare: CompiledPolicy, part: JudgedTraffic) -> NDArray[np.int64]:
    """(rules,) distinct addresses outside, by the rule that lets them in or to them."""
    traffic, verdicts = part.traffic, part.verdicts
    outside = np.array([end.pod is None or end.pod.host_network for end in traffic.ends], np.bool_)
    found = np.zeros(len(bare.rules), np.int64)
    sides = ((verdicts.ingress, traffic.source), (verdicts.egress, traffic.destination))
    for decided, ends in sides:
        keep = (decided >= 0) & outside[ends] if ends.size else np.zeros(0, np.bool_)
        pairs = np.unique(decided[keep].astype(np.int64) << 32 | ends[keep])
        found += np.bincount(pairs >> 32, minlength=found.size)
    return found


def addresses_of(compiled: CompiledPolicy) -> NDArray[np.object_]:
    """(rules,) how many addresses the blocks of each hold: Python integers, IPv6 has that many."""
    found = np.zeros(len(compiled.rules), np.object_)
    for number, ref in enumerate(compiled.rules):
        for peer in ref.rule.peers or ():
            if isinstance(peer, BlockPeer):
                found[number] += peer.block.last - peer.block.first + 1
    return found
