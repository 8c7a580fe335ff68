"""What a CNI makes of policies, rewritten into plain rules before they are compiled."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.model.policy import BlockPeer, Direction, Policy, Rule
from kubeverdict.model.ports import MAX_PORT, NamedPort, PortMatch, PortRange
from kubeverdict.model.profile import Profile


def in_force(
    policies: tuple[Policy, ...], profile: Profile
) -> tuple[tuple[Policy, ...], tuple[str, ...]]:
    """The policies as this CNI has them, in evaluation order, and notes on what it leaves out."""
    if not profile.enforces:
        if not policies:
            return (), ()
        count = f"{len(policies)} polic{'y has' if len(policies) == 1 else 'ies have'}"
        return (), (f"{profile.title} enforces no network policy: {count} no effect",)
    kept: list[Policy] = []
    notes: list[str] = []
    for policy in sorted(policies, key=lambda policy: policy.sort_key):
        if profile.named_ports == "reject-policy" and _names_ports(policy):
            notes.append(f"{profile.title} refuses {policy.kind} {policy}: it has a named port")
        else:
            kept.append(_adapted(policy, profile))
    return tuple(kept), tuple(notes)


def _names_ports(policy: Policy) -> bool:
    return any(isinstance(port, NamedPort) for rule in policy.rules for port in rule.ports or ())


def _adapted(policy: Policy, profile: Profile) -> Policy:
    rules = tuple(_adapted_rule(rule, profile) for rule in policy.rules)
    if all(new is old for new, old in zip(rules, policy.rules, strict=True)):
        return policy
    return replace(policy, rules=rules)


def _adapted_rule(rule: Rule, profile: Profile) -> Rule:
    ports, peers = rule.ports, rule.peers
    if ports is not None:
        adapted = ports
        if not profile.end_port:
            adapted = tuple(map(_first_port_only, adapted))
        if profile.named_ports == "any-port":
            adapted = _names_lost(adapted)
        to_anyone = rule.direction is Direction.EGRESS and peers is None
        if to_anyone and profile.named_port_to_anyone == "never":
            adapted = tuple(port for port in adapted if isinstance(port, PortRange))
        if adapted != ports:
            ports = adapted
    if peers is not None and profile.except_scope == "rule":
        blocks = [peer for peer in peers if isinstance(peer, BlockPeer)]
        if any(block.excepts for block in blocks) and len(blocks) > 1:
            peers = tuple(
                _with_sibling_excepts(peer, blocks) if isinstance(peer, BlockPeer) else peer
                for peer in peers
            )
    if ports is rule.ports and peers is rule.peers:
        return rule
    return replace(rule, ports=ports, peers=peers)


def _first_port_only(port: PortMatch) -> PortMatch:
    if isinstance(port, NamedPort) or (port.first, port.last) == (1, MAX_PORT):
        return port
    return PortRange(port.protocol, port.first, port.first)


def _names_lost(ports: tuple[PortMatch, ...]) -> tuple[PortMatch, ...]:
    """A named port covers its protocol, unless a number of that protocol stands beside it."""
    numbered = {port.protocol for port in ports if isinstance(port, PortRange)}
    return tuple(
        PortRange(port.protocol) if isinstance(port, NamedPort) else port
        for port in ports
        if isinstance(port, PortRange) or port.protocol not in numbered
    )


def _with_sibling_excepts(peer: BlockPeer, siblings: list[BlockPeer]) -> BlockPeer:
    """One set for all blocks of a rule, longest prefix first: an address counts where a block
    that holds it is longer than every except that does."""
    block = peer.block
    excepts = {
        part
        for sibling in siblings
        for part in sibling.excepts
        if part.family == block.family
        and part.prefix >= block.prefix
        and block.first <= part.first <= block.last
    }
    return BlockPeer(block, tuple(sorted(excepts)))
