"""Pods that are isolated for egress and cannot resolve names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint.facts import Facts, allowing, workload_names
from kubeverdict.analyses.lint.finding import Hit, inside, listed, peer_field
from kubeverdict.analyses.lint.labels import Miss
from kubeverdict.analyses.lint.reach import deniers
from kubeverdict.analyses.lint.selectors import peer_miss
from kubeverdict.analyses.wellknown import (
    DNS_LABELS,
    DNS_PORT,
    DNS_PROTOCOLS,
    DNS_SERVICES,
    NODE_LOCAL_ADDRESS,
    NODE_LOCAL_LABELS,
)
from kubeverdict.compile.tiers import isolates
from kubeverdict.evaluate.ends import address_ids, service_id
from kubeverdict.evaluate.flows import Verdicts, judge
from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.cluster import Pod, Service, ServicePort
from kubeverdict.model.counts import count
from kubeverdict.model.policy import Action, BlockPeer, Direction, PodPeer, Policy, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.sources import Source
from kubeverdict.services import target_port

PORTS = (DNS_PORT, 5353)  # the second is that of the DNS pods of OpenShift


class DnsServer(msgspec.Struct, frozen=True, eq=False):
    """A DNS pod, and the port on which it takes each protocol."""

    pod: Pod
    ports: Mapping[Protocol, int]


class Denied(msgspec.Struct, frozen=True, eq=False):
    """One connection to DNS that is denied: its ends, as endpoint ids, and what decided."""

    ends: tuple[int, int]
    server: DnsServer
    protocol: Protocol
    decided: int


class AffectedPods(msgspec.Struct):
    """Kinds of pods that the same policies keep from DNS in the same way. ``rule`` is there where
    it denies by itself, not because no rule matches."""

    policies: list[Policy]
    blocked: tuple[Protocol, ...]
    direction: Direction
    kinds: list[int]
    rule: Rule | None = None


def check(facts: Facts) -> Iterator[Hit]:
    """Findings about DNS. Where the input does not hold the DNS pods, rules are looked at that
    look as if they were for DNS."""
    guarded = facts.denying[Direction.EGRESS]
    if not guarded:
        return
    servers = list(_servers(facts))
    node_local = _has_node_local(facts)
    groups = _judged(facts, servers) if servers else _by_rules(facts)
    reaches = _reach_node_local(facts, sorted(guarded))
    for group in groups:
        if group.direction is Direction.EGRESS:
            # Who writes that address down has the cache, whether the input shows it or not.
            group.kinds = [kind for kind in group.kinds if not reaches[kind]]
    yield from _hits(facts, [group for group in groups if group.kinds], servers)
    if node_local and servers:
        blocked = {kind for group in groups for kind in group.kinds}
        isolated = facts.isolating[Direction.EGRESS]
        yield from _cache_hits(facts, [k for k in isolated if not reaches[k] and k not in blocked])


# --- who serves ------------------------------------------------------------------------------


def _service(facts: Facts) -> Service | None:
    services = {(one.namespace, one.name): one for one in facts.cluster.services}
    return next((services[key] for key in DNS_SERVICES if key in services), None)


def _servers(facts: Facts) -> Iterator[DnsServer]:
    """The DNS pods: behind the Service, or known by their labels."""
    service = _service(facts)
    wanted = [service.selector] if service and service.selector else list(DNS_LABELS)
    for number, kind in enumerate(facts.kinds):
        if service and kind.namespace != service.namespace:
            continue
        if not any(labels.items() <= kind.labels.items() for labels in wanted):
            continue
        pods = facts.pods([number])
        ports = {protocol: _target(service, protocol, pods[0]) for protocol in DNS_PROTOCOLS}
        for pod in pods:
            if not pod.finished:
                yield DnsServer(pod, ports)


def _target(service: Service | None, protocol: Protocol, pod: Pod) -> int:
    """The port of the pod behind port 53."""
    port = _service_port(service, protocol)
    return (target_port(port, pod) if port is not None else None) or DNS_PORT


def _service_port(service: Service | None, protocol: Protocol) -> ServicePort | None:
    ports = service.ports if service else ()
    return next((one for one in ports if (one.port, one.protocol) == (DNS_PORT, protocol)), None)


def _has_node_local(facts: Facts) -> bool:
    return any(NODE_LOCAL_LABELS.items() <= kind.labels.items() for kind in facts.kinds)


# --- who reaches it --------------------------------------------------------------------------


def _samples(facts: Facts, kinds: list[int]) -> NDArray[np.int64]:
    """A managed pod of each kind, as endpoint ids; -1 where there is none."""
    ids = facts.compiled.pod_ids
    found = []
    for kind in kinds:
        pods = facts.pods([kind])
        keys = ((pod.namespace, pod.name) for pod in pods)
        found.append(next((ids[key] for key in keys if key in ids), -1))
    return np.array(found, np.int64)


def _judged(facts: Facts, servers: list[DnsServer]) -> list[AffectedPods]:
    kinds = sorted(facts.denying[Direction.EGRESS])
    samples = _samples(facts, kinds)
    there = samples >= 0
    kinds = [kind for kind, known in zip(kinds, there.tolist(), strict=True) if known]
    samples = samples[there]
    targets = _targets(facts, servers)
    found: dict[tuple[object, ...], AffectedPods] = {}
    blocked: dict[int, dict[Direction, list[Protocol]]] = {}
    first: dict[tuple[int, Direction], Denied] = {}
    for protocol in DNS_PROTOCOLS:
        for end, server in targets:
            egress, ingress = _outcomes(facts, samples, end, server.ports[protocol], protocol)
            for direction, decided in ((Direction.EGRESS, egress), (Direction.INGRESS, ingress)):
                for place in np.flatnonzero(facts.denied(decided)).tolist():
                    ends = int(samples[place]), end
                    denied = Denied(ends, server, protocol, int(decided[place]))
                    first.setdefault((kinds[place], direction), denied)
                    protocols = blocked.setdefault(kinds[place], {}).setdefault(direction, [])
                    if protocol not in protocols:
                        protocols.append(protocol)
    for kind, by_direction in sorted(blocked.items()):
        # What egress denies is not the fault of the other end.
        direction = max(by_direction)
        policies, rule = _blamed(facts, direction, kind, first[kind, direction])
        over = tuple(by_direction[direction])
        key = (direction, over, id(rule), *map(id, policies))
        group = AffectedPods(policies, over, direction, [], rule)
        found.setdefault(key, group).kinds.append(kind)
    return list(found.values())


def _blamed(
    facts: Facts, direction: Direction, kind: int, denied: Denied
) -> tuple[list[Policy], Rule | None]:
    """The policies that deny, and the rule that does if one does."""
    if denied.decided >= 0:
        ref = facts.compiled.rules[denied.decided]
        return [ref.policy], ref.rule
    if direction is Direction.INGRESS:
        kind = facts.kind_of(denied.server.pod)
    if not facts.in_order:
        return facts.isolating[direction][kind], None
    port = denied.server.ports[denied.protocol]
    return deniers(facts, direction, kind, denied.ends, denied.protocol, port), None


def _targets(facts: Facts, servers: list[DnsServer]) -> list[tuple[int, DnsServer]]:
    """One server for each way in which rules see them, as endpoint ids."""
    compiled = facts.compiled
    found: dict[tuple[int, ...], tuple[int, DnsServer]] = {}
    for server in servers:
        key = (server.pod.namespace, server.pod.name)
        if key in compiled.pod_ids:
            end = compiled.pod_ids[key]
        elif server.pod.addresses:
            end = int(address_ids(compiled, server.pod.addresses[:1])[0])
        else:
            continue
        identities = tuple(int(plane.ends.identity[end]) for plane in compiled.planes)
        found.setdefault((*identities, *server.ports.values()), (end, server))
    return list(found.values())


def _outcomes(
    facts: Facts, samples: NDArray[np.int64], end: int, port: int, protocol: Protocol
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What decides egress and ingress of each sample to a server."""
    compiled = facts.compiled

    def ask(destination: int, number: int) -> Verdicts:
        columns = (np.full(samples.size, value) for value in (destination, protocol, number))
        return judge(compiled, samples, *columns)

    verdicts = ask(end, port)
    egress = verdicts.egress
    service = _service(facts)
    listed_as = service_id(compiled, service) if service else None
    if service and listed_as is not None:
        # Judged before translation: on the labels that the Service selects, or on its address.
        egress = ask(listed_as, port).egress
        for address in address_ids(compiled, service.addresses).tolist():
            denied = facts.denied(egress)
            egress = np.where(denied, ask(address, DNS_PORT).egress, egress)
    return egress, verdicts.ingress


