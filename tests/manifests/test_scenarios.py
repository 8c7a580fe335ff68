"""Scenarios: read strictly from files, made for each of something."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from kubeverdict.errors import InputError, UsageError
from kubeverdict.manifests.loading import load_text
from kubeverdict.manifests.scenarios import (
    Change,
    Scenario,
    apply_each,
    delete_each,
    read_scenarios,
    relabel_each,
)
from kubeverdict.model.policy import Policy
from tests.manifests.reading import load_text as load_input
from tests.manifests.reading import policy_text

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - from:
    - podSelector: {}
"""
EVERYTHING = """\
- name: all kinds of changes
  changes:
    - delete: networkpolicy/shop/old
    - apply:
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: web, namespace: shop}
        spec:
          podSelector: {}
          ingress:
          - from:
            - podSelector: {}
    - apply: new.yaml
    - label: deployment/shop/web
      set: {tier: front, empty: ""}
      remove: [legacy]
    - scale: deployment/shop/web
      replicas: 5
    - cni: calico
- name: short
  changes: [{cni: flannel}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "new.yaml").write_text(POLICY)
    return tmp_path


def read(folder: Path, text: str, name: str = "scenarios.yaml") -> list[Scenario]:
    (folder / name).write_text(text)
    return read_scenarios(str(folder / name))


def test_every_kind_of_change(folder: Path) -> None:
    everything, short = read(folder, EVERYTHING)
    file = str(folder / "scenarios.yaml")
    deleted, inline, applied, labels, scaled, cni = everything.changes
    assert deleted == Change("delete", file, 3, "networkpolicy/shop/old")
    assert (inline.kind, inline.file, inline.line) == ("apply", file, 4)
    assert applied == Change("apply", str(folder / "new.yaml"), 1, text=POLICY)
    assert labels == Change(
        "label",
        file,
        14,
        "deployment/shop/web",
        set={"tier": "front", "empty": ""},
        remove=("legacy",),
    )
    assert scaled == Change("scale", file, 17, "deployment/shop/web", replicas=5)
    assert cni == Change("cni", file, 19, "calico")
    assert (short.name, short.changes[0].target) == ("short", "flannel")


def test_rules_of_an_object_in_a_scenario_have_their_own_lines(folder: Path) -> None:
    inline = read(folder, EVERYTHING)[0].changes[1]
    (policy,) = load_text(inline.file, inline.text.encode(), inline.line).cluster.policies
    assert [rule.source.line for rule in policy.rules] == [11]
    assert policy.source.line == 4


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml documents"])
def test_other_forms_say_the_same(folder: Path, form: str) -> None:
    expected = read(folder, EVERYTHING)
    plain = msgspec.yaml.decode(EVERYTHING)
    if form == "json":
        found = read(folder, json.dumps(plain), "s.json")
    elif form == "jsonl":
        found = read(folder, "".join(f"{json.dumps(one)}\n" for one in plain), "s.jsonl")
    else:
        found = read(folder, "".join(f"---\n{json.dumps(one)}\n" for one in plain), "s.yaml")
    assert [one.name for one in found] == [one.name for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert not one.error
        for change, same in zip(one.changes, other.changes, strict=True):
            assert (change.kind, change.target, change.set) == (same.kind, same.target, same.set)
            assert (change.remove, change.replicas) == (same.remove, same.replicas)


def test_scenarios_are_plain_data(folder: Path) -> None:
    found = read(folder, EVERYTHING)
    assert msgspec.json.decode(msgspec.json.encode(found), type=list[Scenario]) == found


def test_a_folder_has_a_scenario_in_each_file(folder: Path) -> None:
    (folder / "b").mkdir()
    (folder / "b" / "more.json").write_text(policy_text({}))
    (folder / "c.yaml").write_text("- {name: listed, changes: [{cni: calico}]}")
    (folder / "notes.txt").write_text("not a manifest")
    found = read_scenarios(str(folder))
    assert [one.name for one in found] == ["listed", "new.yaml", "b/more.json"]
    assert found[1].changes == (Change("apply", str(folder / "new.yaml"), 1, text=POLICY),)


WRONG = [
    (
        "- 3",
        "s.yaml:1: Invalid value: 3: expected a scenario, with name and changes, got an integer",
    ),
    ("- name: a", "s.yaml:1: changes: Required value: a scenario changes something"),
    ("- {name: a, changes: []}", "s.yaml:1: changes: Required value: a scenario changes something"),
    (
        "- {name: a, changes: 3}",
        "s.yaml:1: changes: Invalid value: 3: expected a list, got an integer",
    ),
    ("- {changes: [{cni: calico}]}", "s.yaml:1: name: Required value"),
    (
        "- {name: 7, changes: [{cni: calico}]}",
        "s.yaml:1: name: Invalid value: 7: expected a string, got an integer (quote it)",
    ),
    (
        "- {name: a, change: x, changes: [{cni: calico}]}",
        "s.yaml:1: change: unknown field: a scenario has name and changes",
    ),
    (
        "- name: a\n  changes:\n  - drop: x",
        "s.yaml:3: changes[0]: a change is one of apply, delete, label, scale, cni",
    ),
    (
        "- name: a\n  changes:\n  - {delete: x, cni: calico}",
        "s.yaml:3: changes[0]: a change is one of apply, delete, label, scale, cni",
    ),
    (
        "- name: a\n  changes:\n  - delete: x\n    replicas: 1",
        "s.yaml:4: changes[0].replicas: unknown field for delete",
    ),
    (
        "- name: a\n  changes:\n  - delete: [x]",
        "s.yaml:3: changes[0].delete: Invalid value: expected a string, got a list",
    ),
    ("- name: a\n  changes:\n  - delete: ''", "s.yaml:3: changes[0].delete: Required value"),
    (
        "- name: a\n  changes:\n  - cni: calicoo",
        's.yaml:3: changes[0].cni: Unsupported value: "calicoo": supported values: "reference", ',
    ),
    (
        "- name: a\n  changes:\n  - scale: deploy/a/b",
        "s.yaml:3: changes[0].replicas: Required value",
    ),
    (
        "- name: a\n  changes:\n  - scale: deploy/a/b\n    replicas: true",
        "s.yaml:4: changes[0].replicas: Invalid value: true: expected an integer, got a boolean",
    ),
    (
        "- name: a\n  changes:\n  - scale: deploy/a/b\n    replicas: -1",
        "s.yaml:4: changes[0].replicas: Invalid value: -1: must be between 0 and 200000",
    ),
    (
        "- name: a\n  changes:\n  - label: pod/a/b",
        "s.yaml:3: changes[0]: Required value: give set or remove",
    ),
    (
        "- name: a\n  changes:\n  - label: pod/a/b\n    set: [x]",
        "s.yaml:4: changes[0].set: Invalid value: expected an object, got a list",
    ),
    (
        "- name: a\n  changes:\n  - label: pod/a/b\n    set:\n      x: 1",
        "s.yaml:5: changes[0].set.x: Invalid value: 1: expected a string, got an integer",
    ),
    (
        "- name: a\n  changes:\n  - label: pod/a/b\n    set:\n      -x: z",
        's.yaml:5: changes[0].set.-x: Invalid value: "-x": name part must consist of',
    ),
    (
        "- name: a\n  changes:\n  - label: pod/a/b\n    remove: [a b]",
        's.yaml:4: changes[0].remove[0]: Invalid value: "a b": name part must consist of',
    ),
    (
        "- name: a\n  changes:\n  - apply: 3",
        "s.yaml:3: changes[0].apply: must be a Kubernetes object, or the path of manifests",
    ),
    (
        "- name: a\n  changes:\n  - apply: gone.yaml",
        "s.yaml:3: changes[0].apply: {folder}/gone.yaml: cannot be read: ",
    ),
    ("a: [\n---\n- name: b\n  changes: [cni: calico]", "s.yaml:2: not YAML: "),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_mistake_has_its_place(folder: Path, text: str, message: str) -> None:
    wrong, *_ = read(folder, text, "s.yaml")
    assert wrong.error.startswith(f"{folder}/{message.format(folder=folder)}")


def test_every_mistake_of_a_scenario_is_told(folder: Path) -> None:
    text = (
        "- name: a\n  other: 1\n  changes:\n  - cni: x\n  - label: pod/a/b\n    set: {a: 1, b: 2}"
    )
    (found,) = read(folder, text)
    fields = [line.split(": ")[1] for line in found.error.splitlines()]
    assert fields == ["other", "changes[0].cni", "changes[1].set.a", "changes[1].set.b"]
    assert found.name == "a" and not found.changes


def test_a_wrong_scenario_does_not_stop_others(folder: Path) -> None:
    found = read(folder, "- 3\n- {name: good, changes: [{cni: calico}]}\n")
    assert [(one.name, bool(one.error)) for one in found] == [
        ("scenarios.yaml:1", True),
        ("good", False),
    ]


def test_a_line_that_is_not_json_does_not_stop_others(folder: Path) -> None:
    good = json.dumps({"name": "good", "changes": [{"cni": "calico"}]})
    found = read(folder, f"{{nonsense\n{good}\n", "s.jsonl")
    assert [one.name for one in found] == ["s.jsonl:1", "good"]
    assert found[0].error.startswith(f"{folder}/s.jsonl:1: not JSON")


def test_a_file_that_is_not_text_does_not_stop_others(folder: Path) -> None:
    (folder / "bad.yaml").write_bytes(b"a: \xff")
    (folder / "worse.yaml").write_bytes(b"\xff\xfea")
    found = {one.name: one.error for one in read_scenarios(str(folder))}
    assert found.keys() == {"bad.yaml", "worse.yaml", "new.yaml"}
    assert "not UTF-8 text" in found["bad.yaml"] and not found["new.yaml"]


def test_names_are_unique(folder: Path) -> None:
    text = "- {name: a, changes: [{cni: calico}]}\n- {name: a, changes: [{cni: canal}]}\n"
    with pytest.raises(InputError) as caught:
        read(folder, text)
    file = folder / "scenarios.yaml"
    message = f'{file}:2: name: another scenario has the name "a": {file}:1'
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["[]", "", "# nothing\n---\n"])
def test_a_file_that_holds_nothing(folder: Path, text: str) -> None:
    (found,) = read(folder, text)
    assert found.name == "scenarios.yaml"
    assert found.error.endswith(": holds neither scenarios nor Kubernetes objects")


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_scenarios(str(folder / "s.json"))


# --- made for each of something ----------------------------------------------------------------


def pod(name: str, owner: str = "", kind: str = "ReplicaSet") -> str:
    metadata: dict[str, object] = {"name": name, "namespace": "shop"}
    if owner:
        metadata["ownerReferences"] = [{"kind": kind, "name": owner, "controller": True}]
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})


def test_every_policy_is_deleted_on_its_own() -> None:
    text = "\n---\n".join([policy_text({}), policy_text({}, name="other", namespace="x")])
    found = list(delete_each(load_input(text).cluster))
    assert found == [
        Scenario(f"delete {target}", (Change("delete", target=target),))
        for target in ("networkpolicy/shop/web", "networkpolicy/x/other")
    ]


def test_every_workload_is_relabelled() -> None:
    pods = [pod("a-1", "a"), pod("a-2", "a"), pod("lone"), pod("r-1", "r", "Rollout")]
    cluster = load_input("\n---\n".join(pods)).cluster
    found = list(relabel_each(cluster, "example.com/tier="))
    assert [one.changes[0].target for one in found] == [
        "replicaset/shop/a",
        "pod/shop/lone",
        "rollout/shop/r",
    ]
    assert {one.changes[0].set["example.com/tier"] for one in found} == {""}
    removed = next(relabel_each(cluster, "tier-"))
    assert removed.changes[0].remove == ("tier",) and not removed.changes[0].set
    assert removed.name == "label replicaset/shop/a tier-"


@pytest.mark.parametrize("label", ["tier", "=x", "-", "a b=c", "tier=-x", ""])
def test_a_label_that_is_none(label: str) -> None:
    with pytest.raises(UsageError):
        next(relabel_each(load_input(pod("lone")).cluster, label))


def test_every_policy_is_applied_on_its_own(tmp_path: Path) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [json.loads(policy_text({}, name="b"))]}
    item = {"metadata": {"name": "c", "namespace": "x"}, "spec": {"podSelector": {}}}
    typed = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": [item]}
    (tmp_path / "1.yaml").write_text(f"# first\n---\n{POLICY}---\n{pod('lone')}\n")
    (tmp_path / "2.json").write_text(json.dumps(listed, indent=1))
    (tmp_path / "3.json").write_text(json.dumps(typed))
    found, others = apply_each(str(tmp_path))
    assert [one.name for one in found] == [
        "apply networkpolicy/shop/web",
        "apply networkpolicy/shop/b",
        "apply networkpolicy/x/c",
    ]
    assert others == {"Pod": 1}
    policies: list[Policy] = []
    for one in found:
        (change,) = one.changes
        loaded = load_text(change.file, change.text.encode(), change.line)
        policies += loaded.cluster.policies
    assert [str(policy) for policy in policies] == ["shop/web", "shop/b", "x/c"]
    assert policies[0].rules[0].source.line == 9
    assert policies[1].source.line == 5


def test_candidates_must_be_readable_and_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(pod("lone"))
    with pytest.raises(InputError, match="holds no NetworkPolicy"):
        apply_each(str(tmp_path))
    (tmp_path / "b.yaml").write_text(f"{POLICY}---\na: [")
    with pytest.raises(InputError, match="not YAML"):
        apply_each(str(tmp_path))
    (tmp_path / "b.yaml").write_text(f"{POLICY}---\n{POLICY}")
    with pytest.raises(InputError, match="another scenario has the name"):
        apply_each(str(tmp_path))
