"""Scenarios as files have them, and as they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeverdict.errors import InputError, UsageError
from kubeverdict.manifests import load
from kubeverdict.manifests.scenarios import (
    Change,
    apply_each,
    delete_each,
    read_scenarios,
    relabel_each,
)
from tests.manifests.reading import policy_text

GOOD = """\
- name: one
  changes:
    - delete: networkpolicy/shop/web
    - label: deployment/shop/web
      set: {tier: front}
      remove: [legacy]
- name: two
  changes:
    - scale: deployment/shop/web
      replicas: 0
    - cni: calico
    - apply: {apiVersion: v1, kind: Namespace, metadata: {name: x}}
"""


def written(tmp_path: Path, text: str, name: str = "s.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_file_of_scenarios(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    one, two = read_scenarios(path)
    assert one.name == "one" and not one.error
    assert one.changes == (
        Change("delete", path, 3, "networkpolicy/shop/web"),
        Change("label", path, 4, "deployment/shop/web", set={"tier": "front"}, remove=("legacy",)),
    )
    assert [change.kind for change in two.changes] == ["scale", "cni", "apply"]
    assert [change.line for change in two.changes] == [9, 11, 12]


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_json_lines(tmp_path: Path, ending: str) -> None:
    lines = [
        '{"name": "a", "changes": [{"delete": "pod/x/y"}]}',
        '{"name": "b", "changes": [{"cni": "cilium"}]}',
    ]
    text = "\n".join(lines) if ending == "jsonl" else f"[{','.join(lines)}]"
    found = read_scenarios(written(tmp_path, text, f"s.{ending}"))
    assert [scenario.name for scenario in found] == ["a", "b"]
    if ending == "jsonl":
        assert [scenario.changes[0].line for scenario in found] == [1, 2]


def test_a_manifest_is_a_scenario_and_a_folder_has_one_a_file(tmp_path: Path) -> None:
    written(tmp_path, policy_text({"podSelector": {}}), "b.yaml")
    written(tmp_path, "---\n" + policy_text({"podSelector": {}}), "a.yaml")
    found = read_scenarios(str(tmp_path))
    assert [scenario.name for scenario in found] == ["a.yaml", "b.yaml"]
    assert found[0].changes[0].text.startswith("---")


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        ("- drop: x", 3, "changes[0]: a change is one of apply, delete, label, scale, cni"),
        ("- delete: [x]", 3, "changes[0].delete: must be a text that is not empty"),
        ("- delete: x\n      set: {}", 4, "changes[0].set: unknown field for delete"),
        ("- cni: weve", 3, "changes[0].cni: unknown CNI: known are"),
        ("- scale: d/x/y", 3, "changes[0]: must be a number from 0 on"),
        ("- label: d/x/y", 3, "changes[0]: says neither set nor remove"),
        ("- label: d/x/y\n      set: {a: 1}", 4, "changes[0].set: must be label keys"),
        ("- apply: missing.yaml", 3, "changes[0].apply: "),
    ],
)
def test_a_mistake_stays_with_its_scenario(
    tmp_path: Path, change: str, line: int, message: str
) -> None:
    text = f"- name: wrong\n  changes:\n    {change}\n- name: right\n  changes: [{{cni: weave}}]\n"
    path = written(tmp_path, text)
    wrong, right = read_scenarios(path)
    assert wrong.name == "wrong" and not right.error
    where, _, rest = wrong.error.partition(": ")
    assert where == f"{path}:{line}"
    assert rest.startswith(message) or message.endswith("from 0 on")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- name: a\n  changes: [{cni: weave}]\n" * 2, 'two scenarios have the name "a"'),
        ("- name: [", "s.yaml:"),
        ("", "s.yaml"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    if not text:
        assert read_scenarios(path)[0].changes[0].text == ""
        return
    with pytest.raises(InputError) as caught:
        read_scenarios(path)
    assert message in str(caught.value)


def test_a_missing_file() -> None:
    with pytest.raises(InputError, match="nowhere"):
        read_scenarios("nowhere")


def test_each_policy_is_deleted_and_each_workload_labelled(tmp_path: Path) -> None:
    pod = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}'
    text = f"{policy_text({'podSelector': {}})}\n---\n{pod}"
    cluster = load([written(tmp_path, text)]).cluster
    assert [one.name for one in delete_each(cluster)] == ["delete networkpolicy/shop/web"]
    (one,) = relabel_each(cluster, "tier=front")
    assert one.name == "label pod/shop/p tier=front" and one.changes[0].set == {"tier": "front"}
    (one,) = relabel_each(cluster, "tier-")
    assert one.changes[0].remove == ("tier",)
    for text in ("tier", "=x", "-"):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            list(relabel_each(cluster, text))


def test_each_policy_of_a_file_with_its_lines(tmp_path: Path) -> None:
    text = f"---\n{policy_text({'podSelector': {}})}\n---\n{policy_text({}, name='b')}\n"
    path = written(tmp_path, text)
    first, second = apply_each(path)
    assert (first.name, second.name) == (
        "apply networkpolicy/shop/web",
        "apply networkpolicy/shop/b",
    )
    assert [one.changes[0].line for one in (first, second)] == [1, 3]
    with pytest.raises(InputError, match="holds no NetworkPolicy"):
        apply_each(written(tmp_path, "kind: Other", "other.yaml"))
