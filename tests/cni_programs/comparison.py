"""Packets through the rules that a CNI's program wrote, beside what the engine says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import BlockPeer, Direction, Policy
from kubeverdict.model.profile import Profile
from tests.clusters.generated import Probe
from tests.clusters.objects import objects
from tests.cni_programs.prober import Packet
from tests.cni_programs.programs import Running
from tests.cni_programs.staging import address_of, local_pods, staged_cluster, staged_probes
from tests.conformance.answers import Answer, ask_engine
from tests.oracle import Reason

_DENIALS = {Reason.NO_RULE_MATCHES.value, Reason.NO_ADDRESS.value}


@dataclass(frozen=True)
class Passage:
    """A packet: what shall become of it, and what became."""

    packet: Packet
    egress: str
    ingress: str
    expected: bool
    arrived: bool

    def __str__(self) -> str:
        packet = self.packet
        return (
            f"{packet.source} -> {packet.destination} {packet.protocol.name} {packet.port}: "
            f"egress {self.egress}, ingress {self.ingress}: shall "
            f"{'arrive' if self.expected else 'be dropped'} and "
            f"{'arrived' if self.arrived else 'did not'}"
        )


@dataclass(frozen=True)
class Observation:
    """A cluster, and which packets arrived while a program had it in force."""

    seed: int
    cluster: Cluster
    asked: tuple[Probe, ...]
    arrived: tuple[bool, ...]


def observe(started: Running, seed: int, probes: int) -> Observation:
    """Put the cluster of this seed in force and send about so many packets."""
    cluster, families = started.engine.decided(staged_cluster(seed)), started.engine.families
    possible = staged_probes(cluster, started.engine.profile, probes, seed)
    asked = tuple(
        probe
        for probe in possible
        if probe.family in families
        and not _is_beyond_profiles(started.engine.profile, cluster, probe)
    )
    if not asked:
        return Observation(seed, cluster, (), ())
    started.lab.show(cluster, started.daemon)
    arrived = started.lab.arrived(list(map(packet_of, asked)))
    return Observation(seed, cluster, asked, tuple(arrived))


def passages(observed: Observation, profile: Profile) -> Iterator[Passage]:
    """The packets of an observation, with what shall become of them under a profile."""
    here = {text for pod in local_pods(observed.cluster) for text in pod.addresses}
    answers = ask_engine(observed.cluster, observed.asked, profile)
    for probe, answer, came in zip(observed.asked, answers, observed.arrived, strict=True):
        packet = packet_of(probe)
        yield Passage(packet, answer.egress, answer.ingress, _expected(packet, answer, here), came)


@dataclass
class Passages:
    """What was sent so far, and what became of it against what a profile says."""

    clusters: int = 0
    probes: int = 0
    allowed: int = 0
    apart: list[tuple[Observation, list[Passage]]] = field(default_factory=list)

    def add(self, observed: Observation, profile: Profile) -> None:
        seen = list(passages(observed, profile))
        self.clusters += bool(seen)
        self.probes += len(seen)
        self.allowed += sum(one.arrived for one in seen)
        if apart := [one for one in seen if one.expected != one.arrived]:
            self.apart.append((observed, apart))

    def __str__(self) -> str:
        wrong = sum(len(apart) for _, apart in self.apart)
        return (
            f"{self.clusters} clusters, {self.probes} packets ({self.allowed} arrived), "
            f"{wrong} disagreements"
        )

    def report(self, shown: int = 3) -> str:
        """With the first disagreements, and the clusters that they are of."""
        parts = [str(self)]
        for observed, apart in self.apart[:shown]:
            written = msgspec.json.encode(list(objects(observed.cluster))).decode()
            parts.append("\n".join([f"seed {observed.seed}", *map(str, apart[:8]), written]))
        return "\n\n".join(parts)


def _is_beyond_profiles(profile: Profile, cluster: Cluster, probe: Probe) -> bool:
    """Whether a block may let a packet through at the end that it is not about: rules of ours
    select their subjects by labels, so no profile has that."""
    ends = (probe.source, probe.destination)
    return profile.both_directions == "merged" and any(
        len(policy.isolates) == len(Direction)
        and any(isinstance(peer, BlockPeer) for rule in policy.rules for peer in rule.peers or ())
        and all(_selects(policy, end, cluster) for end in ends)
        for policy in cluster.policies
    )


def _selects(policy: Policy, end: Pod | str, cluster: Cluster) -> bool:
    pods = [end] if isinstance(end, Pod) else [p for p in cluster.pods if end in p.addresses]
    return any(
        pod.namespace == policy.namespace and policy.pods.matches(pod.labels) for pod in pods
    )


def packet_of(probe: Probe) -> Packet:
    """A probe as addresses; those of ICMP are echo requests."""
    assert probe.family is not None
    ends = (probe.source, probe.destination)
    source, destination = (address_of(end, probe.family) for end in ends)
    return Packet(source, destination, probe.protocol, probe.port)


def _expected(packet: Packet, answer: Answer, here: set[str]) -> bool:
    """Only ends on this node have policies here."""
    return not any(
        end in here and word in _DENIALS
        for end, word in (
            (packet.source, answer.egress),
            (packet.destination, answer.ingress),
        )
    )