def _reach_node_local(facts: Facts, kinds: list[int]) -> dict[int, bool]:
    """Whether each kind may ask the cache on its node over UDP and TCP, because a block of
    link-local addresses says so: a rule for the whole internet is not about it."""
    address = parse_address(NODE_LOCAL_ADDRESS)
    assert address is not None
    reached: dict[int, set[Protocol]] = {}
    for policy in facts.in_force:
        protocols = {
            protocol
            for rule in allowing(policy)
            if rule.direction is Direction.EGRESS and _names(rule, address)
            for protocol in DNS_PROTOCOLS
            if covers(rule, protocol, (DNS_PORT,))
        }
        for kind in facts.subjects(policy).tolist() if protocols else ():
            reached.setdefault(kind, set()).update(protocols)
    return {kind: len(reached.get(kind, ())) == len(DNS_PROTOCOLS) for kind in kinds}


def _names(rule: Rule, address: Address) -> bool:
    blocks = (peer for peer in rule.peers or () if isinstance(peer, BlockPeer))
    return any(address in peer and peer.block.prefix >= 16 for peer in blocks)


def _by_rules(facts: Facts) -> list[AffectedPods]:
    """Kinds without a rule that could be for DNS, the DNS pods being unknown."""
    found: dict[tuple[object, ...], AffectedPods] = {}
    likely: dict[int, dict[Protocol, Action]] = {
        id(policy): _likely(policy) for policy in facts.policies
    }
    judging = facts.judging[Direction.EGRESS]
    for kind in sorted(facts.isolating[Direction.EGRESS]):
        by = {one: _closed_by(judging[kind], likely, one) for one in DNS_PROTOCOLS}
        blocked = tuple(protocol for protocol, policies in by.items() if policies)
        if blocked:
            policies = by[blocked[0]]
            key = (blocked, *map(id, policies))
            group = AffectedPods(policies, blocked, Direction.EGRESS, [])
            found.setdefault(key, group).kinds.append(kind)
    return list(found.values())


