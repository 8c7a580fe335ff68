"""What the agent reads, when it reads it again, and what it does not read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import InputError
from kubeverdict.manifests import load
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.edit import Edit
from kubeverdict_agent.control.readings import ClusterReading, settled
from kubeverdict_agent.control.source import FileSource

POD = """apiVersion: v1
kind: Pod
metadata: {{namespace: {namespace}, name: {name}, labels: {{app: {name}}}}}
spec: {{containers: []}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}
"""
POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: {namespace}, name: {name}}}
spec: {{podSelector: {{}}, ingress: [{{from: [{{podSelector: {{}}}}]}}]}}
"""

ADMIN = """apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec: {priority: 1, subject: {namespaces: {}}, egress: [{action: Deny, to: [PEER]}]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pods = [
        POD.format(namespace="shop", name=name, address=address)
        for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"))
    ]
    (tmp_path / "pods.yaml").write_text("---\n".join(pods))
    (tmp_path / "one.yaml").write_text(POLICY.format(namespace="shop", name="one"))
    return tmp_path


def wait(seconds: float) -> None:
    """Files of these tests are written in one piece."""


def read(source: FileSource) -> ClusterReading:
    assert source.changed()
    found = source.read(wait)
    assert not source.changed()
    return found


def names(cluster: Cluster) -> list[str]:
    return sorted(str(policy) for policy in cluster.policies)


def same_as_read_at_once(reading: ClusterReading, folder: Path) -> None:
    """A partial reading gives what reading everything gives."""
    whole = load([str(folder)]).cluster
    assert names(reading.cluster) == names(whole)
    key = [(one.name, dict(one.labels), one.implied) for one in whole.namespaces]
    assert [(n.name, dict(n.labels), n.implied) for n in reading.cluster.namespaces] == key
    lines = {
        (str(policy), policy.source.file, rule.source.line)
        for policy in reading.cluster.policies
        for rule in policy.rules
    }
    assert lines == {
        (str(policy), policy.source.file, rule.source.line)
        for policy in whole.policies
        for rule in policy.rules
    }
    assert len(compile_cluster(reading.cluster).rules) == len(compile_cluster(whole).rules)


def test_policies_that_change_are_read_without_the_pods(folder: Path) -> None:
    source = FileSource([str(folder)])
    first = read(source)
    assert not first.policies_only and first.changed_at > 0
    (folder / "two.yaml").write_text(POLICY.format(namespace="other", name="two"))
    second = read(source)
    assert second.policies_only and second.cluster.pods is first.cluster.pods
    same_as_read_at_once(second, folder)
    (folder / "one.yaml").write_text("# moved\n" + POLICY.format(namespace="shop", name="renamed"))
    third = read(source)
    assert third.policies_only and names(third.cluster) == ["other/two", "shop/renamed"]
    same_as_read_at_once(third, folder)
    (folder / "two.yaml").unlink()
    fourth = read(source)
    assert fourth.policies_only
    same_as_read_at_once(fourth, folder)


def test_policies_of_the_whole_cluster_are_read_without_the_pods(folder: Path) -> None:
    source = FileSource([str(folder)])
    read(source)
    (folder / "admin.yaml").write_text(ADMIN.replace("PEER", "{namespaces: {}}"))
    second = read(source)
    assert second.policies_only and names(second.cluster) == ["admin", "shop/one"]
    same_as_read_at_once(second, folder)
    # What is not certain of a policy goes with it.
    (folder / "admin.yaml").write_text(ADMIN.replace("PEER", "{domainNames: [example.com]}"))
    assert len(read(source).cluster.unevaluated) == 1
    (folder / "admin.yaml").write_text(ADMIN.replace("PEER", "{namespaces: {}}"))
    assert read(source).cluster.unevaluated == ()


def test_everything_is_read_where_pods_may_have_changed(folder: Path) -> None:
    source = FileSource([str(folder)])
    first = read(source)
    (folder / "pods.yaml").write_text(POD.format(namespace="shop", name="c", address="10.0.0.3"))
    second = read(source)
    assert not second.policies_only and len(second.cluster.pods) == 1 < len(first.cluster.pods)
    # A file of policies that now holds a pod as well.
    policy = POLICY.format(namespace="shop", name="one")
    pod = POD.format(namespace="shop", name="d", address="10.0.0.4")
    (folder / "one.yaml").write_text(f"{policy}---\n{pod}")
    third = read(source)
    assert not third.policies_only and len(third.cluster.pods) == 2
    # And one that no longer does.
    (folder / "one.yaml").write_text(POLICY.format(namespace="shop", name="one"))
    assert len(read(source).cluster.pods) == 1


def test_everything_is_read_where_an_object_that_is_not_evaluated_changed(folder: Path) -> None:
    source = FileSource([str(folder)])
    other = folder / "other.yaml"
    other.write_text("apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: x}\n")
    assert len(read(source).cluster.unevaluated) == 1
    other.unlink()
    reading = read(source)
    assert not reading.policies_only and reading.cluster.unevaluated == ()


def test_wrong_input_is_told_once_and_loses_nothing(folder: Path) -> None:
    source = FileSource([str(folder)])
    read(source)
    good = (folder / "one.yaml").read_text()
    (folder / "one.yaml").write_text(good.replace("podSelector: {}, ingress", "podSelector: 5, x"))
    with pytest.raises(InputError, match=r"one\.yaml:4"):
        source.read(wait)
    assert not source.changed(), "it is not read again until it changes"
    (folder / "two.yaml").write_text(POLICY.format(namespace="shop", name="two"))
    with pytest.raises(InputError, match=r"one\.yaml:4"):
        source.read(wait)
    (folder / "one.yaml").write_text(good)
    assert names(read(source).cluster) == ["shop/one", "shop/two"]


def test_a_policy_defined_twice_is_refused_as_the_engine_refuses_it(folder: Path) -> None:
    source = FileSource([str(folder)])
    read(source)
    policy = POLICY.format(namespace="shop", name="one")
    other = policy.replace("podSelector: {},", "podSelector: {matchLabels: {a: b}},", 1)
    (folder / "two.yaml").write_text(other)
    with pytest.raises(InputError, match="defined twice"):
        source.read(wait)


def test_what_is_forgotten_is_read_again(folder: Path) -> None:
    source = FileSource([str(folder)])
    read(source)
    source.forget()
    assert not read(source).policies_only


def test_a_folder_that_is_swapped_by_a_link(tmp_path: Path) -> None:
    """As a mounted ConfigMap is."""
    for version, name in (("v1", "one"), ("v2", "two")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "policy.yaml").write_text(POLICY.format(namespace="shop", name=name))
    link = tmp_path / "current"
    link.symlink_to("v1")
    source = FileSource([str(link)])
    assert names(read(source).cluster) == ["shop/one"]
    (tmp_path / "new").symlink_to("v2")
    os.replace(tmp_path / "new", link)
    assert names(read(source).cluster) == ["shop/two"]


def test_a_file_that_is_being_written_is_waited_for(folder: Path) -> None:
    source = FileSource([str(folder)])
    parts = [POLICY.format(namespace="shop", name=name) for name in ("p", "q", "r")]
    path = folder / "late.yaml"

    def write_more(seconds: float) -> None:
        if parts:
            with path.open("a") as file:
                file.write("---\n" + parts.pop())

    assert names(source.read(write_more).cluster) == ["shop/one", "shop/p", "shop/q", "shop/r"]


def test_a_missing_source_is_an_error_that_heals(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    source = FileSource([str(path)])
    assert source.changed()
    with pytest.raises(InputError, match=r"cluster\.yaml: cannot be read"):
        source.read(wait)
    path.write_text(POLICY.format(namespace="shop", name="one"))
    assert names(read(source).cluster) == ["shop/one"]


def test_nothing_kept_refers_to_the_text(folder: Path) -> None:
    cluster = load([str(folder)]).cluster
    kept = settled(cluster)
    for before, after in zip(cluster.policies, kept.policies, strict=True):
        assert (before.source.file, before.source.line) == (after.source.file, after.source.line)
        assert [rule.source.line for rule in before.rules] == [r.source.line for r in after.rules]
        assert type(after.source.origin).__name__ == "FileLine"


def test_what_changed_is_said(folder: Path) -> None:
    source = FileSource([str(folder)])
    assert read(source).edit is None
    (folder / "two.yaml").write_text(POLICY.format(namespace="shop", name="two"))
    edit = read(source).edit
    assert edit and [str(one) for one in edit.policies_in] == ["shop/two"] and not edit.policies_out
    # Of several in a file only those that say something else, or stand elsewhere.
    several = [POLICY.format(namespace="shop", name=name) for name in ("two", "three", "four")]
    (folder / "two.yaml").write_text("---\n".join(several))
    edit = read(source).edit
    assert edit and [str(one) for one in edit.policies_in] == ["shop/three", "shop/four"]
    (folder / "two.yaml").write_text("---\n".join([*several[:2], "# moved\n" + several[2]]))
    edit = read(source).edit
    assert edit and [str(one) for one in edit.policies_in] == ["shop/four"]
    (folder / "two.yaml").write_text(several[1])
    edit = read(source).edit
    assert edit and [key[2] for key in edit.policies_out] == ["four", "two"]
    assert [str(one) for one in edit.policies_in] == ["shop/three"], "it is on another line"


def test_one_of_two_equal_policies_stays_when_the_other_goes(folder: Path) -> None:
    source = FileSource([str(folder)])
    (folder / "again.yaml").write_text((folder / "one.yaml").read_text())
    assert names(read(source).cluster) == ["shop/one"]
    (folder / "again.yaml").unlink()
    assert names(read(source).cluster) == ["shop/one"]
    (folder / "again.yaml").write_text((folder / "one.yaml").read_text())
    read(source)
    (folder / "one.yaml").unlink()
    assert names(read(source).cluster) == ["shop/one"]


NAMESPACE = """apiVersion: v1
kind: Namespace
metadata: {{name: {name}, labels: {labels}}}
"""


def keys(edit: Edit | None) -> list[str]:
    """What an edit takes out and puts in, in words."""
    assert edit is not None
    found = [f"-{'/'.join(key)}" for key in edit.pods_out]
    found += [f"+{pod} {' '.join(pod.addresses)}" for pod in edit.pods_in]
    found += [f"-{name}" for name in edit.namespaces_out]
    return found + [f"+{one.name} {one.labels.get('team', '')}" for one in edit.namespaces_in]


def test_pods_and_namespaces_that_change_are_read_alone(folder: Path) -> None:
    source = FileSource([str(folder)])
    assert read(source).edit is None
    pod = POD.format(namespace="shop", name="c", address="10.0.0.3")

    def after(file: str, *texts: str) -> list[str]:
        (folder / file).write_text("---\n".join(texts))
        reading = read(source)
        same_as_read_at_once(reading, folder)
        whole = load([str(folder)]).cluster
        fields = {(str(pod), pod.addresses, str(pod.labels)) for pod in reading.cluster.pods}
        assert fields == {(str(pod), pod.addresses, str(pod.labels)) for pod in whole.pods}
        return keys(reading.edit)

    assert after("more.yaml", pod) == ["+shop/c 10.0.0.3"]
    assert after("more.yaml", pod, POLICY.format(namespace="a", name="two")) == []
    assert after("more.yaml", pod.replace("10.0.0.3", "10.0.0.4")) == ["+shop/c 10.0.0.4"]
    assert after("space.yaml", NAMESPACE.format(name="shop", labels="{team: a}")) == ["+shop a"]
    assert after("space.yaml", NAMESPACE.format(name="shop", labels="{team: b}")) == ["+shop b"]
    (folder / "space.yaml").unlink()
    reading = read(source)
    same_as_read_at_once(reading, folder)
    assert keys(reading.edit) == ["-shop"]
    before = reading.pods_written
    os.utime(folder / "more.yaml", (before + 5, before + 5))
    reading = read(source)
    assert keys(reading.edit) == [] and reading.pods_written == before + 5
    (folder / "more.yaml").rename(folder / "moved.yaml")
    reading = read(source)
    assert keys(reading.edit) == [] and len(reading.cluster.pods) == 3
    (folder / "pods.yaml").unlink()
    assert keys(read(source).edit) == ["-shop/a", "-shop/b"]
    # What is in two files is for the reading of everything to refuse.
    (folder / "twice.yaml").write_text(pod)
    with pytest.raises(InputError, match="defined twice"):
        source.read(wait)


def test_pods_that_depend_on_other_objects_are_not_read_alone(folder: Path) -> None:
    (folder / "web.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {namespace: shop, name: web}\n"
        "spec: {selector: {matchLabels: {app: c}}, template: {metadata: {labels: {app: c}},"
        " spec: {containers: [{name: c, image: c}]}}}\n"
    )
    source = FileSource([str(folder)])
    templates = len(read(source).cluster.pods)
    pod = POD.format(namespace="shop", name="web-1", address="10.0.0.3")
    (folder / "more.yaml").write_text(pod.replace("app: web-1", "app: c"))
    reading = read(source)
    assert reading.edit is None and len(reading.cluster.pods) == templates == 3
    # Policies are, as long as nothing of them is elsewhere.
    (folder / "two.yaml").write_text(POLICY.format(namespace="shop", name="two"))
    assert read(source).policies_only


def test_policies_that_refer_to_other_objects_are_not_read_alone(folder: Path) -> None:
    group = "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: x}\n"
    (folder / "group.yaml").write_text(group + "spec: {externalCIDRs: [1.2.3.0/24]}\n")
    refers = folder / "refers.yaml"
    text = (
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        "metadata: {namespace: shop, name: refers}\n"
        "spec: {endpointSelector: {}, egress: [{toCIDRSet: [{cidrGroupRef: x}]}]}\n"
    )
    source = FileSource([str(folder)])
    read(source)
    for more in ("", "# x\n"):
        refers.write_text(text + more)
        reading = read(source)
        (rule,) = next(one.rules for one in reading.cluster.policies if one.name == "refers")
        assert "BlockPeer" in str(rule.peers) and str(0x01020300) in str(rule.peers)
    # Others are.
    (folder / "two.yaml").write_text(POLICY.format(namespace="shop", name="two"))
    assert read(source).policies_only
