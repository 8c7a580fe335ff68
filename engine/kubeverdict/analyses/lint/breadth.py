"""Rules that open more than is likely to be needed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from kubeverdict.analyses.conditions import peer_text
from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint import dns
from kubeverdict.analyses.lint.exposure import Exposure
from kubeverdict.analyses.lint.facts import Facts, allowing
from kubeverdict.analyses.lint.finding import Hit, inside, listed, peer_field
from kubeverdict.analyses.lint.reach import sample
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.addresses import Address, parse_address
from kubeverdict.model.counts import count
from kubeverdict.model.policy import (
    BlockPeer,
    Direction,
    EndSet,
    NamedPeer,
    Peer,
    PodPeer,
    Policy,
    Rule,
)
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import Profile
from kubeverdict.model.sources import Source

_METADATA = tuple(
    address
    for text in ("169.254.169.254", "fd00:ec2::254")
    if (address := parse_address(text)) is not None
)


class Opened(msgspec.Struct, frozen=True):
    """What the widest peers of a rule let through: whether that are all pods, and which address
    families outside the cluster. ``text`` names the peers, ``source`` is the first of them."""

    text: str
    source: Source
    pods: bool
    families: frozenset[int]


def check(facts: Facts) -> Iterator[Hit]:
    exposure = Exposure(facts)
    for policy in facts.policies:
        for rule in allowing(policy):
            if not facts.lets_through(policy, rule):
                continue
            opened = _opened(facts.profile, rule)
            if opened is not None:
                if rule.direction is Direction.INGRESS:
                    yield from _from_everywhere(facts, exposure, policy, rule, opened)
                else:
                    yield from _to_everywhere(policy, rule, opened)
            for index, peer in enumerate(rule.peers or ()):
                if isinstance(peer, BlockPeer) and not only_names(facts.profile, rule):
                    yield from _block(facts, exposure, policy, rule, index, peer)


def only_names(profile: Profile, rule: Rule) -> bool:
    """Whether an egress rule has nothing but names of ports, which only pods resolve."""
    return (
        rule.direction is Direction.EGRESS
        and profile.named_ports == "resolve"
        and bool(rule.ports)
        and all(isinstance(port, NamedPort) for port in rule.ports or ())
    )


def _opened(profile: Profile, rule: Rule) -> Opened | None:
    """What a rule opens by peers that are everywhere; None where it has no such peer."""
    wide = [
        (index, peer)
        for index, peer in enumerate(rule.peers or ((None,) if rule.peers is None else ()))
        if is_everywhere(peer) and not _is_thought_over(rule, peer)
    ]
    if only_names(profile, rule):
        # A name leads to pods alone, and through a block it is reported elsewhere.
        if profile.named_port_to_anyone == "never":
            wide = [(index, peer) for index, peer in wide if peer is not None]
        wide = [(index, peer) for index, peer in wide if not isinstance(peer, BlockPeer)]
    if not wide:
        return None
    peers = [peer for _, peer in wide]
    blocks = [peer for peer in peers if isinstance(peer, BlockPeer)]
    anybody = None in peers
    families = {peer.block.family for peer in blocks}
    if anybody and not (only_names(profile, rule) and profile.named_port_to_anyone == "per-pod"):
        families = {4, 6}
    pods = anybody or len(blocks) < len(peers) or bool(blocks and profile.ipblock_matches_pods)
    index, first = wide[0]
    text = " and ".join(dict.fromkeys(map(_what, peers))) if families else _EVERY_POD
    source = rule.source
    if first is not None:
        source = Source(source.origin, peer_field(source.path, index))
    return Opened(text, source, pods, frozenset(families))


_EVERY_POD = "every pod of every namespace"


def is_everywhere(peer: Peer | None) -> bool:
    """Whether a peer is any end, every pod, or every address of a family."""
    if peer is None:
        return True
    if isinstance(peer, BlockPeer):
        return peer.block.prefix == 0
    if not isinstance(peer, PodPeer):
        return isinstance(peer, NamedPeer) and peer.ends is EndSet.ALL
    return (
        peer.namespace is None
        and peer.namespaces.selects_all
        and (peer.pods is None or peer.pods.selects_all)
    )


def _is_thought_over(rule: Rule, peer: Peer | None) -> bool:
    """Whether another rule says what the pods may not reach."""
    egress = rule.direction is Direction.EGRESS
    return egress and isinstance(peer, BlockPeer) and bool(peer.excepts)


def _what(peer: Peer | None) -> str:
    if peer is None:
        return "anybody"
    if isinstance(peer, PodPeer):
        return _EVERY_POD
    if not isinstance(peer, BlockPeer):
        return peer_text(peer)
    excepts = f" except {listed(list(map(str, peer.excepts)))}" if peer.excepts else ""
    return f"{peer.block}{excepts}"


def _on(rule: Rule) -> str:
    return f"on {', '.join(map(str, rule.ports))}" if rule.ports else "on every port"


def _from_everywhere(
    facts: Facts, exposure: Exposure, policy: Policy, rule: Rule, opened: Opened
) -> Iterator[Hit]:
    if not exposure.is_known:
        return
    kinds = facts.subjects(policy).tolist()
    hidden = [kind for kind in kinds if not exposure.is_exposed(kind)]
    if not hidden or (len(hidden) < len(kinds) and not policy.pods.selects_all):
        # A policy that guards an exposed workload is about that workload.
        return
    workloads = facts.workloads(hidden)
    message = (
        f"lets {opened.text} into {listed(workloads)} {_on(rule)}; nothing outside leads there"
    )
    yield Hit(
        "ingress-from-everywhere",
        message,
        policy,
        opened.source,
        objects=tuple(workloads[:3]),
        why=_who_gets_in(opened),
    )


def _who_gets_in(opened: Opened) -> str:
    """What letting these in means."""
    if not opened.families:
        return "Every pod of every namespace can connect; addresses outside the cluster cannot."
    of_family = "" if len(opened.families) > 1 else f"IPv{min(opened.families)} "
    outside = f"very {of_family}address that has a route"
    return f"Every pod gets in, and e{outside}." if opened.pods else f"E{outside} gets in."


def _to_everywhere(policy: Policy, rule: Rule, opened: Opened) -> Iterator[Hit]:
    only_dns = rule.ports is not None and all(
        isinstance(port, PortRange) and port.first == port.last in dns.PORTS for port in rule.ports
    )
    if only_dns and not opened.families:
        return  # wherever DNS runs
    message = f"lets the pods reach {opened.text} {_on(rule)}"
    if rule.peers is None and rule.ports is None:
        message += ", as where no policy isolates them for egress"
    metadata = bool(opened.families) and _is_on_http(rule)
    more = "; all addresses include that of cloud metadata" if metadata else ""
    why = f"A compromised pod can reach them too{more}."
    yield Hit("egress-to-everywhere", message, policy, opened.source, why=why)


def _is_on_http(rule: Rule) -> bool:
    """Whether the ports of a rule include TCP 80."""
    return rule.ports is None or any(
        isinstance(port, PortRange)
        and port.protocol is Protocol.TCP
        and port.first <= 80 <= port.last
        for port in rule.ports
    )


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
        open_to = [one for one in _METADATA if one in peer and _reaches(facts, policy, one)]
        # A host route to it alone is meant.
        if open_to and peer.block.prefix < 16:
            (address,) = open_to
            on_http = _is_on_http(rule)
            message = f"{peer.block} includes {address}"
            message += "" if on_http else ", though not on its port, TCP 80"
            severity = None if on_http else Severity.NOTE
            fix = f"Add `except: [{address}/{32 if address.family == 4 else 128}]`."
            yield Hit("metadata-open", message, policy, source, severity=severity, fix=fix)
    elif peer.block.prefix == 0 and exposure.exposes(policy):
        return  # visitors come from anywhere, by way of any node
    inner = _inside_cluster(facts, peer)
    if inner:
        yield Hit("block-in-cluster", f"{peer.block} contains {listed(inner)}", policy, source)


def _reaches(facts: Facts, policy: Policy, address: Address) -> bool:
    """Whether no rule denies TCP 80 of an address to some pod of a policy."""
    if not facts.in_order:
        return True
    pods = [sample(facts, kind) for kind in facts.subjects(policy).tolist()]
    sources = np.array([pod for pod in pods if pod is not None], np.int64)
    end = np.repeat(address_ids(facts.compiled, [str(address)]), sources.size)
    columns = (np.full(sources.size, value) for value in (Protocol.TCP, 80))
    decided = judge(facts.compiled, sources, end, *columns).egress
    rules = np.isin(decided, facts.denying_rules)
    return not sources.size or not bool(rules.all())


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
