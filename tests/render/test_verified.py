"""What became of assertions, as text."""

from __future__ import annotations

import json

from kubeverdict.render import render
from kubeverdict.render.style import Style
from tests.render.verified import VERIFICATION

TABLE = (
    "ASSERTION  CLAIM      STATUS    POD PAIRS",
    "closed     deny       violated  1",
    "    dev/toy[Pod] -> shop/web[Deployment]{web-0} TCP 80,443 (IPv6) is allowed",
    "      egress is open: no policy isolates the pod; "
    "ingress allowed by shop/web spec.egress[0] (web.yaml:12)",
    "    a new pod in dev with app=toy, at 10.0.0.1 -> 203.0.113.0/24 all connections is allowed",
    "      egress is open: no policy isolates the pod; "
    "ingress is open: no policy is about an address",
    "open       allow      holds     -",
    "mistyped   only from  error     -",
    "    a.yaml:10: from: no pod matches",
    "",
    "3 assertions for any pod that could be created: 1 holds, 1 violated, 1 could not be judged",
)


def test_the_table() -> None:
    assert render("verify", "table", VERIFICATION, Style(unicode=False)) == "\n".join(TABLE)


def test_new_pods_in_json() -> None:
    report = json.loads(render("verify", "json", VERIFICATION, Style()))
    closed, _, mistyped = report["assertions"]
    assert closed["violations"][1]["new_source"] == {
        "namespace": "dev",
        "labels": {"app": "toy"},
        "address": "10.0.0.1",
    }
    assert "new_destination" not in closed["violations"][1]
    assert closed["violations"][0]["family"] == "IPv6"
    assert mistyped["error"] == {"line": 10, "message": "from: no pod matches"}


def test_an_assertion_that_could_not_be_judged_fails_in_junit() -> None:
    text = render("verify", "junit", VERIFICATION, Style())
    assert 'failures="2"' in text
    assert 'message="from: no pod matches"' in text
