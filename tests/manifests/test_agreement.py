"""One cluster in YAML and in JSON, in every layout, is one cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.errors import InputError
from kubeverdict.manifests import formats
from tests.manifests.reading import load_text, meaning, placeless

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


kubernetes = st.one_of(
    head("Pod", "v1", spec=pod_specs, status=statuses),
    head("NetworkPolicy", "networking.k8s.io/v1", spec=specs),
    head("Namespace", "v1"),
    head("Service", "v1", spec=objects(selector=labels, ports=st.just([{"port": 80}]))),
    head("ConfigMap", "v1", data=labels),
    head("CiliumNetworkPolicy", "cilium.io/v2"),
    head(
        "Deployment",
        "apps/v1",
        spec=objects(
            replicas=st.integers(-1, 3),
            template=objects(metadata=objects(labels=labels), spec=pod_specs),
        ),
    ),
)


def outcome(text: str) -> Any:
    """What a text is read as, or what is wrong with it."""
    try:
        return meaning(load_text(text))
    except InputError as error:
        return sorted(map(placeless, error.problems))


def layouts(items: list[dict[str, Any]]) -> list[str]:
    whole = {"apiVersion": "v1", "kind": "List", "items": items}
    return [
        json.dumps(whole),
        json.dumps(whole, indent=4, ensure_ascii=False),
        "\n".join(map(json.dumps, items)),
        "\n---\n".join(map(json.dumps, items)),
        yaml.safe_dump(whole, sort_keys=False),
        yaml.safe_dump(whole, default_flow_style=True, allow_unicode=True, width=1000),
        yaml.safe_dump_all(items, explicit_start=True),
    ]


@settings(max_examples=250)
@given(st.lists(kubernetes, min_size=1, max_size=5))
def test_every_layout_is_read_the_same(items: list[dict[str, Any]]) -> None:
    first, *rest = layouts(items)
    expected = outcome(first)
    for text in rest:
        assert outcome(text) == expected


@settings(max_examples=150)
@given(st.lists(kubernetes, min_size=1, max_size=5))
def test_the_fast_reader_of_yaml_makes_no_difference(items: list[dict[str, Any]]) -> None:
    expected = outcome(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "BULK", 0)
        for text in (layouts(items)[4], layouts(items)[6]):
            assert outcome(text) == expected
