"""Whatever the bytes are, the answer is a cluster or an error that names the file."""

from __future__ import annotations

import copy
import io
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeverdict.errors import InputError
from kubeverdict.manifests import formats, load
from tests.manifests.reading import load_text, policy_text

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "p",
        "labels": {"a": "b"},
        "ownerReferences": [{"kind": "Job", "name": "j", "controller": True}],
    },
    "spec": {"containers": [{"ports": [{"containerPort": 80, "name": "x", "protocol": "UDP"}]}]},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s"},
    "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "x"}], "clusterIPs": []},
}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n"},
    "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
}
CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "c"},
    "spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": {}}, "spec": {}}}}},
}
SETS = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "d"},
    "spec": {"replicas": 2, "ordinals": {"start": 1}, "template": {"metadata": {}, "spec": {}}},
}
POLICY = json.loads(
    policy_text(
        {
            "podSelector": {
                "matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80, "endPort": 81}]}],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
        },
        labels={"a": "b"},
        annotations={"a": "b"},
    )
)
LIST = {"apiVersion": "v1", "kind": "List", "items": [POD, SERVICE, NODE, CRON, SETS, POLICY]}
TEXTS = [json.dumps(LIST), json.dumps(LIST, indent=1)]
TEXTS += ["\n---\n".join(json.dumps(item) for item in LIST["items"])]
YAML = (
    "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    labels:\n"
    "      a: 'b'\n    name: p\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n"
    "  metadata:\n    name: web\n  spec:\n    podSelector: {}\n    ingress:\n    - {}\nkind: List\n"
)
TEXTS += [YAML, f"---\n{YAML}---\n{YAML.replace('name: ', 'name: x')}"]


def survives(data: bytes) -> None:
    """Nothing but an InputError whose every problem names the file, and so with skipping."""
    for skip_invalid in (False, True):
        try:
            loaded = load(["-"], stdin=io.BytesIO(data), skip_invalid=skip_invalid)
            problems = (*loaded.warnings, *loaded.skipped)
        except InputError as error:
            problems = error.problems
            assert problems
        for problem in problems:
            assert problem.file == "<stdin>"
            assert str(problem).isprintable() or "\n" not in str(problem)


@pytest.fixture(params=[0, formats.BULK], ids=["fast", "strict"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small YAML through both of its readers."""
    monkeypatch.setattr(formats, "BULK", request.param)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    survives(data)


@given(st.text("ab:- \n\t'\"{}[],&*!|>#%@`?~\x00\x85\ufeff\u2028é", max_size=60))
def test_any_text(text: str) -> None:
    survives(text.encode())


@settings(max_examples=400)
@given(st.sampled_from(TEXTS), st.data())
def test_texts_that_end_early_or_are_damaged(text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    how = data.draw(st.integers(0, 3))
    if how == 0:
        del raw[at:]
    elif how == 1:
        raw[at] = data.draw(st.integers(0, 255))
    elif how == 2:
        del raw[at : at + data.draw(st.integers(1, 20))]
    else:
        raw[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    survives(bytes(raw))


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "10.0.0.0/8",
    "a/b",
    [],
    [None],
    ["x"],
    [[]],
    {},
]
ODD += [{"a": None}, {"": {}}, [{}], {"kind": 1}, "\ud83d", "é" * 70, {"items": 1}]
ANYTHING = st.sampled_from(ODD)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key of a value."""
    found = []
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inner:
        found.append((value, key))
        if isinstance(part, dict | list):
            found += places(part)
    return found


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0), ANYTHING), min_size=1, max_size=3))
def test_any_value_in_any_field(changes: list[tuple[int, Any]]) -> None:
    value = json.loads(json.dumps(LIST))
    for number, new in changes:
        found = places(value)
        container, key = found[number % len(found)]
        container[key] = copy.deepcopy(new)
    survives(json.dumps(value).encode())
    survives(json.dumps(value, indent=1).replace("{", " {").encode())


DEEP = 100_000
HARD = [
    b"[" * DEEP,
    b"{" * (DEEP // 10),  # libyaml's time for these is quadratic
    b'{"a":' * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b'{"apiVersion":"v1","kind":"Pod","metadata":' + b"[" * DEEP,
    b'{"apiVersion":"v1","kind":"List","items":[' + b"[" * DEEP + b"]" * DEEP + b"]}",
    b"- " * DEEP,
    b"? " * DEEP,
    b"&a " * DEEP,
    b"!a " * DEEP,
    b"a: " * DEEP,
    b"\n".join(b" " * n + b"a:" for n in range(1000)),
    b"a: &a [*a]",
    b"a: &a\n  b: *a\n",
    b"<<: *a\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x00" * 1000,
    b"\r" * 1000,
    b"---\n" * 10_000,
    b"%YAML 3.0\n---\na: b\n",
    b"%TAG ! tag:x,2000:\n---\n!a b\n",
    b'{"a":1}{"a":1}{',
    b'{"a":1}\n]',
    b'{"apiVersion":"v1","kind":"List","items":null}',
    b"apiVersion: v1\nkind: List\nitems:\n-\n-\n",
    b"apiVersion: v1\nkind: List\nitems:\n- a\n- 1\n- []\n",
    b'{"apiVersion":"v1","kind":"List","items":["a",1,[]]}',
    b"x: " + b"9" * 100_000,
    b"x: \xed\xa0\x80",
    b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"\\ud800"}}',
    b"apiVersion: v1\nkind: Pod\nmetadata: {name: .inf}\n",
    b"apiVersion: v1\nkind: Pod\nmetadata: {name: 99999999999999999999999999999999}\n",
]


@pytest.mark.parametrize("data", HARD, ids=lambda data: repr(data[:25]))
def test_hard_cases(data: bytes) -> None:
    survives(data)


def test_an_alias_bomb() -> None:
    lines = ["a0: &a0 {x: x}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    survives("\n".join(lines).encode())


def test_many_errors_do_not_take_long() -> None:
    random.seed(1)
    items = [{**POD, "metadata": {"name": f"p{n}", "labels": {"a": n}}} for n in range(3000)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)
    loaded = load_text(text, skip_invalid=True)
    lines = text.splitlines()
    assert len(loaded.skipped) == 3000
    for number in random.sample(range(3000), 20):
        assert lines[loaded.skipped[number].line - 1].strip() == f'"a": {number}'
