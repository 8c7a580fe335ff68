"""Generated clusters, judged by a CNI's own policy code and by the engine under a profile of it.

Every probe is judged at both ends, and each end is compared by itself. What is not asked, because
it cannot be or because the answer says nothing about policies:

* A pod that reaches itself: its packets never come to the policy code.
* Ends without a common address family, and finished pods as pods (their addresses are asked).
* Port 0, which no connection has.
* Services: the code is asked about the backend, which is where the engine puts the question too.
* What only packets show: replies and connections that are open, a drop or a reject.

And what generated clusters hold that no real cluster does is put right before both judge it, see
:func:`as_it_could_be`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from random import Random
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from kubeverdict.model.addresses import Family, family_of
from kubeverdict.model.cluster import Cluster, Node, Pod
from kubeverdict.model.policy import Direction, Policy, Rule
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import Profile
from tests.clusters.generated import Probe, random_cluster, random_probes
from tests.clusters.objects import objects
from tests.conformance.answers import ask_engine
from tests.oracle import Oracle, Reason
from tests.oracles.client import Client, EndVerdict, WireAnswer, WireProbe

T = TypeVar("T")

_DENIALS = {Reason.NO_RULE_MATCHES.value, Reason.NO_ADDRESS.value}
# A protocol that is none of those with ports, nor ICMP: GRE.
_OTHER = "47"
_ECHO: Mapping[Family, int] = {4: 8, 6: 128}


def as_it_could_be(cluster: Cluster) -> Cluster:
    """A generated cluster without what only a snapshot, or no NetworkPolicy, has.

    No address belongs to two pods; what does not run yet is judged as if it did, with addresses and
    on a node; a hostNetwork pod runs on a node, which has its addresses; no rule matches nothing
    (an empty list of peers or ports is no restriction in a manifest).
    """
    taken: set[str] = set()
    of_node = {node.name: list(node.addresses) for node in cluster.nodes}
    pods: list[Pod] = []
    for number, pod in enumerate(cluster.pods):
        if pod.host_network:
            pod = replace(pod, node=pod.node or "node-9")
            known = of_node.setdefault(pod.node, [])
            known += [address for address in pod.addresses if address not in known]
        else:
            own = tuple(address for address in pod.addresses if address not in taken)
            taken.update(own)
            if not own and not pod.phase:
                own = (f"10.200.0.{number + 1}", f"fd00:200::{number + 1}")
            pod = replace(pod, addresses=own, node=pod.node or ("node-9" if own else ""))
        pods.append(pod)
    labels = {node.name: node.labels for node in cluster.nodes}
    return replace(
        cluster,
        pods=tuple(pods),
        nodes=tuple(
            Node(name, tuple(addresses), labels.get(name, {}))
            for name, addresses in of_node.items()
        ),
        policies=tuple(map(_sayable, cluster.policies)),
    )


def _sayable(policy: Policy) -> Policy:
    kept = [
        tuple(rule for rule in rules if () not in (rule.peers, rule.ports))
        for rules in (policy.rules, policy.unlisted_rules)
    ]
    return replace(policy, rules=kept[0], unlisted_rules=kept[1])


def probes_of(cluster: Cluster, oracle: Oracle, count: int, seed: int) -> list[Probe]:
    """Random probes, and for each pod one from its own node and one to it."""
    random = Random(seed)
    nodes = {node.name: node for node in cluster.nodes if node.addresses}
    wanted = random_probes(cluster, oracle.managed, count, seed)
    for pod in oracle.managed:
        if pod.node in nodes:
            address = random.choice(nodes[pod.node].addresses)
            family = family_of(ip_address(address).version)
            port = random.choice((80, 81, 8080))
            wanted.append(Probe(address, pod, Protocol.TCP, port, family))
            wanted.append(Probe(pod, address, Protocol.TCP, port, family))
    return [known for probe in wanted for known in _askable(oracle, probe)]


def _askable(oracle: Oracle, probe: Probe) -> Iterator[Probe]:
    """The probe in a family that both ends have, if it can be asked."""
    source, destination = oracle.end(probe.source), oracle.end(probe.destination)
    families: tuple[Family, ...] = (4, 6) if probe.family is None else (probe.family,)
    shared = [one for one in families if source.has(one) and destination.has(one)]
    itself = source.pod is not None and source.pod is destination.pod
    nowhere = probe.protocol.has_ports and probe.port == 0
    if shared and not itself and not nowhere:
        yield Probe(probe.source, probe.destination, probe.protocol, probe.port, shared[0])


def on_the_wire(probe: Probe) -> WireProbe:
    """ICMP without a type, of which no rule of a NetworkPolicy speaks, is echo request."""
    assert probe.family is not None
    icmp_type = None
    if probe.protocol is Protocol.ICMP:
        icmp_type = (probe.port - 1) // 256 % 256 if probe.port else _ECHO[probe.family]
    return WireProbe(
        source=str(probe.source),
        destination=str(probe.destination),
        protocol=_OTHER if probe.protocol is Protocol.OTHER else probe.protocol.name,
        port=probe.port if probe.protocol.has_ports else 0,
        icmp_type=icmp_type,
        family=probe.family,
    )


@dataclass(frozen=True)
class JudgedEnd:
    """One end of a probe: what the engine and the program say, each with what decided."""

    probe: Probe
    direction: Direction
    ours: str
    our_reason: str
    theirs: str
    their_reason: str

    def __str__(self) -> str:
        probe = self.probe
        return (
            f"{probe.source} -> {probe.destination} {probe.protocol.name} {probe.port}, "
            f"IPv{probe.family}, {self.direction.word}: {self.ours} ({self.our_reason}), "
            f"but the CNI: {self.theirs} ({self.their_reason})"
        )


def judged_ends(probe: Probe, ours: WireAnswer, theirs: WireAnswer) -> Iterator[JudgedEnd]:
    """Both ends of a probe, those left out that both take for no pod."""
    assert not theirs.error, (probe, theirs.error)
    for direction, one, other in (
        (Direction.EGRESS, ours.egress, theirs.egress),
        (Direction.INGRESS, ours.ingress, theirs.ingress),
    ):
        if one is not None or other is not None:
            yield JudgedEnd(probe, direction, *_words(one), *_words(other))


def _words(end: EndVerdict | None) -> tuple[str, str]:
    """A verdict, and what decided."""
    return ("no pod", "") if end is None else (end.verdict, end.by)


@dataclass(frozen=True)
class Disagreement:
    """One end of a probe, and as much of the cluster as is needed to ask again."""

    cluster: Cluster
    end: JudgedEnd

    def __str__(self) -> str:
        probe = msgspec.to_builtins(on_the_wire(self.end.probe))
        request = {"objects": list(objects(self.cluster)), "probes": [probe]}
        return f"{self.end}\n{msgspec.json.encode(request).decode()}"


@dataclass
class Comparison:
    """What was compared so far, and where the two disagree: with what is needed to ask again."""

    clusters: int = 0
    probes: int = 0
    ends: int = 0
    apart: list[Disagreement | str] = field(default_factory=list)

    def add(
        self,
        probes: int,
        ends: Iterable[JudgedEnd],
        shown: Callable[[JudgedEnd], Disagreement | str],
    ) -> None:
        """One more cluster. ``shown`` makes of an end at which the two disagree what is kept."""
        self.clusters += 1
        self.probes += probes
        for end in ends:
            self.ends += 1
            if end.ours != end.theirs:
                self.apart.append(shown(end))

    def __str__(self) -> str:
        return (
            f"{self.clusters} clusters, {self.probes} probes, {self.ends} ends, "
            f"{len(self.apart)} disagreements"
        )

    def report(self, shown: int = 3) -> str:
        return "\n\n".join([str(self), *map(str, self.apart[:shown])])


class Judges:
    """A CNI's program beside the engine under a profile.

    ``asked_as`` is the profile that says which ends there are, if it is not the same one.
    """

    def __init__(
        self,
        client: Client,
        profile: Profile,
        options: Mapping[str, Any] | None = None,
        asked_as: Profile | None = None,
    ) -> None:
        self._client = client
        self._profile = profile
        self._options = options or {}
        self._asked_as = asked_as or profile

    def compare(self, seeds: Iterable[int], probes: int = 100) -> Comparison:
        """The clusters of these seeds, each with so many random probes."""
        made = Comparison()
        for seed in seeds:
            cluster, asked = self._cluster(seed, probes)
            made.add(len(asked), self._ends(cluster, asked), partial(self._disagreement, cluster))
        return made

    def first_apart(self, seeds: Iterable[int], probes: int = 100) -> int | None:
        """The first of the seeds where the two disagree."""
        for seed in seeds:
            if any(end.ours != end.theirs for end in self._ends(*self._cluster(seed, probes))):
                return seed
        return None

    def _cluster(self, seed: int, probes: int) -> tuple[Cluster, list[Probe]]:
        random = Random(seed)
        pods, policies = random.choice((2, 4, 8, 12)), random.choice((1, 2, 4, 8))
        cluster = as_it_could_be(random_cluster(seed, pods, policies))
        return cluster, probes_of(cluster, Oracle(cluster, self._asked_as), probes, seed)

    def _ends(self, cluster: Cluster, asked: Sequence[Probe]) -> Iterator[JudgedEnd]:
        """Both ends of each probe, those left out that both take for no pod."""
        response = self._client.ask(objects(cluster), map(on_the_wire, asked), self._options)
        refused = [f"{one.object}: {one.error}" for one in response.errors]
        assert not refused, refused
        oracle = Oracle(cluster, self._profile)
        ours = ask_engine(cluster, asked, self._profile)

        def said(end: Pod | str, reason: str) -> EndVerdict | None:
            if oracle.end(end).pod is None:
                return None
            return EndVerdict("deny" if reason in _DENIALS else "allow", reason)

        for probe, answer, theirs in zip(asked, ours, response.answers, strict=True):
            both = said(probe.source, answer.egress), said(probe.destination, answer.ingress)
            yield from judged_ends(probe, WireAnswer(*both), theirs)

    def _disagreement(self, cluster: Cluster, end: JudgedEnd) -> Disagreement:
        return Disagreement(self._reduced(cluster, end), end)

    def _reduced(self, cluster: Cluster, end: JudgedEnd) -> Cluster:
        """The cluster without what the disagreement does not depend on."""

        def still(smaller: Cluster) -> bool:
            # An address may have been that of a pod which is gone.
            asked = list(_askable(Oracle(smaller, self._asked_as), end.probe))
            return asked == [end.probe] and any(
                one.direction is end.direction and one.ours != one.theirs
                for one in self._ends(smaller, asked)
            )

        found: Cluster | None = cluster
        while found is not None:
            cluster = found
            found = next(filter(still, _smaller(cluster, end.probe)), None)
        return cluster


def _smaller(cluster: Cluster, probe: Probe) -> Iterator[Cluster]:
    """The cluster with one thing less, large things first."""
    for policies in _with_one_less(cluster.policies, _smaller_policies):
        yield replace(cluster, policies=policies)
    ends = (probe.source, probe.destination)
    for pods in _with_one_less(cluster.pods):
        if all(pod in pods for pod in ends if isinstance(pod, Pod)):
            yield replace(cluster, pods=pods)


def _smaller_policies(policy: Policy) -> Iterator[Policy]:
    for rules in _with_one_less(policy.rules, _smaller_rules):
        yield replace(policy, rules=rules)
    for rules in _with_one_less(policy.unlisted_rules, _smaller_rules):
        yield replace(policy, unlisted_rules=rules)


def _smaller_rules(rule: Rule) -> Iterator[Rule]:
    """Of what a list names one is left: an empty one would be no restriction."""
    for peers in _with_one_less(rule.peers or ()):
        if peers:
            yield replace(rule, peers=peers)
    for ports in _with_one_less(rule.ports or ()):
        if ports:
            yield replace(rule, ports=ports)


def _with_one_less(
    items: Sequence[T], smaller: Callable[[T], Iterable[T]] = lambda item: ()
) -> Iterator[tuple[T, ...]]:
    """The items without one of them, then with one of them made smaller."""
    for at in range(len(items)):
        yield (*items[:at], *items[at + 1 :])
    for at, item in enumerate(items):
        for less in smaller(item):
            yield (*items[:at], less, *items[at + 1 :])
