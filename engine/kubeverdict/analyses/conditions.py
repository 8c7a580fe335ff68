"""Which condition of a rule a flow does not match, in the words of the manifests.

The engine has already judged; this only says why a rule did not match, so it reads the model in
plain Python: the rules as the CNI has them (:mod:`kubeverdict.compile.dialect`). Every function
returns failures, and none where the condition holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from kubeverdict.analyses.ends import Party
from kubeverdict.analyses.questions import Flow
from kubeverdict.analyses.spelling import Guess, closest
from kubeverdict.compile.dialect import named_ports
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Namespace, Pod
from kubeverdict.model.policy import (
    NETWORK_POLICY,
    ApiServerPeer,
    BackendPeer,
    BlockPeer,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    ReferringPeer,
    Rule,
    ServicePeer,
    SetPeer,
)
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.profile import Profile
from kubeverdict.model.selectors import NOTHING, Operator, Requirement, Selector

Things = Literal["pod", "namespace"]

_NAMED_ENDS = {
    EndSet.ALL: "anyone",
    EndSet.WORLD: "addresses outside the cluster",
    EndSet.CLUSTER: "every pod and node",
    EndSet.NODES: "every node",
    EndSet.HOST: "the node of the pod",
    EndSet.REMOTE_NODE: "every other node than the pod's",
}


class UnmetCondition(msgspec.Struct, frozen=True):
    """One condition that does not hold. ``closest`` is what exists and is spelt nearly alike.

    ``weight`` says how far the condition is from holding: 1 for a plain mismatch, half for what
    looks like a typing error, more where the peer is of another kind altogether.
    """

    condition: str
    message: str
    wanted: str
    found: str
    closest: Guess | None = None
    weight: float = 1.0


class Context:
    """What conditions are compared with: the cluster, and how the CNI reads policies.

    ``policies`` are as the CNI has them, in evaluation order (``CompiledPolicy.policies``).
    ``at_least`` says in which bound conditional rules are judged (:meth:`Rule.counted`).
    """

    def __init__(
        self,
        cluster: Cluster,
        profile: Profile,
        policies: Sequence[Policy],
        at_least: bool = False,
    ) -> None:
        self.cluster = cluster
        self.at_least = at_least
        self.profile = profile
        self.policies = policies
        self.namespaces: dict[str, Namespace] = {
            namespace.name: namespace for namespace in cluster.namespaces
        }
        self._hints: dict[tuple[Things, Requirement], tuple[str, Guess | None]] = {}

    def is_adapted(self, rule: Rule) -> bool:
        """Whether the CNI applies this rule otherwise than its manifest says."""
        return not any(
            rule is written for policy in self.cluster.policies for written in policy.rules
        )

    def hint(self, things: Things, requirement: Requirement) -> tuple[str, Guess | None]:
        """What to say of a requirement that nothing in the cluster meets, and what was meant.

        Empty where something meets it, or where it asks for the absence of a label. Kept, because
        many rules ask the same and the answer takes a walk over all pods.
        """
        known = self._hints.get((things, requirement))
        if known is None:
            known = self._hints[things, requirement] = self._new_hint(things, requirement)
        return known

    def _new_hint(self, things: Things, requirement: Requirement) -> tuple[str, Guess | None]:
        if requirement.operator not in (Operator.IN, Operator.EXISTS):
            return "", None
        existing = [
            thing.labels
            for thing in (self.cluster.pods if things == "pod" else self.cluster.namespaces)
        ]
        key = requirement.key
        values = {labels[key] for labels in existing if key in labels}
        if not values:
            guess = closest(key, {name for labels in existing for name in labels})
            missing = f"the label {key}"
        elif requirement.operator is Operator.IN and values.isdisjoint(requirement.values):
            guesses = [found for word in requirement.values if (found := closest(word, values))]
            guess = min(guesses, key=lambda found: found.letters, default=None)
            missing = str(requirement)
        else:
            return "", None
        return f" (no {things} has {missing}{f'; {guess}' if guess else ''})", guess


def rule_failures(context: Context, rule: Rule, subject: Party) -> list[UnmetCondition]:
    """Why a rule says nothing about ``subject``, whatever the other end and the port are."""
    failures = []
    if rule.subject is not None and peer_failures(context, rule.subject, rule, subject, None):
        wanted = peer_text(rule.subject)
        message = f"the rule is for {wanted}, which {subject.name} is not among"
        failures.append(UnmetCondition("subject", message, wanted, subject.name, weight=2.0))
    if rule.counted(context.at_least) is None:
        message = f"the rule has a condition: {rule.condition}"
        failures.append(UnmetCondition("condition", message, rule.condition, "not known"))
    return failures


def peer_failures(
    context: Context, peer: Peer, rule: Rule, other: Party, family: Family | None
) -> list[UnmetCondition]:
    """Why ``peer`` does not match ``other``, on addresses of ``family`` where one is given."""
    if isinstance(peer, BlockPeer):
        return _block_failures(context, peer, rule, other, family)
    if isinstance(peer, PodPeer):
        return _pod_failures(context, peer, other)
    return _other_failures(context, peer, rule, other, family)


def _other_failures(
    context: Context,
    peer: NodePeer | NamedPeer | ExceptPeer | ReferringPeer,
    rule: Rule,
    other: Party,
    family: Family | None,
) -> list[UnmetCondition]:
    """The same for peers that NetworkPolicy does not have."""
    if isinstance(peer, ExceptPeer):
        failures = peer_failures(context, peer.peer, rule, other, family)
        for part in () if failures else peer.excluded:
            if not peer_failures(context, part, rule, other, family):
                message = f"peer wants {peer_text(peer)}, {other.name} is excluded"
                return [UnmetCondition("excluded", message, peer_text(peer), other.name)]
        return failures
    nodes = [] if other.managed else _nodes_of(context, other)
    if isinstance(peer, NodePeer):
        holds = any(peer.nodes.matches(node) for node in nodes)
    elif isinstance(peer, ReferringPeer):
        holds = False  # what is judged has blocks in its place
    else:
        holds = {
            EndSet.ALL: True,
            EndSet.WORLD: not other.managed and not nodes,
            EndSet.CLUSTER: other.managed or bool(nodes),
            EndSet.NODES: bool(nodes),
            # Which node that is depends on the subject; that it is a node is known.
            EndSet.HOST: False,
            EndSet.REMOTE_NODE: bool(nodes),
        }[peer.ends]
    if holds:
        return []
    wanted = peer_text(peer)
    message = f"peer wants {wanted}, which {other.name} is not"
    return [UnmetCondition("kind", message, wanted, other.name, weight=2.0)]


def _nodes_of(context: Context, party: Party) -> list[Mapping[str, str]]:
    """The labels of the nodes that have an address of a party."""
    texts = {str(address) for address in party.addresses}
    found = [node.labels for node in context.cluster.nodes if not texts.isdisjoint(node.addresses)]
    on_host = party.pod is not None or any(
        pod.host_network and not texts.isdisjoint(pod.addresses) for pod in context.cluster.pods
    )
    return found or ([{}] if on_host else [])


def _pod_failures(context: Context, peer: PodPeer, other: Party) -> list[UnmetCondition]:
    pod = other.pod
    wanted = peer_text(peer)
    if pod is None:
        message = f"peer wants {wanted}, {other.name} is not a pod"
        return [UnmetCondition("kind", message, wanted, "an address", weight=3.0)]
    if not other.managed and not _selectable_on_host(context.profile, peer):
        message = (
            f"peer wants {wanted}, {other.name} uses the host network and counts as the address "
            "of its node"
        )
        return [UnmetCondition("host network", message, wanted, "host network", weight=2.0)]
    failures = []
    if peer.namespace is not None and peer.namespace != pod.namespace:
        message = (
            f"peer wants pods of namespace {peer.namespace}, {other.name} is in {pod.namespace}"
        )
        failures.append(UnmetCondition("namespace", message, peer.namespace, pod.namespace))
    if peer.namespace is None:
        failures += _label_failures(
            context,
            "namespace",
            peer.namespaces,
            context.namespaces[pod.namespace].labels,
            f"namespace {pod.namespace}",
        )
        if failures and context.namespaces[pod.namespace].implied:
            message = f"the input has no Namespace object {pod.namespace}: its labels are unknown"
            failures.append(
                UnmetCondition("namespace", message, "a Namespace object", "none", weight=0)
            )
    if peer.pods is not None:
        where = f" in namespace {peer.namespace}" if peer.namespace else ""
        failures += _label_failures(context, "pod", peer.pods, pod.labels, other.name, where)
    return failures


def _selectable_on_host(profile: Profile, peer: PodPeer) -> bool:
    return profile.hostnetwork_peers == "always" or (
        profile.hostnetwork_peers == "with-pod-selector" and peer.pods is not None
    )


def _label_failures(
    context: Context,
    things: Things,
    selector: Selector,
    labels: Mapping[str, str],
    owner: str,
    where: str = "",
) -> list[UnmetCondition]:
    failures = []
    for requirement in selector.requirements:
        if requirement.matches(labels):
            continue
        key = requirement.key
        found = f"{key}={labels[key]}" if key in labels else f"no label {key}"
        hint, guess = context.hint(things, requirement)
        message = f"peer wants {requirement}{where}, {owner} has {found}{hint}"
        slip = guess is not None and guess.word in (labels.get(key), *labels)
        failures.append(
            UnmetCondition(
                f"{things} label", message, str(requirement), found, guess, 0.5 if slip else 1.0
            )
        )
    if selector == NOTHING and context.profile.pod_labels == "identity":
        message = f"peer wants a label{where} that {context.profile.title} does not see"
        return [UnmetCondition(f"{things} label", message, str(selector), "not seen")]
    for clause in selector.clauses:
        if not clause.matches(labels):
            keys = dict.fromkeys(one.key for part in clause.parts for one in part.terms())
            has = [f"{key}={labels[key]}" if key in labels else f"no label {key}" for key in keys]
            found = " and ".join(has) or "no such label"
            message = f"peer wants {clause}{where}, {owner} has {found}"
            failures.append(UnmetCondition(f"{things} label", message, str(clause), found))
    return failures


def _block_failures(
    context: Context, peer: BlockPeer, rule: Rule, other: Party, family: Family | None
) -> list[UnmetCondition]:
    wanted = peer_text(peer)
    profile = context.profile
    known = tuple(address for address in other.addresses if family in (None, address.family))
    if not known:
        message = f"peer wants {wanted}, {other.name} has no address yet"
        return [UnmetCondition("ipBlock", message, wanted, "no address", weight=2.0)]
    if other.managed and not profile.ipblock_matches_pods:
        message = f"peer wants {wanted}: in {profile.title} an ipBlock does not match pods"
        return [UnmetCondition("ipBlock", message, wanted, "a pod", weight=3.0)]
    if not other.managed and not profile.ipblock_matches_nodes and _is_node(context, other):
        message = f"peer wants {wanted}: in {profile.title} an ipBlock does not match nodes"
        return [UnmetCondition("ipBlock", message, wanted, "a node", weight=3.0)]
    found = ", ".join(map(str, known))
    inside = [address for address in known if address in peer.block]
    if not inside:
        if all(address.family != peer.block.family for address in known):
            message = f"peer wants IPv{peer.block.family} {wanted}, {other.name} is {found}"
        else:
            message = f"peer wants {wanted}, {found} is not in it"
        return [UnmetCondition("ipBlock", message, wanted, found, weight=2.0)]
    excepts = {part for part in peer.excepts if any(address in part for address in inside)}
    if excepts:
        parts = ", ".join(sorted(map(str, excepts)))
        message = f"peer wants {wanted}, {found} is in except {parts}"
        return [UnmetCondition("except", message, wanted, found)]
    return []


def _is_node(context: Context, party: Party) -> bool:
    if party.pod is not None:
        return True  # on the host network: it has the address of its node
    texts = {str(address) for address in party.addresses}
    return any(not texts.isdisjoint(node.addresses) for node in context.cluster.nodes)


def port_failures(
    context: Context, policy: Policy, rule: Rule, peer: Peer | None, flow: Flow
) -> list[UnmetCondition]:
    """Why no port of the rule covers the flow; at most one failure, about all of its ports."""
    found = flow.port_text
    for port in rule.excluded_ports:
        if isinstance(port, NamedPort):
            pods = (flow.destination.pod,) if flow.destination.pod is not None else ()
            owner = flow.destination.name
            if port.protocol is not flow.protocol or not pods:
                continue
            if _resolved(port, flow, pods, owner, context.profile) is not None:
                continue
            message = f"{found} is excluded: it is port {port.name} of {owner}"
        elif port.protocol is flow.protocol and port.covers(flow.port):
            message = f"{found} is excluded"
        else:
            continue
        return [UnmetCondition("port", message, f"not {found}", found)]
    if rule.ports is None:
        return []
    if not rule.ports:
        message = f"{context.profile.title} makes nothing of the ports of this rule"
        return [UnmetCondition("port", message, "no port", found)]
    wanted = ", ".join(map(str, rule.ports))
    same = [port for port in rule.ports if port.protocol is flow.protocol]
    if not same:
        if flow.protocol.has_ports:
            message = f"protocol {flow.protocol.name} is not in {wanted}"
        else:
            message = f"{found} is covered by no rule with ports, and this one has {wanted}"
        return [UnmetCondition("protocol", message, wanted, found, weight=1.5)]
    ranges = [port for port in same if not isinstance(port, NamedPort)]
    failures = [
        _named_failure(context, policy, rule, peer, port, flow)
        for port in same
        if isinstance(port, NamedPort)
    ]
    if None in failures or any(port.covers(flow.port) for port in ranges):
        return []
    named = [failure for failure in failures if failure is not None]
    messages = [failure.message for failure in named]
    if ranges:
        asked = f"port {flow.port}" if flow.protocol.has_ports else found
        messages.insert(0, f"{asked} is not in {', '.join(map(str, ranges))}")
    weight = min((failure.weight for failure in named), default=1.0)
    guess = next((failure.closest for failure in named if failure.closest), None)
    condition = "port" if ranges else "named port"
    return [UnmetCondition(condition, "; ".join(messages), wanted, found, guess, weight)]


def _named_failure(
    context: Context, policy: Policy, rule: Rule, peer: Peer | None, port: NamedPort, flow: Flow
) -> UnmetCondition | None:
    """Why a named port does not resolve to the flow's port; None where it does."""
    profile = context.profile
    pod = flow.destination.pod
    egress = rule.direction is Direction.EGRESS
    # How a CNI looks names up for a whole policy is a matter of its NetworkPolicies.
    network = policy.kind == NETWORK_POLICY
    to_anyone = egress and peer is None and network
    if to_anyone and profile.named_port_to_anyone == "own-namespace":
        own = [other for other in context.cluster.pods if other.namespace == policy.namespace]
        return _resolved(port, flow, own, f"namespace {policy.namespace}", profile)
    if egress and isinstance(peer, BlockPeer) and not profile.named_port_through_ipblock:
        message = f"{profile.title} does not resolve named port {port.name} through an ipBlock"
        return UnmetCondition("named port", message, str(port), flow.port_text)
    if pod is None:
        message = f"named port {port.name} cannot match {flow.destination.name}, which is not a pod"
        return UnmetCondition("named port", message, str(port), flow.port_text)
    pods = [pod]
    if profile.named_port_union and not egress and network:
        pods = [
            other
            for other in context.cluster.pods
            if other.namespace == policy.namespace and policy.pods.matches(other.labels)
        ]
    return _resolved(port, flow, pods, flow.destination.name, profile)


