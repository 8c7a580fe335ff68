"""Calico's policies, network sets and tiers: what is refused, and what is only said."""

from __future__ import annotations

from typing import Any

import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.addresses import parse_block
from tests.manifests.reading import load_text, problems_of, told
from tests.manifests.test_calico import document


def refused(kind: str, spec: Any, name: str = "p", **metadata: Any) -> list[str]:
    return told(problems_of(document(kind, spec, name, **metadata)))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": None}, "action: Required value"),
        ({"action": "allow"}, 'action: Unsupported value: "allow": supported values: "Allow", '
         '"Deny", "Pass", "Log"'),
        ({"ipVersion": 5}, "ipVersion: Invalid value: 5: must be 4 or 6"),
        ({"protocol": "tcp"}, 'protocol: Unsupported value: "tcp": supported values: "ICMP", '
         '"TCP", "UDP", "ICMPv6", "SCTP", "UDPLite"'),
        ({"protocol": 0}, "protocol: Invalid value: 0: must be between 1 and 255"),
        ({"destination": {"ports": [80]}},
         "destination.ports: Invalid value: needs the protocol TCP, UDP or SCTP"),
        ({"protocol": "ICMP", "source": {"notPorts": [80]}},
         "source.notPorts: Invalid value: needs the protocol TCP, UDP or SCTP"),
        ({"protocol": "TCP", "destination": {"ports": [0]}},
         "destination.ports[0]: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ({"protocol": "TCP", "destination": {"ports": ["90:80"]}},
         'destination.ports[0]: Invalid value: "90:80": ends before it begins'),
        ({"protocol": "TCP", "destination": {"ports": ["a b"]}},
         'destination.ports[0]: Invalid value: "a b": must be a number, a range as 1000:2000, or '
         "the name of a port"),
        ({"icmp": {"type": 8}}, "icmp: Invalid value: needs the protocol ICMP or ICMPv6"),
        ({"protocol": "ICMP", "icmp": {"type": 255}},
         "icmp.type: Invalid value: 255: must be between 0 and 254"),
        ({"protocol": "ICMP", "icmp": {"code": 1}},
         "icmp.type: Required value: a code needs a type"),
        ({"protocol": "ICMP", "ipVersion": 6},
         "ipVersion: Invalid value: 6: must be 4 where the protocol is ICMP"),
        ({"source": {"nets": ["10.0.0.1"]}},
         'source.nets[0]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 '
         "or 2001:db8::/64)"),
        ({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"notNets": ["fd00::/8"]}},
         ": Invalid value: has nets of both IPv4 and IPv6"),
        ({"ipVersion": 6, "source": {"nets": ["10.0.0.0/8"]}},
         "ipVersion: Invalid value: 6: is not the IP version of its nets"),
        ({"source": {"selector": "app = 'x'"}},
         "source.selector: Invalid value: \"app = 'x'\": at character 5: '=' is not expected, "
         "write =="),
        ({"source": {"selector": "global()"}},
         'source.selector: Invalid value: "global()": global() may only be the namespaceSelector '
         "of a rule"),
        ({"source": {"namespaceSelector": "global() || a == 'b'"}},
         "source.namespaceSelector: Invalid value: \"global() || a == 'b'\": global() stands "
         "alone, and only in the namespaceSelector of a rule"),
        ({"destination": {"services": {"name": "a", "namespace": "b"}}},
         "destination.services: Invalid value: is not allowed in the destination of an ingress "
         "rule"),
        ({"source": {"services": {"name": "a"}}},
         "source.services.namespace: Required value: the policy is in no namespace"),
        ({"source": {"services": {"name": "a", "namespace": "b"}, "nets": ["10.0.0.0/8"]}},
         "source.services: Invalid value: cannot be together with nets"),
        ({"action": "Deny", "http": {"methods": ["GET"]}},
         "http: Invalid value: is allowed in Allow rules only"),
        ({"protocol": "UDP", "http": {"methods": ["GET"]}},
         "protocol: Invalid value: must be TCP where http is set"),
        ({"http": {"paths": [{"exact": "/a", "prefix": "/b"}]}},
         "http.paths[0]: Invalid value: must have one of exact and prefix"),
    ],
)  # fmt: skip
def test_rules_that_are_refused(rule: dict[str, Any], message: str) -> None:
    found = refused("GlobalNetworkPolicy", {"ingress": [{"action": "Allow", **rule}]})
    field = "spec.ingress[0]" if message.startswith(":") else "spec.ingress[0]."
    assert found == [f"{field}{message}"]


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("NetworkPolicy", {"selector": "app =="}, 'spec.selector: Invalid value: "app ==": at the '
         "end: a value in quotes is expected"),
        ("NetworkPolicy", {"selector": "a" * 1020 + " == 'x'"},
         "spec.selector: Too long: may not be more than 1024 bytes"),
        ("GlobalNetworkPolicy", {"namespaceSelector": "global()"},
         'spec.namespaceSelector: Invalid value: "global()": global() may only be the '
         "namespaceSelector of a rule"),
        ("NetworkPolicy", {"types": ["ingress"]},
         'spec.types[0]: Unsupported value: "ingress": supported values: "Ingress", "Egress"'),
        ("NetworkPolicy", {"types": ["Egress", "Egress"]},
         'spec.types[1]: Invalid value: "Egress": is there more than once'),
        ("NetworkPolicy", {"order": "first"},
         'spec.order: Invalid value: "first": expected a number, got a string'),
        ("GlobalNetworkPolicy", {"doNotTrack": True},
         "spec.applyOnForward: Invalid value: must be true where doNotTrack is"),
        ("GlobalNetworkPolicy", {"preDNAT": True, "applyOnForward": True, "types": ["Egress"]},
         "spec.preDNAT: Invalid value: cannot be together with egress"),
        ("NetworkPolicy", {"egress": [{"action": "Allow", "http": {}}]},
         "spec.egress[0].http: Invalid value: is not allowed in an egress rule"),
        ("GlobalNetworkSet", {"nets": ["10.0.0.0/33"]},
         'spec.nets[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. '
         "10.9.8.0/24 or 2001:db8::/64)"),
        ("Tier", {"defaultAction": "Allow"},
         'spec.defaultAction: Unsupported value: "Allow": supported values: "Deny", "Pass"'),
    ],
)  # fmt: skip
def test_documents_that_are_refused(kind: str, spec: dict[str, Any], message: str) -> None:
    assert refused(kind, spec) == [message]


