"""Assertions for the pods that exist: by hand, and against asking about every pair."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.port_text import Ports
from kubeverdict.analyses.verify import verifying
from kubeverdict.analyses.verify.report import Result
from kubeverdict.model.assertions import Assertion, Claim, EndSpec, WorkloadName
from kubeverdict.model.cluster import Cluster, Pod, WorkloadRef
from kubeverdict.model.policy import BlockPeer, PodPeer
from kubeverdict.model.ports import PortRange, Protocol
from kubeverdict.model.profile import PROFILES
from kubeverdict.model.selectors import Selector
from tests.analyses.reading import Addresses
from tests.analyses.verify.asserting import claim, end, ends_of, inside, results, tcp
from tests.clusters.generated import build_cluster, without_icmp_types
from tests.clusters.policies import NAMESPACE_REQUIREMENTS, POD_REQUIREMENTS
from tests.clusters.records import (
    block,
    cluster,
    pod,
    pods_in,
    policy,
    port,
)
from tests.clusters.records import tcp as tcp_rule
from tests.oracle import Oracle, Reason
from tests.oracle_parts import FAMILIES, network, selects

SHOP = cluster(
    [
        pod("shop/web-0", "app=web", "10.0.0.1", workload="web", ports=[port("http", 8080)]),
        pod("shop/web-1", "app=web", "10.0.0.2", workload="web", ports=[port("http", 9090)]),
        pod("data/db", "app=db", "10.0.1.1", ports=[port("pg", 5432)]),
        pod("dev/toy", "app=toy", "10.0.2.1"),
        pod("ops/agent", "app=agent", "192.168.0.1", host_network=True),
    ],
    [
        policy(
            "data/only-web", "app=db", ingress=[([pods_in("shop", "app=web")], [tcp_rule(5432)])]
        ),
        policy(
            "shop/from-dev", "app=web", ingress=[([pods_in("dev")], [tcp_rule("http")])], line=40
        ),
    ],
)


def one(*asked: Assertion, **options: object) -> Result:
    (result,) = results(SHOP, *asked, **options)  # type: ignore[arg-type]
    return result


def test_what_holds() -> None:
    assert one(claim(Claim.DENY, end(inside("dev")), end("data/db"))).status == "holds"
    assert one(claim(Claim.ALLOW, end("shop/web"), end("app=db"), tcp(5432))).status == "holds"
    assert one(claim(Claim.ALLOW, end("shop/web"), end("app=db"), tcp("pg"))).status == "holds"


def test_a_violation_names_the_connection_and_the_rules_of_both_ends() -> None:
    result = one(claim(Claim.DENY, end("dev/toy"), end("shop/web"), tcp(9090)))
    (violation,) = result.violations
    # The name of the port stands for 9090 on the second pod alone.
    assert violation.source == "dev/toy[Pod]"
    assert violation.destination == "shop/web[Deployment]{web-1}"
    assert str(violation.ports) == "TCP 9090"
    assert violation.sample == ("dev/toy", "shop/web-1", "TCP 9090")
    assert violation.egress.reason == "not-isolated"
    rule = violation.ingress.rule
    assert rule is not None
    assert (rule.policy.name, rule.field, rule.line) == ("shop/from-dev", "spec.ingress[0]", 43)
    assert (result.status, result.pairs, violation.pairs) == ("violated", 1, 1)


def test_all_violations_come_and_not_the_first() -> None:
    result = one(
        claim(Claim.ALLOW, end("shop/web", "dev/toy"), end("shop/web", "data/db"), tcp(80))
    )
    assert ends_of(result.violations) == [
        ("dev/toy[Pod]", "data/db[Pod]", "TCP 80"),
        ("dev/toy[Pod]", "shop/web[Deployment]", "TCP 80"),
        ("shop/web[Deployment]", "data/db[Pod]", "TCP 80"),
        ("shop/web[Deployment]{web-0}", "shop/web[Deployment]{web-1}", "TCP 80"),
        ("shop/web[Deployment]{web-1}", "shop/web[Deployment]{web-0}", "TCP 80"),
    ]
    assert result.pairs == 7


def test_the_nearest_miss_comes_with_a_denial() -> None:
    result = one(claim(Claim.ALLOW, end("dev/toy"), end("data/db"), tcp(5432)))
    (violation,) = result.violations
    (miss,) = violation.ingress.isolated_by
    assert miss.policy.name == "data/only-web"
    assert miss.nearest is not None
    assert "peer wants pods of namespace shop" in miss.nearest.failures[0].message


def test_names_of_ports_are_those_of_each_destination() -> None:
    assert one(claim(Claim.ALLOW, end("dev/toy"), end("shop/web"), tcp("http"))).status == "holds"
    result = one(claim(Claim.DENY, end("dev/toy"), end("shop/web"), tcp("http")))
    assert ends_of(result.violations) == [
        ("dev/toy[Pod]", "shop/web[Deployment]{web-0}", "TCP 8080"),
        ("dev/toy[Pod]", "shop/web[Deployment]{web-1}", "TCP 9090"),
    ]


def test_only_from() -> None:
    assert one(claim(Claim.ONLY_FROM, end("shop/web"), end("data/db"))).status == "holds"
    result = one(claim(Claim.ONLY_FROM, end("data/db"), end("shop/web"), tcp(8080)))
    assert ends_of(result.violations) == [
        ("dev/toy[Pod]", "shop/web[Deployment]{web-0}", "TCP 8080")
    ]


def test_a_pod_at_both_ends_is_no_connection_of_its_own() -> None:
    asked = claim(Claim.ALLOW, end("shop/web"), end(inside("shop", "app=web")), tcp(9090))
    # One may be reached, but only from dev.
    assert ends_of(one(asked).violations) == [
        ("shop/web[Deployment]{web-0}", "shop/web[Deployment]{web-1}", "TCP 9090"),
        ("shop/web[Deployment]{web-1}", "shop/web[Deployment]{web-0}", "TCP 9090"),
    ]


def test_only_to() -> None:
    everywhere = end("shop/web", "data/db", block("0.0.0.0/0"), block("::/0"), inside("ops"))
    assert one(claim(Claim.ONLY_TO, end("dev/toy"), everywhere)).status == "holds"
    result = one(claim(Claim.ONLY_TO, end("dev/toy"), end("shop/web", "data/db"), tcp(80)))
    (violation,) = result.violations
    assert violation.destination == "0.0.0.0/0"


def test_an_end_of_addresses_is_shown_as_far_as_it_was_asked_about() -> None:
    result = one(
        claim(Claim.DENY, end("dev/toy"), end(block("203.0.113.0/24", "203.0.113.128/25")))
    )
    (violation,) = result.violations
    assert violation.destination == "203.0.113.0/25"
    assert violation.ports == Ports(everything=True)
    assert violation.ingress.reason == "not-a-pod"


def test_a_node_is_not_taken_for_the_addresses_around_it() -> None:
    opened = policy("data/range", ingress=[([block("192.168.0.0/24")], None)])
    made = cluster(SHOP.pods, [opened])
    asked = [
        claim(Claim.DENY, end(block(text)), end(inside("data")), tcp(5432))
        for text in ("192.168.0.1/32", "192.168.0.0/31")
    ]
    found = results(made, *asked, profile=PROFILES["cilium"])  # no ipBlock matches a node there
    assert [each.status for each in found] == ["holds", "violated"]
    assert found[1].violations[0].source == "192.168.0.0"


def test_a_pod_on_the_host_network_is_the_address_of_its_node() -> None:
    result = one(claim(Claim.DENY, end("ops/agent"), end("dev/toy"), tcp(80)))
    (violation,) = result.violations
    assert violation.source == "192.168.0.1"


def test_every_port_is_every_protocol() -> None:
    narrow = cluster(
        [pod("a/x", "app=x", "10.0.0.1"), pod("a/y", "app=y", "10.0.0.2")],
        [policy("a/y", "app=y", ingress=[(None, [tcp_rule(1, 65535)])])],
    )
    (result,) = results(narrow, claim(Claim.ALLOW, end("a/x"), end("a/y")))
    (violation,) = result.violations
    assert str(violation.ports) == "UDP 1-65535,SCTP 1-65535,ICMP all,OTHER all"


def test_icmp_is_not_asked_about_where_policies_have_no_say() -> None:
    closed = cluster(
        [pod("a/x", "app=x", "10.0.0.1"), pod("a/y", "app=y", "10.0.0.2")],
        [policy("a/y", "app=y", ingress=[])],
    )
    asked = claim(Claim.DENY, end("a/x"), end("a/y"))
    assert results(closed, asked, profile=PROFILES["kube-router"])[0].status == "holds"


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        (end("shop/wbe"), end("data/db"), 'did you mean "web"?'),
        (end("app=wbe"), end("data/db"), "no pod matches pods with app=wbe in every namespace"),
        (end("data/db"), end(inside("nowhere")), "all pods in namespace nowhere"),
        (end("data/db"), end("data/db"), "both ends are the same pod"),
    ],
)
def test_what_proves_nothing_is_an_error(
    source: EndSpec, destination: EndSpec, message: str
) -> None:
    result = one(claim(Claim.DENY, source, destination))
    assert result.status == "error"
    assert message in result.error


def test_the_name_of_a_port_that_no_pod_has_is_an_error() -> None:
    result = one(claim(Claim.DENY, end("dev/toy"), end("shop/web"), tcp("htpp")))
    assert "no pod of the destination has a port named htpp" in result.error


def test_an_end_may_be_empty_where_the_assertion_says_so() -> None:
    asked = claim(Claim.DENY, end("app=nothing"), end("data/db"), may_be_empty=True)
    assert one(asked).status == "holds"
    nobody = claim(
        Claim.ONLY_FROM, end("app=nothing"), end("data/db"), tcp(5432), may_be_empty=True
    )
    assert ends_of(one(nobody).violations) == [("shop/web[Deployment]", "data/db[Pod]", "TCP 5432")]


def test_what_is_not_listed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MOST", 1)
    result = one(claim(Claim.ALLOW, end("dev/toy"), end("shop/web", "data/db"), tcp(80)))
    assert (len(result.violations), result.pairs, result.more) == (1, 3, True)


def test_one_assertion_that_proves_nothing_stops_no_other() -> None:
    bad, good = results(
        SHOP,
        claim(Claim.DENY, end("shop/wbe"), end("data/db"), name="bad"),
        claim(Claim.DENY, end("dev/toy"), end("data/db"), name="good"),
    )
    assert (bad.status, good.status) == ("error", "holds")


def test_both_families_are_asked_and_named_where_they_differ() -> None:
    dual = cluster(
        [pod("a/x", "app=x", "10.0.0.1", "fd00::1"), pod("a/y", "app=y", "10.0.0.2", "fd00::2")],
        [policy("a/y", "app=y", ingress=[([block("10.0.0.0/8")], None)])],
    )
    denied, allowed = results(
        dual,
        claim(Claim.DENY, end("a/x"), end("a/y"), tcp(80), name="d"),
        claim(Claim.ALLOW, end("a/x"), end("a/y"), tcp(80), name="a"),
    )
    assert [one.family for one in denied.violations] == ["IPv4"]
    assert [one.family for one in allowed.violations] == ["IPv6"]


def test_ends_without_a_common_family_cannot_connect() -> None:
    mixed = cluster(
        [
            pod("a/four", "app=x", "10.0.0.1"),
            pod("a/six", "app=x", "fd00::1"),
            pod("b/six", "app=y", "fd00::2"),
        ]
    )
    allowed, denied, vacuous, outside = results(
        mixed,
        claim(Claim.ALLOW, end("app=x"), end("b/six"), tcp(80), name="allowed"),
        claim(Claim.DENY, end("a/four"), end(inside("a"), "b/six"), tcp(80), name="denied"),
        claim(Claim.ALLOW, end("a/four"), end("b/six"), tcp(80), name="vacuous"),
        claim(Claim.DENY, end("a/four"), end(block("fd00::/8")), name="outside"),
    )
    assert ends_of(allowed.violations) == [("a/four[Pod]", "b/six[Pod]", "TCP 80")]
    assert allowed.violations[0].ingress.reason == "no-address"
    assert denied.status == "holds"
    assert (vacuous.status, outside.status) == ("error", "error")
    assert "no address family in common" in outside.error


# -- against asking about every pair -------------------------------------------------------------

selectors = st.lists(st.sampled_from(POD_REQUIREMENTS), max_size=2).map(Selector.of)
spaces = st.lists(st.sampled_from(NAMESPACE_REQUIREMENTS), max_size=1).map(Selector.of)
parts = st.one_of(
    st.builds(PodPeer, selectors, st.none(), spaces),
    st.builds(PodPeer, selectors, st.sampled_from(["ops", "shop"])),
    st.sampled_from([WorkloadName("ops", "pod-1"), WorkloadName("shop", "pod-2", "pod")]),
    st.sampled_from([block("203.0.113.0/24"), block("10.0.0.0/8", "10.0.0.64/26")]),
)
many_ends = st.lists(parts, min_size=1, max_size=2).map(lambda found: EndSpec(tuple(found)))
many_ports = st.one_of(
    st.none(),
    st.lists(
        st.builds(
            lambda protocol, first, size: PortRange(protocol, first, first + size),
            st.sampled_from([Protocol.TCP, Protocol.UDP]),
            st.sampled_from([79, 80, 81, 8079, 8080]),
            st.sampled_from([0, 1, 300]),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
)
PROBES = [
    *product((Protocol.TCP, Protocol.UDP, Protocol.SCTP), (1, 79, 80, 81, 82, 8080, 8379, 65535)),
    (Protocol.ICMP, 0),
]
OUTSIDE = ("203.0.113.200", "10.0.0.100", "198.51.100.1")


def belongs(cluster: Cluster, what: EndSpec, party: Pod | str) -> bool:
    if isinstance(party, str):
        address = ip_address(party)
        return any(
            isinstance(one, BlockPeer)
            and address in network(one.block)
            and not any(address in network(part) for part in one.excepts)
            for one in what.parts
        )
    labels = {each.name: each.labels for each in cluster.namespaces}
    return any(
        (
            isinstance(one, WorkloadName)
            and (one.namespace, one.name) == (party.namespace, party.name)
        )
        or (
            isinstance(one, PodPeer)
            and (one.pods is None or selects(one.pods, party.labels))
            and (
                party.namespace == one.namespace
                if one.namespace is not None
                else selects(one.namespaces, labels[party.namespace])
            )
        )
        for one in what.parts
    )


def covered(ports: Ports, protocol: Protocol, number: int) -> bool:
    if ports.everything:
        return True
    text = dict(ports.protocols).get(protocol.name)
    if text is None or text == "all":
        return text == "all"
    bounds = (part.partition("-") for part in text.split(","))
    return any(int(low) <= number <= int(high or low) for low, _, high in bounds)


def names(end_text: str, party: Pod | str) -> bool:
    """Whether the end of a violation has a pod or an address in it."""
    if isinstance(party, Pod):
        whole, _, part = end_text.rstrip("}").partition("{")
        return whole == str(party.workload) and (not part or party.name in part.split(","))
    return "[" not in end_text and ip_address(party) in Addresses(end_text)


def breaks(
    oracle: Oracle, asked: Assertion, pair: tuple[Pod | str, Pod | str], probe: tuple[Protocol, int]
) -> bool:
    """Whether a connection breaks the claim over any family that it can use, or can use none."""
    apart = True
    for family in FAMILIES:
        verdict = oracle.judge(*pair, *probe, family)
        if verdict.egress is Reason.NO_ADDRESS:
            continue
        apart = False
        if verdict.allowed != (asked.claim is Claim.ALLOW):
            return True
    # An address is asked about for the pods of its family.
    pods = all(isinstance(party, Pod) for party in pair)
    return apart and pods and asked.claim is Claim.ALLOW


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.booleans(),
    st.sampled_from(list(Claim)),
    many_ends,
    many_ends,
    many_ports,
)
def test_every_pair_that_breaks_a_claim_is_found_and_no_other(
    seed: int,
    tiers: bool,
    what: Claim,
    source: EndSpec,
    destination: EndSpec,
    ports: tuple[PortRange, ...] | None,
) -> None:
    made = without_icmp_types(build_cluster(Random(seed).choice, 8, 6, tiers))
    # Not their nodes: what a pod's own node may do is not asked about.
    pods = [one for one in made.pods if not one.host_network]
    shared = [
        replace(one, workload=WorkloadRef(one.namespace, f"app-{number % 2}", "Deployment"))
        for number, one in enumerate(pods)
    ]
    made = replace(made, nodes=(), pods=tuple(shared))
    asked = claim(what, source, destination, ports, may_be_empty=True)
    (result,) = results(made, asked)
    oracle = Oracle(made)
    taken = {text for one in made.pods for text in one.addresses}
    parties: list[Pod | str] = [*oracle.managed, *(text for text in OUTSIDE if text not in taken)]
    for one, other in product(parties, parties):
        if one is other or (isinstance(one, str) and isinstance(other, str)):
            continue
        at_source = belongs(made, source, one) != (what is Claim.ONLY_FROM)
        at_destination = belongs(made, destination, other) != (what is Claim.ONLY_TO)
        listed = [
            each
            for each in result.violations
            if names(each.source, one) and names(each.destination, other)
        ]
        for protocol, number in PROBES:
            expected = False
            if at_source and at_destination and wanted(ports, protocol, number):
                expected = breaks(oracle, asked, (one, other), (protocol, number))
            found = any(covered(each.ports, protocol, number) for each in listed)
            assert found == expected, (str(one), str(other), protocol, number)


def wanted(ports: tuple[PortRange, ...] | None, protocol: Protocol, number: int) -> bool:
    if ports is None:
        return True
    return any(one.protocol is protocol and one.first <= number <= one.last for one in ports)


def test_the_pairs_of_an_open_cluster_are_counted_and_not_all_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verifying, "MOST", 5)
    pods = [pod(f"a/p-{number}", f"n={number}", f"10.0.0.{number}") for number in range(1, 9)]
    everyone = end(PodPeer(None))
    (result,) = results(cluster(pods), claim(Claim.DENY, everyone, everyone, tcp(80)))
    assert (result.pairs, result.more) == (56, True)
    assert 1 <= len(result.violations) <= 5
