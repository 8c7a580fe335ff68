"""``-n``: where objects are that have no namespace, in every verb that reads manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Done, run

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: data, labels: {app: db}}
status: {phase: Running, podIP: 10.0.0.2}
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Egress]}
"""
ASSERTIONS = "assertions: [{name: out, allow: {from: shop/web, to: data/db}, ports: 80}]"
FLOWS = '{"source": "shop/web", "destination": "data/db", "port": 80}\n'


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "pods.yaml").write_text(PODS)
    (tmp_path / "both.yaml").write_text(f"{PODS}---{POLICY}")
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "assertions.yaml").write_text(ASSERTIONS)
    (tmp_path / "flows.jsonl").write_text(FLOWS)
    apply = "- name: close\n  changes: [{apply: policy.yaml}]\n"
    (tmp_path / "scenarios.yaml").write_text(apply)
    return tmp_path


def asked(here: Path, *arguments: str) -> Done:
    return run(*arguments, "-n", "shop", folder=here)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("explain -f both.yaml --from shop/web --to data/db --port 80", "policy shop/closed"),
        ("list -f both.yaml --pods", "shop/web"),
        ("diff pods.yaml both.yaml", "shop/web"),
        ("whatif -f pods.yaml --apply policy.yaml", "shop/closed"),
        ("bulk -f both.yaml --delete-each", "networkpolicy/shop/closed"),
        ("bulk -f pods.yaml --apply-each policy.yaml", "networkpolicy/shop/closed"),
        ("bulk -f pods.yaml --rollout policy.yaml", "networkpolicy/shop/closed"),
        ("bulk -f pods.yaml --scenarios scenarios.yaml", "shop/web"),
        ("lint -f both.yaml", "NetworkPolicy shop/closed"),
        ("verify -f both.yaml --assertions assertions.yaml", "shop/closed"),
        ("replay -f pods.yaml --apply policy.yaml --flows flows.jsonl", "shop/closed"),
        ("recommend -f pods.yaml --flows flows.jsonl -o yaml", "namespace: shop"),
    ],
)
def test_objects_without_a_namespace_are_in_it(here: Path, arguments: str, expected: str) -> None:
    done = asked(here, *arguments.split())
    assert done.status in (0, 1), done.err
    assert expected in done.out
    assert "default/" not in done.out


def test_a_snapshot_keeps_it(here: Path) -> None:
    assert asked(here, "snapshot", "-f", "both.yaml", "-o", "both.kvs").status == 0
    done = run("list", "-f", "both.kvs", "-o", "json", folder=here)
    ends = {one["destination"] for one in json.loads(done.out)["connections"]}
    assert "shop/web[Pod]" in ends
    assert "default/web[Pod]" not in ends


def test_without_it_they_are_in_the_namespace_default(here: Path) -> None:
    done = run("bulk", "-f", "both.yaml", "--delete-each", folder=here)
    assert "networkpolicy/default/closed" in done.out


def test_where_it_has_no_effect_it_says_so(here: Path) -> None:
    (here / "placed.yaml").write_text(PODS.replace("{name: web,", "{name: web, namespace: shop,"))
    done = run("list", "-f", "placed.yaml", "-n", "data", folder=here)
    assert "note: -n data has no effect" in done.err
    assert "--in-namespace" in done.err
    assert "has no effect" not in asked(here, "list", "-f", "pods.yaml").err


def test_a_name_that_is_none_is_wrong_usage(here: Path) -> None:
    done = run("list", "-f", "pods.yaml", "-n", "Shop_1", folder=here)
    assert (done.status, done.out) == (2, "")
    assert 'error: namespace "Shop_1": a lowercase RFC 1123 label' in done.err
