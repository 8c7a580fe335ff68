"""Objects made up for tests of readers: values that are right beside those that nearly are."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

names = st.sampled_from(["a", "b", "web", "x-1"])
# Strings that YAML would take for something else unless they are quoted, beside plain ones.
words = st.sampled_from(
    ["web", "yes", "1", "1.5", "null", "", "true", "0x1", "a b", "ü", "~", "1:2"]
)
labels = st.dictionaries(st.sampled_from(["app", "tier", "a/b", "yes", "1"]), words, max_size=3)
numbers = st.sampled_from([80, 443, 0, 65536, "http", "80", None, True, 1.5])


def objects(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.none() | f for name, f in fields.items()})


requirements = objects(
    key=st.sampled_from(["app", "tier"]),
    operator=st.sampled_from(["In", "NotIn", "Exists", "exists"]),
    values=st.lists(words, max_size=2),
)
selectors = objects(matchLabels=labels, matchExpressions=st.lists(requirements, max_size=2))
ports = objects(protocol=st.sampled_from(["TCP", "UDP", "tcp"]), port=numbers, endPort=numbers)
cidrs = st.sampled_from(["10.0.0.0/8", "10.1.2.3/16", "fd00::/8", "x", "10.1.0.0/24"])
blocks = objects(cidr=cidrs, excepts=st.lists(cidrs, max_size=1), **{"except": st.lists(cidrs)})
peers = objects(podSelector=selectors, namespaceSelector=selectors, ipBlock=blocks)
rules = objects(
    ports=st.lists(ports, max_size=2),
    to=st.lists(peers, max_size=2),
    **{"from": st.lists(peers, max_size=2)},
)
specs = objects(
    podSelector=selectors,
    policyTypes=st.lists(st.sampled_from(["Ingress", "Egress", "ingress"]), max_size=3),
    ingress=st.lists(rules, max_size=2),
    egress=st.lists(rules, max_size=2),
)
container_ports = objects(containerPort=numbers, name=words, protocol=st.sampled_from(["TCP", "x"]))
pod_specs = objects(
    containers=st.lists(objects(ports=st.lists(container_ports, max_size=2)), max_size=2),
    hostNetwork=st.booleans(),
    nodeName=names,
)
statuses = objects(phase=st.sampled_from(["Running", "Failed"]), podIP=st.just("10.0.0.1"))


def head(kind: str, version: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    metadata = st.fixed_dictionaries(
        {"name": names}, optional={"namespace": names, "labels": labels}
    )
    fixed = {"apiVersion": st.just(version), "kind": st.just(kind), "metadata": metadata}
    return st.fixed_dictionaries(fixed | parts)


# Of the right types, and known fields alone: what is wrong here is wrong in value.
LONG = "x" * 64
_label_keys = st.sampled_from(
    ["app", "a.b/c", "A_b-c.d", "", "/x", "a/", "a/b/c", "B/c", "-a", "a_", "é", LONG, LONG[:63]]
)
_label_values = st.sampled_from(["web", "", "A_b-c.d", "-a", "a b", "é", "1.5", LONG, LONG[:63]])
_port_numbers = st.sampled_from([80, 1, 65535, 0, -1, 65536, 2**31 - 1])
_port_names = st.sampled_from(
    ["http", "a-1", "1a", "Http", "123", "a--b", "-a", "a-", "", "é", "fifteen-letters", "x" * 16]
)
ODD_CIDRS = [
    *("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "10.1.2.3/32", "10.1.2.3/16"),
    *("fd00::/8", "fd00:1::/32", "::/0", "fd00::1/128", "fd00::1/64", "FD00::/8", "fd00:0::/32"),
    *("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/95", "::ffff:a00:0/104", "::10.0.0.0/104"),
    *("010.0.0.0/8", "10.0.0.0/08", "10.0.0.00/8", "::/00", "fd00::/008", "00fd::/16"),
    *("", "x", "/", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "fd00::/129", "10.0.0/8"),
    *("10.0.0.0/-1", "10.0.0.0/+8", " 10.0.0.0/8", "10.0.0.0/8 ", "10.0.0.0/8/8", "10.0.0.0/8.0"),
    *("10.0.0.0/255.0.0.0", "0x0a.0.0.0/8", "256.0.0.0/8", "1::2::3/64", "fd00::1%eth0/64", ":/0"),
    *("fd00::g/64", "1:2:3:4:5:6:7:8:9/64", "1:2:3:4:5:6:7::/112", "12345::/64", "10.0.0.0.0/8"),
    *("::1.2.3/120", "10.0.0.\u0660/8", "10.0.0.0/\u0668", "10..0.0/8", "::ffff:010.0.0.0/104"),
    *("::ffff:10.0.0.1/104", "::fffe:10.0.0.0/104", "1.2.3.4::/64", "fd00::1.2.3.4/128"),
]
_OPERATORS = st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "in", ""])
_odd_cidrs = st.sampled_from(ODD_CIDRS)
_odd_selectors = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(_label_keys, _label_values, max_size=2),
        "matchExpressions": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "key": _label_keys,
                    "operator": st.sampled_from(
                        ["In", "NotIn", "Exists", "DoesNotExist", "in", ""]
                    ),
                    "values": st.lists(_label_values, max_size=2),
                },
            ),
            max_size=2,
        ),
    },
)
_odd_ports = st.fixed_dictionaries(
    {},
    optional={
        "protocol": st.sampled_from(["TCP", "UDP", "SCTP", "tcp", "ICMP", ""]),
        "port": _port_numbers | _port_names,
        "endPort": _port_numbers,
    },
)
_odd_peers = st.fixed_dictionaries(
    {},
    optional={
        "podSelector": _odd_selectors,
        "namespaceSelector": _odd_selectors,
        "ipBlock": st.fixed_dictionaries(
            {}, optional={"cidr": _odd_cidrs, "except": st.lists(_odd_cidrs, max_size=3)}
        ),
    },
)


def _odd_rules(peers: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    parts = {"ports": st.lists(_odd_ports, max_size=2), peers: st.lists(_odd_peers, max_size=2)}
    return st.lists(st.fixed_dictionaries({}, optional=parts), max_size=2)


odd_specs = st.fixed_dictionaries(
    {},
    optional={
        "podSelector": _odd_selectors,
        "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress", "ingress", ""]), max_size=3),
        "ingress": _odd_rules("from"),
        "egress": _odd_rules("to"),
    },
)
_object_names = st.sampled_from(
    ["a", "a.b", "A", "a..b", "a_b", "-", "a-", ".a", "", "é", "x" * 253, "x" * 254, "a/b", "a%"]
)
odd_metadata = st.fixed_dictionaries(
    {},
    optional={
        "name": _object_names,
        "generateName": _object_names,
        "labels": st.dictionaries(_label_keys, _label_values, max_size=2),
        "annotations": st.dictionaries(_label_keys, st.sampled_from(["", "é", "x"]), max_size=2),
    },
)
