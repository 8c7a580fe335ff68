"""NetworkPolicy: each row of the API server's checks, accepted and rejected."""

from __future__ import annotations

from typing import Any

import pytest

from kubeverdict.model.addresses import parse_block
from kubeverdict.model.policy import BlockPeer
from tests.manifests.reading import load_text, peers, policy_text, ports, problems_of, told

NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value', "
    " or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    r"for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
DNS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
SUBSET = "must be a strict subset of `cidr`"
RANGE = "must be between 1 and 65535, inclusive"
LISTED = "must be specified when `operator` is 'In' or 'NotIn'"
LONG = "must be no more than 63 bytes"
PROTOCOLS = 'supported values: "TCP", "UDP", "SCTP"'


def block(cidr: object, *excepts: object) -> dict[str, Any]:
    return peers({"ipBlock": {"cidr": cidr, "except": list(excepts)}})


def labels(**pairs: object) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": pairs}}


def expression(**parts: object) -> dict[str, Any]:
    return {"podSelector": {"matchExpressions": [parts]}}


PORT = "spec.ingress[0].ports[0]"
PEER = "spec.egress[0].to[0]"
LABELS = "spec.podSelector.matchLabels"
EXPRESSION = "spec.podSelector.matchExpressions[0]"

REJECTED: list[tuple[object, list[str]]] = [
    # selectors
    (
        {"podSelector": {"matchLabels": {"bad key!": "x"}}},
        [f'{LABELS}: Invalid value: "bad key!": {NAME_PART}'],
    ),
    (
        {"podSelector": {"matchLabels": {"": "x"}}},
        [
            f'{LABELS}: Invalid value: "": name part must be non-empty',
            f'{LABELS}: Invalid value: "": {NAME_PART}',
        ],
    ),
    (
        {"podSelector": {"matchLabels": {"/x": "x"}}},
        [f'{LABELS}: Invalid value: "/x": prefix part must be non-empty'],
    ),
    (
        {"podSelector": {"matchLabels": {"Bad/x": "x"}}},
        [f'{LABELS}: Invalid value: "Bad/x": prefix part {SUBDOMAIN}'],
    ),
    (
        {"podSelector": {"matchLabels": {"a/b/c": "x"}}},
        [
            f'{LABELS}: Invalid value: "a/b/c": a valid label key {NAME_PART[10:]} with an '
            "optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ],
    ),
    (
        labels(**{"k" * 64: "x"}),
        [f'{LABELS}: Invalid value: "{"k" * 64}": name part {LONG}'],
    ),
    (labels(app="a b"), [f'{LABELS}: Invalid value: "a b": {LABEL_VALUE}']),
    (labels(app="-a"), [f'{LABELS}: Invalid value: "-a": {LABEL_VALUE}']),
    (labels(app="v" * 64), [f'{LABELS}: Invalid value: "{"v" * 64}": {LONG}']),
    (
        expression(key="a", operator="In"),
        [f"{EXPRESSION}.values: Required value: {LISTED}"],
    ),
    (
        expression(key="a", operator="NotIn", values=[]),
        [f"{EXPRESSION}.values: Required value: {LISTED}"],
    ),
    (
        expression(key="a", operator="Exists", values=["x"]),
        [
            f"{EXPRESSION}.values: Forbidden: may not be specified when `operator` is 'Exists' or "
            "'DoesNotExist'"
        ],
    ),
    (
        expression(key="a", operator="DoesNotExist", values=["x"]),
        [
            f"{EXPRESSION}.values: Forbidden: may not be specified when `operator` is 'Exists' or "
            "'DoesNotExist'"
        ],
    ),
    (
        expression(key="a", operator="exists"),
        [f'{EXPRESSION}.operator: Invalid value: "exists": not a valid selector operator'],
    ),
    (
        expression(key="a"),
        [f'{EXPRESSION}.operator: Invalid value: "": not a valid selector operator'],
    ),
    (
        expression(key="-a", operator="Exists"),
        [f'{EXPRESSION}.key: Invalid value: "-a": {NAME_PART}'],
    ),
    (
        expression(key="a", operator="In", values=["ok", "b!"]),
        [f'{EXPRESSION}.values[1]: Invalid value: "b!": {LABEL_VALUE}'],
    ),
    (
        peers({"podSelector": {"matchLabels": {"a": "!"}}}),
        [f'{PEER}.podSelector.matchLabels: Invalid value: "!": {LABEL_VALUE}'],
    ),
    (
        peers({"namespaceSelector": {"matchLabels": {"a": "!"}}}),
        [f'{PEER}.namespaceSelector.matchLabels: Invalid value: "!": {LABEL_VALUE}'],
    ),
    # ports
    (ports({"protocol": "tcp"}), [f'{PORT}.protocol: Unsupported value: "tcp": {PROTOCOLS}']),
    (ports({"protocol": "ICMP"}), [f'{PORT}.protocol: Unsupported value: "ICMP": {PROTOCOLS}']),
    (ports({"protocol": ""}), [f'{PORT}.protocol: Unsupported value: "": {PROTOCOLS}']),
    (ports({"port": 0}), [f"{PORT}.port: Invalid value: 0: {RANGE}"]),
    (ports({"port": 65536}), [f"{PORT}.port: Invalid value: 65536: {RANGE}"]),
    (ports({"port": -1}), [f"{PORT}.port: Invalid value: -1: {RANGE}"]),
    (
        ports({"port": "80"}),
        [f'{PORT}.port: Invalid value: "80": must contain at least one letter (a-z)'],
    ),
    (
        ports({"port": "Http"}),
        [
            f'{PORT}.port: Invalid value: "Http": must contain only alpha-numeric characters '
            "(a-z, 0-9), and hyphens (-)"
        ],
    ),
    (
        ports({"port": "a--b"}),
        [f'{PORT}.port: Invalid value: "a--b": must not contain consecutive hyphens'],
    ),
    (
        ports({"port": "-ab"}),
        [f'{PORT}.port: Invalid value: "-ab": must not begin or end with a hyphen'],
    ),
    (
        ports({"port": "sixteen-letters-"}),
        [
            f'{PORT}.port: Invalid value: "sixteen-letters-": must be no more than 15 characters',
            f'{PORT}.port: Invalid value: "sixteen-letters-": must not begin or end with a hyphen',
        ],
    ),
    (
        ports({"port": 80, "endPort": 79}),
        [f"{PORT}.endPort: Invalid value: 79: must be greater than or equal to `port`"],
    ),
    (
        ports({"port": 80, "endPort": 65536}),
        [f"{PORT}.endPort: Invalid value: 65536: {RANGE}"],
    ),
    (
        ports({"port": "http", "endPort": 90}),
        [f"{PORT}.endPort: Invalid value: 90: may not be specified when `port` is non-numeric"],
    ),
    (
        ports({"endPort": 90}),
        [f"{PORT}.endPort: Invalid value: 90: may not be specified when `port` is not specified"],
    ),
    # peers
    (peers({}), [f"{PEER}: Required value: must specify a peer"]),
    (peers(None), [f"{PEER}: Required value: must specify a peer"]),
    (
        peers({"podSelector": None}),
        [f"{PEER}: Required value: must specify a peer"],
    ),
    (
        peers({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}),
        [f"{PEER}: Forbidden: may not specify both ipBlock and another peer"],
    ),
    (
        peers({"ipBlock": {"cidr": "10.0.0.0/8"}, "namespaceSelector": {}}),
        [f"{PEER}: Forbidden: may not specify both ipBlock and another peer"],
    ),
    (block(""), [f"{PEER}.ipBlock.cidr: Required value"]),
    (peers({"ipBlock": {}}), [f"{PEER}.ipBlock.cidr: Required value"]),
    (block("10.0.0.1"), [f'{PEER}.ipBlock.cidr: Invalid value: "10.0.0.1": {CIDR}']),
    (block("10.0.0.0/33"), [f'{PEER}.ipBlock.cidr: Invalid value: "10.0.0.0/33": {CIDR}']),
    (block("10.0.0/8"), [f'{PEER}.ipBlock.cidr: Invalid value: "10.0.0/8": {CIDR}']),
    (block("fd00::/129"), [f'{PEER}.ipBlock.cidr: Invalid value: "fd00::/129": {CIDR}']),
    (
        block("10.0.0.0/8", "x", "10.1.0.0"),
        [
            f'{PEER}.ipBlock.except[0]: Invalid value: "x": {CIDR}',
            f'{PEER}.ipBlock.except[1]: Invalid value: "10.1.0.0": {CIDR}',
        ],
    ),
    (
        block("10.0.0.0/8", "11.0.0.0/16"),
        [f'{PEER}.ipBlock.except[0]: Invalid value: "11.0.0.0/16": {SUBSET}'],
    ),
    (
        block("10.0.0.0/8", "10.0.0.0/8"),
        [f'{PEER}.ipBlock.except[0]: Invalid value: "10.0.0.0/8": {SUBSET}'],
    ),
    (
        block("10.0.0.0/8", "10.0.0.0/7"),
        [f'{PEER}.ipBlock.except[0]: Invalid value: "10.0.0.0/7": {SUBSET}'],
    ),
    (
        block("0.0.0.0/0", "fd00::/8"),
        [f'{PEER}.ipBlock.except[0]: Invalid value: "fd00::/8": {SUBSET}'],
    ),
    # policyTypes
    (
        {"policyTypes": ["Ingress", "Egress", "Nonsense"]},
        [
            'spec.policyTypes: Invalid value: ["Ingress","Egress","Nonsense"]: may not specify '
            "more than two policyTypes"
        ],
    ),
    (
        {"policyTypes": ["ingress"]},
        [
            'spec.policyTypes[0]: Unsupported value: "ingress": supported values: '
            '"Ingress", "Egress"'
        ],
    ),
    # JSON types
    ([], ["spec: Invalid value: expected an object, got a list"]),
    ({"ingress": "all"}, ['spec.ingress: Invalid value: "all": expected a list, got a string']),
    ({"ingress": [1]}, ["spec.ingress[0]: Invalid value: 1: expected an object, got an integer"]),
    ({"ingress": {}}, ["spec.ingress: Invalid value: expected a list, got an object"]),
    (
        {"ingress": [{"from": {"podSelector": {}}}]},
        ["spec.ingress[0].from: Invalid value: expected a list, got an object"],
    ),
    (
        labels(version=1, canary=True),
        [
            f"{LABELS}.version: Invalid value: 1: expected a string, got an integer (quote it)",
            f"{LABELS}.canary: Invalid value: true: expected a string, got a boolean (quote it)",
        ],
    ),
    (
        {"podSelector": "x"},
        ['spec.podSelector: Invalid value: "x": expected an object, got a string'],
    ),
    (
        expression(key="a", operator="In", values="x"),
        [
            f'{EXPRESSION}.values: Invalid value: "x": expected a list, got a string',
        ],
    ),
    (
        ports({"port": True}),
        [f"{PORT}.port: Invalid value: true: expected an integer or a string, got a boolean"],
    ),
    (
        ports({"port": 80.5}),
        [f"{PORT}.port: Invalid value: 80.5: expected an integer or a string, got a number"],
    ),
    (
        ports({"port": 80, "endPort": "90"}),
        [f'{PORT}.endPort: Invalid value: "90": expected an integer, got a string'],
    ),
    (
        peers({"ipBlock": "10.0.0.0/8"}),
        [f'{PEER}.ipBlock: Invalid value: "10.0.0.0/8": expected an object, got a string'],
    ),
    (
        block(10),
        [f"{PEER}.ipBlock.cidr: Invalid value: 10: expected a string, got an integer (quote it)"],
    ),
]


@pytest.mark.parametrize(("spec", "expected"), REJECTED, ids=lambda value: str(value)[:60])
def test_rejected(spec: object, expected: list[str]) -> None:
    assert told(problems_of(policy_text(spec))) == expected


ACCEPTED: list[object] = [
    labels(**{"app.kubernetes.io/name": "x", "A_b-c.d": ""}),
    labels(**{"k" * 63: "v" * 63}),
    expression(key="a", operator="In", values=["", "x", "x"]),
    expression(key="a", operator="Exists", values=[]),
    ports({"port": 1}, {"port": 65535}, {"port": 80, "endPort": 80}, {"port": 1, "endPort": 65535}),
    ports({"port": "http"}, {"port": "a-1"}, {"port": "fifteen-letters"}),
    ports({"protocol": "SCTP"}, {"protocol": "UDP", "port": 53}, {"port": 80}, {"port": 80}),
    peers(
        {"podSelector": {}}, {"namespaceSelector": {}}, {"podSelector": {}, "namespaceSelector": {}}
    ),
    block("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9"),
    block("::/0", "fd00::/8"),
    {"policyTypes": ["Ingress", "Ingress"]},
    {"policyTypes": []},
    {"ingress": [{}], "egress": [{}]},
    {"ingress": None, "egress": None, "podSelector": None},
]


@pytest.mark.parametrize("spec", ACCEPTED, ids=lambda value: str(value)[:60])
def test_accepted_without_a_word(spec: object) -> None:
    loaded = load_text(policy_text(spec))
    assert len(loaded.cluster.policies) == 1
    assert not loaded.warnings


METADATA: list[tuple[dict[str, object], list[str]]] = [
    ({"name": "Web_1"}, [f'metadata.name: Invalid value: "Web_1": {SUBDOMAIN}']),
    ({"name": None}, ["metadata.name: Required value: name or generateName is required"]),
    (
        {"name": 7},
        ["metadata.name: Invalid value: 7: expected a string, got an integer (quote it)"],
    ),
    (
        {"name": "a" * 254},
        [f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 characters'],
    ),
    ({"namespace": "a.b"}, [f'metadata.namespace: Invalid value: "a.b": {DNS_LABEL}']),
    ({"labels": {"a": "!"}}, [f'metadata.labels: Invalid value: "!": {LABEL_VALUE}']),
    (
        {"annotations": {"a": 1}},
        ["metadata.annotations.a: Invalid value: 1: expected a string, got an integer (quote it)"],
    ),
    (
        {"annotations": {"Example.com/OK_x.y": "", "-a": ""}},
        [f'metadata.annotations: Invalid value: "-a": {NAME_PART}'],
    ),
    (
        {"annotations": {"a": "x" * 200_000, "b": "é" * 40_000}},
        ["metadata.annotations: Too long: may not be more than 262144 bytes"],
    ),
    (
        {"name": None, "generateName": "-"},
        [f'metadata.generateName: Invalid value: "-": {SUBDOMAIN}'],
    ),
    ({"generateName": "AB-"}, [f'metadata.generateName: Invalid value: "AB-": {SUBDOMAIN}']),
]


@pytest.mark.parametrize(("metadata", "expected"), METADATA, ids=lambda value: str(value)[:40])
def test_rejected_metadata(metadata: dict[str, object], expected: list[str]) -> None:
    assert told(problems_of(policy_text({}, **metadata))) == expected


def test_all_errors_of_all_documents_are_told() -> None:
    text = "\n---\n".join(
        [
            policy_text(ports({"port": 0}, {"protocol": "tcp"}), name="one"),
            policy_text({}, name="two"),
            policy_text(block("10.0.0.0/8", "x"), name="three"),
        ]
    )
    assert [(p.line, p.subject, p.field) for p in problems_of(text)] == [
        (1, "NetworkPolicy shop/one", "spec.ingress[0].ports[0].port"),
        (1, "NetworkPolicy shop/one", "spec.ingress[0].ports[1].protocol"),
        (5, "NetworkPolicy shop/three", "spec.egress[0].to[0].ipBlock.except[0]"),
    ]


STRICT = [
    ("10.0.0.1/8", "10.0.0.0/8", "must not have bits set beyond the prefix length"),
    ("fd00::1/8", "fd00::/8", "must not have bits set beyond the prefix length"),
    ("010.0.0.0/8", "10.0.0.0/8", "must not have leading 0s in IP or prefix length"),
    ("10.0.0.0/08", "10.0.0.0/8", "must not have leading 0s in IP or prefix length"),
    ("10.00.0.0/16", "10.0.0.0/16", "must not have leading 0s in IP or prefix length"),
    ("::ffff:10.0.0.0/104", "10.0.0.0/8", "must not have an IPv4-mapped IPv6 address"),
    ("0000fd::/16", "fd::/16", "must not have leading 0s in IP or prefix length"),
    # The first of several is told, as the server does.
    ("10.0.00.1/8", "10.0.0.0/8", "must not have leading 0s in IP or prefix length"),
    ("::ffff:10.0.0.1/104", "10.0.0.0/8", "must not have an IPv4-mapped IPv6 address"),
]


@pytest.mark.parametrize(("text", "meant", "message"), STRICT)
def test_a_cidr_that_newer_servers_refuse_is_a_warning(text: str, meant: str, message: str) -> None:
    loaded = load_text(policy_text(block(text)))
    (rule,) = loaded.cluster.policies[0].rules
    (warning,) = loaded.warnings
    assert rule.peers == (BlockPeer(block=parse_block(meant)),)  # type: ignore[arg-type]
    expected = f'Invalid value: "{text}": {message} (an error from Kubernetes 1.36)'
    assert (warning.field, warning.message) == ("spec.egress[0].to[0].ipBlock.cidr", expected)
