"""What a CNI makes of rules of AdminNetworkPolicy that it understands in part.

The API lets a rule that is not understood fail closed: it allows nothing, or it denies everything.
"""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.model.policy import Action, NodePeer, Policy, Rule
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.profile import ADMIN_KINDS, Profile


def understands_admin_rules(profile: Profile) -> bool:
    """Whether these policies are in force as they are written."""
    return profile.admin_nodes and profile.admin_named_ports == "resolve"


def in_admin_dialect(policy: Policy, profile: Profile) -> Policy:
    """The policy with the rules that the CNI has in their place; itself where they are the same."""
    if policy.kind not in ADMIN_KINDS or understands_admin_rules(profile):
        return policy
    read = [_read(rule, profile) for rule in policy.rules]
    rules = tuple(rule for rule in read if rule is not None)
    if len(rules) == len(read) and all(
        new is old for new, old in zip(rules, policy.rules, strict=True)
    ):
        return policy
    return replace(policy, rules=rules)


def _read(rule: Rule, profile: Profile) -> Rule | None:
    """The rule as the CNI has it, None where it leaves it out."""
    if not profile.admin_nodes and any(isinstance(peer, NodePeer) for peer in rule.peers or ()):
        # One such peer makes the whole rule fail, its other peers and its ports with it.
        if rule.action is Action.ALLOW:
            return None
        return replace(rule, action=Action.DENY, peers=None, ports=None)
    if profile.admin_named_ports == "any-port" and any(
        isinstance(port, NamedPort) for port in rule.ports or ()
    ):
        return replace(rule, ports=None)
    return rule
