"""Labels of which only the key is known before pods run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.policy import Direction, EndSet, ExceptPeer, NamedPeer, PodPeer, Rule
from kubeverdict.model.unevaluated import Gap
from tests.clusters.records import allow, label
from tests.manifests.reading import load_text

INPUT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: x}
spec: {replicas: 2, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: x, labels: {app: db, pod-template-hash: abc}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: x}
spec:
  podSelector: SUBJECT
  ingress: [{from: [PEER]}]
"""
KEY = "pod-template-hash"
ANY = "{podSelector: {}}"


def compiled(subject: str, peer: str = ANY) -> CompiledPolicy:
    text = INPUT.replace("SUBJECT", subject).replace("PEER", peer)
    return compile_cluster(load_text(text).cluster)


@pytest.mark.parametrize("operator", ["Exists", "DoesNotExist"])
def test_that_a_label_exists_is_known(operator: str) -> None:
    subject = f"{{matchExpressions: [{{key: {KEY}, operator: {operator}}}]}}"
    assert not compiled(subject).uncertain


@pytest.mark.parametrize(
    ("subject", "doubtful"),
    [
        (f"{{matchLabels: {{{KEY}: abc}}}}", True),
        (f"{{matchExpressions: [{{key: {KEY}, operator: NotIn, values: [abc]}}]}}", True),
        (f"{{matchLabels: {{{KEY}: abc, app: web}}}}", True),
        (f"{{matchLabels: {{{KEY}: abc, app: db}}}}", False),
        ("{matchLabels: {app: web}}", False),
    ],
)
def test_its_value_is_not(subject: str, doubtful: bool) -> None:
    found = compiled(subject)
    assert found.unevaluated == found.uncertain
    assert [(one.gap, one.count, one.names) for one in found.uncertain] == (
        [(Gap.LABEL_VALUE, 2, ("x/web-0", "x/web-1"))] if doubtful else []
    )


def test_the_sentence_names_policy_field_label_and_pods() -> None:
    (one,) = compiled("{}", f"{{podSelector: {{matchLabels: {{{KEY}: abc}}}}}}").uncertain
    assert one.detail == (
        "NetworkPolicy x/p spec.ingress[0] tests the value of pod-template-hash, which 2 pods "
        "(x/web-0, …) get when they run: what it decides for them is not certain"
    )
    assert (one.file, one.line) == ("<stdin>", 15)


def test_a_peer_elsewhere_is_no_matter() -> None:
    elsewhere = "namespaceSelector: {matchLabels: {a: b}}"
    peer = f"{{{elsewhere}, podSelector: {{matchLabels: {{{KEY}: a}}}}}}"
    assert not compiled("{}", peer).uncertain


BY_HASH = PodPeer(label(KEY, "abc"), "x")


@pytest.mark.parametrize(
    "rule",
    [
        allow(Direction.INGRESS, (ExceptPeer(NamedPeer(EndSet.ALL), (BY_HASH,)),)),
        replace(allow(Direction.INGRESS), subject=BY_HASH),
    ],
    ids=("excluded", "subject"),
)
def test_what_other_apis_select_by_it_is_not_certain_either(rule: Rule) -> None:
    loaded = load_text(INPUT.replace("SUBJECT", "{}").replace("PEER", ANY)).cluster
    (policy,) = loaded.policies
    made = replace(loaded, policies=(replace(policy, rules=(rule,)),))
    assert [one.count for one in compile_cluster(made).uncertain] == [2]
