"""Assertions for pods that could be created: by hand, and against making every such pod."""

from __future__ import annotations

from itertools import chain, combinations, product
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.verify import classes, new_pod_kinds
from kubeverdict.analyses.verify.report import NewPod, Result
from kubeverdict.compile.compiled import Reason
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.flows import judge
from kubeverdict.model.assertions import Assertion, Claim, EndSpec, PortName
from kubeverdict.model.cluster import Cluster, ContainerPort, Node, Pod
from kubeverdict.model.policy import (
    BlockPeer,
    EndSet,
    ExceptPeer,
    NamedPeer,
    NodePeer,
    PodPeer,
    Policy,
)
from kubeverdict.model.ports import MAX_PORT, PORT_PROTOCOLS, PortRange, Protocol
from kubeverdict.model.selectors import PARTIAL, Operator, Requirement, Selector
from tests.analyses.verify.asserting import claim, end, inside, results, tcp
from tests.clusters.generated import build_cluster, without_icmp_types
from tests.clusters.policies import KEYS, NAMESPACES, PORT_NAMES, VALUES
from tests.clusters.records import (
    block,
    cluster,
    pod,
    pods_in,
    pods_where,
    policy,
    port,
    selector,
)
from tests.clusters.records import (
    tcp as tcp_rule,
)
from tests.oracle_parts import selects

PODS = [
    pod("dev/toy", "app=toy", "10.0.1.1"),
    pod("prod/web-0", "app=web,tier=front,pod-template-hash=1", "10.0.2.1", workload="web"),
    pod("prod/db", "app=db", "10.0.2.2", ports=[port("pg", 5432)]),
]
DENY = policy("prod/deny", ingress=[], line=10)
DEV_TO_PROD = claim(Claim.DENY, end(inside("dev")), end(inside("prod")), tcp(5432))


def one(asked: Assertion, *policies: Policy, **options: object) -> Result:
    made = cluster(PODS, policies, namespaces={"dev": "stage=dev", "prod": "stage=prod"})
    (result,) = results(made, asked, anyone=True, **options)  # type: ignore[arg-type]
    return result


def test_a_new_pod_that_a_forgotten_label_lets_through_is_found() -> None:
    hole = policy("prod/debug", ingress=[([pods_where("stage=dev", "debug=yes")], None)], line=20)
    result = one(DEV_TO_PROD, DENY, hole)
    (violation,) = result.violations
    assert violation.new_source == NewPod("dev", {"debug": "yes"})
    assert violation.new_destination == NewPod("prod", {})
    assert violation.ingress.rule is not None
    assert violation.ingress.rule.line == 23
    # Among the pods that there are, nothing is wrong.
    made = cluster(PODS, [DENY, hole], namespaces={"dev": "stage=dev", "prod": "stage=prod"})
    assert results(made, DEV_TO_PROD)[0].status == "holds"


def test_a_new_pod_that_no_policy_selects_is_found() -> None:
    known = [policy(f"prod/{app}", f"app={app}", ingress=[]) for app in ("web", "db")]
    (violation,) = one(DEV_TO_PROD, *known).violations
    assert violation.new_destination == NewPod("prod", {})
    assert violation.ingress.reason == "not-isolated"


def test_an_end_s_own_labels_are_kept() -> None:
    asked = claim(Claim.DENY, end(inside("dev", "app=toy")), end(inside("prod")), tcp(5432))
    only_others = Selector.of([Requirement("app", Operator.NOT_IN, ("toy",))])
    hole = policy("prod/others", ingress=[([PodPeer(only_others, "dev")], None)])
    assert one(asked, DENY, hole).status == "holds"
    assert one(DEV_TO_PROD, DENY, hole).status == "violated"


def test_what_existing_pods_show_is_not_shown_again() -> None:
    found = one(DEV_TO_PROD).violations
    assert [each.destination for each in found] == ["prod/db[Pod]", "prod/web[Deployment]"]
    assert not any(each.new_source or each.new_destination for each in found)


def test_a_rule_of_an_ip_block_holds_for_new_pods_where_pods_are() -> None:
    hole = policy("prod/range", ingress=[([block("10.0.0.0/8")], None)])
    asked = claim(Claim.DENY, end(inside("new")), end(inside("prod")), tcp(5432), may_be_empty=True)
    made = cluster(PODS, [DENY, hole], namespaces={"new": ""})
    (result,) = results(made, asked, anyone=True)
    (violation,) = result.violations
    assert violation.new_source == NewPod("new", {}, "10.0.1.1")
    elsewhere = [block("172.16.0.0/12")]
    assert results(made, asked, anyone=True, pod_ranges=elsewhere)[0].status == "holds"


