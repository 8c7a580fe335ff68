"""What rules look at: the cluster, what its selectors select, and who is isolated.

Pods of one namespace with the same labels and ports are one *kind*: every question about
selectors is asked of kinds, all selectors at once, so that it does not matter how many pods there
are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.lint.labels import Vocabulary
from kubeverdict.analyses.lint.ranges import Ranges, parsed
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.dialect import as_understood, named_ports
from kubeverdict.compile.labels import index_labels
from kubeverdict.compile.lowering import Where
from kubeverdict.compile.overlay.making import make_overlay
from kubeverdict.compile.overlay.overlay import Overlay
from kubeverdict.compile.overlay.overlay import where as where_of
from kubeverdict.compile.population import namespace_labels
from kubeverdict.compile.selectors import Scope, evaluate_selectors, merged_ranges
from kubeverdict.compile.sets import members
from kubeverdict.compile.tiers import isolates, order_matters
from kubeverdict.evaluate.policy_rules import PlaneRules
from kubeverdict.evaluate.redundancy import Removal, removal
from kubeverdict.evaluate.scenarios.workbench import Workbench
from kubeverdict.model.addresses import Address
from kubeverdict.model.cluster import (
    METADATA_NAME,
    UNKNOWN_VALUE,
    ContainerKind,
    ContainerPort,
    Pod,
    Service,
)
from kubeverdict.model.policy import Action, Direction, PodPeer, Policy, Rule
from kubeverdict.model.ports import NamedPort, Protocol
from kubeverdict.model.profile import Profile
from kubeverdict.model.selectors import EVERYTHING, Operator, Selector
from kubeverdict.model.unevaluated import unmodelled_in
from kubeverdict.services import ServiceResolver

# Namespaces that only the dump of a whole cluster holds.
_SYSTEM = ("kube-system", "openshift-dns")

SelectorQuestion = tuple[Where, Selector]
ByKind = dict[Direction, dict[int, list[Policy]]]


class Kind:
    """Pods that no selector and no port distinguishes: places in ``Cluster.pods``."""

    __slots__ = ("labels", "namespace", "pods", "ports")

    def __init__(
        self, namespace: str, labels: Mapping[str, str], ports: tuple[ContainerPort, ...]
    ) -> None:
        self.namespace = namespace
        self.labels = labels
        self.ports = ports
        self.pods: list[int] = []


class Facts:
    """Of one cluster under one CNI. ``others`` are profiles to compare meanings with."""

    def __init__(self, compiled: CompiledPolicy, others: Sequence[Profile] = ()) -> None:
        self.compiled = compiled
        self.cluster = compiled.cluster
        self.profile = compiled.profile
        self.others = others
        # As written, and as the CNI understands directions and labels; the compiled ones are as
        # it has them in every way.
        self.written = sorted(self.cluster.policies, key=lambda policy: policy.sort_key)
        self.policies = [as_understood(one, self.profile) for one in self.written]
        self.kinds = _kinds(self.cluster.pods)
        self.namespaces = namespace_labels(self.cluster)
        self._selected: dict[SelectorQuestion, NDArray[np.int64]] = {}
        self._number_of: dict[SelectorQuestion, int] = {}
        self._homes: dict[Selector, list[str]] = {}
        self._by_port: dict[NamedPort, Ranges] = {}
        self._vocabularies: dict[str | tuple[str, ...], Vocabulary] = {}
        self._evaluate()

    def _starts(self) -> NDArray[np.int64]:
        """Where the kinds of each namespace begin, and where the last ends."""
        names = [kind.namespace for kind in self.kinds]
        return np.searchsorted(names, [*self.namespaces, "\U0010ffff"]).astype(np.int64)

    def _evaluate(self) -> None:
        asked: dict[SelectorQuestion, int] = {}
        for policy in dict.fromkeys((*self.policies, *self.written)):
            asked.setdefault((where_of(policy), policy.pods), len(asked))
            for rule in policy.rules:
                for peer in rule.peers or ():
                    if isinstance(peer, PodPeer):
                        asked.setdefault(peer_question(peer), len(asked))
        self._number_of = asked
        labels = index_labels(
            [kind.labels.items() for kind in self.kinds],
            np.arange(len(self.kinds), dtype=np.int32),
        )
        scopes = self._scopes([where for where, _ in asked])
        selectors = (selector for _, selector in asked)
        self._sets = evaluate_selectors(labels, selectors, scopes, (len(self.kinds) + 63) >> 6)

    def _scopes(self, wheres: Sequence[Where]) -> list[Scope]:
        by_labels = list(dict.fromkeys(where for where in wheres if isinstance(where, Selector)))
        index = index_labels(
            [labels.items() for labels in self.namespaces.values()],
            np.arange(len(self.namespaces), dtype=np.int32),
        )
        total = len(self.namespaces)
        matched = evaluate_selectors(
            index, by_labels, [[(0, total)]] * len(by_labels), (total + 63) >> 6
        )
        starts = self._starts()
        ranges = dict(zip(by_labels, merged_ranges(starts, matched), strict=True))
        names = list(self.namespaces)
        self.namespaces_of: dict[Selector, list[str]] = {
            selector: [names[number] for number in members(matched, place).tolist()]
            for place, selector in enumerate(by_labels)
        }
        self._ranges: dict[Where, Scope] = {}
        for selector, scope in ranges.items():
            self._ranges[selector] = scope
        for number, name in enumerate(names):
            self._ranges[name] = ((int(starts[number]), int(starts[number + 1])),)
        return [self._ranges[where] for where in wheres]

    def selected(self, where: Where, selector: Selector) -> NDArray[np.int64]:
        """The kinds that a selector of some policy selects."""
        asked = where, selector
        found = self._selected.get(asked)
        if found is None:
            found = self._selected[asked] = members(self._sets, self._number_of[asked])
        return found

    def subjects(self, policy: Policy) -> NDArray[np.int64]:
        """The kinds that a policy selects."""
        return self.selected(where_of(policy), policy.pods)

    def peers(self, peer: PodPeer) -> NDArray[np.int64]:
        """The kinds that a peer selects."""
        return self.selected(*peer_question(peer))

    def scope(self, where: Where) -> list[Kind]:
        """The kinds in a namespace, or in the namespaces that a selector of a peer selects."""
        return [kind for first, stop in self._ranges[where] for kind in self.kinds[first:stop]]

    def pods(self, kinds: Iterable[int]) -> list[Pod]:
        """The pods of some kinds."""
        pods = self.cluster.pods
        return [pods[place] for kind in kinds for place in self.kinds[kind].pods]

    def pod_count(self, kinds: Iterable[int]) -> int:
        return sum(len(self.kinds[kind].pods) for kind in kinds)

    def workloads(self, kinds: Iterable[int]) -> list[str]:
        """The workloads of some kinds, sorted."""
        return workload_names(self.pods(kinds))

    def services_in(self, namespace: str) -> Sequence[Service]:
        return self._services.get(namespace, ())

    def kinds_in(self, namespace: str) -> list[tuple[int, Kind]]:
        """The kinds in a namespace, with their numbers."""
        spans = self._ranges.get(namespace, ())
        return [(place, self.kinds[place]) for first, stop in spans for place in range(first, stop)]

    @cached_property
    def resolver(self) -> ServiceResolver:
        """Where Services lead."""
        return ServiceResolver(self.cluster)

    def kind_of(self, pod: Pod) -> int:
        """The number of the kind that a pod of the cluster is of."""
        return self._kind_of[pod.namespace, pod.name]

    @cached_property
    def _kind_of(self) -> dict[tuple[str, str], int]:
        pods = self.cluster.pods
        return {
            (pods[place].namespace, pods[place].name): number
            for number, kind in enumerate(self.kinds)
            for place in kind.pods
        }

    @cached_property
    def _pod_addresses(self) -> list[list[Address]]:
        """The addresses of each pod that are not its node's."""
        pods = self.cluster.pods
        return [[] if pod.host_network else parsed(pod.addresses) for pod in pods]

    @cached_property
    def pod_ranges(self) -> Ranges:
        """The addresses of pods that are not their nodes'."""
        return Ranges(chain.from_iterable(self._pod_addresses))

    def addresses_of_port(self, port: NamedPort) -> Ranges:
        """The addresses of the pods that have a port of this name."""
        if port not in self._by_port:
            places = (place for kind in self._kinds_by_port.get(port, ()) for place in kind.pods)
            found = chain.from_iterable(self._pod_addresses[place] for place in places)
            self._by_port[port] = Ranges(found)
        return self._by_port[port]

    @cached_property
    def _kinds_by_port(self) -> dict[NamedPort, list[Kind]]:
        """The kinds of pods that have a port of a name."""
        found: dict[NamedPort, list[Kind]] = {}
        for kind in self.kinds:
            named = named_ports(kind.ports, self.profile)
            for port in {NamedPort(one.protocol, one.name) for one in named}:
                found.setdefault(port, []).append(kind)
        return found

    @cached_property
    def node_ranges(self) -> Ranges:
        return Ranges(parsed(text for node in self.cluster.nodes for text in node.addresses))

    @cached_property
    def service_ranges(self) -> Ranges:
        services = self.cluster.services
        return Ranges(parsed(text for service in services for text in service.addresses))

    @cached_property
    def init_port_names(self) -> set[tuple[str, Protocol]]:
        """Names of ports, with their protocols, that init containers have and others have not."""
        plain: set[tuple[str, Protocol]] = set()
        init: set[tuple[str, Protocol]] = set()
        for kind in self.kinds:
            for port in kind.ports:
                named = init if port.container is not ContainerKind.CONTAINER else plain
                named.add((port.name, port.protocol))
        return init - plain

    @cached_property
    def repeated_names(self) -> set[str]:
        """Names that several ports of one pod have."""
        counts = (Counter(port.name for port in kind.ports) for kind in self.kinds)
        return {name for each in counts for name, count in each.items() if name and count > 1}

    @cached_property
    def _services(self) -> dict[str, list[Service]]:
        found: dict[str, list[Service]] = {}
        for service in self.cluster.services:
            found.setdefault(service.namespace, []).append(service)
        return found

    @cached_property
    def denying_rules(self) -> list[int]:
        """The compiled rules that deny, by their numbers."""
        rules = enumerate(self.compiled.rules)
        at_least = self.compiled.at_least
        return [number for number, ref in rules if ref.rule.counted(at_least) is Action.DENY]

    def denied(self, decided: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of some decisions deny: rules by their numbers, and reasons."""
        denied: NDArray[np.bool_] = decided == Reason.NO_RULE_MATCHES
        return denied | np.isin(decided, self.denying_rules) if self.in_order else denied

    @cached_property
    def in_order(self) -> bool:
        """Whether rules do not simply add up."""
        return order_matters(self.compiled.policies)

    @cached_property
    def in_force(self) -> list[Policy]:
        """The policies that the CNI applies."""
        applied = {(policy.kind, str(policy)) for policy in self.compiled.policies}
        return [policy for policy in self.policies if (policy.kind, str(policy)) in applied]

    @cached_property
    def judging(self) -> ByKind:
        """The policies in force that isolate each kind or have a rule for it."""
        return self._by_kind(
            lambda policy, direction: (
                isolates(policy, direction)
                or any(rule.direction is direction for rule in policy.rules)
            )
        )

    @cached_property
    def isolating(self) -> ByKind:
        """The policies in force that isolate each kind."""
        return self._by_kind(isolates)

    @cached_property
    def denying(self) -> ByKind:
        """The policies in force that may deny a connection of each kind: that isolate it or have
        a rule that denies."""
        if not self.in_order:
            return self.isolating
        return self._by_kind(
            lambda policy, direction: (
                isolates(policy, direction)
                or any(
                    rule.direction is direction
                    and rule.counted(self.compiled.at_least) is Action.DENY
                    for rule in policy.rules
                )
            )
        )

    def _by_kind(self, holds: Callable[[Policy, Direction], bool]) -> ByKind:
        found: ByKind = {one: {} for one in Direction}
        for policy in self.in_force:
            directions = [one for one in Direction if holds(policy, one)]
            for kind in self.subjects(policy).tolist() if directions else ():
                for direction in directions:
                    found[direction].setdefault(kind, []).append(policy)
        return found

    def vocabulary(self, where: Where) -> Vocabulary:
        """The labels of the pods in a namespace, or in those that a peer selects."""
        key = where if isinstance(where, str) else tuple(self.namespaces_of[where])
        if key not in self._vocabularies:
            self._vocabularies[key] = Vocabulary(kind.labels for kind in self.scope(where))
        return self._vocabularies[key]

    def namespaces_with(self, pods: Selector) -> list[str]:
        """The namespaces that have such pods."""
        if pods not in self._homes:
            # By the label that the fewest have.
            by_label = (
                [kind for value in one.values for kind in self._by_label.get((one.key, value), ())]
                for one in pods.requirements
                if one.operator is Operator.IN
            )
            likely = min(by_label, key=len, default=self.kinds)
            found = {kind.namespace for kind in likely if pods.matches(kind.labels)}
            self._homes[pods] = sorted(found)
        return self._homes[pods]

    @cached_property
    def _by_label(self) -> dict[tuple[str, str], list[Kind]]:
        found: dict[tuple[str, str], list[Kind]] = {}
        for kind in self.kinds:
            for label in kind.labels.items():
                found.setdefault(label, []).append(kind)
        return found

    @cached_property
    def open_keys(self) -> frozenset[str]:
        """The keys of labels whose values pods get when they run."""
        return frozenset(
            key
            for kind in self.kinds
            if UNKNOWN_VALUE in kind.labels.values()
            for key, value in kind.labels.items()
            if value == UNKNOWN_VALUE
        )

    @cached_property
    def namespace_vocabulary(self) -> Vocabulary:
        """The labels of namespaces."""
        return Vocabulary(self.namespaces.values())

    @cached_property
    def overlay(self) -> Overlay:
        """The compiled rules, policy by policy."""
        return make_overlay(self.compiled)

    @cached_property
    def removal(self) -> Removal:
        """The policies that can be deleted together because others do all that they do."""
        unevaluated = self.compiled.unevaluated
        among = None
        if any(one.namespaces for one in unevaluated):
            among = frozenset(
                number
                for number, policy in enumerate(self.compiled.policies)
                if not unmodelled_in(unevaluated, policy.namespace)
            )
        return removal(Workbench(self.compiled, self.overlay), among)

    def lets_through(self, policy: Policy, rule: Rule) -> bool:
        """Whether a rule that allows decides about anything: not where others always do."""
        return not self.in_order or (str(policy), rule.direction, rule.index) in self._deciding

    @cached_property
    def _deciding(self) -> set[tuple[str, Direction, int]]:
        """The rules that decide or pass on anything, by policy, direction and place."""
        numbers = {
            share.row.rule
            for plane in self.overlay.planes
            for rules in (PlaneRules(self.overlay, plane),)
            for side in rules.sides.values()
            for part in side.parts
            for met in rules.distinct(side.of_part(part))
            for share in rules.decided(met).shares
        }
        refs = (self.compiled.rules[number] for number in numbers if number >= 0)
        return {(str(ref.policy), ref.rule.direction, ref.rule.index) for ref in refs}

    @cached_property
    def is_whole(self) -> bool:
        """Whether the input has the pods of a whole cluster, so that what is not in it does not
        exist: those of the cluster itself are in it too."""
        return any(kind.namespace in _SYSTEM for kind in self.kinds)

    @cached_property
    def has_all_namespaces(self) -> bool:
        """Whether the input has every Namespace of a cluster."""
        given = {one.name for one in self.cluster.namespaces if not one.implied}
        return not given.isdisjoint(_SYSTEM)

    def knows_pods(self, where: Where) -> bool:
        """Whether the input has the pods of a namespace, or of all that a peer selects."""
        names = [where] if isinstance(where, str) else self.namespaces_of[where]
        if any(unmodelled_in(self.compiled.unevaluated, name) for name in names):
            return False
        if self.is_whole:
            return bool(self.vocabulary(where))
        if not (isinstance(where, str) or self.has_all_namespaces or by_name(where)):
            return False
        inhabited = {kind.namespace for kind in self.scope(where)}
        return bool(names) and inhabited.issuperset(names)


def allowing(policy: Policy) -> Iterator[Rule]:
    """The rules of a policy that let something through: findings about what is open are about
    them."""
    return (rule for rule in policy.rules if rule.action is Action.ALLOW)


def by_name(namespaces: Selector) -> bool:
    """Whether a selector lists namespaces by their names."""
    return any(
        one.key == METADATA_NAME and one.operator is Operator.IN for one in namespaces.requirements
    )


def workload_names(pods: Iterable[Pod]) -> list[str]:
    """The workloads of some pods, as ``Deployment shop/web``, sorted."""
    refs = {pod.workload for pod in pods}
    return sorted(f"{ref.kind} {ref.namespace}/{ref.name}" for ref in refs)


def peer_question(peer: PodPeer) -> SelectorQuestion:
    """What a peer asks: where, and for which pods."""
    where: Where = peer.namespace if peer.namespace is not None else peer.namespaces
    return where, peer.pods if peer.pods is not None else EVERYTHING


def _kinds(pods: Sequence[Pod]) -> list[Kind]:
    """By namespace, in order of name."""
    found: dict[tuple[object, ...], Kind] = {}
    for place, pod in enumerate(pods):
        key = (pod.namespace, tuple(pod.labels.items()), pod.ports)
        kind = found.get(key)
        if kind is None:
            kind = found[key] = Kind(pod.namespace, pod.labels, pod.ports)
        kind.pods.append(place)
    return sorted(found.values(), key=lambda kind: kind.namespace)