def _likely(policy: Policy) -> dict[Protocol, Action]:
    """What the first rule that could be for DNS makes of each protocol. What one denies need not
    be where DNS runs."""
    found: dict[Protocol, Action] = {}
    for rule in policy.rules:
        action = rule.counted(at_least=False)
        if rule.direction is Direction.EGRESS and action not in (None, Action.DENY):
            for protocol in DNS_PROTOCOLS:
                if _leaves(rule, policy) and covers(rule, protocol, PORTS):
                    found.setdefault(protocol, action)
    return found


def _closed_by(
    policies: list[Policy], likely: Mapping[int, Mapping[Protocol, Action]], protocol: Protocol
) -> list[Policy]:
    """Of the policies of a kind in order, those of the tier that isolates it and has no rule that
    could be for DNS; none where there is no such tier."""
    for _, tier in groupby(policies, key=lambda policy: policy.tier):
        members = list(tier)
        actions = (likely[id(policy)].get(protocol) for policy in members)
        action = next((one for one in actions if one is not None), None)
        isolating = [one for one in members if isolates(one, Direction.EGRESS)]
        if action is Action.ALLOW:
            return []
        if action is None and isolating:
            return isolating
    return []


def _leaves(rule: Rule, policy: Policy) -> bool:
    """Whether a rule reaches anything beyond the policy's own namespace."""
    if rule.peers is None:
        return True
    return any(
        not isinstance(peer, PodPeer)
        or peer.namespace is None
        or peer.namespace != policy.namespace
        for peer in rule.peers
    )


