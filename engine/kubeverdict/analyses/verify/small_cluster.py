"""The small cluster in which one assertion is judged for pods that do not exist yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np
from msgspec.structs import replace

from kubeverdict.analyses.verify.judging import Case
from kubeverdict.analyses.verify.new_pod_kinds import (
    NewPodSet,
    PolicyQuestions,
    governs,
    new_pods,
    peers_of,
)
from kubeverdict.analyses.verify.questions import PortNames, RangeQuestion
from kubeverdict.analyses.verify.sides import Side
from kubeverdict.analyses.verify.spans import Spans, common
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.lowering import is_about_own_node
from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.cluster import Cluster, Namespace, Pod
from kubeverdict.model.policy import BlockPeer, Direction, PodPeer, Policy, Rule

NewPods = Sequence[tuple[Pod, int]]


class GoverningPolicies:
    """The policies of a cluster by where they are, cut down to one direction."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        # Each with its place in evaluation order.
        self._of_namespace: dict[tuple[Direction, str | None], list[tuple[int, Policy]]] = {}
        for place, policy in enumerate(policies):
            for direction in Direction:
                rules = tuple(rule for rule in policy.rules if rule.direction is direction)
                isolates = tuple(one for one in policy.isolates if one is direction)
                if rules or isolates:
                    part = replace(policy, rules=rules, isolates=isolates)
                    key = direction, policy.namespace
                    self._of_namespace.setdefault(key, []).append((place, part))

    def within(self, namespaces: Sequence[Namespace], direction: Direction) -> list[Policy]:
        """Those that can decide about pods in some namespaces, in evaluation order."""
        everywhere = self._of_namespace.get((direction, None), ())
        found = [one for one in everywhere if any(governs(one[1], each) for each in namespaces)]
        for namespace in namespaces:
            found += self._of_namespace.get((direction, namespace.name), ())
        return [policy for _, policy in sorted(found, key=itemgetter(0))]


class SmallCluster:
    """The ends of an assertion, and the policies that can decide its connections."""

    def __init__(
        self,
        compiled: CompiledPolicy,
        policies: GoverningPolicies,
        source: NewPodSet,
        destination: NewPodSet,
        addresses: tuple[Spans, Spans],
    ) -> None:
        """``policies`` are those of ``compiled``; ``addresses`` are at the ends besides the
        pods."""
        self._compiled = compiled
        self._addresses_at = addresses
        self._pod_sets = (source, destination)
        existing = compiled.cluster.namespaces
        self._spaces = tuple(pod_set.namespaces(existing) for pod_set in self._pod_sets)
        self._leaving = policies.within(self._spaces[0], Direction.EGRESS)
        self._entering = policies.within(self._spaces[1], Direction.INGRESS)

    @property
    def rules(self) -> list[Rule]:
        return [rule for policy in (*self._leaving, *self._entering) for rule in policy.rules]

    def sources(self, candidates: Sequence[Address]) -> NewPods:
        """One pod for each way in which policies distinguish sources. Raises TooManyError."""
        asked = _asked(self._spaces[0], self._leaving, self._entering)
        asked.nodes = self._nodes(self._leaving, self._addresses_at[1])
        addresses = self._addresses(asked, candidates)
        found = new_pods(
            self._pod_sets[0], self._spaces[0], asked, addresses, [PortNames()], "source"
        )
        return list(found)

    def destinations(self, candidates: Sequence[Address], variants: Sequence[PortNames]) -> NewPods:
        """The same for destinations, each with every one of ``variants``."""
        asked = _asked(self._spaces[1], self._entering, self._leaving)
        asked.nodes = self._nodes(self._entering, self._addresses_at[0])
        addresses = self._addresses(asked, candidates)
        found = new_pods(
            self._pod_sets[1], self._spaces[1], asked, addresses, variants, "destination"
        )
        return list(found)

    def _addresses(
        self, asked: PolicyQuestions, candidates: Sequence[Address]
    ) -> list[Address | None]:
        if not self._compiled.profile.ipblock_matches_pods:
            return [None]
        return asked.addresses(candidates)

    def _nodes(self, own: Sequence[Policy], facing: Spans) -> tuple[str, ...]:
        """The nodes that a new pod may run on, as far as its ``own`` policies tell the addresses
        at the other end by that: those that have one there, and any other."""
        if not facing or not any(map(is_about_own_node, peers_of(own))):
            return ("",)
        machines = ((one.name, one.addresses) for one in self._compiled.cluster.nodes)
        hosts = ((pod.node, pod.addresses) for pod in self._on_hosts)
        found = {
            name
            for name, texts in chain(machines, hosts)
            for address in map(parse_address, texts)
            if address and common(((address.family, address.value, address.value),), facing)
        }
        return tuple(sorted({"", *found}))

    @property
    def _on_hosts(self) -> list[Pod]:
        return [pod for pod, _ in self._compiled.excluded if pod.host_network and not pod.finished]

    def compiled(self, pods: Iterable[Pod]) -> CompiledPolicy:
        """The small cluster: new pods under these policies, and what nodes matter."""
        old, profile = self._compiled, self._compiled.profile
        known = PodPeer, BlockPeer
        by_name = any(
            not isinstance(peer, known) for peer in peers_of((*self._leaving, *self._entering))
        )
        apart = profile.hostnetwork_peers != "never" or not profile.ipblock_matches_nodes or by_name
        on_hosts = self._on_hosts if apart else []
        spaces = {one.name: one for space in self._spaces for one in space}
        cluster = Cluster(
            namespaces=old.cluster.namespaces if on_hosts else tuple(spaces.values()),
            pods=(*pods, *on_hosts),
            policies=_together(self._leaving, self._entering),
            nodes=old.cluster.nodes if apart else (),
        )
        return compile_cluster(cluster, profile)


def cases(
    compiled: CompiledPolicy,
    questions: Sequence[RangeQuestion],
    sources: NewPods,
    destinations: NewPods,
    addresses: tuple[Spans, Spans],
    denied: bool,
) -> list[Case]:
    """A case for each question. ``addresses`` are at the ends besides the pods."""

    def side(pods: Iterable[Pod], spans: Spans) -> Side:
        mask = np.zeros(len(compiled.pods), np.bool_)
        mask[[compiled.pod_ids[pod.namespace, pod.name] for pod in pods]] = True
        return Side(mask, spans)

    opening = side((pod for pod, _ in sources), addresses[0])
    found = []
    first = 0
    for question in questions:
        wanted = range(first, first + len(question.variants))
        first = wanted.stop
        answering = side((pod for pod, index in destinations if index in wanted), addresses[1])
        found.append(Case(opening, answering, question.ranges, denied))
    return found


def _asked(
    namespaces: Sequence[Namespace], own: Sequence[Policy], facing: Sequence[Policy]
) -> PolicyQuestions:
    """What is asked about pods in ``namespaces`` by their ``own`` policies and by the ``facing``
    ones of the other end."""
    asked = PolicyQuestions()
    for peer in peers_of(facing):
        asked.note_peer(peer)
    asked.note_subjects(own, namespaces)
    return asked


def _together(leaving: Sequence[Policy], entering: Sequence[Policy]) -> tuple[Policy, ...]:
    """Policies that were cut down to one direction, in one piece where both halves are there."""
    found: dict[tuple[object, ...], Policy] = {}
    for policy in (*leaving, *entering):
        known = found.get(policy.sort_key)
        if known is not None:
            policy = replace(
                known,
                rules=(*policy.rules, *known.rules),
                isolates=(*policy.isolates, *known.isolates),
            )
        found[policy.sort_key] = policy
    return tuple(found.values())