def test_a_name_may_stand_for_any_port_of_a_new_pod() -> None:
    hole = policy("prod/metrics", ingress=[(None, [tcp_rule("metrics")])])
    (violation,) = one(DEV_TO_PROD, DENY, hole).violations
    assert violation.new_destination == NewPod("prod", {}, port="TCP 5432", port_names=("metrics",))
    # A port that is asked about by its name has no other.
    assert one(replace(DEV_TO_PROD, ports=(PortName("pg"),)), DENY, hole).status == "holds"
    named = replace(DEV_TO_PROD, ports=(PortName("metrics"),), may_be_empty=True)
    (violation,) = one(named, DENY, hole).violations
    assert str(violation.ports) == "TCP metrics"
    assert violation.new_destination == NewPod("prod", {}, port="TCP 1", port_names=("metrics",))


def test_the_number_of_a_named_port_is_said() -> None:
    """What lets in goes by the name and what lets out by the number, so it cannot be any."""
    hole = policy("prod/metrics", ingress=[(None, [tcp_rule("metrics")])])
    out = policy("dev/out", egress=[(None, [tcp_rule(8080)])])
    for ports in (None, (PortName("metrics"),)):
        asked = replace(DEV_TO_PROD, ports=ports, may_be_empty=True)
        (violation,) = one(asked, DENY, hole, out).violations
        there = "a new pod in prod without labels, port TCP 8080 named metrics"
        assert str(violation.new_destination) == there


def test_ports_that_need_no_name_are_shown_without_one() -> None:
    hole = policy("prod/metrics", ingress=[(None, [tcp_rule("metrics"), tcp_rule(8000, 9000)])])
    nobody = end(inside("prod", "app=new"))
    asked = claim(Claim.DENY, end(inside("dev")), nobody, None, may_be_empty=True)
    (violation,) = one(asked, DENY, hole).violations
    assert (str(violation.ports), violation.sample[2]) == ("TCP 8000-9000", "TCP 8000")
    assert violation.new_destination == NewPod("prod", {"app": "new"})


def test_what_must_be_allowed_may_not_depend_on_names() -> None:
    opened = policy("prod/pg", ingress=[(None, [tcp_rule("pg")])])
    asked = claim(Claim.ALLOW, end(inside("dev")), end("prod/db"), tcp(5432))
    assert one(replace(asked, ports=(PortName("pg"),)), DENY, opened).status == "holds"
    (violation,) = one(asked, DENY, opened).violations
    assert violation.new_destination == NewPod("prod", {"app": "db"})
    assert [miss.policy.name for miss in violation.ingress.isolated_by] == ["prod/deny", "prod/pg"]


def test_a_workload_is_any_pod_with_the_labels_of_its_pods() -> None:
    asked = claim(Claim.ONLY_FROM, end("prod/web"), end("prod/db"), tcp(5432))
    exact = policy(
        "prod/db", "app=db", ingress=[([pods_in("prod", "app=web,tier=front")], [tcp_rule(5432)])]
    )
    assert one(asked, exact).status == "holds"
    loose = policy("prod/db", "app=db", ingress=[([pods_in("prod", "app=web")], None)])
    (violation,) = one(asked, loose).violations
    assert violation.new_source == NewPod("prod", {"app": "web"})


def test_new_pods_and_addresses() -> None:
    asked = claim(Claim.DENY, end(inside("dev")), end(block("203.0.113.0/24")))
    policies = [
        policy("dev/deny", egress=[]),
        policy("dev/upload", "job=backup", egress=[([block("203.0.113.7/32")], None)]),
    ]
    (violation,) = one(asked, *policies).violations
    assert violation.new_source == NewPod("dev", {"job": "backup"})
    assert violation.destination == "203.0.113.7"


def test_a_boolean_selector_is_met_by_a_new_pod() -> None:
    debug = Selector.of([Requirement("debug", Operator.EXISTS)])
    toys = Selector.any_of([selector("app=toy"), selector("app=test")])
    either = Selector.all_of([toys, Selector.none_of([debug, selector("tier=front,env=prod")])])
    hole = policy("prod/toys", ingress=[([PodPeer(either, "dev")], None)])
    asked = replace(DEV_TO_PROD, source=end(inside("dev", "tier=front")))
    (violation,) = one(replace(asked, may_be_empty=True), DENY, hole).violations
    assert violation.new_source == NewPod("dev", {"app": "test", "tier": "front"})
    never = Selector.all_of([either, debug])
    assert one(DEV_TO_PROD, DENY, policy("prod/no", ingress=[([PodPeer(never)], None)])).status == (
        "holds"
    )