def covers(rule: Rule, protocol: Protocol, numbers: tuple[int, ...]) -> bool:
    """Whether the ports of a rule include one of ``numbers``. A name may stand for any."""
    if rule.ports is None:
        return True
    return any(
        port.protocol is protocol
        and (
            port.name.startswith("dns")
            if isinstance(port, NamedPort)
            else any(map(port.covers, numbers))
        )
        for port in rule.ports
    )


# --- messages --------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True, eq=False):
    """Where a group is kept from DNS, and why."""

    rule: str
    policy: Policy
    source: Source | None  # None: the policy
    reason: str
    severity: Severity | None = None
    fix: str = ""


def _hits(facts: Facts, groups: list[AffectedPods], servers: list[DnsServer]) -> Iterator[Hit]:
    """A finding for each fault, with all the pods that it concerns."""
    found: dict[tuple[object, ...], tuple[Fault, AffectedPods]] = {}
    for group in groups:
        fault = _fault(facts, group, servers)
        key = (
            fault.rule,
            id(fault.policy),
            fault.source and fault.source.path,
            fault.reason,
            fault.severity,
            group.blocked,
        )
        known = found.setdefault(key, (fault, group))
        if known[1] is not group:
            known[1].kinds += group.kinds
    for fault, group in found.values():
        workloads = facts.workloads(group.kinds)
        over = " and ".join(protocol.name for protocol in group.blocked)
        who = f"{count(facts.pod_count(group.kinds), 'pod')} ({listed(workloads)})"
        message = f"{who} cannot reach DNS over {over}: {fault.reason}"
        objects = tuple(workloads[:3])
        yield Hit(
            fault.rule,
            message,
            fault.policy,
            fault.source,
            objects=objects,
            severity=fault.severity,
            fix=fault.fix,
            key=over,
        )


def _fault(facts: Facts, group: AffectedPods, servers: list[DnsServer]) -> Fault:
    if group.rule is not None:
        name = "dns-no-tcp" if group.blocked == (Protocol.TCP,) else "dns-blocked"
        fix = f"Allow {_listening(servers)} of the DNS pods in front of this rule."
        return Fault(name, group.policies[0], group.rule.source, "this rule denies it", fix=fix)
    if group.direction is Direction.INGRESS:
        policy = group.policies[0]
        fix = f"Allow ingress to the DNS pods on {_listening(servers)}."
        return Fault("dns-blocked", policy, None, "the DNS pods deny it", fix=fix)
    for_dns = [
        (policy, rule)
        for policy in group.policies
        for rule in allowing(policy)
        if _is_for_dns(rule)
    ]
    for policy, rule in for_dns:
        miss = _peer_miss(facts, rule)
        if miss is not None:
            fix = _labels_of(facts, servers)
            return Fault("dns-selector", policy, miss[0], miss[1].text, fix=fix)
    name = "dns-no-tcp" if group.blocked == (Protocol.TCP,) else "dns-blocked"
    if for_dns:
        policy, rule = for_dns[0]
        reason, fix = _lack(facts, group, rule, servers)
        return Fault(name, policy, rule.source, reason, fix=fix)
    policy = min(group.policies, key=lambda one: len(one.rules))
    if any(rule.direction is Direction.EGRESS for one in group.policies for rule in allowing(one)):
        reason = f"no rule is about port {DNS_PORT}"
        return Fault(name, policy, None, reason, fix=_allowing(servers))
    # Who may open no connection at all needs no names either, if a policy of their own says so.
    meant = any(not one.pods.selects_all for one in group.policies)
    severity = Severity.NOTE if meant else Severity.WARNING
    fix = _allowing(servers)
    if meant:
        fix = f"Nothing, if they need no names; otherwise {fix[0].lower()}{fix[1:]}"
    return Fault(name, policy, None, "they may open no connection at all", severity, fix)


