"""The JSON of every verb is a contract: these tests pin it, field by field."""

from __future__ import annotations

import json

from msgspec.structs import replace

from kubeverdict.render import json as renderer
from kubeverdict.render import render
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()
RULE = {
    "kind": "NetworkPolicy",
    "policy": "data/allow-web",
    "field": "spec.ingress[0]",
    "file": "data.yaml",
    "line": 44,
    "action": "allow",
}
DENY = {"kind": "NetworkPolicy", "policy": "data/deny", "file": "data.yaml", "line": 3}


def test_list() -> None:
    assert json.loads(render("list", "json", reports.CONNECTIONS, PLAIN)) == {
        "schema": "kubeverdict/list/v2",
        "connections": [
            {
                "source": "shop/web[Deployment]",
                "destination": "data/db[StatefulSet]",
                "ports": {"TCP": "5432"},
            },
            {
                "source": "shop/web[Deployment]",
                "destination": "0.0.0.0/0",
                "ports": {"TCP": "80,443-500", "UDP": "53"},
            },
            {
                "source": "0.0.0.0/0",
                "destination": "shop/web[Deployment]",
                "ports": "all",
            },
        ],
    }


def test_ranges_are_what_version_1_has() -> None:
    ranges = replace(reports.CONNECTIONS, by_range=True)
    assert json.loads(render("list", "json", ranges, PLAIN))["schema"] == "kubeverdict/list/v1"
    changes = replace(reports.DIFFERENCES, by_range=True)
    assert json.loads(render("diff", "json", changes, PLAIN))["schema"] == "kubeverdict/diff/v1"


def test_no_connections() -> None:
    nothing = replace(reports.CONNECTIONS, fans=())
    assert json.loads(render("list", "json", nothing, PLAIN))["connections"] == []


def test_a_family_is_named_only_where_families_differ() -> None:
    content = json.loads(render("list", "json", reports.FAMILIES, PLAIN))
    assert content["connections"][0]["family"] == "IPv4"


def test_diff() -> None:
    assert json.loads(renderer.differences(reports.DIFFERENCES, PLAIN)) == {
        "schema": "kubeverdict/diff/v2",
        "profiles": {"old": "reference", "new": "reference"},
        "added": [
            {
                "source": "shop/web[Deployment]",
                "destination": "data/db[StatefulSet]",
                "ports": {"TCP": "5432"},
            }
        ],
        "removed": [
            {
                "source": "shop/web[Deployment]",
                "destination": "0.0.0.0/0",
                "ports": "all",
            }
        ],
        "changed": [
            {
                "source": "0.0.0.0/0",
                "destination": "shop/web[Deployment]",
                "before": {"TCP": "5432"},
                "after": {"TCP": "80,443-500", "UDP": "53"},
            }
        ],
        "workloads": {"added": ["shop/web[Deployment]"], "removed": []},
    }


def test_explain_denied() -> None:
    assert json.loads(renderer.explanation(reports.DENIED, PLAIN)) == {
        "schema": "kubeverdict/explain/v1",
        "profile": "reference",
        "source": "shop/web[Deployment]",
        "destination": "data/db-0",
        "port": "80",
        "allowed": False,
        "answers": [
            {
                "sources": ["shop/web-0", "shop/web-1"],
                "destinations": ["data/db-0"],
                "protocol": "TCP",
                "port": 80,
                "allowed": False,
                "egress": {"allowed": True, "reason": "not-isolated"},
                "ingress": {
                    "allowed": False,
                    "reason": "no-rule-matches",
                    "isolated_by": [
                        {
                            "kind": "NetworkPolicy",
                            "policy": "data/allow-web",
                            "file": "data.yaml",
                            "line": 40,
                            "nearest": {
                                "field": "spec.ingress[0]",
                                "line": 44,
                                "failures": [
                                    {
                                        "condition": "pod label",
                                        "wanted": "app=wep",
                                        "found": "app=web",
                                        "message": "peer wants app=wep, shop/web-0 has app=web",
                                        "closest": "web",
                                        "letters_off": 1,
                                    },
                                    {
                                        "condition": "port",
                                        "wanted": "TCP 5432",
                                        "found": "TCP 80",
                                        "message": "port 80 is not in TCP 5432",
                                    },
                                ],
                            },
                        },
                        DENY,
                    ],
                },
            }
        ],
        "notes": [],
    }


def test_explain_allowed_through_a_service() -> None:
    content = json.loads(renderer.explanation(reports.ALLOWED, PLAIN))
    assert content["allowed"] is True
    assert content["answers"] == [
        {
            "sources": ["shop/web-0"],
            "destinations": ["data/db-0"],
            "protocol": "TCP",
            "port": 5432,
            "family": "IPv6",
            "service_port": "sql 5432/TCP",
            "allowed": True,
            "egress": {"allowed": True, "reason": "not-isolated"},
            "ingress": {"allowed": True, "reason": "rule", "rule": RULE},
        }
    ]


def test_whatif() -> None:
    assert json.loads(renderer.whatif(reports.WHATIF, PLAIN)) == {
        "schema": "kubeverdict/whatif/v2",
        "profile": "reference",
        "pod_pairs": [
            {"families": ["IPv4", "IPv6"], "before": 10, "after": 14, "opened": 4, "closed": 0}
        ],
        "opened": [
            {
                "source": "shop/web[Deployment]",
                "destination": "data/db[StatefulSet]",
                "ports": {"TCP": "5432"},
                "pod_pairs": 4,
                "before": {
                    "allowed": False,
                    "egress": {"allowed": True, "reason": "not-isolated"},
                    "ingress": {
                        "allowed": False,
                        "reason": "no-rule-matches",
                        "isolated_by": [DENY],
                    },
                },
                "after": {
                    "allowed": True,
                    "egress": {"allowed": True, "reason": "not-isolated"},
                    "ingress": {"allowed": True, "reason": "rule", "rule": RULE},
                },
            }
        ],
        "closed": [],
    }


def test_a_time_at_which_an_end_does_not_exist_is_null() -> None:
    (effect,) = reports.WHATIF.opened
    appeared = replace(reports.WHATIF, opened=(replace(effect, before=None),))
    content = json.loads(renderer.whatif(appeared, PLAIN))
    assert content["opened"][0]["before"] is None
