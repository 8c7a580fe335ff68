"""Plain answers for the verbs: what the oracle says of every flow of a small cluster.

The clusters have tiers of every default, Deny and Pass rules and policies of the whole cluster;
ports and blocks are few, so that one flow for each part into which they cut the ports and the
addresses is all there is to ask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from copy import copy
from functools import cached_property
from random import Random
from typing import NamedTuple

from msgspec.structs import replace

from kubeverdict.model.addresses import Family, parse_block
from kubeverdict.model.cluster import Cluster, ContainerPort, Pod
from kubeverdict.model.edit import policy_key
from kubeverdict.model.policy import Action, BlockPeer, Direction, Policy, Rule
from kubeverdict.model.ports import NamedPort, PortMatch, PortRange, Protocol
from kubeverdict.model.profile import REFERENCE, Profile
from tests.clusters.generated import build_cluster, change_cluster, ends
from tests.clusters.policies import Choose, unlisted
from tests.counting import port_runs
from tests.oracle import Oracle, Reason, Way, decides_to_allow
from tests.oracle_parts import Flow

_NAME = NamedPort(Protocol.TCP, "http")
_PORTS: tuple[PortMatch, ...] = (
    PortRange(Protocol.TCP, 80, 80),
    PortRange(Protocol.TCP, 80, 81),
    PortRange(Protocol.TCP, 81, 8080),
    PortRange(Protocol.UDP, 1, 65535),
    _NAME,
)
_BLOCKS = [
    BlockPeer(block, tuple(part for part in (parse_block(each) for each in excepts) if part))
    for text, *excepts in (
        ("0.0.0.0/0",),
        ("10.0.0.0/30", "10.0.0.2/31"),
        ("203.0.113.0/24", "203.0.113.9/32"),
        ("203.0.113.9/32",),
    )
    if (block := parse_block(text)) is not None
]


class Asked(NamedTuple):
    """One direction of a flow. The subject is the pod whose policies are asked."""

    direction: Direction
    source: Pod | str
    destination: Pod | str
    protocol: Protocol
    port: int
    family: Family

    @property
    def subject(self) -> Pod | str:
        return self.source if self.direction is Direction.EGRESS else self.destination

    @property
    def other(self) -> Pod | str:
        return self.destination if self.direction is Direction.EGRESS else self.source


def small_cluster(seed: int, pods: int = 4, policies: int = 6, *, tiers: bool = True) -> Cluster:
    """The cluster of this seed, on one family and no nodes that policies let through."""
    choose = Random(seed).choice
    return _small(choose, build_cluster(choose, pods, policies, tiers))


def small_versions(seed: int, pods: int = 4, policies: int = 6) -> tuple[Cluster, Cluster]:
    """A cluster and another version of it: of pods, policies and labels most are the same."""
    choose = Random(seed).choice
    before = _small(choose, build_cluster(choose, pods, policies, tiers=True))
    after = _small(choose, change_cluster(choose, before, tiers=True))
    policies_before = {policy_key(one): one for one in before.policies}
    kept = [policies_before.get(policy_key(one), one) for one in after.policies]
    same = [
        one if choose((True, False)) else new for one, new in zip(kept, after.policies, strict=True)
    ]
    return before, replace(after, policies=tuple(same))


def _small(choose: Choose, made: Cluster) -> Cluster:
    def pod(one: Pod) -> Pod:
        ports = (ContainerPort("http", Protocol.TCP, choose((80, 8080))),) if one.ports else ()
        addresses = tuple(text for text in one.addresses if "." in text)
        return replace(one, node="", ports=ports, addresses=addresses)

    def rule(one: Rule) -> Rule:
        peers = one.peers and tuple(
            choose(_BLOCKS) if isinstance(peer, BlockPeer) else peer for peer in one.peers
        )
        ports = one.ports and tuple(choose(_PORTS) for _ in one.ports)
        excluded = tuple(
            _NAME if isinstance(port, NamedPort) else port for port in one.excluded_ports
        )
        return replace(one, peers=peers, ports=ports, excluded_ports=excluded)

    def policy(one: Policy) -> Policy:
        rules = tuple(map(rule, one.rules))
        beside = unlisted(rules, one.isolates) if one.unlisted_rules else ()
        return replace(one, rules=rules, unlisted_rules=beside)

    return replace(
        made,
        pods=tuple(map(pod, made.pods)),
        policies=tuple(map(policy, made.policies)),
        nodes=(),
    )


class Plain:
    """The oracle on one cluster, asked about every flow between different ends."""

    def __init__(self, cluster: Cluster, profile: Profile = REFERENCE) -> None:
        self.oracle = Oracle(cluster, profile)

    def without(self, policies: Collection[Policy]) -> Plain:
        """The same cluster without some policies, and the same flows."""
        other = copy(self)
        other.oracle = self.oracle.without(policies)
        other.__dict__["ports"] = self.ports
        other.__dict__["anyone"] = self.anyone
        return other

    @cached_property
    def ports(self) -> list[tuple[Protocol, int]]:
        """A port of each part, and what has none."""
        runs = [(run.protocol, run.first) for run in port_runs(self.oracle)]
        return [*runs, (Protocol.ICMP, 0), (Protocol.OTHER, 0)]

    @cached_property
    def anyone(self) -> list[Pod | str]:
        """Every managed pod, and an address of each part that is no managed pod's."""
        texts = [end for end in ends(self.oracle.cluster, self.oracle.managed) if "." in str(end)]
        strangers = [end for end in texts if isinstance(end, str) and not self._is_managed(end)]
        return [*self.oracle.managed, *strangers]

    def _is_managed(self, text: str) -> bool:
        return self.oracle.end(text).pod is not None

    def asked(self, policy: Policy | None = None) -> Iterator[Asked]:
        """Every direction of every flow whose subject is managed: by ``policy``, where it is
        given."""
        oracle = self.oracle
        directions = tuple(Direction)
        subjects = oracle.managed
        if policy is not None:
            spoken = {*policy.isolates, *(rule.direction for rule in policy.rules)}
            directions = tuple(one for one in Direction if one in spoken)
            subjects = [pod for pod in oracle.managed if self.selects(policy, pod)]
        for direction in directions:
            for subject in subjects:
                for other in self.anyone:
                    if other is subject or not self._meet(subject, other):
                        continue
                    egress = direction is Direction.EGRESS
                    source, destination = (subject, other) if egress else (other, subject)
                    for protocol, port in self.ports:
                        yield Asked(direction, source, destination, protocol, port, 4)

    def _meet(self, one: Pod | str, other: Pod | str) -> bool:
        return self.oracle.end(one).has(4) and self.oracle.end(other).has(4)

    def selects(self, policy: Policy, pod: Pod | str) -> bool:
        return isinstance(pod, Pod) and self.oracle._is_subject(policy, pod)

    def way(self, asked: Asked) -> Way:
        return self.oracle.way(*asked)

    def lets(self, asked: Asked) -> bool:
        return decides_to_allow(self.way(asked).decided)

    def matches(self, policy: Policy, rule: Rule, asked: Asked) -> bool:
        """Whether a rule of a policy that selects the subject is about a flow."""
        flow = Flow(
            self.oracle.end(asked.source),
            self.oracle.end(asked.destination),
            asked.protocol,
            asked.port,
            asked.family,
        )
        return rule.direction is asked.direction and self.oracle._rule_matches(
            policy, rule, self.oracle.end(asked.other), flow
        )

    def decider(self, asked: Asked) -> Policy | None:
        """The policy that decides, one of several that isolate; None where nobody does."""
        way = self.way(asked)
        if isinstance(way.decided, Reason):
            return way.isolating[0] if way.isolating else None
        return way.decided[0]


def concerned(plain: Plain, policy: Policy) -> list[Asked]:
    """The flows that a policy has something to say about: that a rule matches, or that it
    isolates from and no rule of its tier matches."""
    found = []
    for asked in plain.asked(policy):
        own = any(plain.matches(policy, rule, asked) for rule in policy.rules)
        if not own and policy.tier.default is Action.DENY and asked.direction in policy.isolates:
            own = not any(
                plain.matches(other, rule, asked)
                for other in plain.oracle.policies
                if other.tier == policy.tier and plain.selects(other, asked.subject)
                for rule in other.rules
            )
        if own:
            found.append(asked)
    return found
