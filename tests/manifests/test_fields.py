"""Unknown fields of policies: each is a warning that names the field that was meant."""

from __future__ import annotations

import msgspec
import pytest

from kubeverdict.manifests import fields
from tests.manifests.reading import load_text, policy_text

SELECTOR = {"matchLabel": {"a": "b"}}

MISSPELT: list[tuple[object, str, str]] = [
    ({"ingres": []}, "spec.ingres", "ingress"),
    ({"Ingress": []}, "spec.Ingress", "ingress"),
    ({"PolicyTypes": []}, "spec.PolicyTypes", "policyTypes"),
    ({"podselector": {}}, "spec.podselector", "podSelector"),
    ({"podSelector": SELECTOR}, "spec.podSelector.matchLabel", "matchLabels"),
    ({"ingress": [{"port": []}]}, "spec.ingress[0].port", "ports"),
    ({"ingress": [{"to": []}]}, "spec.ingress[0].to", "from"),
    ({"egress": [{"from": []}]}, "spec.egress[0].from", "to"),
    ({"ingress": [{"ports": [{"endport": 1}]}]}, "spec.ingress[0].ports[0].endport", "endPort"),
    (
        {"ingress": [{"from": [{"podSelector": {}, "nameSpaceSelector": {}}]}]},
        "spec.ingress[0].from[0].nameSpaceSelector",
        "namespaceSelector",
    ),
    (
        {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "excepts": []}}]}]},
        "spec.ingress[0].from[0].ipBlock.excepts",
        "except",
    ),
    (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "value": "x"}]}},
        "spec.podSelector.matchExpressions[0].value",
        "values",
    ),
]


@pytest.mark.parametrize(("spec", "field", "meant"), MISSPELT, ids=lambda value: str(value)[:40])
def test_a_misspelt_field_is_a_warning(spec: object, field: str, meant: str) -> None:
    loaded = load_text(policy_text(spec))
    assert len(loaded.cluster.policies) == 1
    expected = f'unknown field, did you mean "{meant}"?'
    assert [(w.field, w.message) for w in loaded.warnings] == [(field, expected)]


def test_metadata_and_the_top_are_checked() -> None:
    policy = msgspec.json.decode(policy_text({}, lables={"a": "b"}))
    policy["Spec"] = policy["spec"]
    policy["status"] = {}
    loaded = load_text(msgspec.json.encode(policy))
    assert [(w.field, w.message) for w in loaded.warnings] == [
        ("metadata.lables", 'unknown field, did you mean "labels"?'),
        ("Spec", 'unknown field, did you mean "spec"?'),
    ]


def test_a_field_that_is_near_nothing_is_said_to_have_no_effect() -> None:
    loaded = load_text(policy_text({"x": 1}))
    assert [w.message for w in loaded.warnings] == ["unknown field, it has no effect"]


def test_the_line_is_that_of_the_field() -> None:
    text = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
spec:
  ingress:
  - from:
    - podSelector:
        matchlabels:
          app: web
"""
    (warning,) = load_text(text).warnings
    assert str(warning) == (
        "<stdin>:9: NetworkPolicy default/web: spec.ingress[0].from[0].podSelector.matchlabels: "
        'unknown field, did you mean "matchLabels"?'
    )


def test_every_field_of_object_metadata_is_known() -> None:
    metadata = dict.fromkeys(fields.METADATA - {"name", "namespace", "labels", "annotations"})
    assert not load_text(policy_text({}, **metadata)).warnings
