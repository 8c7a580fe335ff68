"""Pods that do not exist and could, one for each way in which policies can distinguish them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from kubeverdict.analyses.verify.classes import Labels, combinations
from kubeverdict.analyses.verify.questions import PortNames
from kubeverdict.analyses.verify.values import TooManyError
from kubeverdict.model.addresses import Address
from kubeverdict.model.cluster import Namespace, Pod, WorkloadRef
from kubeverdict.model.policy import BlockPeer, Peer, PodPeer, Policy, parts_of
from kubeverdict.model.selectors import EVERYTHING, Selector

# Pods at one end of an assertion that are looked at.
MOST = 50_000


@dataclass(frozen=True, slots=True)
class NewPodSet:
    """Who is meant at one end: new pods that one of ``peers`` selects, or, ``others``, that none
    of them does."""

    peers: tuple[PodPeer, ...]
    others: bool = False

    def namespaces(self, existing: Iterable[Namespace]) -> list[Namespace]:
        """Those in which such pods can be."""
        return [one for one in existing if self.others or any(covers(p, one) for p in self.peers)]


def covers(peer: PodPeer, namespace: Namespace) -> bool:
    if peer.namespace is not None:
        return peer.namespace == namespace.name
    return peer.namespaces.matches(namespace.labels)


def governs(policy: Policy, namespace: Namespace) -> bool:
    if policy.namespace is not None:
        return policy.namespace == namespace.name
    return policy.namespaces.matches(namespace.labels)


@dataclass(slots=True)
class PolicyQuestions:
    """What policies ask about the pods at one end: ``subjects`` those that may select them, and the
    ``peers`` and ``blocks`` in the rules of the other end. ``nodes`` are those that their own rules
    distinguish; empty for none in particular."""

    subjects: dict[str, dict[Selector, None]] = field(default_factory=dict)
    peers: dict[PodPeer, None] = field(default_factory=dict)
    blocks: dict[BlockPeer, None] = field(default_factory=dict)
    nodes: tuple[str, ...] = ("",)

    def note_subject(self, namespace: str, selector: Selector) -> None:
        self.subjects.setdefault(namespace, {})[selector] = None

    def note_subjects(self, policies: Iterable[Policy], namespaces: Sequence[Namespace]) -> None:
        """What ``policies`` ask of the pods that they select, in ``namespaces``."""
        for policy in policies:
            for rule in policy.rules:
                if rule.subject is not None:
                    self.note_peer(rule.subject)
            if policy.namespace is not None:
                self.note_subject(policy.namespace, policy.pods)
                continue
            for one in namespaces:
                if governs(policy, one):
                    self.note_subject(one.name, policy.pods)

    def note_peer(self, peer: Peer) -> None:
        """Nodes and named sets of ends do not distinguish pods."""
        for part in parts_of(peer):
            if isinstance(part, PodPeer):
                self.peers[part] = None
            elif isinstance(part, BlockPeer):
                self.blocks[part] = None

    def addresses(self, candidates: Sequence[Address]) -> list[Address | None]:
        """One of ``candidates`` for each way in which the blocks distinguish them; None, for no
        address, where no block is asked about or no candidate is known."""
        if not self.blocks:
            return [None]
        alike: dict[tuple[object, ...], Address] = {}
        for address in candidates:
            held = tuple(address in block for block in self.blocks)
            alike.setdefault((address.family, *held), address)
        return list(alike.values()) or [None]


def peers_of(policies: Iterable[Policy]) -> Iterator[Peer]:
    return (peer for one in policies for rule in one.rules for peer in rule.peers or ())


def new_pods(
    pod_set: NewPodSet,
    namespaces: Sequence[Namespace],
    asked: PolicyQuestions,
    addresses: Sequence[Address | None],
    ports: Sequence[PortNames],
    prefix: str,
) -> Iterator[tuple[Pod, int]]:
    """The pods, each with the index of its ``ports``. Raises TooManyError."""
    made = 0
    containers = [each.of_container() for each in ports]
    for namespace in namespaces:
        for labels, node, address in product(
            _label_sets(pod_set, namespace, asked), asked.nodes, addresses
        ):
            for index, each in enumerate(containers):
                made += 1
                if made > MOST:
                    raise TooManyError(f"more than {MOST:,} at the {prefix}")
                name = f"{prefix}-{made}"
                pod = Pod(
                    namespace.name,
                    name,
                    dict(labels),
                    WorkloadRef(namespace.name, name, "Pod"),
                    () if address is None else (str(address),),
                    each,
                    node,
                )
                yield pod, index


def _label_sets(
    pod_set: NewPodSet, namespace: Namespace, asked: PolicyQuestions
) -> Iterator[Labels]:
    own = [peer.pods or EVERYTHING for peer in pod_set.peers if covers(peer, namespace)]
    others = dict.fromkeys(asked.subjects.get(namespace.name, ()))
    others |= dict.fromkeys(
        peer.pods for peer in asked.peers if peer.pods is not None and covers(peer, namespace)
    )
    needed = (1 << len(own)) - 1
    found = combinations([*own, *others], 0 if pod_set.others else needed)
    for met, labels in found.items():
        if bool(met & needed) != pod_set.others:
            yield labels
