"""Addresses outside the cluster as peers of pods."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from kubeverdict.analyses.cells import Cells, Run
from kubeverdict.analyses.peers import Member, Peer, address_peer, range_peers
from kubeverdict.compile.sequences import folded
from kubeverdict.model.address_text import Span
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Node, Pod, Service
from kubeverdict.model.policy import BlockPeer, Policy, parts_of

# The peers of pods, and a value for each.
Found = list[tuple[Peer, int]]


def families_in_use(*clusters: Cluster) -> frozenset[Family]:
    """The address families that clusters have anything of: a pod, a node, a Service or a rule.

    Reports leave the others out: that whatever no rule names is reachable by all or by none is
    of no use to users who have none of it. A cluster without any addresses, such as one of
    manifests, counts as one of IPv4.
    """
    # Versions of a cluster have most in common.
    lists: dict[int, Sequence[Pod | Node | Service]] = {
        id(holders): holders
        for cluster in clusters
        for holders in (cluster.pods, cluster.nodes, cluster.services)
    }
    found = {
        family
        for holders in lists.values()
        for families in folded(holders, _families_held)
        for family in families
    }
    named = {
        family
        for cluster in clusters
        for families in folded(cluster.policies, _families_named)
        for family in families
    }
    # That a rule names IPv6 alone does not show that pods have no IPv4.
    return frozenset(found | named if found else named | {4})


def _families_held(holders: Sequence[Pod | Node | Service]) -> frozenset[Family]:
    texts = (address for holder in holders for address in holder.addresses)
    return frozenset(6 if ":" in text else 4 for text in texts)


def _families_named(policies: Sequence[Policy]) -> frozenset[Family]:
    return frozenset(
        part.block.family
        for policy in policies
        # A CNI may apply the unlisted ones too.
        for rule in (*policy.rules, *policy.unlisted_rules)
        for peer in rule.peers or ()
        for part in parts_of(peer)
        if isinstance(part, BlockPeer)
    )


class External:
    """What pods reach outside, and what reaches them, in ``families``.

    Addresses with the same value are one peer; with ``by_range`` each range of them is.
    """

    def __init__(
        self, planes: Sequence[Cells], families: Collection[Family], *, by_range: bool = False
    ) -> None:
        self._planes = planes
        self._families = families
        self._by_range = by_range
        self._known: dict[tuple[Family, tuple[Span, ...]], list[Peer]] = {}

    def inbound(self, kind: Sequence[Member], number: int) -> dict[tuple[Member, ...], Found]:
        """The addresses that reach the members of a kind, by the members that have them in
        common."""
        return self._common(kind, number, [plane.inbound for plane in self._planes])

    def outbound(self, kind: Sequence[Member], number: int) -> dict[tuple[Member, ...], Found]:
        """The addresses that the members of a kind reach."""
        return self._common(kind, number, [plane.outbound for plane in self._planes])

    def _common(
        self,
        kind: Sequence[Member],
        number: int,
        planes: Sequence[dict[int, list[tuple[Run, ...]]]],
    ) -> dict[tuple[Member, ...], Found]:
        if not any(number in found for found in planes):
            return {}
        alike: dict[tuple[Run, ...], list[Member]] = {}
        for member in kind:
            runs: tuple[Run, ...] = ()
            for identity, plane, found in zip(member, self._planes, planes, strict=True):
                if number in found and identity >= 0:
                    runs += found[number][plane.kinds[number].index(identity)]
            alike.setdefault(runs, []).append(member)
        return {tuple(members): self._peers(runs) for runs, members in alike.items() if runs}

    def _peers(self, runs: Iterable[Run]) -> Found:
        spans: dict[tuple[Family, int], list[Span]] = {}
        for family, first, last, value in runs:
            if family in self._families:
                spans.setdefault((family, value), []).append((first, last))
        found = [
            (peer, value)
            for (family, value), listed in spans.items()
            for peer in self._named(family, tuple(listed))
        ]
        return sorted(found, key=lambda one: one[0].order)

    def _named(self, family: Family, spans: tuple[Span, ...]) -> list[Peer]:
        known = self._known.get((family, spans))
        if known is None:
            known = range_peers(family, spans) if self._by_range else [address_peer(family, spans)]
            self._known[family, spans] = known
        return known
