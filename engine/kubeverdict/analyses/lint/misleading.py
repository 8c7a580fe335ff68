"""Policies that do not mean what they look like, or not everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, inside
from kubeverdict.compile.admin_dialect import only_excludes
from kubeverdict.compile.dialect import NAMED_PORT_CONTAINERS, adapt, asks_for_unseen_labels
from kubeverdict.model.counts import count
from kubeverdict.model.policy import (
    NETWORK_POLICY,
    NETWORK_POLICY_TIER,
    BlockPeer,
    Direction,
    NodePeer,
    PodPeer,
    Policy,
)
from kubeverdict.model.ports import NamedPort, PortRange
from kubeverdict.model.profile import ADMIN_KINDS, CLUSTER_KIND, Profile, implements

_DENY_ALL = re.compile(r"(deny|block|isolate).*(all|everything)|(default|all).*(deny|block)", re.I)
_ONE_WAY = re.compile(r"ingress|egress|in-?bound|out-?bound", re.I)


def check(facts: Facts) -> Iterator[Hit]:
    for policy in facts.written:
        if policy.kind == NETWORK_POLICY:
            yield from _types(policy, facts.profile)
    yield from _not_enforced(facts)
    yield from _not_implemented(facts)
    yield from _differs(facts)


# --- policyTypes -----------------------------------------------------------------------------


def _types(policy: Policy, profile: Profile) -> Iterator[Hit]:
    source = inside(policy.source, "spec")
    idle = [one for one in policy.listed if one not in policy.isolates]
    if idle:
        (direction,) = idle
        how = (
            "was left out, and an empty list adds no direction"
            if policy.defaulted
            else (f"lists only {_word(policy.isolates[0])}" if policy.isolates else "is empty")
        )
        message = f"writes {direction.word} and does not isolate for it: policyTypes {how}"
        if policy.unlisted_rules and profile.unlisted_rules == "applied":
            word = direction.word
            message = f"isolates for {word} with {profile.title}, and by the API does not: "
            message += f"it writes {word}, and policyTypes {how}"
        field = inside(policy.source, "spec", direction.word)
        yield Hit("policy-types-too-few", message, policy, field)
        return
    if not policy.defaulted:
        return
    if policy.listed == (Direction.EGRESS,):
        message = "has rules for egress only, and denies all ingress to the pods that it selects"
        yield Hit("policy-types-too-many", message, policy, source)
    elif not policy.rules and _DENY_ALL.search(policy.name) and not _ONE_WAY.search(policy.name):
        message = "isolates for ingress only: policyTypes was left out"
        yield Hit("deny-one-way", message, policy, source)


def _word(direction: Direction) -> str:
    return direction.word.title()


# --- CNIs ------------------------------------------------------------------------------------


def _not_enforced(facts: Facts) -> Iterator[Hit]:
    for profile in (facts.profile, *facts.others):
        if not profile.enforces and facts.written:
            message = f"{profile.title} does not enforce {count(len(facts.written), 'policy')}"
            yield Hit("cni-not-enforced", message, facts.written[0])


def _not_implemented(facts: Facts) -> Iterator[Hit]:
    """The first policy of each kind on which the CNI does not act."""
    profile = facts.profile
    kinds: dict[str, list[Policy]] = {}
    for policy in facts.written if profile.enforces else ():
        if not implements(profile, policy.kind):
            kinds.setdefault(policy.kind, []).append(policy)
    for kind, policies in kinds.items():
        have = count(len(policies), "policy has", "policies have")
        message = f"{profile.title} does not implement {kind}: {have} no effect"
        yield Hit("kind-ignored", message, policies[0], key=kind)


def _differs(facts: Facts) -> Iterator[Hit]:
    """What each policy means to the CNIs that are named, where this cluster shows a difference."""
    profiles = [one for one in (facts.profile, *facts.others) if one.enforces]
    if len(profiles) < 2:
        return
    adapted = [adapt(facts.written, one, facts.compiled.pods, facts.namespaces) for one in profiles]
    for number, policy in enumerate(facts.written):
        reasons = _reasons(facts, profiles, policy, [each[number] for each in adapted])
        for reason in reasons:
            yield Hit("cni-differs", reason, policy, key=reason)


def _reasons(
    facts: Facts, profiles: Sequence[Profile], policy: Policy, adapted: Sequence[Policy | None]
) -> Iterator[str]:
    for knob, differs in _KNOBS.items():
        if knob in _OF_NETWORK_POLICY and policy.kind != NETWORK_POLICY:
            continue
        if not differs(facts, policy):
            continue
        values = {one.title: _value(one, knob) for one in profiles}
        if len(set(values.values())) > 1:
            yield _difference(knob, values)
    for one, other in zip(profiles, adapted, strict=True):
        if other is None:
            what = "a named port" if policy.kind == NETWORK_POLICY else "the peer nodes"
            refuses = f"refuses it: it has {what}"
            ignores = f"does not implement {policy.kind}: it has no effect"
            yield f"{one.title} {refuses if implements(one, policy.kind) else ignores}"


def _difference(knob: str, values: Mapping[str, str]) -> str:
    parts = ", ".join(f"{title}: {value}" for title, value in values.items())
    return f"{_MEANS[knob]}: {parts}"


def _value(profile: Profile, knob: str) -> str:
    value = getattr(profile, knob)
    text = {True: "yes", False: "no"}.get(value, str(value))
    return f"{text} (not verified)" if knob in profile.unverified else text


# How a CNI reads NetworkPolicy, and no other API.
_OF_NETWORK_POLICY = (
    "unlisted_rules",
    "pod_labels",
    "except_scope",
    "named_ports",
    "named_port_union",
    "named_port_to_anyone",
    "named_port_unknown",
    "both_directions",
    "end_port",
)
_MEANS = {
    "pod_labels": "which labels of pods its selectors see",
    "unlisted_rules": "whether rules that policyTypes leaves out count",
    "ipblock_matches_pods": "whether its ipBlock, which has pods in it, matches them",
    "ipblock_matches_nodes": "whether its ipBlock, which has nodes in it, matches them",
    "except_scope": "what an except is taken from, its own block or every block of the rule",
    "hostnetwork_peers": "whether a selector finds pods on the host network",
    "named_ports": "how a named port is treated",
    "named_port_containers": "which containers name ports",
    "named_port_repeated": "which port has a name that several of a pod have",
    "named_port_union": "whether a pod opens the numbers that a name has on other pods",
    "named_port_through_ipblock": "whether a named port is resolved through an ipBlock",
    "named_port_to_anyone": "what a named port with an empty `to` is resolved on",
    "named_port_unknown": "what a rule allows whose named ports no pod has",
    "both_directions": "whether its rules count in the other direction between pods it selects",
    "admin_nodes": "whether a rule with the peer nodes is understood",
    "admin_named_ports": "whether a rule with a named port is one for all ports",
    "cluster_nodes": "what becomes of a rule with the peer nodes",
    "cluster_ties": "which of several policies with its priority comes first",
    "cluster_baseline": "whether it is asked about pods that are isolated",
    "cluster_exclusions": "whether a peer that only excludes namespaces is everybody",
    "end_port": "whether endPort is understood",
    "icmp": "whether ICMP passes",
    "service_egress": "what egress to a Service is judged on",
}


def _has_unlisted_rules(facts: Facts, policy: Policy) -> bool:
    return bool(policy.unlisted_rules)


def _asks_for_unseen_labels(facts: Facts, policy: Policy) -> bool:
    return asks_for_unseen_labels(policy)


def _has_names(facts: Facts, policy: Policy) -> bool:
    return any(isinstance(port, NamedPort) for rule in policy.rules for port in rule.ports or ())


def _blocks(policy: Policy) -> list[BlockPeer]:
    return [
        peer for rule in policy.rules for peer in rule.peers or () if isinstance(peer, BlockPeer)
    ]


def _matches_pods(facts: Facts, policy: Policy) -> bool:
    return any(map(facts.pod_ranges.matched, _blocks(policy)))


def _matches_nodes(facts: Facts, policy: Policy) -> bool:
    return any(map(facts.node_ranges.matched, _blocks(policy)))


def _has_sibling_excepts(facts: Facts, policy: Policy) -> bool:
    for rule in policy.rules:
        blocks = [peer for peer in rule.peers or () if isinstance(peer, BlockPeer)]
        for one in blocks:
            for part in one.excepts:
                if any(
                    other is not one
                    and other.block.family == part.family
                    and other.block.first <= part.first <= other.block.last
                    and other.block.prefix <= part.prefix
                    for other in blocks
                ):
                    return True
    return False


def _finds_hosts(facts: Facts, policy: Policy) -> bool:
    return any(
        pod.host_network
        for rule in policy.rules
        for peer in rule.peers or ()
        if isinstance(peer, PodPeer) and facts.peers(peer).size <= 64
        for pod in facts.pods(facts.peers(peer).tolist())
    )


def _names_init_ports(facts: Facts, policy: Policy) -> bool:
    """Whether a name stands for a port of a container that not every CNI looks at."""
    names = {
        (port.name, port.protocol)
        for rule in policy.rules
        for port in rule.ports or ()
        if isinstance(port, NamedPort)
    }
    return not names.isdisjoint(facts.init_port_names)


def _names_repeated_ports(facts: Facts, policy: Policy) -> bool:
    names = (port for rule in policy.rules for port in rule.ports or ())
    return any(isinstance(one, NamedPort) and one.name in facts.repeated_names for one in names)


def _varies(facts: Facts, policy: Policy) -> bool:
    """Whether a name of an ingress rule has several numbers on the pods that are selected."""
    kinds = facts.subjects(policy).tolist()
    naming = NAMED_PORT_CONTAINERS["all-init"]
    for rule in policy.rules:
        for port in rule.ports or ():
            if rule.direction is Direction.INGRESS and isinstance(port, NamedPort):
                numbers = {
                    one.number
                    for kind in kinds
                    for one in facts.kinds[kind].ports
                    if one.container in naming
                    and (one.name, one.protocol) == (port.name, port.protocol)
                }
                if len(numbers) > 1:
                    return True
    return False


def _names_through_block(facts: Facts, policy: Policy) -> bool:
    return any(
        rule.direction is Direction.EGRESS
        and any(isinstance(port, NamedPort) for port in rule.ports or ())
        and any(isinstance(peer, BlockPeer) for peer in rule.peers or ())
        for rule in policy.rules
    )


def _names_to_anyone(facts: Facts, policy: Policy) -> bool:
    return any(
        rule.direction is Direction.EGRESS
        and rule.peers is None
        and any(isinstance(port, NamedPort) for port in rule.ports or ())
        for rule in policy.rules
    )


def _names_ports_of_nobody(facts: Facts, policy: Policy) -> bool:
    """Whether a rule for pods has nothing but names of ports that no container has."""
    naming = NAMED_PORT_CONTAINERS["containers"]
    for rule in policy.rules:
        peers = [peer for peer in rule.peers or () if isinstance(peer, PodPeer)]
        names = {
            (port.name, port.protocol) for port in rule.ports or () if isinstance(port, NamedPort)
        }
        if not peers or not names or len(names) < len(set(rule.ports or ())):
            continue
        found = [facts.subjects(policy)]
        if rule.direction is Direction.EGRESS:
            found = [facts.peers(peer) for peer in peers]
        known = {
            (port.name, port.protocol)
            for kinds in found
            for kind in kinds.tolist()
            for port in facts.kinds[kind].ports
            if port.container in naming
        }
        if names.isdisjoint(known):
            return True
    return False


def _selects_its_peers(facts: Facts, policy: Policy) -> bool:
    """Whether a policy of both types has pods both as subjects and as peers."""
    if len(policy.isolates) < len(Direction):
        return False
    subjects = set(facts.subjects(policy).tolist())
    for rule in policy.rules:
        for peer in (None,) if rule.peers is None else rule.peers:
            if peer is None and len(subjects) > 1:
                return True
            if isinstance(peer, PodPeer) and not subjects.isdisjoint(facts.peers(peer).tolist()):
                return True
    return False


def _names_nodes(facts: Facts, policy: Policy) -> bool:
    return policy.kind in ADMIN_KINDS and _has_nodes(policy)


def _names_nodes_of_cluster(facts: Facts, policy: Policy) -> bool:
    return policy.kind == CLUSTER_KIND and _has_nodes(policy)


def _has_nodes(policy: Policy) -> bool:
    return any(isinstance(peer, NodePeer) for rule in policy.rules for peer in rule.peers or ())


def _shares_its_priority(facts: Facts, policy: Policy) -> bool:
    place = policy.kind, policy.tier, policy.order
    return policy.kind == CLUSTER_KIND and any(
        other is not policy and (other.kind, other.tier, other.order) == place
        for other in facts.written
    )


def _only_excludes(facts: Facts, policy: Policy) -> bool:
    peers = (peer for rule in policy.rules for peer in rule.peers or ())
    return policy.kind == CLUSTER_KIND and any(map(only_excludes, peers))


def _is_baseline(facts: Facts, policy: Policy) -> bool:
    return policy.kind == CLUSTER_KIND and policy.tier > NETWORK_POLICY_TIER


def _names_ports_of_admin(facts: Facts, policy: Policy) -> bool:
    return policy.kind in ADMIN_KINDS and _has_names(facts, policy)


def _has_ranges(facts: Facts, policy: Policy) -> bool:
    return any(
        isinstance(port, PortRange) and port.first != port.last and port.last != 65535
        for rule in policy.rules
        for port in rule.ports or ()
    )


def _asks_services(facts: Facts, policy: Policy) -> bool:
    """Whether egress by address alone leads to pods, which have Services in front of them."""
    return any(
        rule.direction is Direction.EGRESS
        and any(isinstance(peer, BlockPeer) for peer in rule.peers or ())
        for rule in policy.rules
    ) and _matches_pods(facts, policy)


_KNOBS: Mapping[str, Callable[[Facts, Policy], bool]] = {
    "unlisted_rules": _has_unlisted_rules,
    "pod_labels": _asks_for_unseen_labels,
    "ipblock_matches_pods": _matches_pods,
    "ipblock_matches_nodes": _matches_nodes,
    "except_scope": _has_sibling_excepts,
    "hostnetwork_peers": _finds_hosts,
    "named_ports": _has_names,
    "named_port_containers": _names_init_ports,
    "named_port_repeated": _names_repeated_ports,
    "named_port_union": _varies,
    "named_port_through_ipblock": _names_through_block,
    "named_port_to_anyone": _names_to_anyone,
    "named_port_unknown": _names_ports_of_nobody,
    "both_directions": _selects_its_peers,
    "admin_nodes": _names_nodes,
    "admin_named_ports": _names_ports_of_admin,
    "cluster_nodes": _names_nodes_of_cluster,
    "cluster_ties": _shares_its_priority,
    "cluster_baseline": _is_baseline,
    "cluster_exclusions": _only_excludes,
    "end_port": _has_ranges,
    "service_egress": _asks_services,
}
