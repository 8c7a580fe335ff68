"""Who gets into a pod, asked of the compiled rules: addresses outside, nodes, or given ends.

What the ends' own policies say is not asked: they stand for others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.lint.facts import Facts, allowing
from kubeverdict.compile.compiled import Reason
from kubeverdict.evaluate.flows import judge
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
    if compiled.hosts:
        hosts = np.arange(len(compiled.hosts)) + compiled.first_host
        inside = let_in(facts, hosts, pod, protocol, port)
        return bool(inside.all()) if inside.size else None
    kept = compiled.pods[pod]
    policies = [
        policy
        for policy in facts.policies
        if policy.namespace == kept.namespace and policy.pods.matches(kept.labels)
    ]
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
    decided = decided[decided != Reason.NO_ADDRESS]
    inside: NDArray[np.bool_] = decided != Reason.NO_RULE_MATCHES
    return inside & ~np.isin(decided, facts.denying_rules)


def nearest(policies: list[Policy], protocol: Protocol, port: int) -> Policy:
    """The policy that was most likely written for a port: one with rules for ingress."""
    return max(policies, key=lambda one: any(r.direction is Direction.INGRESS for r in one.rules))
