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
from tests.manifests.made_up import head, labels, objects, pod_specs, specs, statuses
from tests.manifests.reading import load_text, meaning, placeless

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
