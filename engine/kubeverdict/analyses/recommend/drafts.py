"""From what groups need to policies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from kubeverdict.analyses.flow_groups import port_text
from kubeverdict.analyses.judged_traffic import Count
from kubeverdict.analyses.recommend import baselines
from kubeverdict.analyses.recommend.cidrs import cover
from kubeverdict.analyses.recommend.evidence import Needs, Port, evidence_of
from kubeverdict.analyses.recommend.groups import Group, groups_of
from kubeverdict.analyses.recommend.ports import GroupPortNames, PortSpec
from kubeverdict.analyses.recommend.resolvers import DnsResolver, find_resolver
from kubeverdict.analyses.recommend.shapes import (
    PREFIX,
    DraftBlockPeer,
    DraftPodPeer,
    DraftPolicy,
    DraftRule,
    Peer,
)
from kubeverdict.analyses.traffic import LogReading, Traffic
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.counts import count, listed
from kubeverdict.model.gc_pause import collector_paused
from kubeverdict.model.policy import Direction
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import Profile

__all__ = ["DraftOptions", "DraftPolicy", "Recommendation", "recommend"]

# Namespaces of the cluster itself, left alone unless they are named.
_SYSTEM = "kube-"
# Peers that a comment names.
_PEERS_NAMED = 5


class DraftOptions(msgspec.Struct, frozen=True):
    """``namespaces``: those to write policies for, none for all but the cluster's own.
    ``most_blocks``: CIDR blocks in a rule. ``baselines``: see :mod:`baselines`."""

    namespaces: tuple[str, ...] = ()
    most_blocks: int = 20
    baselines: tuple[str, ...] = ()


class UnseenWorkload(msgspec.Struct, frozen=True):
    """A workload of which nothing was seen, in one ``direction`` or (empty) at all.
    ``isolated_by`` are the baselines that isolate it all the same. ``out_of_reach``: something was
    seen, and no NetworkPolicy lets it through."""

    workload: str
    direction: str = ""
    isolated_by: tuple[str, ...] = ()
    out_of_reach: bool = False


class Recommendation(msgspec.Struct, frozen=True):
    """Policies, and what there is none for.

    ``silent`` are workloads without any traffic, ``one_way`` those with traffic in one direction
    only; ``together`` are workloads that labels do not distinguish. Where no connection got through
    there is nothing to go by, and no policy. ``out_of_reach`` counts connections that policies of
    other tiers deny whatever NetworkPolicies say: there is no rule for them. ``conditional`` are
    those that get through only under the condition of a rule of another tier: rules are written for
    them.
    """

    policies: tuple[DraftPolicy, ...]
    silent: tuple[UnseenWorkload, ...]
    one_way: tuple[UnseenWorkload, ...]
    together: tuple[tuple[str, ...], ...]
    left_alone: tuple[str, ...]
    notes: tuple[str, ...]
    denied: int
    out_of_reach: Count = Count()
    conditional: Count = Count()


def recommend(
    cluster: Cluster,
    profile: Profile,
    static: bool,
    traffic: Traffic,
    reading: LogReading,
    options: DraftOptions,
) -> Recommendation:
    """Policies that allow what ``traffic`` got through, and DNS, and no more than they have to."""
    with collector_paused():
        return _recommend(cluster, profile, static, traffic, reading, options)


def _recommend(
    cluster: Cluster,
    profile: Profile,
    static: bool,
    traffic: Traffic,
    reading: LogReading,
    options: DraftOptions,
) -> Recommendation:
    everyone = list(groups_of(cluster.pods, profile))
    evidence = evidence_of(cluster, profile, static, everyone, traffic, reading)
    needs, hopeless = evidence.needs, evidence.hopeless
    wanted = {
        number
        for number, group in enumerate(everyone)
        if (
            group.namespace in options.namespaces
            if options.namespaces
            else not group.namespace.startswith(_SYSTEM)
        )
        and any((pod.namespace, pod.name) in evidence.managed for pod in group.pods)
    }
    writer = _Writer(everyone, GroupPortNames(profile), find_resolver(cluster, profile), options)
    names = _names([everyone[number] for number in sorted(wanted)])
    policies: list[DraftPolicy] = []
    silent: list[UnseenWorkload] = []
    one_way: list[UnseenWorkload] = []
    spaces = sorted({everyone[number].namespace for number in wanted})
    asked = options.baselines if (traffic.observed > 0).any() else ()
    base, notes = baselines.drafts(asked, cluster, profile, everyone, spaces, writer.resolver)
    for number in sorted(wanted):
        group = everyone[number]
        own = {one: needs.get((number, one)) for one in Direction}
        isolating = {one: _isolating(base, group, one) for one in Direction}
        if not any(own.values()):
            every = dict.fromkeys(draft.name for found in isolating.values() for draft in found)
            tried = any((number, one) in hopeless for one in Direction)
            silent.append(UnseenWorkload(str(group), "", tuple(every), tried))
            continue
        for direction, found in isolating.items():
            if own[direction] is None:
                names_of = tuple(draft.name for draft in found)
                tried = (number, direction) in hopeless
                one_way.append(UnseenWorkload(str(group), direction.word, names_of, tried))
                if any(not draft.labels for draft in found):
                    # Isolated by a baseline, it needs at least DNS.
                    own[direction] = Needs()
        draft = writer.draft(number, names[group], own)
        if draft.ingress or draft.egress:
            policies.append(draft)
    if writer.resolver is None:
        notes = ("no DNS pods were found: no rule for DNS was written", *notes)
    left_alone = sorted(
        {
            group.namespace
            for number, group in enumerate(everyone)
            if number not in wanted and any((number, one) in needs for one in Direction)
        }
        - set(spaces)
    )
    return Recommendation(
        policies=tuple(sorted((*base, *policies), key=lambda one: (one.namespace, one.name))),
        silent=tuple(silent),
        one_way=tuple(one_way),
        together=tuple(
            tuple(map(str, everyone[number].workloads))
            for number in sorted(wanted)
            if len(everyone[number].workloads) > 1
        ),
        left_alone=tuple(left_alone),
        notes=tuple(notes),
        denied=int((traffic.denied > 0).sum()),
        out_of_reach=evidence.out_of_reach,
        conditional=evidence.conditional,
    )


def _isolating(
    base: Iterable[DraftPolicy], group: Group, direction: Direction
) -> list[DraftPolicy]:
    """The baselines that isolate pods of a group."""
    return [
        draft
        for draft in base
        if draft.namespace == group.namespace
        and (draft.ingress if direction is Direction.INGRESS else draft.egress) is not None
        and any(set(draft.labels) <= pod.labels.items() for pod in group.pods)
    ]


def _names(groups: Iterable[Group]) -> dict[Group, str]:
    """A name for the policy of each group, the same each time; kinds only where they are needed."""
    taken: set[tuple[str, str]] = set()
    found = {}
    for group in groups:
        name = f"{PREFIX}{group.name}"
        if (group.namespace, name) in taken:
            name = f"{PREFIX}{group.workloads[0].kind.lower()}-{group.name}"
        taken.add((group.namespace, name))
        found[group] = name
    return found


class _Writer:
    def __init__(
        self,
        groups: Sequence[Group],
        names: GroupPortNames,
        resolver: DnsResolver | None,
        options: DraftOptions,
    ) -> None:
        self._groups = groups
        self._names = names
        self._most_blocks = options.most_blocks
        self.resolver = resolver
        serving = {id(pod) for pod in resolver.pods} if resolver else set()
        self._serves = [all(id(pod) in serving for pod in group.pods) for group in groups]
        self._dns_is_a_baseline = baselines.DNS in options.baselines

    def draft(self, number: int, name: str, own: Mapping[Direction, Needs | None]) -> DraftPolicy:
        """The policy of the group at this place."""
        group = self._groups[number]
        ingress, egress = own[Direction.INGRESS], own[Direction.EGRESS]
        return DraftPolicy(
            group.namespace,
            name,
            group.labels,
            (tuple(self._ingress(number, ingress)) or None) if ingress is not None else None,
            (tuple(self._egress(number, egress)) or None) if egress is not None else None,
            tuple(map(str, group.workloads)),
        )

    def _ingress(self, number: int, needs: Needs) -> Iterator[DraftRule]:
        resolver = self.resolver
        if resolver is not None and self._serves[number]:
            # Every other policy sends its pods here.
            yield DraftRule((DraftPodPeer(None, ()),), resolver.ports, ("DNS, for everybody",))
        yield from self._rules(number, needs, Direction.INGRESS)

    def _egress(self, number: int, needs: Needs) -> Iterator[DraftRule]:
        if self.resolver is not None and not self._dns_is_a_baseline:
            yield _dns_rule(self.resolver, self._asked(needs))
        yield from self._rules(number, needs, Direction.EGRESS)

    def _asked(self, needs: Needs) -> int:
        """Records of DNS among what a group needs."""
        assert self.resolver is not None
        return sum(
            needs.pods.get(number, {}).get((protocol, port), 0)
            for number, serves in enumerate(self._serves)
            if serves
            for protocol, port in self.resolver.ports
        )

    def _rules(self, own: int, needs: Needs, direction: Direction) -> Iterator[DraftRule]:
        """One rule for peers that have the same ports, and for addresses that have."""
        dns = set(self.resolver.ports) if self.resolver else set()
        alike: dict[tuple[PortSpec, ...] | None, list[tuple[Group, int]]] = {}
        said: dict[tuple[PortSpec, ...] | None, Counter[str]] = {}
        for number, ports in needs.pods.items():
            peer = self._groups[number]
            server = own if direction is Direction.INGRESS else number
            if self._serves[server]:
                # The rule for DNS has them.
                ports = {at: count for at, count in ports.items() if at not in dns}
            if ports:
                specs = self._specs(self._groups[server], ports)
                alike.setdefault(specs, []).append((peer, sum(ports.values())))
                for at in ports:
                    said.setdefault(specs, Counter()).update(needs.remarks.get((number, at), {}))
        for specs, peers in sorted(alike.items(), key=lambda item: _order(item[0])):
            yield self._pod_rule(specs, peers, said[specs])
        by_addresses: dict[tuple[str, ...], dict[Port, int]] = {}
        for at, addresses in needs.addresses.items():
            key = tuple(sorted(addresses))
            by_addresses.setdefault(key, {})[at] = sum(addresses.values())
        for texts, counts in sorted(by_addresses.items()):
            resolving = self._groups[own] if direction is Direction.INGRESS else None
            remarks = Counter[str]()
            for at in counts:
                remarks.update(needs.remarks.get((None, at), {}))
            yield self._block_rule(texts, counts, resolving, remarks)

    def _specs(self, resolving: Group, ports: Mapping[Port, int]) -> tuple[PortSpec, ...] | None:
        """None is every port: there is no other way to allow what has none."""
        if any(_has_no_rule(at) for at in ports):
            return None
        specs = {self._names.spec(resolving, Protocol(at[0]), at[1]) for at in ports}
        return tuple(sorted(specs, key=_spec_order))

    def _pod_rule(
        self,
        specs: tuple[PortSpec, ...] | None,
        peers: list[tuple[Group, int]],
        remarks: Mapping[str, int],
    ) -> DraftRule:
        peers.sort(key=lambda item: (item[0].namespace, item[0].name))
        found = tuple(DraftPodPeer(peer.namespace, peer.labels) for peer, _ in peers)
        why = [f"{count(number, 'record')}: {peer}" for peer, number in peers[:_PEERS_NAMED]]
        if len(peers) > _PEERS_NAMED:
            more = sum(count for _, count in peers[_PEERS_NAMED:])
            why.append(f"{count(more, 'record')}: {len(peers) - _PEERS_NAMED} more")
        return DraftRule(found, specs, (*why, *_remarks(remarks), *_portless(specs)))

    def _block_rule(
        self,
        addresses: Sequence[str],
        counts: Mapping[Port, int],
        resolving: Group | None,
        remarks: Mapping[str, int],
    ) -> DraftRule:
        """A rule for addresses. They have no names for ports, unless pods resolve these
        (``resolving``)."""
        if resolving is not None:
            specs = self._specs(resolving, counts)
        elif any(map(_has_no_rule, counts)):
            specs = None
        else:
            specs = tuple((Protocol(at[0]), at[1]) for at in sorted(counts))
        parsed = [address for address in map(parse_address, addresses) if address is not None]
        blocks = cover(parsed, self._most_blocks)
        ports = ", ".join(port_text(Protocol(at[0]), at[1]) for at in sorted(counts))
        seen = listed(addresses, _PEERS_NAMED)
        why = [f"{count(sum(counts.values()), 'record')} on {ports}: {seen}"]
        wide = sum(block.last - block.first + 1 for block in blocks) - len(parsed)
        if wide:
            why.append(f"{count(wide, 'address')} more than were seen")
        why += [*_remarks(remarks), *_portless(specs)]
        return DraftRule(tuple(map(DraftBlockPeer, blocks)), specs, tuple(why))


def _dns_rule(resolver: DnsResolver, records: int) -> DraftRule:
    """DNS, by UDP and TCP."""
    peers: list[Peer] = [DraftPodPeer(resolver.namespace, resolver.labels)]
    if resolver.cache is not None:
        peers.append(DraftBlockPeer(resolver.cache))
    seen = f"DNS, {count(records, 'record')}" if records else "DNS, always"
    return DraftRule(tuple(peers), resolver.ports, (seen,))


def _has_no_rule(at: Port) -> bool:
    """Rules with ports name TCP, UDP or SCTP, from port 1."""
    return not Protocol(at[0]).has_ports or at[1] == 0


def _remarks(remarks: Mapping[str, int]) -> Iterator[str]:
    for text, records in sorted(remarks.items()):
        yield f"{count(records, 'record')} {text}"


def _portless(specs: tuple[PortSpec, ...] | None) -> tuple[str, ...]:
    return () if specs is not None else ("ICMP or the like: no rule can name it, so all ports",)


def _spec_order(spec: PortSpec) -> tuple[int, int, str]:
    """Numbers before names."""
    protocol, port = spec
    return (protocol, port, "") if isinstance(port, int) else (protocol, 1 << 16, port)


def _order(specs: tuple[PortSpec, ...] | None) -> list[tuple[int, int, str]]:
    return [] if specs is None else [_spec_order(spec) for spec in specs]