def test_the_default_tier_has_its_order() -> None:
    assert refused("Tier", {"order": 5}, "default") == [
        "spec.order: Invalid value: 5.0: must be 1000000 for the tier default"
    ]
    assert load_text(document("Tier", {"order": 1000000}, "default"))


def test_a_label_that_calico_gives_is_refused_on_network_sets() -> None:
    labels = {"projectcalico.org/namespace": "x"}
    assert refused("NetworkSet", {}, labels=labels) == [
        'metadata.labels: Invalid value: "projectcalico.org/namespace": is a label that Calico '
        "gives"
    ]


def test_blocks_have_no_bits_beyond_their_prefix() -> None:
    loaded = load_text(document("GlobalNetworkSet", {"nets": ["10.1.2.3/8"]}))
    assert loaded.cluster.references.address_sets[0].blocks == (parse_block("10.0.0.0/8"),)
    assert not loaded.warnings


def test_unknown_fields_are_named() -> None:
    loaded = load_text(document("NetworkPolicy", {"selektor": "all()"}))
    assert told(loaded.warnings) == ['spec.selektor: unknown field, did you mean "selector"?']


def test_staged_policies_and_host_endpoints_are_said_and_decide_nothing() -> None:
    loaded = load_text(
        document("StagedGlobalNetworkPolicy", {"selector": "all()"}) + document("HostEndpoint", {})
    )
    assert not loaded.cluster.policies
    assert [(one.kind, one.gap.value, one.gap.decides) for one in loaded.cluster.unevaluated] == [
        ("HostEndpoint", "nodes", False),
        ("StagedGlobalNetworkPolicy", "staged", False),
    ]


def test_a_tier_that_is_missing_is_said() -> None:
    policies = document("GlobalNetworkPolicy", {"tier": "a"}, "a.one") + document(
        "NetworkPolicy", {"tier": "a"}, "a.two"
    )
    (found,) = compile_cluster(load_text(policies).cluster).uncertain
    assert (found.kind, found.group, found.names) == ("Tier", "projectcalico.org", ("a",))
    assert found.detail == (
        "the input has no Tier a, which 2 policies are in (a.one, …): it is taken to come last and "
        "to deny in the end"
    )
    there = policies + document("Tier", {"order": 5}, "a")
    assert not compile_cluster(load_text(there).cluster).uncertain
