"""Pods and namespaces that could be created, one for each way in which policies distinguish them.

A new namespace may have any labels, and any name that no namespace has; a new pod any labels, names
of its ports, and an address where pods are. The same questions are asked as for an assertion
(:mod:`kubeverdict.analyses.verify`), here by all policies of several compiled clusters at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations as subsets
from typing import NamedTuple

from msgspec.structs import replace

from kubeverdict.analyses.verify.classes import combinations
from kubeverdict.analyses.verify.new_pod_kinds import (
    NewPodSet,
    PolicyQuestions,
    new_pods,
    peers_of,
)
from kubeverdict.analyses.verify.new_pods import addresses_in_use
from kubeverdict.analyses.verify.ports import every_port
from kubeverdict.analyses.verify.questions import PortNames, representatives
from kubeverdict.analyses.verify.values import TooManyError
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.lowering import is_about_own_node
from kubeverdict.model.addresses import Address
from kubeverdict.model.cluster import METADATA_NAME, Namespace, Pod
from kubeverdict.model.policy import Action, PodPeer, Policy, Rule, parts_of
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.selectors import EVERYTHING

# Names of ports in rules; each doubles the pods that are looked at.
_MOST_NAMES = 4
_MOST_NODES = 8
_ANY_POD = NewPodSet((PodPeer(EVERYTHING),))


class CouldBe(NamedTuple):
    """Pods that could be, and the namespaces among theirs that could be too."""

    namespaces: tuple[Namespace, ...]
    pods: tuple[Pod, ...]


def could_be(sides: Sequence[CompiledPolicy]) -> CouldBe:
    """What the policies of ``sides``, which have their namespaces in common, can distinguish.
    Raises TooManyError."""
    policies = [policy for side in sides for policy in side.policies]
    rules = [rule for policy in policies for rule in policy.rules]
    existing = sides[0].cluster.namespaces
    made = tuple(_namespaces(existing, policies))
    asked = PolicyQuestions()
    asked.note_subjects(policies, (*existing, *made))
    for peer in peers_of(policies):
        asked.note_peer(peer)
    asked.nodes = _nodes(sides[0], policies)
    addresses: Sequence[Address | None] = [None]
    if any(side.profile.ipblock_matches_pods for side in sides):
        candidates = [address for side in sides for address in addresses_in_use(side)]
        addresses = asked.addresses(candidates)
    found = new_pods(
        _ANY_POD,
        (*existing, *made),
        asked,
        addresses,
        _port_names(sides, rules),
        "new",
    )
    return CouldBe(made, tuple(_described(pod for pod, _ in found)))


def _namespaces(existing: Iterable[Namespace], policies: Sequence[Policy]) -> Iterator[Namespace]:
    """One namespace for each way in which selectors distinguish those that do not exist."""
    selectors = dict.fromkeys(policy.namespaces for policy in policies if policy.namespace is None)
    selectors |= dict.fromkeys(
        peer.namespaces for peer in _pod_peers(policies) if peer.namespace is None
    )
    asked = [selector for selector in selectors if selector != EVERYTHING]
    taken = {one.name for one in existing}
    seen: set[tuple[bool, ...]] = set()
    for labels in combinations(asked).values():
        chosen = dict(labels)
        name = chosen.get(METADATA_NAME) or f"new-namespace-{len(seen) + 1}"
        chosen[METADATA_NAME] = name
        # A name that was left out is there after all: it may be what a selector is about.
        met = tuple(selector.matches(chosen) for selector in asked)
        if name not in taken and met not in seen:
            seen.add(met)
            yield Namespace(name, chosen)


def _nodes(side: CompiledPolicy, policies: Iterable[Policy]) -> tuple[str, ...]:
    """The nodes that a new pod may run on, as far as rules tell its own from others: each, and one
    that is not known."""
    if not any(map(is_about_own_node, peers_of(policies))):
        return ("",)
    names = [node.name for node in side.cluster.nodes]
    if len(names) > _MOST_NODES:
        raise TooManyError(f"rules tell the own node of a pod, of more than {_MOST_NODES}")
    return ("", *names)


def _pod_peers(policies: Sequence[Policy]) -> Iterator[PodPeer]:
    """All that rules name, as the other end or as their own subject."""
    subjects = (rule.subject for one in policies for rule in one.rules if rule.subject is not None)
    parts = (part for peer in (*peers_of(policies), *subjects) for part in parts_of(peer))
    return (part for part in parts if isinstance(part, PodPeer))


def _port_names(sides: Sequence[CompiledPolicy], rules: Sequence[Rule]) -> list[PortNames]:
    """Sets of names that the ports of a pod may have, each name for a number of each range that
    rules distinguish.

    A rule that allows opens more with each name that it has, whatever others do: names that are in
    such rules alone are looked at one by one, all others in every set."""
    names: dict[NamedPort, bool] = {}
    for rule in rules:
        opens = rule.action is Action.ALLOW
        for port in (one for one in rule.ports or () if isinstance(one, NamedPort)):
            names[port] = names.get(port, True) and opens
        for port in (one for one in rule.excluded_ports if isinstance(one, NamedPort)):
            names[port] = False
    opening = sorted(name for name, alone in names.items() if alone)
    free = sorted(name for name, alone in names.items() if not alone)
    if len(free) > _MOST_NAMES:
        raise TooManyError(f"more than {_MOST_NAMES} names of ports in rules of all kinds")
    numbers = representatives(every_port(sides[0]), rules)
    return [
        PortNames(frozenset((*chosen, *more)), numbers)
        for size in range(len(free) + 1)
        for chosen in subsets(free, size)
        for more in ((), *((name,) for name in opening))
    ]


def _described(pods: Iterable[Pod]) -> Iterator[Pod]:
    """The pods under names that say what is special about them; a number distinguishes those whose
    names would be the same."""
    known: Counter[tuple[str, str]] = Counter()
    for pod in pods:
        parts = [f"{key}={value}" for key, value in sorted(pod.labels.items())]
        parts += pod.addresses
        parts += sorted({f"port {port.name}" for port in pod.ports})
        name = f"new{{{','.join(parts)}}}"
        known[pod.namespace, name] += 1
        if (again := known[pod.namespace, name]) > 1:
            name += str(again)
        yield replace(pod, name=name, workload=replace(pod.workload, name=name))
