"""Rules that open more than anybody is likely to need."""

from __future__ import annotations

from collections.abc import Iterator

from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint import dns
from kubeverdict.analyses.lint.exposure import Exposure
from kubeverdict.analyses.lint.facts import Facts
from kubeverdict.analyses.lint.finding import Hit, count, inside, listed, peer_field
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.policy import BlockPeer, Direction, Peer, PodPeer, Policy, Rule
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.sources import Source

_METADATA = tuple(
    address
    for text in ("169.254.169.254", "fd00:ec2::254")
    if (address := parse_address(text)) is not None
)


def check(facts: Facts) -> Iterator[Hit]:
    exposure = Exposure(facts)
    for policy in facts.policies:
        for rule in policy.rules:
            everywhere = [
                (index, peer)
                for index, peer in enumerate(rule.peers or (None,))
                if _is_everywhere(peer)
            ]
            if rule.direction is Direction.INGRESS:
                yield from _from_everywhere(facts, exposure, policy, rule, everywhere)
            else:
                yield from _to_everywhere(policy, rule, everywhere)
            for index, peer in enumerate(rule.peers or ()):
                if isinstance(peer, BlockPeer):
                    yield from _block(facts, exposure, policy, rule, index, peer)


def _is_everywhere(peer: Peer | None) -> bool:
    if peer is None:
        return True
    if isinstance(peer, BlockPeer):
        return peer.block.prefix == 0
    return (
        peer.namespace is None
        and not peer.namespaces.requirements
        and (peer.pods is None or not peer.pods.requirements)
    )


def _source(rule: Rule, index: int, peer: Peer | None) -> Source:
    if peer is None:
        return rule.source
    return Source(rule.source.origin, peer_field(rule.source.path, index))


def _what(peer: Peer | None) -> str:
    if peer is None:
        return "anybody"
    return str(peer.block) if isinstance(peer, BlockPeer) else "every pod of every namespace"


def _from_everywhere(
    facts: Facts,
    exposure: Exposure,
    policy: Policy,
    rule: Rule,
    everywhere: list[tuple[int, Peer | None]],
) -> Iterator[Hit]:
    if not everywhere or not exposure.is_known:
        return
    kinds = facts.subjects(policy).tolist()
    hidden = [kind for kind in kinds if not exposure.is_exposed(kind)]
    if not hidden or (len(hidden) < len(kinds) and policy.pods.requirements):
        # A policy that guards an exposed workload is about that workload.
        return
    index, peer = everywhere[0]
    workloads = facts.workloads(hidden)
    message = f"lets {_what(peer)} into {listed(workloads)}, which nothing exposes"
    source = _source(rule, index, peer)
    yield Hit("ingress-from-everywhere", message, policy, source, objects=tuple(workloads[:3]))


def _to_everywhere(
    policy: Policy, rule: Rule, everywhere: list[tuple[int, Peer | None]]
) -> Iterator[Hit]:
    for index, peer in everywhere:
        if isinstance(peer, BlockPeer) and peer.excepts:
            continue  # somebody thought about it
        only_dns = rule.ports is not None and all(
            isinstance(port, PortRange) and port.first == port.last in dns.PORTS
            for port in rule.ports
        )
        if only_dns and isinstance(peer, PodPeer):
            continue  # wherever DNS runs
        ports = f" on {', '.join(map(str, rule.ports))}" if rule.ports else " on every port"
        message = f"lets the pods reach {_what(peer)}{ports}"
        # One port of every pod is what monitoring needs.
        narrow = isinstance(peer, PodPeer) and rule.ports is not None
        severity = Severity.NOTE if only_dns or narrow or _is_tls(rule) else None
        yield Hit(
            "egress-to-everywhere", message, policy, _source(rule, index, peer), severity=severity
        )
        return


def _is_tls(rule: Rule) -> bool:
    """Whether a rule is about HTTPS alone: its destinations may have no stable addresses."""
    return rule.ports == (PortRange(Protocol.TCP, 443, 443),)


# --- blocks ----------------------------------------------------------------------------------


def _block(
    facts: Facts,
    exposure: Exposure,
    policy: Policy,
    rule: Rule,
    index: int,
    peer: BlockPeer,
) -> Iterator[Hit]:
    source = inside(rule.source, *peer_field(rule.source.path, index)[-2:], "ipBlock")
    if rule.direction is Direction.EGRESS:
        open_to = [address for address in _METADATA if address in peer]
        # A host route to it alone is meant.
        if open_to and peer.block.prefix < 16:
            on_http = rule.ports is None or any(
                isinstance(port, PortRange)
                and port.protocol is Protocol.TCP
                and port.first <= 80 <= port.last
                for port in rule.ports
            )
            message = f"{peer.block} includes {open_to[0]}"
            message += "" if on_http else ", though not on its port, TCP 80"
            severity = None if on_http else Severity.NOTE
            yield Hit("metadata-open", message, policy, source, severity=severity)
    elif peer.block.prefix == 0 and exposure.exposes(policy):
        return  # visitors come from anywhere, by way of any node
    inner = _inside_cluster(facts, peer)
    if inner:
        yield Hit("block-in-cluster", f"{peer.block} contains {listed(inner)}", policy, source)


def _inside_cluster(facts: Facts, peer: BlockPeer) -> list[str]:
    """What of the cluster a peer matches: ``the addresses of 412 pods``."""
    if peer.block.last == peer.block.first:
        return []  # one address is meant
    profile = facts.profile
    known = {
        "pod": facts.pod_ranges if profile.ipblock_matches_pods else None,
        "node": facts.node_ranges if profile.ipblock_matches_nodes else None,
        "Service": facts.service_ranges,
    }
    found = []
    for name, ranges in known.items():
        number = ranges.matched(peer) if ranges else 0
        if number:
            found.append(f"the address{'es' if number > 1 else ''} of {count(number, name)}")
    return found
