"""Assertions about Services: each stands for what a connection ends at."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeverdict.analyses.verify.report import Verification
from kubeverdict.analyses.verify.verifying import verify
from kubeverdict.manifests.assertions import read_assertions
from kubeverdict.model.profile import PROFILES
from tests.services import inputs


def judge(folder: Path, text: str, cni: str = "reference", anyone: bool = False) -> Verification:
    path = folder / "asked.yaml"
    path.write_text(f"assertions:\n- {{name: asked, {text}}}\n")
    names = ("database", "balancer", "apiserver", "apiserver-slice", "apiserver-policy")
    compiled = inputs.compiled(names, PROFILES[cni])
    return verify(compiled, read_assertions([str(path)]), anyone=anyone)


WEB_TO = "{from: shop/web, to: "


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"allow: {WEB_TO}10.96.0.20}}, ports: [80]", "holds"),
        (f"deny: {WEB_TO}10.96.0.20}}, ports: [80]", "violated"),
        (f"allow: {WEB_TO}10.96.0.20}}", "holds"),
        (f"allow: {WEB_TO}svc/shop/db}}", "holds"),
        (f"allow: {WEB_TO}svc/shop/alias}}, ports: [80]", "holds"),
        (f"allow: {WEB_TO}198.51.100.9}}, ports: [80]", "holds"),
        (f"allow: {WEB_TO}203.0.113.50}}, ports: [80]", "holds"),
        (f"allow: {WEB_TO}192.168.1.2}}, ports: [30080]", "holds"),
        (f"deny: {WEB_TO}svc/shop/each}}, ports: [80]", "holds"),
        (f"allow: {WEB_TO}svc/shop/each}}, ports: [8080]", "holds"),
        (f"allow: {WEB_TO}svc/shop/each}}", "holds"),
        ("deny: {from: 192.168.1.2, to: svc/shop/local}", "violated"),
        # A node on other ports, and a balancer that forwards itself, are addresses.
        (f"deny: {WEB_TO}192.168.1.2}}, ports: [22]", "holds"),
        (f"deny: {WEB_TO}203.0.113.51}}, ports: [80]", "holds"),
        ("allow: {from: ops/controller, to: 10.96.0.1}, ports: [443]", "holds"),
        ("deny: {from: ops/controller, to: 10.96.0.1}, ports: [https]", "violated"),
        # Others than the one get there too: nothing isolates the database.
        ("only: {from: shop/web}, to: svc/shop/db", "violated"),
        ("only: {to: 10.96.0.20}, from: shop/web, ports: [8080]", "holds"),
        ("only: {to: 10.96.0.1}, from: shop/web, ports: [8080]", "violated"),
    ],
)
def test_the_backends_are_asked(tmp_path: Path, text: str, status: str) -> None:
    (result,) = judge(tmp_path, text).results
    assert (result.status, result.error) == (status, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"allow: {WEB_TO}10.96.0.20}}, ports: [81]", "10.96.0.20 has no such port; it has 80/TCP"),
        (f"deny: {WEB_TO}svc/shop/db}}, ports: [81]", "svc/shop/db has no such port"),
        (f"deny: {WEB_TO}svc/shop/gone}}", "no Service shop/gone in the input"),
        (f"deny: {WEB_TO}svc/shop/elsewhere}}", "a name for db.example.com outside"),
        (f"allow: {WEB_TO}svc/shop/local}}", "no backend on the nodes of these sources"),
        ("deny: {from: 10.96.0.20, to: shop/web}", "a Service opens no connections"),
    ],
)
def test_what_no_policy_decides_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (result,) = judge(tmp_path, text).results
    assert result.status == "error" and message in result.error


def test_egress_that_is_judged_before_translation_is_left_to_the_pods(tmp_path: Path) -> None:
    (result,) = judge(tmp_path, f"allow: {WEB_TO}svc/shop/db}}", "aws-vpc-cni").results
    assert result.status == "error" and "name its pods" in result.error


def test_what_is_not_known_is_noted(tmp_path: Path) -> None:
    report = judge(tmp_path, f"allow: {WEB_TO}203.0.113.50}}, ports: [80]")
    assert any("source address" in note for note in report.notes)
    assert not judge(tmp_path, f"allow: {WEB_TO}10.96.0.20}}, ports: [80]").notes


def test_new_pods_are_like_the_backends(tmp_path: Path) -> None:
    (result,) = judge(tmp_path, "only: {from: shop/web}, to: svc/shop/db", anyone=True).results
    new = [one for one in result.violations if one.new_destination]
    assert new and all(str(one.ports) == "TCP 8080" for one in new)
