"""What other APIs than Kubernetes' own let people write by mistake: denials that isolate as well,
rules for Services that are not there, entities that are less than they sound, labels that the CNI
does not look at."""

from __future__ import annotations

from collections.abc import Iterator

from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit
from kubeverdict.compile.dialect import unseen_labels
from kubeverdict.compile.tiers import isolates
from kubeverdict.model.policy import (
    Action,
    Direction,
    EndSet,
    NamedPeer,
    Policy,
    Rule,
    ServicePeer,
    parts_of,
)
from kubeverdict.model.profile import implements
from kubeverdict.model.surroundings import Surroundings, behind_service, is_unknown


def check(facts: Facts) -> Iterator[Hit]:
    for policy in facts.in_force:
        for direction in Direction:
            yield from _isolating_denials(facts, policy, direction)
        yield from _own_node_alone(policy)
    yield from _unseen_labels(facts)
    cluster = facts.cluster
    around = Surroundings(cluster.services, cluster.endpoints, cluster.nodes)
    for policy in cluster.references.policies:
        for rule in policy.rules:
            yield from _missing_services(policy, rule, around)


def _isolating_denials(facts: Facts, policy: Policy, direction: Direction) -> Iterator[Hit]:
    """A policy that only denies, and so denies all the rest too where no other one isolates."""
    rules = [rule for rule in policy.rules if rule.direction is direction]
    if not rules or any(rule.action is not Action.DENY for rule in rules):
        return
    if not isolates(policy, direction):
        return
    isolated = {
        kind
        for other in facts.in_force
        if other is not policy and isolates(other, direction)
        for kind in facts.subjects(other).tolist()
    }
    alone = [kind for kind in facts.subjects(policy).tolist() if kind not in isolated]
    if alone:
        workloads = facts.workloads(alone)
        message = (
            f"has {direction.word} rules that deny, and so denies all other {direction.word} to "
            f"{workloads[0]}{f' and {len(workloads) - 1} more' if len(workloads) > 1 else ''} too"
        )
        yield Hit("denial-isolates", message, policy, rules[0].source, key=direction.word)


def _own_node_alone(policy: Policy) -> Iterator[Hit]:
    """Rules about the node that a pod runs on, where no rule of the same kind is about others."""
    for direction in Direction:
        for action in (Action.ALLOW, Action.DENY):
            alike = [
                one
                for one in policy.rules
                if one.direction is direction and one.action is action and one.peers is not None
            ]
            named = {
                part.ends
                for one in alike
                for peer in one.peers or ()
                for part in parts_of(peer)
                if isinstance(part, NamedPeer)
            }
            # One that only excludes the own node is not about it.
            own = [one for one in alike if NamedPeer(EndSet.HOST) in (one.peers or ())]
            if not own or not named.isdisjoint(_OTHERS):
                continue
            rule = own[0]
            what = "allows" if action is Action.ALLOW else "denies"
            message = (
                f"{what} {direction.word} for a pod's own node alone: kubelets and hostNetwork "
                "pods of all others are remote-node"
            )
            yield Hit(
                "entity-own-node", message, policy, rule.source, key=f"{direction.word}{what}"
            )


_OTHERS = frozenset({EndSet.ALL, EndSet.CLUSTER, EndSet.NODES, EndSet.REMOTE_NODE})


def _unseen_labels(facts: Facts) -> Iterator[Hit]:
    """Selectors that ask for labels which are no part of an identity."""
    if facts.profile.pod_labels != "identity":
        return
    for policy in facts.written:
        keys = unseen_labels(policy) if implements(facts.profile, policy.kind) else ()
        if keys:
            message = (
                f"selects pods by {' and '.join(keys)}, which {facts.profile.title} does not look "
                "at: no pod has it"
            )
            yield Hit("label-unseen", message, policy, key=",".join(keys))


def _missing_services(policy: Policy, rule: Rule, around: Surroundings) -> Iterator[Hit]:
    asked = [peer for peer in rule.peers or () if isinstance(peer, ServicePeer)]
    gone = [one for one in asked if not is_unknown(around, one)]
    if not asked or len(gone) < len(asked):
        return
    if any(next(behind_service(around, one), None) is not None for one in asked):
        return
    names = " and ".join(map(str, asked))
    if rule.ports is None:
        message = f"allows nothing: there is no Service {names}"
    else:
        what = ", ".join(map(str, rule.ports))
        message = f"opens {what} to any address: there is no Service {names}"
    yield Hit("service-missing", message, policy, rule.source)
