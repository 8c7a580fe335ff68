"""What policies take from other documents: sets of addresses, tiers, Services.

Which documents there are is known when all have been read, in whatever order, and a change may
touch one without the policies that refer to it. So a cluster has such policies twice: as they are
written, with all that they refer to, in :class:`References`; and, among its policies, as they come
out, which :func:`resolved` makes. Whatever judges, changes or shows policies sees the second:
blocks of addresses in the place of a :class:`~kubeverdict.model.policy.SetPeer`, and the tier that
its document describes. An edit of an address set is so an edit of the policies that refer to it,
followed like any other; nothing has to be compiled anew for it, and nothing behind this module
knows that there are references.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from kubeverdict.model.addresses import Block
from kubeverdict.model.defaults import METADATA_NAME
from kubeverdict.model.policy import (
    END_OF_TIER,
    Action,
    ApiServerPeer,
    BackendPeer,
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
    Policy,
    Rule,
    ServicePeer,
    SetPeer,
    Tier,
    parts_of,
)
from kubeverdict.model.surroundings import (
    NO_SURROUNDINGS,
    Surroundings,
    api_servers,
    backends,
    behind_service,
    is_unknown,
)

Labels = Mapping[str, str]


class AddressSet(msgspec.Struct, frozen=True, gc=False):
    """A named set of addresses that rules select by its name or its labels. ``namespace`` is None
    for a kind that is in none."""

    kind: str
    namespace: str | None
    name: str
    labels: Labels
    blocks: tuple[Block, ...]


class TierDefinition(msgspec.Struct, frozen=True, gc=False):
    """A document of some kind that describes a tier; a policy of it has been read with a tier of
    the same ``name``."""

    kind: str
    name: str
    tier: Tier

    @property
    def namespace(self) -> None:
        return None


Definition = AddressSet | TierDefinition


class References(msgspec.Struct, frozen=True):
    """The policies that refer to other documents, as they are written, and these documents."""

    policies: Sequence[Policy] = ()
    address_sets: Sequence[AddressSet] = ()
    tiers: Sequence[TierDefinition] = ()

    @property
    def definitions(self) -> tuple[Definition, ...]:
        return *self.address_sets, *self.tiers

    @classmethod
    def of(cls, policies: Iterable[Policy], definitions: Iterable[Definition]) -> References:
        found = tuple(definitions)
        return cls(
            tuple(policies),
            tuple(one for one in found if isinstance(one, AddressSet)),
            tuple(one for one in found if isinstance(one, TierDefinition)),
        )


NO_REFERENCES = References()


def resolved(
    references: References,
    namespaces: Mapping[str, Labels],
    around: Surroundings = NO_SURROUNDINGS,
) -> list[Policy]:
    """The policies of ``references`` as they come out, in their order. ``namespaces`` are the
    labels of each namespace, as far as they are known.

    A set that does not exist has no addresses. A tier that no document describes is the one that
    the policy was read with. A rule for Services none of which exists is one for anybody, on the
    ports that it names (so has it Cilium, the one API with such rules)."""
    resolver = _Resolver(references, namespaces, around)
    return [resolver.policy(policy) for policy in references.policies]


def resolved_policies(
    policies: Sequence[Policy],
    references: References,
    namespaces: Mapping[str, Labels],
    around: Surroundings = NO_SURROUNDINGS,
) -> tuple[Policy, ...]:
    """``policies`` with those that are among ``references`` as they come out."""
    if not references.policies:
        return tuple(policies)
    made = dict(zip(references.policies, resolved(references, namespaces, around), strict=True))
    return tuple(made.get(policy, policy) for policy in policies)


class _Resolver:
    def __init__(
        self, references: References, namespaces: Mapping[str, Labels], around: Surroundings
    ) -> None:
        self._namespaces = namespaces
        self._around = around
        self._tiers = {(one.kind, one.name): one.tier for one in references.tiers}
        self._sets: dict[str, list[AddressSet]] = {}
        for one in references.address_sets:
            self._sets.setdefault(one.kind, []).append(one)

    def policy(self, policy: Policy) -> Policy:
        tier = self._tiers.get((policy.tier_kind, policy.tier.name), policy.tier)
        return replace(
            policy,
            tier=tier,
            rules=self._rules(_of_tier(policy.rules, tier)),
            unlisted_rules=self._rules(policy.unlisted_rules),
            refers=False,
        )

    def _rules(self, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        return tuple(made for rule in rules for made in self._rule(rule))

    def _rule(self, rule: Rule) -> Iterator[Rule]:
        """What a rule comes to: one, or another one with a condition beside it."""
        if rule.subject is not None and any(
            isinstance(part, SetPeer) for part in parts_of(rule.subject)
        ):
            found = self._peers((rule.subject,))
            if found:
                rule = replace(rule, subject=found[0] if len(found) == 1 else any_of(found))
                yield from self._rule(rule)
            return
        if rule.peers is None:
            yield rule
        elif any(isinstance(peer, ServicePeer) for peer in rule.peers):
            yield from self._for_services(rule, rule.peers)
        elif any(isinstance(part, BackendPeer) for one in rule.peers for part in parts_of(one)):
            yield from self._for_backends(rule, rule.peers)
        elif ApiServerPeer() in rule.peers:
            yield self._for_api_servers(rule, rule.peers)
        else:
            yield replace(rule, peers=self._peers(rule.peers))

    def _for_services(self, rule: Rule, peers: tuple[Peer, ...]) -> Iterator[Rule]:
        asked = [peer for peer in peers if isinstance(peer, ServicePeer)]
        found = tuple(
            dict.fromkeys(end for one in asked for end in behind_service(self._around, one))
        )
        unknown = [one for one in asked if is_unknown(self._around, one)]
        if found:
            yield replace(rule, peers=found)
        elif not unknown and rule.ports is not None:
            yield replace(rule, peers=None)
        if unknown:
            names = " or ".join(dict.fromkeys(map(str, unknown)))
            text = _missing(names)
            yield replace(rule, peers=None, condition=both(rule.condition, text))

    def _for_backends(self, rule: Rule, peers: tuple[Peer, ...]) -> Iterator[Rule]:
        """A rule for each group of ports. One for a Service that is not there matches nothing, if
        the input would have it."""
        [asked] = {part for one in peers for part in parts_of(one) if isinstance(part, BackendPeer)}
        if is_unknown(self._around, ServicePeer(asked.name, asked.namespace)):
            text = _missing(f"{asked.namespace}/{asked.name}")
            yield replace(rule, peers=None, condition=both(rule.condition, text))
            return
        for ends, served in backends(self._around, asked):
            ports = rule.ports
            if asked.with_ports:
                wanted = None if ports is None else {port.protocol for port in ports}
                ports = tuple(one for one in served if wanted is None or one.protocol in wanted)
            found = tuple(_with_backends(one, end) for one in peers for end in ends)
            yield replace(rule, peers=found, ports=ports)

    def _for_api_servers(self, rule: Rule, peers: tuple[Peer, ...]) -> Rule:
        others = tuple(peer for peer in peers if peer != ApiServerPeer())
        known = api_servers(self._around)
        if known is not None:
            return replace(rule, peers=(*others, *known))
        if others:
            return replace(rule, peers=others)
        condition = both(rule.condition, "if the other end is an API server")
        anywhere = NamedPeer(EndSet.NODES), NamedPeer(EndSet.WORLD)
        return replace(rule, peers=anywhere, condition=condition)

    def _peers(self, peers: Iterable[Peer]) -> tuple[Peer, ...]:
        return tuple(part for peer in peers for part in self._peer(peer))

    def _peer(self, peer: Peer) -> Iterator[Peer]:
        """What a peer comes to: a set is any number of blocks."""
        if isinstance(peer, SetPeer):
            blocks = {block for one in self._found(peer) for block in one.blocks}
            for block in sorted(blocks):
                inside = tuple(one for one in peer.excepts if one.family == block.family)
                yield BlockPeer(block, inside)
        elif isinstance(peer, ExceptPeer):
            excluded = self._peers(peer.excluded)
            for part in self._peer(peer.peer):
                yield ExceptPeer(part, excluded) if excluded else part
        else:
            yield peer

    def _found(self, peer: SetPeer) -> Iterator[AddressSet]:
        for one in self._sets.get(peer.kind, ()):
            if peer.name is None:
                matches = peer.labels.matches(one.labels)
            else:
                matches = peer.name == one.name
            if matches and self._is_inside(peer, one.namespace):
                yield one

    def _is_inside(self, peer: SetPeer, namespace: str | None) -> bool:
        if namespace is None:
            return True
        if peer.namespace is not None:
            return peer.namespace == namespace
        implied = {METADATA_NAME: namespace}
        return peer.namespaces.matches(self._namespaces.get(namespace, implied))


def any_of(peers: Iterable[Peer]) -> ExceptPeer:
    """The peer that is all of some."""
    everyone = NamedPeer(EndSet.ALL)
    return ExceptPeer(everyone, (ExceptPeer(everyone, tuple(peers)),))


def _missing(service: str) -> str:
    return f"as Service {service} has it, which the input does not hold"


def _with_backends(peer: Peer, ends: Peer) -> Peer:
    """A peer that is a Service, or all of it but something, with its endpoints in its place."""
    return replace(peer, peer=ends) if isinstance(peer, ExceptPeer) else ends


def _of_tier(rules: tuple[Rule, ...], tier: Tier) -> tuple[Rule, ...]:
    """Rules without those that stand for the end of a tier which passes there."""
    if tier.default is Action.DENY:
        return rules
    return tuple(rule for rule in rules if rule.precedence != END_OF_TIER)


def both(*conditions: str) -> str:
    """All of some conditions, each once; empty ones are none."""
    return " and ".join(dict.fromkeys(filter(None, conditions)))
