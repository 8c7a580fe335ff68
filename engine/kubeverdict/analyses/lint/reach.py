"""Who gets into a pod, asked of the compiled rules: addresses outside, nodes, or given ends.

What the ends' own policies say is not asked: they stand for others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.lint.facts import Facts, allowing
from kubeverdict.compile.compiled import Reason
from kubeverdict.compile.tiers import tiers_of
from kubeverdict.evaluate.flows import judge, trace
from kubeverdict.model.policy import BlockPeer, Direction, Policy
from kubeverdict.model.ports import Protocol


def sample(facts: Facts, kind: int) -> int | None:
    """A managed pod of a kind, as an endpoint id."""
    ids = facts.compiled.pod_ids
    keys = ((pod.namespace, pod.name) for pod in facts.pods([kind]))
    return next((ids[key] for key in keys if key in ids), None)


def outside_let_in(facts: Facts, pod: int, protocol: Protocol, port: int) -> bool:
    """Whether any address that is no pod's and no node's reaches a pod."""
    compiled = facts.compiled
    atoms = np.arange(compiled.addresses.atoms) + compiled.first_atom
    return bool(let_in(facts, atoms, pod, protocol, port).any())


def nodes_let_in(facts: Facts, pod: int, protocol: Protocol, port: int) -> bool | None:
    """Whether every node but the pod's own reaches a pod. Where nodes are not in the input:
    None, unless everybody is let in or only ranges that cannot be all nodes are."""
    compiled = facts.compiled
    if not compiled.hosts and not outside_let_in(facts, pod, protocol, port):
        return False
    if compiled.hosts:
        hosts = np.arange(len(compiled.hosts)) + compiled.first_host
        inside = let_in(facts, hosts, pod, protocol, port)
        return bool(inside.all()) if inside.size else None
    kept = compiled.pods[pod]
    policies = facts.judging[Direction.INGRESS].get(facts.kind_of(kept), [])
    blocks = [
        peer
        for policy in policies
        for rule in allowing(policy)
        if rule.direction is Direction.INGRESS
        for peer in ((None,) if rule.peers is None else rule.peers)
        if peer is None or isinstance(peer, BlockPeer)
    ]
    if not blocks:
        return None
    return any(peer is None or peer.block.prefix <= 8 for peer in blocks)


def let_in(
    facts: Facts, sources: NDArray[np.int64], pod: int, protocol: Protocol, port: int
) -> NDArray[np.bool_]:
    """Which sources the policies of a pod let in; those without an address of its family are left
    out."""
    columns = (np.full(sources.size, value) for value in (pod, protocol, port))
    decided = judge(facts.compiled, sources, *columns).ingress
    return ~facts.denied(decided[decided != Reason.NO_ADDRESS])


def anyone_outside(facts: Facts) -> NDArray[np.int64]:
    """Every node, and an address of each part that rules distinguish."""
    compiled = facts.compiled
    hosts = compiled.first_host + np.arange(len(compiled.hosts))
    atoms = compiled.first_atom + np.arange(compiled.addresses.atoms)
    return np.concatenate((hosts, atoms)).astype(np.int64)


def blamed(
    facts: Facts, kind: int, sources: NDArray[np.int64], pod: int, protocol: Protocol, port: int
) -> Policy:
    """The policy to change so that sources get into a pod of a kind, of those that keep the first
    of them out."""
    policies = facts.denying[Direction.INGRESS][kind]
    if facts.in_order:
        columns = (np.full(sources.size, value) for value in (pod, protocol, port))
        out = sources[facts.denied(judge(facts.compiled, sources, *columns).ingress)]
        if out.size:
            source = int(out[0])
            policies = deniers(facts, Direction.INGRESS, kind, (source, pod), protocol, port)
    return nearest(policies, protocol, port)


def deniers(
    facts: Facts,
    direction: Direction,
    kind: int,
    ends: tuple[int, int],
    protocol: Protocol,
    port: int,
) -> list[Policy]:
    """The policies that deny a connection to or from a pod of a kind: the one whose rule does,
    or those of the tier that isolates it."""
    compiled = facts.compiled
    way = trace(compiled, direction, *ends, protocol, port)
    if way is not None and way.decided in facts.denying_rules:
        return [compiled.rules[way.decided].policy]
    isolating = facts.isolating[direction].get(kind, [])
    if way is None or way.tier is None:
        return isolating or facts.denying[direction].get(kind, [])
    tier = tiers_of(compiled.policies)[way.tier]
    return [policy for policy in isolating if policy.tier == tier] or isolating


def nearest(policies: list[Policy], protocol: Protocol, port: int) -> Policy:
    """The policy that was most likely written for a port: one with rules for ingress."""
    return max(policies, key=lambda one: any(r.direction is Direction.INGRESS for r in one.rules))
