"""Assertions against plain answers, on clusters with tiers, all kinds of peers and selectors, and
conditional rules: for the pods that there are, and for those that could be made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, product
from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from kubeverdict.analyses.verify.report import Result
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.bounds import judge_bounds
from kubeverdict.model.addresses import Address, parse_address, parse_block
from kubeverdict.model.assertions import Assertion, Claim, EndSpec
from kubeverdict.model.cluster import Cluster, ContainerPort, Node, Pod, WorkloadRef
from kubeverdict.model.policy import BlockPeer, ExceptPeer, Peer, PodPeer, Rule, parts_of
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.profile import REFERENCE
from kubeverdict.model.selectors import Clause, Operator, Requirement, Selector
from tests.analyses.verify.asserting import claim, results
from tests.clusters.conditions import CONDITIONS, bound, with_conditions
from tests.clusters.policies import Choose
from tests.oracle import Oracle
from tests.oracle_parts import FAMILIES, selects
from tests.verbs.plain import Plain, small_cluster

# What a pod's own node may do whatever the rules say is not judged.
PROFILE = replace(REFERENCE, own_node_to_pod=False)
SEEDS = (*range(70), 169, 282)
ZONES = ({"zone": "a"}, {"zone": "b"})


class Outside(Oracle):
    """Addresses are what is outside and nodes, never a pod: so assertions mean them."""

    def _pod_at(self, address: object) -> None:
        return None


def verified_cluster(seed: int, pods: int = 4, policies: int = 6) -> Cluster:
    """A small cluster with nodes and with conditions on some rules."""
    choose = Random(seed).choice
    made = small_cluster(seed, pods, policies)
    nodes = tuple(Node(f"node-{n}", (f"192.168.0.{n}",), choose(ZONES)) for n in (1, 2))
    placed = tuple(replace(pod, node=choose(("node-1", "node-2", ""))) for pod in made.pods)
    made = replace(made, pods=placed, nodes=nodes)
    return with_conditions(made, seed) if seed % 2 else made


def assertion(choose: Choose, made: Cluster) -> Assertion:
    source, destination = _end(choose, made), _end(choose, made)
    what = choose(list(Claim))
    ports = choose((None, (PortRange(Protocol.TCP, 80, 80),), (PortRange(Protocol.UDP, 1, 8079),)))
    return claim(what, source, destination, ports, may_be_empty=True)


def _end(choose: Choose, made: Cluster) -> EndSpec:
    blocks = ("192.168.0.1/32", "192.168.0.0/24", "203.0.113.0/24")
    requirements = (
        Requirement("app", Operator.IN, ("web",)),
        Requirement("app", Operator.NOT_IN, ("db", "web")),
        Requirement("app", Operator.EXISTS),
    )

    def part() -> PodPeer | BlockPeer:
        if choose((False, False, True)):
            block = parse_block(choose(blocks))
            assert block is not None
            return BlockPeer(block)
        pods = Selector.of([choose(requirements)]) if choose((True, False)) else Selector()
        return PodPeer(pods, choose((None, *(one.name for one in made.namespaces))))

    return EndSpec(tuple(part() for _ in range(choose((1, 1, 2)))))


def is_at(made: Cluster, end: EndSpec, who: Pod | str) -> bool:
    """A pod on the network of its node stands for the address there."""
    if isinstance(who, str) and any(
        who in pod.addresses and is_at(made, end, pod)
        for pod in made.pods
        if pod.host_network and not pod.finished
    ):
        return True
    labels = {one.name: one.labels for one in made.namespaces}

    def has(part: object) -> bool:
        if isinstance(part, BlockPeer):
            address = parse_address(who) if isinstance(who, str) else None
            return address is not None and address in part
        assert isinstance(part, PodPeer)
        if not isinstance(who, Pod) or not selects(part.pods or Selector(), who.labels):
            return False
        if part.namespace is not None:
            return part.namespace == who.namespace
        return selects(part.namespaces, labels[who.namespace])

    return any(map(has, end.parts))


def is_about(made: Cluster, asked: Assertion, source: Pod | str, destination: Pod | str) -> bool:
    opens, answers = is_at(made, asked.source, source), is_at(made, asked.destination, destination)
    wants = (asked.claim is not Claim.ONLY_FROM, asked.claim is not Claim.ONLY_TO)
    return (opens, answers) == wants


def expected(certain: object, possible: object) -> str:
    return "violated" if certain else "unknown" if possible else "holds"


# -- the pods that there are ------------------------------------------------------------------


def is_violated(made: Cluster, asked: Assertion) -> bool:
    oracle = Outside(made, PROFILE)
    plain = Plain(made, PROFILE)
    strangers = dict.fromkeys(str(one) for one in plain.anyone if isinstance(one, str))
    strangers |= dict.fromkeys(text for pod in oracle.managed for text in pod.addresses)
    strangers["2001:db8::1"] = None  # for pods without an address, which may get either
    anyone: list[Pod | str] = [*oracle.managed, *strangers]
    ports = [
        (protocol, port)
        for protocol, port in (*plain.ports, (Protocol.TCP, 80), (Protocol.UDP, 1))
        if asked.ports is None
        or any(
            isinstance(one, PortRange)
            and one.protocol is protocol
            and one.first <= port <= one.last
            for one in asked.ports
        )
    ]
    return any(
        oracle.judge(source, destination, *port, family).allowed != (asked.claim is Claim.ALLOW)
        for source, destination in product(anyone, repeat=2)
        if source is not destination and isinstance(source, Pod) | isinstance(destination, Pod)
        if is_about(made, asked, source, destination)
        for family in FAMILIES
        if all(oracle.end(one).has(family) for one in (source, destination))
        for port in ports
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_status_is_that_of_every_connection(seed: int) -> None:
    made = verified_cluster(seed)
    most, least = (bound(made, at_least) for at_least in (False, True))
    choose = Random(seed).choice
    for _ in range(4):
        asked = assertion(choose, made)
        (result,) = results(made, asked, profile=PROFILE)
        bounds = (most, least) if asked.claim is Claim.ALLOW else (least, most)
        assert result.status == expected(*(is_violated(one, asked) for one in bounds)), asked
        if result.status == "unknown":
            assert any(text in result.doubts[-1] for text in CONDITIONS)


# -- those that could be made -----------------------------------------------------------------

SPELT = ["".join(letters) for size in range(4) for letters in product("webdox", repeat=size)] + [
    "other"
]


def on_one_key(selector: Selector) -> Selector:
    """The same asked of one label, so that every pod can be made."""
    plain = (replace(one, key="app") for one in selector.requirements)
    clauses = (
        Clause(tuple(sorted(map(on_one_key, one.parts))), one.negated) for one in selector.clauses
    )
    return Selector(tuple(sorted(set(plain))), tuple(sorted(set(clauses))))


def simpler(made: Cluster) -> Cluster:
    """The cluster with one label key, and with few namespaces."""

    def peer(one: Peer) -> Peer:
        if isinstance(one, PodPeer):
            return replace(one, pods=one.pods and on_one_key(one.pods))
        if isinstance(one, ExceptPeer):
            return ExceptPeer(peer(one.peer), tuple(map(peer, one.excluded)))
        return one

    def rule(one: Rule) -> Rule:
        subject = one.subject and peer(one.subject)
        return replace(one, peers=one.peers and tuple(map(peer, one.peers)), subject=subject)

    spaces = made.namespaces[:2]
    names = {None, *(one.name for one in spaces)}
    return replace(
        made,
        namespaces=spaces,
        pods=tuple(
            replace(one, labels={} if "app" not in one.labels else {"app": one.labels["app"]})
            for one in made.pods
            if one.namespace in names and one.addresses and not one.host_network
        ),
        policies=tuple(
            replace(one, pods=on_one_key(one.pods), rules=tuple(map(rule, one.rules)))
            for one in made.policies
            if one.namespace in names
        ),
    )


def label_sets(made: Cluster, asked: Assertion) -> list[dict[str, str]]:
    """One for each way in which requirements distinguish values."""
    terms: set[Requirement] = set()

    def note(one: object) -> None:
        if isinstance(one, PodPeer) and one.pods is not None:
            terms.update(one.pods.terms())

    for policy in made.policies:
        terms.update(policy.pods.terms())
        for rule in policy.rules:
            for part in (rule.subject, *chain.from_iterable(map(parts_of, rule.peers or ()))):
                note(part)
    for end in (asked.source, asked.destination):
        for named in end.parts:
            note(named)
    found: dict[tuple[bool, ...], dict[str, str]] = {}
    for labels in ({}, *({"app": value} for value in SPELT)):
        met = tuple(selects(Selector.of([one]), labels) for one in sorted(terms))
        found.setdefault(met, labels)
    return list(found.values())


def every_pod(made: Cluster, asked: Assertion, names: tuple[str, ...]) -> Iterator[Pod]:
    """All pods that there could be."""
    addresses = sorted({text for one in made.pods for text in one.addresses}) or [""]
    where = product(
        made.namespaces, label_sets(made, asked), addresses, ("", *(one.name for one in made.nodes))
    )
    for number, (space, labels, address, node) in enumerate(where):
        for name in names:
            ports = tuple(ContainerPort(name, Protocol.TCP, port) for port in (80, 81, 8080, 9999))
            text = f"new-{number}-{name}"
            ref = WorkloadRef(space.name, text, "Pod")
            at = (address,) if address else ()
            yield Pod(space.name, text, labels, ref, at, ports if name else (), node)


def outside(compiled: CompiledPolicy, of: Iterable[Peer | object], inside: bool) -> list[int]:
    """Endpoint ids of what has an address in some blocks, or one in none of them."""
    blocks = [one for one in of if isinstance(one, BlockPeer)]

    def wanted(address: Address) -> bool:
        return any(address in one for one in blocks) is inside

    hosts = {text: compiled.first_host + n for n, text in enumerate(compiled.hosts)}
    found = [end for text, end in hosts.items() if wanted(parse_address(text) or Address(4, 0))]
    for atom in range(compiled.addresses.atoms):
        family, first, last = compiled.addresses.interval(atom)
        edges = {first, last}
        for each in blocks:
            edges |= {each.block.first - 1, each.block.first, each.block.last, each.block.last + 1}
        edges |= {edge + 1 for edge in edges}
        possible = (Address(family, edge) for edge in edges if first <= edge <= last)
        if family == 4 and any(wanted(one) for one in possible if str(one) not in hosts):
            found.append(compiled.first_atom + atom)
    return found


Broken = set[tuple[str, str]]


def broken(made: Cluster, asked: Assertion) -> tuple[Broken, Broken]:
    """The namespaces (empty for addresses) between which a new pod would break the claim: in any
    case, and possibly."""
    opening = [
        one
        for one in every_pod(made, asked, ("",))
        if is_at(made, asked.source, one) != (asked.claim is Claim.ONLY_FROM)
    ]
    answering = [
        replace(one, name=f"to-{one.name}")
        for one in every_pod(made, asked, ("", "http"))
        if is_at(made, asked.destination, one) != (asked.claim is Claim.ONLY_TO)
    ]
    compiled = compile_cluster(replace(made, pods=(*opening, *answering)), PROFILE)
    ids = compiled.pod_ids
    sources = [ids[one.namespace, one.name] for one in opening]
    sources += outside(compiled, asked.source.parts, asked.claim is not Claim.ONLY_FROM)
    targets = [ids[one.namespace, one.name] for one in answering]
    targets += outside(compiled, asked.destination.parts, asked.claim is not Claim.ONLY_TO)
    source, destination = (
        each.ravel() for each in np.meshgrid(np.array(sources, np.int64), np.array(targets))
    )
    pods = len(compiled.pods)
    new = (source < pods) | (destination < pods)
    source, destination = source[new], destination[new].astype(np.int64)
    found: tuple[Broken, Broken] = (set(), set())
    for protocol, number in probes(made, asked):
        count = (np.full(source.size, int(protocol)), np.full(source.size, number))
        bounds = judge_bounds(compiled, source, destination, *count, family=4)
        certain = bounds.most, bounds.least
        for spaces, side in zip(
            found, certain if asked.claim is Claim.ALLOW else certain[::-1], strict=True
        ):
            wrong = side.allowed != (asked.claim is Claim.ALLOW)
            wrong &= side.egress != Reason.NO_ADDRESS
            for pair in set(zip(source[wrong].tolist(), destination[wrong].tolist(), strict=True)):
                one, other = (compiled.pods[end].namespace if end < pods else "" for end in pair)
                spaces.add((one, other))
    return found


def probes(made: Cluster, asked: Assertion) -> list[tuple[Protocol, int]]:
    numbers = {1, 79, 80, 81, 82, 8079, 8080, 8081, 9999, 65535}
    every = set(product((Protocol.TCP, Protocol.UDP, Protocol.SCTP), numbers))
    if asked.ports is None:
        return sorted({*every, (Protocol.ICMP, 0), (Protocol.OTHER, 0)})
    return sorted(
        (protocol, number)
        for protocol, number in every
        for one in asked.ports
        if isinstance(one, PortRange) and one.protocol is protocol
        if one.first <= number <= one.last
    )


def namespaces_of(result: Result, family: int | None = None) -> Broken:
    def space(name: str) -> str:
        return name.partition("/")[0] if "/" in name else ""

    return {
        pair
        for one in result.violations
        if one.ingress.reason != "no-address"
        and (family is None or not any(":" in name for name in one.sample[:2]))
        and (pair := (space(one.sample[0]), space(one.sample[1]))) != ("", "")
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_found_of_new_pods_is_what_making_every_pod_finds(seed: int) -> None:
    made = simpler(verified_cluster(seed, pods=3, policies=4))
    asked = assertion(Random(seed).choice, made)
    (result,) = results(made, asked, anyone=True, profile=PROFILE)
    assert not result.error and not result.more
    certain, possible = broken(made, asked)
    # New pods that no block is about may have addresses of any family; those made here have not.
    assert namespaces_of(result, family=4) <= certain <= namespaces_of(result)
    if not result.violations:
        assert result.status == expected(certain, possible)
    if result.status == "unknown":
        assert any(text in result.doubts[-1] for text in CONDITIONS)
