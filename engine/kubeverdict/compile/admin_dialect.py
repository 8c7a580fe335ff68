"""What a CNI makes of admin policies that it understands in part, or orders otherwise.

The API lets a rule that is not understood fail closed: it allows nothing, or it denies everything.

Where the baseline is asked before isolation denies, its rules are behind all others of
NetworkPolicy's tier: what none of them matches is denied where that tier isolates. A rule that
passes there would have to leave the tier and still be denied by it, which no rule can say; so it
depends on a condition.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    Direction,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.profile import ADMIN_KINDS, CLUSTER_KIND, Profile

# Behind every policy that may be in the tier, the last priority included.
_BASELINE_ORDER = 10_000_000.0
# Of rules of one priority and index, those of each action one behind the other; and the share of
# a priority that an index has.
_RANK, _INDEX = 1_000.0, 100.0
_PLACES = {Action.DENY: 0, Action.ALLOW: 1, Action.PASS: 2}
_NOT_ISOLATED = "if no policy isolates the pod"


def understands_admin_rules(profile: Profile) -> bool:
    """Whether these policies are in force as they are written."""
    return (
        profile.admin_nodes
        and profile.admin_named_ports == "resolve"
        and profile.cluster_nodes == "read"
        and profile.cluster_ties == "by-name"
        and profile.cluster_baseline == "after-isolation"
        and profile.cluster_exclusions == "pods"
    )


def in_admin_dialect(policy: Policy, profile: Profile) -> Policy | None:
    """The policy with the rules that the CNI has in their place; itself where they are the same,
    None where the CNI refuses it."""
    if understands_admin_rules(profile):
        return policy
    if policy.kind == CLUSTER_KIND:
        return _cluster_policy(policy, profile)
    if policy.kind in ADMIN_KINDS:
        return _with_rules(policy, lambda rule: _read(rule, profile))
    return policy


def fails_closed(policy: Policy, profile: Profile) -> bool:
    """Whether some rule of an admin policy is not understood and so denies or allows other
    connections than it says."""
    if policy.kind == CLUSTER_KIND:
        return profile.cluster_nodes == "fails-closed" and any(map(_has_nodes, policy.rules))
    return policy.kind in ADMIN_KINDS and in_admin_dialect(policy, profile) is not policy


def _cluster_policy(policy: Policy, profile: Profile) -> Policy | None:
    if profile.cluster_nodes != "read" and any(map(_has_nodes, policy.rules)):
        if profile.cluster_nodes == "refuse-policy":
            return None
        policy = _with_rules(policy, lambda rule: _closed(rule) if _has_nodes(rule) else rule)
    if profile.cluster_exclusions == "everybody":
        policy = _for_everybody(policy)
    if profile.cluster_baseline == "before-isolation" and policy.tier > NETWORK_POLICY_TIER:
        order = _BASELINE_ORDER + policy.order
        policy = _with_rules(policy, _last_pass)
        policy = replace(policy, tier=NETWORK_POLICY_TIER, order=order)
    if profile.cluster_ties == "by-index":
        policy = _with_rules(policy, lambda rule: _by_index(policy, rule))
    return policy


def _with_rules(policy: Policy, change: Callable[[Rule], Rule | None]) -> Policy:
    """The policy with other rules; itself where none is another one."""
    changed = [change(rule) for rule in policy.rules]
    rules = tuple(rule for rule in changed if rule is not None)
    if len(rules) == len(changed) and all(
        new is old for new, old in zip(rules, policy.rules, strict=True)
    ):
        return policy
    return replace(policy, rules=rules)


def _has_nodes(rule: Rule) -> bool:
    return any(isinstance(peer, NodePeer) for peer in rule.peers or ())


def _closed(rule: Rule) -> Rule | None:
    """One peer that is not understood makes the whole rule fail, its other peers and its ports
    with it."""
    if rule.action is Action.ALLOW:
        return None
    return replace(rule, action=Action.DENY, peers=None, ports=None)


def _read(rule: Rule, profile: Profile) -> Rule | None:
    """The rule as the CNI has it, None where it leaves it out."""
    if not profile.admin_nodes and _has_nodes(rule):
        return _closed(rule)
    if profile.admin_named_ports == "any-port" and any(
        isinstance(port, NamedPort) for port in rule.ports or ()
    ):
        return replace(rule, ports=None)
    return rule


def _for_everybody(policy: Policy) -> Policy:
    """The policy with rules for every end where a peer only excludes namespaces. Names of ports are
    looked up on the pods of the namespaces that are left alone."""
    rules: list[Rule] = []
    for rule in policy.rules:
        if not any(map(only_excludes, rule.peers or ())):
            rules.append(rule)
            continue
        named = tuple(one for one in rule.ports or () if isinstance(one, NamedPort))
        if not named or rule.direction is Direction.INGRESS:
            rules.append(replace(rule, peers=None))
            continue
        rules.append(replace(rule, ports=named))
        others = tuple(one for one in rule.ports or () if one not in named)
        if others:
            rules.append(replace(rule, peers=None, ports=others))
    return replace(policy, rules=tuple(rules))


def only_excludes(peer: Peer) -> bool:
    """Whether a peer is all namespaces without labels that it names, whatever their pods."""
    if not isinstance(peer, PodPeer) or peer.pods is not None or peer.namespace is not None:
        return False
    return not peer.namespaces.selects_all and peer.namespaces.matches({})


def _last_pass(rule: Rule) -> Rule:
    return replace(rule, condition=_NOT_ISOLATED) if rule.action is Action.PASS else rule


def _by_index(policy: Policy, rule: Rule) -> Rule:
    place = policy.order + rule.index / _INDEX + _PLACES[rule.action] / _RANK
    return replace(rule, precedence=place)
