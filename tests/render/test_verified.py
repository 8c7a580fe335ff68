"""What became of assertions, as text."""

from __future__ import annotations

import json

import pytest

from kubeverdict.render import FORMATS, render
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
    "    203.0.113.0/24 -> a new pod in dev without labels, port TCP 8080 named metrics, web "
    "TCP 8080 is allowed",
    "      egress is open: no policy is about an address; "
    "ingress allowed by shop/web spec.egress[0] (web.yaml:12)",
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
    assert closed["violations"][2]["new_destination"] == {
        "namespace": "dev",
        "labels": {},
        "port": "TCP 8080",
        "port_names": ["metrics", "web"],
    }
    assert closed["violations"][0]["family"] == "IPv6"
    assert mistyped["error"] == {"line": 10, "message": "from: no pod matches"}


@pytest.mark.parametrize("output", [name for name in FORMATS["verify"] if name != "json"])
def test_every_format_says_the_number_of_a_named_port(output: str) -> None:
    text = render("verify", output, VERIFICATION, Style(unicode=False))
    assert "port TCP 8080 named metrics, web" in text


def test_an_assertion_that_could_not_be_judged_fails_in_junit() -> None:
    text = render("verify", "junit", VERIFICATION, Style())
    assert 'failures="2"' in text
    assert 'message="from: no pod matches"' in text