def test_a_part_of_a_value_is_met_by_a_new_pod() -> None:
    parts = [
        Requirement("app", Operator.STARTS_WITH, ("debug-",)),
        Requirement("app", Operator.ENDS_WITH, ("-x",)),
    ]
    hole = policy("prod/parts", ingress=[([PodPeer(Selector.of(parts), "dev")], None)])
    (violation,) = one(DEV_TO_PROD, DENY, hole).violations
    assert violation.new_source == NewPod("dev", {"app": "debug-x"})


def test_a_peer_with_exceptions_is_met_by_a_new_pod() -> None:
    peer = ExceptPeer(
        NamedPeer(EndSet.CLUSTER), (pods_in("dev", "app=toy"), NamedPeer(EndSet.NODES))
    )
    hole = policy("prod/hole", ingress=[([peer], None)])
    (violation,) = one(DEV_TO_PROD, DENY, hole).violations
    assert violation.new_source == NewPod("dev", {})
    nobody = policy("prod/hole", ingress=[([NodePeer(), NamedPeer(EndSet.WORLD)], None)])
    assert one(DEV_TO_PROD, DENY, nobody).status == "holds"


def test_a_rule_for_some_of_the_subjects_is_met_by_a_new_pod() -> None:
    hole = policy("prod/hole", ingress=[(None, None)])
    narrowed = replace(hole.rules[0], subject=pods_in("prod", "debug=yes"))
    (violation,) = one(DEV_TO_PROD, DENY, replace(hole, rules=(narrowed,))).violations
    assert violation.new_destination == NewPod("prod", {"debug": "yes"})


def test_a_new_pod_may_run_on_any_node() -> None:
    hole = policy("prod/hole", ingress=[([NamedPeer(EndSet.REMOTE_NODE)], None)])
    nodes = [Node(f"node-{number}", (f"192.168.0.{number}",), {}) for number in (1, 2)]
    asked = claim(Claim.DENY, end(block("192.168.0.1/32")), end(inside("prod")), tcp(5432))
    made = cluster([], [DENY, hole], namespaces={"prod": ""}, nodes=nodes)
    (result,) = results(made, replace(asked, may_be_empty=True), anyone=True)
    (violation,) = result.violations
    assert violation.new_destination == NewPod("prod", {})
    own = policy("prod/hole", ingress=[([NamedPeer(EndSet.HOST)], None)])
    made = cluster([], [DENY, own], namespaces={"prod": ""}, nodes=nodes)
    (result,) = results(made, replace(asked, may_be_empty=True), anyone=True)
    (violation,) = result.violations
    assert violation.new_destination == NewPod("prod", {}, node="node-1")
    assert "on node node-1" in str(violation.new_destination)


def test_what_only_a_condition_lets_a_new_pod_do_is_not_known() -> None:
    hole = policy("prod/debug", ingress=[([pods_where("stage=dev", "debug=yes")], None)])
    depends = replace(hole.rules[0], condition="for GET only")
    result = one(DEV_TO_PROD, DENY, replace(hole, rules=(depends,)))
    assert result.status == "unknown"
    assert result.doubts == ("it depends on a condition: for GET only",)


def test_too_many_kinds_of_pods_are_an_error_and_not_a_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [policy(f"prod/p{n}", f"key-{n}=yes", ingress=[]) for n in range(8)]
    assert one(DEV_TO_PROD, DENY, *many).status == "holds"
    for module in (classes, new_pod_kinds):
        monkeypatch.setattr(module, "MOST", 100)
        result = one(DEV_TO_PROD, DENY, *many)
        assert result.status == "error"
        assert "too many kinds of new pods" in result.error
        what = "combinations of selectors" if module is classes else "at the destination"
        assert f"(more than 100 {what})" in result.error
        monkeypatch.undo()


# -- against making every pod --------------------------------------------------------------------

KEY_NAMES = {"app": "app", "tier": "tier", "kubernetes.io/env": "tier"}
LABEL_SETS = [
    {key: value for key, value in zip(KEYS[:2], values, strict=True) if value is not None}
    for values in product((None, *VALUES, "unnamed"), repeat=2)
]
NAME_SETS = list(chain.from_iterable(combinations(PORT_NAMES, size) for size in range(4)))