def _listening(servers: list[DnsServer]) -> str:
    """Where DNS pods take each protocol: ``UDP 53 and TCP 53``."""
    found = {
        f"{protocol.name} {one.ports[protocol]}": None
        for protocol in DNS_PROTOCOLS
        for one in servers
    }
    return " and ".join(found or [f"{protocol.name} {DNS_PORT}" for protocol in DNS_PROTOCOLS])


def _allowing(servers: list[DnsServer]) -> str:
    return f"Allow egress to the DNS pods on {_listening(servers)}."


def _labels_of(facts: Facts, servers: list[DnsServer]) -> str:
    """How to select the DNS pods, if they are known."""
    if not servers:
        return ""
    service = _service(facts)
    pod = servers[0].pod
    known = [service.selector] if service and service.selector else list(DNS_LABELS)
    labels = next((one for one in known if one.items() <= pod.labels.items()), pod.labels)
    text = ", ".join(f"{key}: {value}" for key, value in sorted(labels.items()))
    return f"Select pods with {text} in namespace {pod.namespace}."


def _lack(
    facts: Facts, group: AffectedPods, rule: Rule, servers: list[DnsServer]
) -> tuple[str, str]:
    """What a rule for DNS lacks, and the fix."""
    ports = _ports(servers)
    lacks = [protocol for protocol in group.blocked if not covers(rule, protocol, ports)]
    if lacks:
        both = (number for number in ports for one in DNS_PROTOCOLS if covers(rule, one, (number,)))
        number = next(both, ports[0])
        lacking = " and ".join(f"{one.name} {number}" for one in lacks)
        return f"this rule lacks {lacking}", f"Add {lacking} to its ports."
    known = f" ({', '.join(workload_names(one.pod for one in servers))})" if servers else ""
    return f"this rule does not select the DNS pods{known}", _labels_of(facts, servers)


def _ports(servers: list[DnsServer]) -> tuple[int, ...]:
    if not servers:
        return PORTS
    return tuple(dict.fromkeys(number for one in servers for number in one.ports.values()))


def _is_for_dns(rule: Rule) -> bool:
    """Whether a rule was written for DNS: it names port 53 and not everything."""
    if rule.direction is not Direction.EGRESS or rule.ports is None:
        return False
    return any(
        port.name.startswith("dns")
        if isinstance(port, NamedPort)
        else isinstance(port, PortRange) and port.first == port.last in PORTS
        for port in rule.ports
    )


def _peer_miss(facts: Facts, rule: Rule) -> tuple[Source, Miss] | None:
    """The first peer of a rule that selects nothing, if none selects anything."""
    misses = []
    for index, peer in enumerate(rule.peers or ()):
        miss = peer_miss(facts, peer) if isinstance(peer, PodPeer) else None
        if miss is None:
            return None
        path = peer_field(rule.source.path, index)[len(rule.source.path) :]
        misses.append((inside(rule.source, *path), miss))
    return misses[0] if misses else None


def _cache_hits(facts: Facts, kinds: list[int]) -> Iterator[Hit]:
    by_policy: dict[int, tuple[Policy, list[int]]] = {}
    for kind in kinds:
        policy = facts.isolating[Direction.EGRESS][kind][0]
        by_policy.setdefault(id(policy), (policy, []))[1].append(kind)
    for policy, of_policy in by_policy.values():
        workloads = facts.workloads(of_policy)
        who = f"{count(facts.pod_count(of_policy), 'pod')} ({listed(workloads)})"
        message = f"node-local DNS runs here, and {who} may not ask it at {NODE_LOCAL_ADDRESS}"
        yield Hit("dns-node-local", message, policy, objects=tuple(workloads[:3]))
