"""Loads as a whole: kinds, lists, duplicates, what is left out and said."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from kubeverdict.manifests import Loaded, load
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.unevaluated import Gap
from tests.manifests.reading import load_text, meaning, policy_text, problems_of, told

CLUSTERS = Path(__file__).parents[1] / "fixtures" / "clusters"


def pod(name: str = "p", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **more}


def bare(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in ("kind", "apiVersion")}


def listed(kind: str, *items: Any, api_version: str = "v1") -> str:
    return json.dumps({"apiVersion": api_version, "items": items, "kind": kind})


def test_namespaces_are_implied_and_named() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    text = "\n---\n".join([policy_text({}), json.dumps(pod()), json.dumps(namespace)])
    found = load_text(text).cluster.namespaces
    assert [(n.name, dict(n.labels), n.implied) for n in found] == [
        ("shop", {METADATA_NAME: "shop"}, False),
        ("default", {METADATA_NAME: "default"}, True),
    ]


def test_a_namespace_keeps_its_labels() -> None:
    labels = {"team": "a", METADATA_NAME: "shop"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    namespace["metadata"]["labels"] = labels  # type: ignore[index]
    (found,) = load_text(json.dumps(namespace)).cluster.namespaces
    assert found.labels == labels


LISTS = [
    listed("List", pod("a"), pod("b")),
    listed("PodList", bare(pod("a")), bare(pod("b"))),
    listed("PodList", pod("a"), bare(pod("b"))),
    json.dumps(pod("a")) + "\n" + json.dumps(pod("b")),
    json.dumps(pod("a"), indent=2) + json.dumps(pod("b"), indent=2),
    "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- metadata:\n    name: b\n",
    "x: &p {metadata: {name: a}}\napiVersion: v1\nkind: PodList\nitems: [*p, metadata: {name: b}]",
    "items: &i [metadata: {name: a}, metadata: {name: b}]\napiVersion: v1\nkind: PodList\nx: *i",
    "---\n" + json.dumps(pod("a")) + "\n---\n" + json.dumps(pod("b")),
]


@pytest.mark.parametrize("text", LISTS, ids=range(len(LISTS)))
def test_every_kind_of_list_is_taken_apart(text: str) -> None:
    loaded = load_text(text)
    assert [found.name for found in loaded.cluster.pods] == ["a", "b"]
    assert loaded.documents == 2


def test_typed_lists_of_every_kind_that_is_used() -> None:
    spec: Any = {"template": {"spec": {"containers": []}}}
    text = "\n---\n".join(
        [
            listed("NamespaceList", {"metadata": {"name": "n"}}),
            listed("NodeList", {"metadata": {"name": "node"}}),
            listed("ServiceList", {"metadata": {"name": "s"}}),
            listed(
                "DeploymentList", {"metadata": {"name": "d"}, "spec": spec}, api_version="apps/v1"
            ),
            listed(
                "NetworkPolicyList",
                {"metadata": {"name": "p"}, "spec": {}},
                api_version="networking.k8s.io/v1",
            ),
            listed("ConfigMapList", {"metadata": {"name": "c"}}, {"metadata": {"name": "d"}}),
        ]
    )
    loaded = load_text(text)
    cluster = loaded.cluster
    sizes = [len(cluster.nodes), len(cluster.services), len(cluster.pods), len(cluster.policies)]
    assert sizes == [1, 1, 1, 1]
    assert {namespace.name for namespace in cluster.namespaces} == {"n", "default"}
    assert loaded.ignored == {"ConfigMap": 2}
    assert loaded.documents == 7


def test_a_list_in_a_list_is_an_error_and_not_lost() -> None:
    text = listed("List", json.loads(listed("List", pod())))
    message = "items: Invalid value: expected a list of objects, and no lists in it"
    assert told(problems_of(text)) == [message]
    assert told(problems_of("apiVersion: v1\nkind: List\nitems: {}\n")) == [message]


def test_other_kinds_are_counted() -> None:
    kinds = [("v1", "ConfigMap"), ("v1", "ConfigMap"), ("rbac.authorization.k8s.io/v1", "Role")]
    kinds += [("acme.org/v1", "Service"), ("acme.org/v1", "AccessList"), ("acme.org/v1", "Service")]
    text = "\n---\n".join(
        f"apiVersion: {group}\nkind: {kind}\nmetadata: {{name: a{number}}}\n"
        for number, (group, kind) in enumerate(kinds)
    )
    loaded = load_text(text)
    assert loaded.ignored == {"ConfigMap": 2, "Role": 1}
    assert told_gaps(loaded) == [
        ("AccessList.acme.org", Gap.NOT_READ, 1),
        ("Service.acme.org", Gap.NOT_READ, 2),
    ]
    assert not loaded.warnings
    assert loaded.documents == 6


def told_gaps(loaded: Loaded) -> list[tuple[str, Gap, int]]:
    return [(one.resource, one.gap, one.count) for one in loaded.cluster.unevaluated]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicyList"),
        ("cilium.io/v2", "CiliumNetworkPolicyList"),
        ("v1", "ConfigMapList"),
        ("acme.org/v1", "ThingList"),
    ],
)
def test_a_list_without_items_is_an_error_whatever_its_kind(api_version: str, kind: str) -> None:
    text = f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{}}\nItems: []\n"
    message = "items: Invalid value: expected a list of objects, and no lists in it"
    assert told(problems_of(text)) == [message]


GAPS = [
    ("k8s.ovn.org/v1", "UserDefinedNetwork", Gap.POLICY),
    ("consul.hashicorp.com/v1alpha1", "ServiceIntentions", Gap.RESTRICTION),
    ("k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy", Gap.NETWORK),
    ("crd.antrea.io/v1beta1", "ClusterGroup", Gap.POLICY_PART),
    ("projectcalico.org/v3", "HostEndpoint", Gap.NODES),
    ("crd.projectcalico.org/v1", "StagedNetworkPolicy", Gap.STAGED),
    ("monitoring.coreos.com/v1", "Prometheus", Gap.PODS),
    ("apps.kruise.io/v1alpha1", "SidecarSet", Gap.POD_CHANGES),
    ("acme.org/v1", "AcmeNetworkPolicy", Gap.POLICY),
]


@pytest.mark.parametrize(("api_version", "kind", "gap"), GAPS)
def test_kinds_that_matter_are_told_by_what_they_could_change(
    api_version: str, kind: str, gap: Gap
) -> None:
    loaded = load_text(f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n")
    group = api_version.partition("/")[0]
    assert told_gaps(loaded) == [(f"{kind}.{group}", gap, 1)]
    assert not loaded.ignored


POLICIES = [
    ("networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy"),
    ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
    ("crd.antrea.io/v1beta1", "NetworkPolicy"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("policy.linkerd.io/v1alpha1", "AuthorizationPolicy"),
]


@pytest.mark.parametrize(("api_version", "kind"), POLICIES)
def test_policies_of_other_kinds_are_never_dropped_in_silence(api_version: str, kind: str) -> None:
    name = f"{kind}.{api_version.partition('/')[0]}"
    one = f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n"
    loaded = load_text(f"{json.dumps(pod())}\n---\n{one}")
    (found,) = loaded.cluster.unevaluated
    assert (found.resource, found.count, found.names) == (name, 1, ("a",))
    assert (found.file, found.line) == ("<stdin>", 2)
    assert found.gap.decides
    assert [str(w) for w in loaded.warnings] == [f"<stdin>:2: 1 {name} object is not evaluated"]
    two = load_text(f"{one}---\n{one}").warnings
    assert [w.message for w in two] == [f"2 {name} objects are not evaluated"]


WRONG_VERSIONS = [
    ("NetworkPolicy", "v1", "networking.k8s.io/v1"),
    ("NetworkPolicy", "extensions/v1beta1", "networking.k8s.io/v1"),
    ("NetworkPolicy", "networking.k8s.io/v2", "networking.k8s.io/v1"),
    ("Deployment", "v1", "apps/v1"),
    ("Deployment", "extensions/v1beta1", "apps/v1"),
    ("Pod", "apps/v1", "v1"),
    ("CronJob", "apps/v1", "batch/v1"),
]


@pytest.mark.parametrize(("kind", "version", "right"), WRONG_VERSIONS)
def test_a_wrong_api_version_is_an_error(kind: str, version: str, right: str) -> None:
    text = f"kind: {kind}\napiVersion: {version}\nmetadata: {{name: a}}\n"
    message = f'apiVersion: Invalid value: "{version}": a {kind} is of {right}'
    assert told(problems_of(text)) == [message]
    assert problems_of(text)[0].line == 2


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta1", "apps/v1beta2"])
def test_older_versions_of_workloads_are_read(version: str) -> None:
    spec: Any = {"template": {"spec": {}}}
    value = {"apiVersion": version, "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    assert len(load_text(json.dumps(value)).cluster.pods) == 1


def test_what_is_no_object_is_ignored_in_a_folder_and_an_error_alone(tmp_path: Path) -> None:
    texts = [
        "a: 1\n",
        "- 1\n",
        "text\n",
        "kind: Chart\n",
        "apiVersion: v2\nname: x\n",
        "[]",
        '{"a": 1}',
    ]
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        assert len(problems_of(text)) == 1
    (tmp_path / "pod.json").write_text(json.dumps(pod()))
    assert load([str(tmp_path)]).ignored == {"not a Kubernetes object": len(texts)}


def test_a_policy_without_api_version_is_an_error_in_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: NetworkPolicy\nmetadata: {name: a}\n")
    with pytest.raises(Exception, match="apiVersion: Required value"):
        load([str(tmp_path)])


def test_text_that_is_not_yaml_is_an_error_in_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "pod.json").write_text(json.dumps(pod()))
    (tmp_path / "template.yaml").write_text("a: 1\nb: {{ .Values.b }}: c\n")
    with pytest.raises(Exception, match=r"template.yaml:2: a key must be a string"):
        load([str(tmp_path)])


def test_the_same_object_twice() -> None:
    same = f"{json.dumps(pod())}\n---\n{json.dumps(pod(status={'phase': ''}))}"
    assert [str(w) for w in load_text(same).warnings] == [
        "<stdin>:2: Pod default/p: defined twice with the same content, first at <stdin>:1"
    ]
    assert len(load_text(same).cluster.pods) == 1
    other = f"{json.dumps(pod())}\n---\n{json.dumps(pod(spec={'nodeName': 'n'}))}"
    assert [str(problem) for problem in problems_of(other)] == [
        "<stdin>:2: Pod default/p: defined twice with different content, first at <stdin>:1"
    ]


def test_many_repeated_objects_are_one_warning() -> None:
    text = listed("List", pod("a"), pod("b"), pod("a"), pod("b"))
    (warning,) = load_text(text).warnings
    assert warning.message.endswith("first at <stdin>:1 (and 1 more such objects)")


def test_policies_are_compared_by_what_they_mean() -> None:
    one = policy_text({"ingress": [{"from": [{"podSelector": {"matchLabels": {"a": "b"}}}]}]})
    expressed = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
    same = policy_text({"ingress": [{"from": [{"podSelector": expressed}]}]})
    assert len(load_text(f"{one}\n---\n{same}").cluster.policies) == 1
    assert len(problems_of(f"{one}\n---\n{policy_text({})}")) == 1


def test_invalid_documents_can_be_left_out_and_are_named() -> None:
    text = "\n---\n".join(
        [policy_text({"ingress": 1}), json.dumps(pod()), "a: [", json.dumps(pod("q", spec=1))]
    )
    loaded = load_text(text, skip_invalid=True)
    assert [found.name for found in loaded.cluster.pods] == ["p"]
    assert not loaded.cluster.policies
    assert [(p.line, p.subject) for p in loaded.skipped] == [
        (1, "NetworkPolicy shop/web"),
        (6, ""),
        (7, "Pod default/q"),
    ]


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_it_was(enabled: bool) -> None:
    was = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        load_text(json.dumps(pod()))
        assert gc.isenabled() is enabled
        problems_of("a: [")
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if was else gc.disable()


def test_mixed_kinds_in_one_list_in_any_order() -> None:
    policy = json.loads(policy_text({}))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"kind": "Pod"}}
    items = [config, pod("a"), policy, node, pod("b"), config, node | {"metadata": {"name": "m"}}]
    one = load_text(listed("List", *items))
    other = load_text(listed("List", *reversed(items)))
    assert (one.documents, one.ignored) == (7, {"ConfigMap": 2})
    assert sorted(map(str, one.cluster.pods)) == sorted(map(str, other.cluster.pods))
    assert len(other.cluster.nodes) == 2 and len(other.cluster.policies) == 1


def test_a_live_cluster() -> None:
    loaded = load([str(CLUSTERS / "online-boutique")])
    cluster = loaded.cluster
    assert (loaded.files, loaded.documents, loaded.ignored, loaded.warnings) == (3, 28, {}, ())
    assert (len(cluster.namespaces), len(cluster.pods), len(cluster.policies)) == (5, 12, 11)
    assert not any(namespace.implied for namespace in cluster.namespaces)
    assert {policy.namespace for policy in cluster.policies} == {"default"}
    frontend = next(p for p in cluster.pods if p.workload.name == "frontend")
    assert str(frontend.workload) == "default/frontend[Deployment]"
    assert (len(frontend.addresses), frontend.phase) == (1, "Running")
    assert [port.number for port in frontend.ports] == [8080]


def test_a_repository_of_workloads() -> None:
    loaded = load([str(CLUSTERS / "acs-security-demos")])
    cluster = loaded.cluster
    assert loaded.files == 18 and not loaded.warnings
    assert loaded.ignored == {
        "ClusterRoleBinding": 1,
        "ConfigMap": 4,
        "RoleBinding": 1,
        "ServiceAccount": 3,
    }
    assert [(str(one), one.kind) for one in cluster.ingresses] == [
        ("frontend/asset-cache", "Route"),
        ("frontend/webapp", "Route"),
    ]
    assert [n.name for n in cluster.namespaces] == ["backend", "frontend", "payments"]
    assert len(cluster.pods) == len(loaded.workloads) == len(cluster.services) == 11
    assert all(found.template and not found.addresses for found in cluster.pods)


def test_the_parts_of_a_cluster_merge() -> None:
    folder = CLUSTERS / "online-boutique"
    parts = [str(folder / name) for name in ("netpols.yaml", "ns.yaml", "pods.yaml")]
    assert meaning(load(parts)) == meaning(load([str(folder)]))