class Probe(NamedTuple):
    protocol: Protocol
    port: int


def on_two_keys(selector_: Selector) -> Selector:
    return Selector.of(
        Requirement(KEY_NAMES[one.key], one.operator, one.values) if one.key in KEY_NAMES else one
        for one in selector_.requirements
        if one.operator not in PARTIAL
    )


def simpler(made: Cluster, *, blocks: bool) -> Cluster:
    """Fewer kinds of pods, so that all can be made: two label keys, blocks only where asked, and
    nothing that is not worked out. Pods have addresses, and none is that of a node."""
    made = without_icmp_types(made)

    def peer(one: PodPeer | BlockPeer) -> PodPeer | BlockPeer:
        if isinstance(one, BlockPeer) or one.pods is None:
            return one
        return replace(one, pods=on_two_keys(one.pods))

    policies = []
    for each in made.policies:
        rules = [
            replace(
                rule,
                subject=None,
                peers=rule.peers
                and tuple(
                    peer(one)
                    for one in rule.peers
                    if isinstance(one, PodPeer) or (blocks and isinstance(one, BlockPeer))
                ),
            )
            for rule in each.rules
        ]
        policies.append(replace(each, pods=on_two_keys(each.pods), rules=tuple(rules)))
    pods = [
        replace(one, labels={KEY_NAMES[key]: value for key, value in one.labels.items()})
        for one in made.pods
        if not one.host_network and one.addresses and not one.finished
    ]
    return replace(made, nodes=(), policies=tuple(policies), pods=tuple(pods))


def probes(made: Cluster, asked: tuple[PortRange, ...] | None) -> list[Probe]:
    found = {Probe(protocol, number) for protocol in PORT_PROTOCOLS for number in (1, 80, MAX_PORT)}
    ranges = [one for one in asked or ()]
    for each in made.policies:
        for rule in each.rules:
            written = (*(rule.ports or ()), *rule.excluded_ports)
            ranges += [one for one in written if isinstance(one, PortRange)]
    for one in (one for one in ranges if one.protocol.has_ports):
        for edge in (one.first - 1, one.first, one.last, one.last + 1):
            if 1 <= edge <= MAX_PORT:
                found.add(Probe(one.protocol, edge))
    if asked is None:
        return sorted({*found, Probe(Protocol.ICMP, 0), Probe(Protocol.OTHER, 0)})
    return sorted(
        probe
        for probe in found
        if any(
            one.protocol is probe.protocol and one.first <= probe.port <= one.last for one in asked
        )
    )


def member(made: Cluster, what: EndSpec, candidate: Pod) -> bool:
    labels = {each.name: each.labels for each in made.namespaces}
    return any(
        isinstance(part, PodPeer)
        and (part.pods is None or selects(part.pods, candidate.labels))
        and (
            part.namespace == candidate.namespace
            if part.namespace is not None
            else selects(part.namespaces, labels[candidate.namespace])
        )
        for part in what.parts
    )


def every_pod(made: Cluster, numbers: list[Probe]) -> tuple[list[Pod], list[Pod]]:
    """All sources and all destinations there could be; of the latter with all names of ports."""
    addresses = sorted({text for one in made.pods for text in one.addresses}) or [""]
    if not any(
        isinstance(one, BlockPeer)
        for each in made.policies
        for rule in each.rules
        for one in rule.peers or ()
    ):
        addresses = [""]
    sources: list[Pod] = []
    destinations: list[Pod] = []
    for space, labels, address in product(made.namespaces, LABEL_SETS, addresses):
        for number, names in enumerate(NAME_SETS):
            ports = tuple(
                ContainerPort(name, probe.protocol, probe.port)
                for name, probe in product(names, numbers)
                if probe.protocol.has_ports
            )
            name = f"new-{len(sources)}-{number}"
            where = (address,) if address else ()
            new = pod(f"{space.name}/{name}", labels, *where, ports=ports)
            destinations.append(new)
            if number == 0:
                sources.append(replace(new, name=f"source-{len(sources)}"))
    return sources, destinations


