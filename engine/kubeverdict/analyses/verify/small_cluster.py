"""The small cluster in which one assertion is judged for pods that do not exist yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from msgspec.structs import replace

from kubeverdict.analyses.verify.judging import Case
from kubeverdict.analyses.verify.new_pod_kinds import NewPodSet, PolicyQuestions, governs, new_pods
from kubeverdict.analyses.verify.questions import PortNames, RangeQuestion
from kubeverdict.analyses.verify.sides import Side
from kubeverdict.analyses.verify.spans import Spans, common
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.lowering import is_about_own_node
from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.cluster import Cluster, Namespace, Pod
from kubeverdict.model.policy import BlockPeer, Direction, Peer, PodPeer, Policy, Rule

NewPods = Sequence[tuple[Pod, int]]


class SmallCluster:
    """The ends of an assertion, and the policies that can decide its connections."""

    def __init__(
        self,
        compiled: CompiledPolicy,
        source: NewPodSet,
        destination: NewPodSet,
        addresses: tuple[Spans, Spans],
    ) -> None:
        """``addresses`` are at the ends besides the pods."""
        self._compiled = compiled
        self._addresses_at = addresses
        self._pod_sets = (source, destination)
        existing = compiled.cluster.namespaces
        self._spaces = tuple(pod_set.namespaces(existing) for pod_set in self._pod_sets)
        self._leaving = _policies(compiled, self._spaces[0], Direction.EGRESS)
        self._entering = _policies(compiled, self._spaces[1], Direction.INGRESS)

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
        if not facing or not any(map(is_about_own_node, _peers(own))):
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
            not isinstance(peer, known) for peer in _peers((*self._leaving, *self._entering))
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


def _policies(
    compiled: CompiledPolicy, namespaces: Sequence[Namespace], direction: Direction
) -> list[Policy]:
    """The policies that can decide about pods there in a direction, cut down to it."""
    names = {one.name for one in namespaces}
    found = []
    for policy in compiled.policies:
        if policy.namespace is None:
            there = any(governs(policy, one) for one in namespaces)
        else:
            there = policy.namespace in names
        if not there:
            continue
        rules = tuple(rule for rule in policy.rules if rule.direction is direction)
        isolates = tuple(one for one in policy.isolates if one is direction)
        if rules or isolates:
            found.append(replace(policy, rules=rules, isolates=isolates))
    return found


def _asked(
    namespaces: Sequence[Namespace], own: Sequence[Policy], facing: Sequence[Policy]
) -> PolicyQuestions:
    """What is asked about pods in ``namespaces`` by their ``own`` policies and by the ``facing``
    ones of the other end."""
    asked = PolicyQuestions()
    for peer in _peers(facing):
        asked.note_peer(peer)
    for policy in own:
        for rule in policy.rules:
            if rule.subject is not None:
                asked.note_peer(rule.subject)
        if policy.namespace is not None:
            asked.note_subject(policy.namespace, policy.pods)
            continue
        for one in namespaces:
            if governs(policy, one):
                asked.note_subject(one.name, policy.pods)
    return asked


def _peers(policies: Iterable[Policy]) -> Iterator[Peer]:
    return (peer for one in policies for rule in one.rules for peer in rule.peers or ())


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
