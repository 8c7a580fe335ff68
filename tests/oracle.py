"""A second opinion on every verdict: slow, plain, and sharing no code with the engine.

In: a :class:`Cluster` of the model and a :class:`Profile`. Out: for one connection at a time,
whether it is allowed and what decided each direction. It reads the model's records only. How a
selector matches, what a block holds and which rule comes first are written here once more, from
the API's text, so that a mistake in the engine does not hide behind the same mistake here.
Addresses are the standard library's ``ipaddress``.

Services are not here: a query about a Service is one query for each of its endpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from ipaddress import ip_address
from itertools import groupby

from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod
from kubeverdict.model.policy import (
    NETWORK_POLICY_TIER,
    Action,
    BlockPeer,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import NamedPort, Protocol
from kubeverdict.model.profile import REFERENCE, Profile
from tests.oracle_parts import (
    FAMILIES,
    End,
    Flow,
    IPAddress,
    covers,
    excludes,
    family_of,
    has_names_of_nobody,
    is_known,
    isolates,
    lets_icmp_through,
    longest_prefix_matches,
    named_ports,
    network,
    number_ranges,
    ordered_rules,
    place_of,
    seen_labels,
    selects,
    speaks_of,
)


class Reason(StrEnum):
    """What decided a direction where no rule did. Only two of them deny."""

    NOT_ISOLATED = "NOT_ISOLATED"
    NO_RULE_MATCHES = "NO_RULE_MATCHES"
    SELF = "SELF"
    OWN_NODE = "OWN_NODE"
    NO_ADDRESS = "NO_ADDRESS"
    ALWAYS_ICMP = "ALWAYS_ICMP"


Decider = tuple[Policy, Rule] | Reason


@dataclass(frozen=True)
class OracleVerdict:
    """``allowed`` and, for each direction, the rule or the reason that decided it."""

    allowed: bool
    egress: Decider
    ingress: Decider


@dataclass(frozen=True)
class Way:
    """One direction through the tiers: what decided it, the rules that passed it on, in order,
    and the policies that deny by default where no rule of their tier matched."""

    decided: Decider
    passed: tuple[tuple[Policy, Rule], ...] = ()
    isolating: tuple[Policy, ...] = ()
    layers: tuple[tuple[str, Way], ...] = ()


def decides_to_allow(decider: Decider) -> bool:
    if isinstance(decider, Reason):
        return decider not in (Reason.NO_RULE_MATCHES, Reason.NO_ADDRESS)
    _policy, rule = decider
    return rule.action is Action.ALLOW


class Oracle:
    """Verdicts on one cluster as one CNI sees it.

    ``static`` keeps pods that have no address, so that labels alone can be judged.
    """

    def __init__(
        self, cluster: Cluster, profile: Profile = REFERENCE, static: bool = False
    ) -> None:
        self.cluster = cluster
        self.profile = profile
        self.static = static
        self.namespace_labels = {each.name: each.labels for each in cluster.namespaces}
        present = [pod for pod in cluster.pods if not self._is_gone(pod)]
        self.pod_addresses = {pod: self._known_addresses(pod) for pod in present}
        self.host_pods = [pod for pod in present if pod.host_network]
        self.managed = [pod for pod in present if self._is_managed(pod)]
        self.policies = sorted(
            (
                one
                for one in cluster.policies
                if is_known(one, profile) and not self._is_refused(one)
            ),
            key=place_of,
        )
        self._remember()

    def without(self, policies: Collection[Policy]) -> Oracle:
        """The same cluster without some policies."""
        other = copy(self)
        other.policies = [one for one in self.policies if one not in policies]
        other._remember()
        return other

    def _remember(self) -> None:
        """Answers that do not depend on the flow are found once."""
        self._speaking = cache(self._find_speaking)
        self._rules = cache(partial(ordered_rules, profile=self.profile))

    # -- questions ---------------------------------------------------------------------------

    def judge(
        self,
        source: Pod | str,
        destination: Pod | str,
        protocol: Protocol,
        port: int,
        family: Family | None = None,
    ) -> OracleVerdict:
        """One connection. An end is a pod of the cluster or the text of an address.

        ``family`` None takes the first of IPv4 and IPv6 that both ends have.
        """
        opener, answerer = self.end(source), self.end(destination)
        families = FAMILIES if family is None else (family,)
        shared = [each for each in families if opener.has(each) and answerer.has(each)]
        if not shared:
            return OracleVerdict(False, Reason.NO_ADDRESS, Reason.NO_ADDRESS)
        if opener.pod is not None and opener.pod is answerer.pod:
            return OracleVerdict(True, Reason.SELF, Reason.SELF)
        flow = Flow(opener, answerer, protocol, port, shared[0])
        egress = self._direction(Direction.EGRESS, flow).decided
        ingress = self._direction(Direction.INGRESS, flow).decided
        allowed = decides_to_allow(egress) and decides_to_allow(ingress)
        return OracleVerdict(allowed, egress, ingress)

    def way(
        self,
        direction: Direction,
        source: Pod | str,
        destination: Pod | str,
        protocol: Protocol,
        port: int,
        family: Family,
    ) -> Way:
        """How one direction of a connection, between ends that share a family, is decided."""
        return self._direction(
            direction, Flow(self.end(source), self.end(destination), protocol, port, family)
        )

    # -- who and where -----------------------------------------------------------------------

    def end(self, given: Pod | str) -> End:
        """The end that ``given`` stands for.

        The address of a managed pod is that pod; a hostNetwork pod that policies do not manage
        is the address of its node.
        """
        if isinstance(given, str):
            address = ip_address(given)
            pod = self._pod_at(address)
            return self.end(pod) if pod is not None else End(None, {family_of(address): address})
        if given in self.managed:
            return End(given, self.pod_addresses[given] or None)
        if given in self.host_pods and given.addresses:
            return End(None, self.pod_addresses[given])
        raise ValueError(f"{given} is out of the picture: no end of a connection")

    def _is_gone(self, pod: Pod) -> bool:
        return pod.finished and self.profile.finished_pods_ignored

    def _is_managed(self, pod: Pod) -> bool:
        if pod.host_network and not self.profile.hostnetwork_subjects:
            return False
        return bool(pod.addresses) or pod.template or pod.phase == "" or self.static

    def _known_addresses(self, pod: Pod) -> dict[Family, IPAddress]:
        """The addresses of a pod that count: only the first where the CNI has one family."""
        known = pod.addresses if self.profile.dual_stack else pod.addresses[:1]
        addresses: dict[Family, IPAddress] = {}
        for text in known:
            address = ip_address(text)
            addresses.setdefault(family_of(address), address)
        return addresses

    def _pod_at(self, address: IPAddress) -> Pod | None:
        """The managed pod that has this address: a running one before any other."""
        pods = [pod for pod in self.managed if address in self.pod_addresses[pod].values()]
        running = [pod for pod in pods if pod.phase == "Running"]
        return next(iter(running or pods), None)

    def _host_pods_at(self, address: IPAddress) -> Iterator[Pod]:
        for pod in self.host_pods:
            if address in self.pod_addresses[pod].values():
                yield pod

    def _is_node_address(self, address: IPAddress) -> bool:
        """Is it the address of any node, as far as the cluster tells?"""
        listed = any(
            address == ip_address(text) for node in self.cluster.nodes for text in node.addresses
        )
        return listed or any(True for _ in self._host_pods_at(address))

    def _is_own_node(self, other: End, subject: Pod, family: Family) -> bool:
        """Is ``other`` the node that runs ``subject``?"""
        if not subject.node:
            return False
        if other.pod is not None and other.pod.host_network and other.pod.node == subject.node:
            return True
        address = other.address(family)
        if address is None:
            return False
        for node in self.cluster.nodes:
            if node.name == subject.node and address in map(ip_address, node.addresses):
                return True
        return any(pod.node == subject.node for pod in self._host_pods_at(address))

    # -- one direction -----------------------------------------------------------------------

    def _direction(self, direction: Direction, flow: Flow) -> Way:
        """What decides one direction. The subject is the end whose policies apply."""
        if direction is Direction.EGRESS:
            subject, other = flow.source, flow.destination
            node_passes = self.profile.pod_to_own_node
        else:
            subject, other = flow.destination, flow.source
            node_passes = self.profile.own_node_to_pod
        if subject.pod is None or not self.profile.enforces:
            return Way(Reason.NOT_ISOLATED)
        own = node_passes and self._is_own_node(other, subject.pod, flow.family)
        if own and not (direction is Direction.INGRESS and self.profile.own_node_deniable):
            return Way(Reason.OWN_NODE)
        way = self._layers(direction, self._speaking(direction, subject.pod), other, flow)
        denied = not isinstance(way.decided, Reason) and way.decided[1].action is Action.DENY
        return Way(Reason.OWN_NODE) if own and not denied else way

    def _find_speaking(self, direction: Direction, subject: Pod) -> dict[str, list[Policy]]:
        """The policies of each layer with something to say of an end."""
        by_layer: dict[str, list[Policy]] = {policy.tier.layer.name: [] for policy in self.policies}
        for policy in self.policies:
            if self._is_subject(policy, subject) and speaks_of(policy, direction, self.profile):
                by_layer[policy.tier.layer.name].append(policy)
        return by_layer

    def _layers(
        self, direction: Direction, speaking: dict[str, list[Policy]], other: End, flow: Flow
    ) -> Way:
        """Each layer for itself: the first that denies decides, or else the first with a rule."""
        ways = [
            (name, self._tiers(direction, policies, other, flow))
            for name, policies in speaking.items()
        ]
        passed: tuple[tuple[Policy, Rule], ...] = ()
        for _, way in ways:
            passed += way.passed
            if not decides_to_allow(way.decided):
                return Way(way.decided, passed, way.isolating, tuple(ways))
        ruled = [way.decided for _, way in ways if way.decided is not Reason.NOT_ISOLATED]
        return Way(next(iter(ruled), Reason.NOT_ISOLATED), passed, (), tuple(ways))

    def _tiers(
        self, direction: Direction, speaking: Iterable[Policy], other: End, flow: Flow
    ) -> Way:
        """Tier by tier. Pass, or no match under a Pass default, goes on to the next."""
        passed: list[tuple[Policy, Rule]] = []
        for tier, members in groupby(speaking, key=lambda policy: policy.tier):
            policies = list(members)
            isolating = tuple(one for one in policies if isolates(one, direction, self.profile))
            usual = tier == NETWORK_POLICY_TIER and isolating  # else no NetworkPolicy is in it
            if usual and lets_icmp_through(self.profile, flow):
                return Way(Reason.ALWAYS_ICMP, tuple(passed))
            match = self._first_match(direction, policies, other, flow)
            if match is not None:
                if match[1].action is not Action.PASS:
                    return Way(match, tuple(passed))
                passed.append(match)
            elif isolating:
                return Way(Reason.NO_RULE_MATCHES, tuple(passed), isolating)
        return Way(Reason.NOT_ISOLATED, tuple(passed))

    def _first_match(
        self, direction: Direction, policies: Iterable[Policy], other: End, flow: Flow
    ) -> tuple[Policy, Rule] | None:
        """The first by precedence, where a rule has none of its own that of its policy."""
        ends = {Direction.EGRESS: flow.destination, Direction.INGRESS: flow.source}
        assert other is ends[direction]
        for policy, rule in self._rules(tuple(policies), direction):
            # One for the other end counts where the policy selects that one as well.
            subject = other.pod
            if rule.direction is not direction and (
                subject is None or not self._is_subject(policy, subject)
            ):
                continue
            if self._rule_matches(policy, rule, ends[rule.direction], flow):
                return policy, rule
        return None

    def _is_subject(self, policy: Policy, pod: Pod) -> bool:
        if policy.namespace is not None:
            in_scope = pod.namespace == policy.namespace
        else:
            in_scope = selects(policy.namespaces, self.namespace_labels[pod.namespace])
        return in_scope and selects(policy.pods, seen_labels(pod, self.profile))

    def _is_refused(self, policy: Policy) -> bool:
        """A CNI without named ports may refuse the whole policy that has one."""
        return self._reading(policy).named_ports == "reject-policy" and any(
            isinstance(port, NamedPort) for rule in policy.rules for port in rule.ports or ()
        )

    def _reading(self, policy: Policy) -> Profile:
        """How the rules of a policy are read: a CNI's ways are those of its NetworkPolicy."""
        return self.profile if policy.kind == "NetworkPolicy" else REFERENCE

    # -- one rule ----------------------------------------------------------------------------

    def _rule_matches(self, policy: Policy, rule: Rule, other: End, flow: Flow) -> bool:
        """Subject, peers and ports match. Each list is an OR; None is no restriction."""
        ingress = rule.direction is Direction.INGRESS
        subject = (flow.destination if ingress else flow.source).pod
        assert subject is not None
        own = flow.destination if ingress else flow.source
        if rule.subject and not self._other_peer_matches(policy, rule.subject, subject, own, flow):
            return False
        target = flow.destination.pod
        if excludes(rule, flow, named_ports(target, self.profile) if target is not None else ()):
            return False
        numbered = rule.ports is None or self._numbers_match(policy, rule, flow)
        if rule.peers is None:
            return numbered or self._names_match_anyone(policy, rule, flow)
        named = self._names_match(policy, rule, flow)
        if any(self._pod_peer_matches(peer, other, flow, policy) for peer in rule.peers):
            return numbered or named or self._names_are_unknown(policy, rule)
        beyond = [peer for peer in rule.peers if not isinstance(peer, PodPeer | BlockPeer)]
        if any(self._other_peer_matches(policy, peer, subject, other, flow) for peer in beyond):
            return numbered or named
        if self._blocks_match(policy, rule.peers, other, flow):
            through = rule.direction is Direction.INGRESS or self.profile.named_port_through_ipblock
            return numbered or (named and through)
        return False

    def _other_peer_matches(
        self, policy: Policy, peer: Peer, subject: Pod, other: End, flow: Flow
    ) -> bool:
        if isinstance(peer, ExceptPeer):
            return self._other_peer_matches(policy, peer.peer, subject, other, flow) and not any(
                self._other_peer_matches(policy, part, subject, other, flow)
                for part in peer.excluded
            )
        if isinstance(peer, PodPeer):
            return self._pod_peer_matches(peer, other, flow, policy)
        if isinstance(peer, BlockPeer):
            return self._blocks_match(policy, [peer], other, flow)
        # What is no pod that policies manage is a node by its address, or outside.
        address = None if other.pod is not None else other.address(flow.family)
        node = None if address is None else self._node_at(address)
        if isinstance(peer, NodePeer):
            labels = {each.name: each.labels for each in self.cluster.nodes}
            return node is not None and selects(peer.nodes, labels.get(node, {}))
        assert isinstance(peer, NamedPeer)
        own = node is not None and node == subject.node and node != ""
        return {
            EndSet.ALL: True,
            EndSet.WORLD: address is not None and node is None,
            EndSet.CLUSTER: other.pod is not None or node is not None,
            EndSet.NODES: node is not None,
            EndSet.HOST: own,
            EndSet.REMOTE_NODE: node is not None and not own,
        }[peer.ends]

    def _node_at(self, address: IPAddress) -> str | None:
        """The name of the node that has an address, empty where it is not known which."""
        for node in self.cluster.nodes:
            if address in map(ip_address, node.addresses):
                return node.name
        return next((pod.node for pod in self._host_pods_at(address)), None)

    def _pod_peer_matches(self, peer: Peer, other: End, flow: Flow, policy: Policy) -> bool:
        if not isinstance(peer, PodPeer):
            return False
        if other.pod is not None:
            return self._peer_selects(peer, other.pod, policy)
        address = other.address(flow.family)
        if address is None or self.profile.hostnetwork_peers == "never":
            return False
        if self.profile.hostnetwork_peers == "with-pod-selector" and peer.pods is None:
            return False
        return any(self._peer_selects(peer, pod, policy) for pod in self._host_pods_at(address))

    def _peer_selects(self, peer: PodPeer, pod: Pod, policy: Policy) -> bool:
        if peer.namespace is not None:
            in_namespace = pod.namespace == peer.namespace
        else:
            in_namespace = selects(peer.namespaces, self.namespace_labels[pod.namespace])
        labels = seen_labels(pod, self.profile)
        return in_namespace and (peer.pods is None or selects(peer.pods, labels))

    def _blocks_match(self, policy: Policy, peers: Iterable[Peer], other: End, flow: Flow) -> bool:
        address = other.address(flow.family)
        if address is None:
            return False
        if other.pod is not None and not self.profile.ipblock_matches_pods:
            return False
        if not self.profile.ipblock_matches_nodes and self._is_node_address(address):
            return False
        blocks = [peer for peer in peers if isinstance(peer, BlockPeer)]
        if self._reading(policy).except_scope == "rule":
            return longest_prefix_matches(blocks, address)
        return any(
            address in network(peer.block)
            and not any(address in network(part) for part in peer.excepts)
            for peer in blocks
        )

    # -- ports -------------------------------------------------------------------------------

    def _numbers_match(self, policy: Policy, rule: Rule, flow: Flow) -> bool:
        return any(covers(each, flow) for each in number_ranges(rule, self._reading(policy)))

    def _names_match(self, policy: Policy, rule: Rule, flow: Flow) -> bool:
        """Does a named port of the rule have this number on the destination pod?"""
        if rule.direction is Direction.INGRESS and self._reading(policy).named_port_union:
            pods = [pod for pod in self.managed if self._is_subject(policy, pod)]
        else:
            pods = [flow.destination.pod] if flow.destination.pod is not None else []
        return self._named_on(policy, rule, pods, flow)

    def _names_match_anyone(self, policy: Policy, rule: Rule, flow: Flow) -> bool:
        """The same for a rule without peers, where CNIs differ on egress."""
        reading = self._reading(policy)
        if rule.direction is Direction.INGRESS or reading.named_port_to_anyone == "per-pod":
            return self._names_match(policy, rule, flow)
        if reading.named_port_to_anyone == "never":
            return False
        own = [pod for pod in self.managed if policy.namespace in (None, pod.namespace)]
        return self._named_on(policy, rule, own, flow)

    def _names_are_unknown(self, policy: Policy, rule: Rule) -> bool:
        """Are a rule's ports all names that no pod has, and is that taken for no restriction?"""
        if self._reading(policy).named_port_unknown == "nothing":
            return False
        pods = [pod for pod in self.managed if self._is_looked_up_on(policy, rule, pod)]
        return has_names_of_nobody(rule, pods, self.profile)

    def _is_looked_up_on(self, policy: Policy, rule: Rule, pod: Pod) -> bool:
        if rule.direction is Direction.INGRESS:
            return self._is_subject(policy, pod)
        peers = (peer for peer in rule.peers or () if isinstance(peer, PodPeer))
        return any(self._peer_selects(peer, pod, policy) for peer in peers)

    def _named_on(self, policy: Policy, rule: Rule, pods: Iterable[Pod], flow: Flow) -> bool:
        """Does a named port of the rule have this protocol and number on any of ``pods``?"""
        if self._reading(policy).named_ports != "resolve":
            return False
        wanted = {port for port in rule.ports or () if isinstance(port, NamedPort)}
        return any(
            (port.protocol, port.number) == (flow.protocol, flow.port)
            and NamedPort(port.protocol, port.name) in wanted
            for pod in pods
            for port in named_ports(pod, self.profile)
        )
