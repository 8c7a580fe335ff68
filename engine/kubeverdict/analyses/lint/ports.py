"""Ports that no pod listens on, as far as containers say what they listen on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubeverdict.analyses.findings import Severity
from kubeverdict.analyses.lint.facts import Facts, Kind, allowing, peer_question, workload_names
from kubeverdict.analyses.lint.finding import SHOWN, Hit, inside, listed
from kubeverdict.analyses.lint.labels import near
from kubeverdict.compile.dialect import named_ports
from kubeverdict.model.cluster import Pod
from kubeverdict.model.counts import count
from kubeverdict.model.policy import BlockPeer, Direction, PodPeer, Policy, Rule
from kubeverdict.model.ports import NamedPort, PortRange

SOME = 256  # kinds; a rule for more is about whatever is there

Said = tuple[str, str, str]
"""The rule that has something to say of a port, its message, and the fix ("" for the rule's)."""


def check(facts: Facts) -> Iterator[Hit]:
    for policy in facts.policies:
        for rule in allowing(policy):
            if rule.ports:
                yield from _rule(facts, policy, rule)
                if rule.direction is Direction.EGRESS and facts.profile.named_ports == "resolve":
                    yield from _blocks_by_name(facts, policy, rule)


def _rule(facts: Facts, policy: Policy, rule: Rule) -> Iterator[Hit]:
    kinds = _destinations(facts, policy, rule)
    if not kinds:
        return
    for index, port in enumerate(rule.ports or ()):
        if isinstance(port, NamedPort):
            said = _named(facts, rule, port, kinds)
        elif not isinstance(port, PortRange) or not port.protocol.has_ports:
            continue
        else:
            said = _numbered(facts, rule, port, kinds)
        if said is not None:
            name, message, fix = said
            source = inside(rule.source, "ports", index)
            objects = tuple(workload_names(_pods(facts, kinds))[:SHOWN])
            yield Hit(name, message, policy, source, objects=objects, fix=fix)


def _blocks_by_name(facts: Facts, policy: Policy, rule: Rule) -> Iterator[Hit]:
    """Named ports of a rule whose peers are address blocks."""
    blocks = [peer for peer in rule.peers or () if isinstance(peer, BlockPeer)]
    if not blocks:
        return
    profile = facts.profile
    to_pods = profile.named_port_through_ipblock and profile.ipblock_matches_pods
    nothing_else = len(blocks) == len(rule.peers or ()) and all(
        isinstance(port, NamedPort) for port in rule.ports or ()
    )
    where = listed([str(peer.block) for peer in blocks])
    reached = 0
    found: list[tuple[int, NamedPort, int]] = []
    for index, port in enumerate(rule.ports or ()):
        if isinstance(port, NamedPort):
            matched = facts.addresses_of_port(port).matched if to_pods else None
            number = sum(map(matched, blocks)) if matched else 0
            reached += number
            found.append((index, port, number))
    for index, port, number in found:
        if number:
            pods = count(number, "pod")
            message = f"{port} of {where} is that of {pods} inside; no address outside has the name"
        else:
            message = f"{port} of {where} is nothing: no address in it has a port of that name"
            if nothing_else and not reached:
                message += ", so that the rule permits nothing"
        meant = number and all(peer.block.prefix for peer in blocks)
        severity = Severity.NOTE if meant else None
        source = inside(rule.source, "ports", index)
        yield Hit("port-name-block", message, policy, source, severity=severity)


def _destinations(facts: Facts, policy: Policy, rule: Rule) -> list[Kind]:
    """The pods that a rule opens ports of, where it is about pods alone and a few kinds."""
    if rule.direction is Direction.INGRESS:
        numbers = set(facts.subjects(policy).tolist())
    else:
        numbers = set()
        for peer in rule.peers or (None,):
            if not isinstance(peer, PodPeer) or not facts.knows_pods(peer_question(peer)[0]):
                return []
            numbers.update(facts.peers(peer).tolist())
    return [facts.kinds[number] for number in sorted(numbers)] if len(numbers) <= SOME else []


def _named(facts: Facts, rule: Rule, port: NamedPort, kinds: list[Kind]) -> Said | None:
    declared = [(one, kind) for kind in kinds for one in named_ports(kind.ports, facts.profile)]
    found: dict[int, list[Kind]] = {}
    for one, kind in declared:
        if (one.name, one.protocol) == (port.name, port.protocol):
            found.setdefault(one.number, []).append(kind)
    if not found:
        if not any(kind.ports for kind in kinds):
            return None  # what declares no port at all may listen on any
        who = _who(facts, kinds)
        protocols = {one.protocol.name for one, _ in declared if one.name == port.name}
        # A name of whatever protocol is one of each.
        alike = [
            one for one in rule.ports or () if isinstance(one, NamedPort) and one.name == port.name
        ]
        if any(one.protocol.name in protocols for one in alike) or port is not alike[0]:
            return None
        if protocols:
            message = f"{port.name} is a {'/'.join(sorted(protocols))} port of {who}, not {port}"
            return "port-protocol", message, ""
        names = sorted({one.name for one, _ in declared if one.protocol is port.protocol})
        guess = near(port.name, names)
        hint = f" ({guess})" if guess else f"; there is {listed(names)}" if names else ""
        message = f"no {port.protocol.name} port of {who} is named {port.name}{hint}"
        fix = f"Write {guess.word}." if guess else ""
        return "port-name-unknown", message, fix
    if len(found) > 1:
        parts = [
            f"{number} on {listed(_workloads(facts, of_number))}"
            for number, of_number in sorted(found.items())
        ]
        more = f"; and {len(parts) - 3:,} more" if len(parts) > 3 else ""
        message = f"{port.protocol.name} {port.name} is {'; '.join(parts[:3])}{more}"
        return "port-name-varies", message, ""
    return None


def _numbered(facts: Facts, rule: Rule, port: PortRange, kinds: list[Kind]) -> Said | None:
    if not all(kind.ports for kind in kinds):
        return None  # what declares no port may listen on any
    same, other = set[int](), set[str]()
    for kind in kinds:
        for one in kind.ports:
            if one.protocol is port.protocol:
                same.add(one.number)
            elif port.first <= one.number <= port.last:
                other.add(one.protocol.name)
    if any(port.first <= number <= port.last for number in same):
        return None
    who = _who(facts, kinds)
    if other and port.first == port.last:
        # Both protocols together, as for DNS, are no mistake.
        both = any(
            isinstance(one, PortRange)
            and one.protocol.name in other
            and one.first <= port.first <= one.last
            for one in rule.ports or ()
        )
        if both:
            return None
        right = "/".join(sorted(other))
        message = f"{port} is allowed; {who} listens on {right} {port.first}"
        return "port-protocol", message, f"Write {right}."
    served = sorted(same)
    listens = (
        f"on {port.protocol.name} {listed(list(map(str, served)))}"
        if served
        else (f"on no {port.protocol.name} port")
    )
    message = f"{port}: {who} listens {listens}"
    through = _through_service(facts, port, kinds)
    if through:
        name, target = through
        message += f"; {port.first} is the port of Service {name}, which sends to {target}"
    fix = f"Write {through[1]}." if through else ""
    return "port-not-listened", message, fix


def _through_service(
    facts: Facts, port: PortRange, kinds: list[Kind]
) -> tuple[str, int | str] | None:
    """The Service that has this port in front of the pods, and where it leads."""
    if port.first != port.last:
        return None
    for service in facts.services_in(kinds[0].namespace):
        if not service.selector or not service.selector.items() <= kinds[0].labels.items():
            continue
        for one in service.ports:
            if (one.port, one.protocol) == (port.first, port.protocol) and one.target != one.port:
                return str(service), one.target
    return None


def _who(facts: Facts, kinds: list[Kind]) -> str:
    return listed(_workloads(facts, kinds))


def _workloads(facts: Facts, kinds: Sequence[Kind]) -> list[str]:
    refs = {pod.workload for pod in _pods(facts, kinds)}
    return sorted(f"{ref.namespace}/{ref.name}" for ref in refs)


def _pods(facts: Facts, kinds: Sequence[Kind]) -> list[Pod]:
    return [facts.cluster.pods[place] for kind in kinds for place in kind.pods]