def _resolved(
    port: NamedPort, flow: Flow, pods: Iterable[Pod], owner: str, profile: Profile
) -> UnmetCondition | None:
    declared = [
        declared
        for pod in pods
        for declared in named_ports(pod.ports, profile)
        if declared.protocol is port.protocol
    ]
    numbers = sorted({other.number for other in declared if other.name == port.name})
    if flow.port in numbers:
        return None
    if numbers:
        listed = ",".join(map(str, numbers))
        message = f"named port {port.name} is {listed} on {owner}, not {flow.port}"
        return UnmetCondition("named port", message, str(port), flow.port_text)
    guess = closest(port.name, {other.name for other in declared})
    slip = guess is not None and any(
        other.name == guess.word and other.number == flow.port for other in declared
    )
    hint = f" ({guess})" if guess else ""
    message = f"{owner} has no {port.protocol.name} port named {port.name}{hint}"
    return UnmetCondition(
        "named port", message, str(port), flow.port_text, guess, 0.5 if slip else 1.0
    )


def peer_text(peer: Peer | None) -> str:
    """A peer in a few words: ``app=web in namespace shop``, ``10.0.0.0/8 except 10.1.0.0/16``."""
    if peer is None:
        return "anyone"
    if isinstance(peer, BlockPeer):
        excepts = f" except {', '.join(map(str, peer.excepts))}" if peer.excepts else ""
        return f"{peer.block}{excepts}"
    if isinstance(peer, ExceptPeer):
        return f"{peer_text(peer.peer)} except {' and '.join(map(peer_text, peer.excluded))}"
    if isinstance(peer, NodePeer):
        return "every node" if peer.nodes.selects_all else f"nodes with {peer.nodes}"
    if isinstance(peer, NamedPeer):
        return _NAMED_ENDS[peer.ends]
    if isinstance(peer, SetPeer):
        return f"{peer.kind} {peer.name}" if peer.name else f"{peer.kind} with {peer.labels}"
    if isinstance(peer, ServicePeer):
        return f"what is behind Service {peer}"
    if isinstance(peer, ApiServerPeer):
        return "the API servers"
    if isinstance(peer, BackendPeer):
        return f"endpoints of svc/{peer.namespace}/{peer.name}"
    pods = f"pods with {peer.pods}" if peer.pods and not peer.pods.selects_all else "all pods"
    if peer.namespace is not None:
        return f"{pods} in namespace {peer.namespace}"
    if not peer.namespaces.selects_all:
        return f"{pods} in namespaces with {peer.namespaces}"
    return f"{pods} in every namespace"