def broken(made: Cluster, asked: Assertion, numbers: list[Probe]) -> set[tuple[str, str]]:
    """Pairs of namespaces between which a new pod would break the claim."""
    sources, destinations = every_pod(made, numbers)
    opening = [
        one
        for one in sources
        if member(made, asked.source, one) != (asked.claim is Claim.ONLY_FROM)
    ]
    answering = [
        one
        for one in destinations
        if member(made, asked.destination, one) != (asked.claim is Claim.ONLY_TO)
    ]
    compiled = compile_cluster(replace(made, pods=(*opening, *answering)))
    ids = compiled.pod_ids
    opener = np.array([ids[one.namespace, one.name] for one in opening], np.int64)
    answerer = np.array([ids[one.namespace, one.name] for one in answering], np.int64)
    source, destination = (each.ravel() for each in np.meshgrid(opener, answerer))
    spaces = np.array([one.namespace for one in compiled.pods])
    found: set[tuple[str, str]] = set()
    for protocol, number in numbers:
        count = (np.full(source.size, int(protocol)), np.full(source.size, number))
        verdicts = judge(compiled, source, destination, *count)
        wrong = verdicts.allowed != (asked.claim is Claim.ALLOW)
        wrong &= verdicts.egress != Reason.NO_ADDRESS
        pairs = (spaces[each[wrong]].tolist() for each in (source, destination))
        found |= set(zip(*pairs, strict=True))
    return found


requirements = [
    Requirement(key, operator, values)
    for key in KEYS[:2]
    for operator, values in (
        (Operator.IN, ("web",)),
        (Operator.NOT_IN, ("db", "web")),
        (Operator.EXISTS, ()),
        (Operator.DOES_NOT_EXIST, ()),
    )
]
peers = st.builds(
    PodPeer,
    st.lists(st.sampled_from(requirements), max_size=2).map(Selector.of),
    st.sampled_from([None, *NAMESPACES[:2]]),
)
many_ends = st.lists(peers, min_size=1, max_size=2).map(lambda found: EndSpec(tuple(found)))
many_ports = st.sampled_from(
    [None, (PortRange(Protocol.TCP, 80, 80),), (PortRange(Protocol.UDP, 1, 8079),)]
)


ANYBODY = EndSpec((PodPeer(Selector.of(())),))


@settings(max_examples=30, deadline=None)
# A rule that lets a named port in which another rule lets out by its number.
@example(46377, False, False, Claim.DENY, ANYBODY, ANYBODY, None)
# A rule that passes a named port on to the next tier, where nothing isolates.
@example(1170, True, False, Claim.DENY, ANYBODY, ANYBODY, None)
@given(
    st.integers(0, 100_000),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(Claim)),
    many_ends,
    many_ends,
    many_ports,
)
def test_what_is_found_is_what_making_every_pod_finds(
    seed: int,
    tiers: bool,
    blocks: bool,
    what: Claim,
    source: EndSpec,
    destination: EndSpec,
    ports: tuple[PortRange, ...] | None,
) -> None:
    made = simpler(build_cluster(Random(seed).choice, 3, 4, tiers), blocks=blocks)
    names = {one.name for one in made.namespaces[:2]}
    made = replace(
        made,
        namespaces=made.namespaces[:2],
        pods=tuple(one for one in made.pods if one.namespace in names),
        policies=tuple(
            one for one in made.policies if one.namespace is None or one.namespace in names
        ),
    )
    asked = claim(what, source, destination, ports, may_be_empty=True)
    (result,) = results(made, asked, anyone=True)
    assert not result.error and not result.more
    numbers = probes(made, ports)
    found = {
        tuple(name.partition("/")[0] for name in one.sample[:2])
        for one in result.violations
        if "/" in one.sample[0] and "/" in one.sample[1] and one.ingress.reason != "no-address"
    }
    assert found == broken(made, asked, numbers)
    for one in result.violations:
        check(made, asked, one.new_source, one.new_destination, one.sample[2])


def check(
    made: Cluster,
    asked: Assertion,
    source: NewPod | None,
    destination: NewPod | None,
    port_text: str,
) -> None:
    """A pair of new pods that is shown breaks the claim when it is made."""
    if source is None or destination is None:
        return
    word, _, number = port_text.partition(" ")
    probe = Probe(Protocol[word], int(number or 0))
    pods = []
    for name, one in (("source", source), ("destination", destination)):
        protocol, _, said = one.port.partition(" ")
        ports = [ContainerPort(each, Protocol[protocol], int(said)) for each in one.port_names]
        where = (one.address,) if one.address else ()
        pods.append(pod(f"{one.namespace}/{name}", one.labels, *where, ports=ports))
    compiled = compile_cluster(replace(made, pods=tuple(pods)))
    verdict = judge(compiled, [0], [1], [int(probe.protocol)], [probe.port])
    assert bool(verdict.allowed[0]) != (asked.claim is Claim.ALLOW)
