"""Findings as CI systems read them."""

from __future__ import annotations

import json
from xml.etree.ElementTree import fromstring

import msgspec

from kubeverdict import __version__
from kubeverdict.analyses.findings import Check, Finding, Severity
from kubeverdict.model.unevaluated import Unevaluated
from kubeverdict.render import github, junit, md, sarif
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()


class Report(msgspec.Struct, frozen=True):
    verb: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    unevaluated: tuple[Unevaluated, ...] = ()


DNS = Check("dns-blocked", "DNS cannot be reached", Severity.ERROR, "Names do not resolve.")
BROAD = Check("too-broad", "a peer is too broad", Severity.WARNING)
INTENT = Check("no-owner", "an annotation is missing", Severity.NOTE)
OFF = Check("cni", "CNIs differ", Severity.WARNING, skipped="no second CNI was named")
WRITTEN = Check("pci", "only the gateway", file="checks.yaml", line=7)
REPORT = Report(
    "lint",
    (DNS, BROAD, INTENT, OFF, WRITTEN),
    (
        Finding(
            "dns-blocked",
            Severity.ERROR,
            "3 pods cannot reach DNS\nover TCP 53",
            "shop/policies 1%.yaml",
            12,
            ("NetworkPolicy shop/deny", "Deployment shop/web"),
            "Names do not resolve.",
            "Allow TCP 53 too.",
        ),
        Finding("dns-blocked", Severity.WARNING, "1 pod cannot", "/abs/b.yaml"),
        Finding("no-owner", Severity.NOTE, "no annotation owner\x00", "a:b,c.yaml", 3),
    ),
)


def test_sarif() -> None:
    log = json.loads(sarif.findings(REPORT, PLAIN))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("kubeverdict", __version__)
    assert [rule["id"] for rule in driver["rules"]] == [
        *("dns-blocked", "too-broad", "no-owner", "pci")
    ]
    assert driver["rules"][0] == {
        "id": "dns-blocked",
        "shortDescription": {"text": "DNS cannot be reached"},
        "fullDescription": {"text": "Names do not resolve."},
        "defaultConfiguration": {"level": "error"},
    }
    first, second, third = run["results"]
    assert first == {
        "ruleId": "dns-blocked",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "3 pods cannot reach DNS\nover TCP 53\nAllow TCP 53 too."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "shop/policies%201%25.yaml"},
                    "region": {"startLine": 12},
                },
                "logicalLocations": [
                    {"fullyQualifiedName": "NetworkPolicy shop/deny", "kind": "resource"},
                    {"fullyQualifiedName": "Deployment shop/web", "kind": "resource"},
                ],
            }
        ],
    }
    place = second["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "file:///abs/b.yaml"}}
    assert (third["ruleIndex"], third["level"]) == (2, "note")


def test_sarif_of_a_finding_without_a_place() -> None:
    nowhere = Finding("pci", Severity.ERROR, "open", objects=("Pod a/b",), fix="Close it.")
    there = Finding("pci", Severity.ERROR, "wide", "a.yaml")
    report = Report("verify", (WRITTEN,), (nowhere, there))
    (run,) = json.loads(sarif.findings(report, PLAIN))["runs"]
    # Code hosts refuse everything where one result has no file.
    (result,) = run["results"]
    assert result["message"] == {"text": "wide"}
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "toolExecutionNotifications": [
                {
                    "associatedRule": {"id": "pci", "index": 0},
                    "level": "error",
                    "message": {"text": "open\nClose it."},
                    "locations": [
                        {
                            "logicalLocations": [
                                {"fullyQualifiedName": "Pod a/b", "kind": "resource"}
                            ]
                        }
                    ],
                }
            ],
        }
    ]
    assert run["automationDetails"] == {"id": "kubeverdict/verify/"}


def test_sarif_of_a_check_without_a_title() -> None:
    report = Report("verify", (Check("pci", ""),), ())
    (run,) = json.loads(sarif.findings(report, PLAIN))["runs"]
    assert run["tool"]["driver"]["rules"][0]["shortDescription"] == {"text": "pci"}
    assert "invocations" not in run


def test_cells_are_one_line() -> None:
    assert md.cell("3 pods\n  cannot | reach\tDNS\r\n") == "3 pods cannot \\| reach DNS"


def test_junit_has_a_case_for_each_check() -> None:
    root = fromstring(junit.findings(REPORT, PLAIN).encode())
    (suite,) = root
    for element in (root, suite):
        assert element.attrib == {
            "name": "kubeverdict lint",
            "tests": "5",
            "failures": "1",
            "errors": "0",
            "skipped": "1",
        }
    dns, broad, intent, off, written = suite
    assert dns.attrib == {
        "classname": "kubeverdict.lint",
        "name": "dns-blocked: DNS cannot be reached",
    }
    (failure,) = dns
    assert failure.attrib == {"message": "3 pods cannot reach DNS (and 1 more)", "type": "error"}
    assert failure.text == (
        "shop/policies 1%.yaml:12: 3 pods cannot reach DNS\nover TCP 53\n"
        "objects: NetworkPolicy shop/deny, Deployment shop/web\n"
        "why: Names do not resolve.\nfix: Allow TCP 53 too.\n\n"
        "/abs/b.yaml: 1 pod cannot"
    )
    assert len(broad) == 0
    assert [(part.tag, part.text) for part in intent] == [
        ("system-out", "a:b,c.yaml:3: no annotation owner\ufffd")
    ]
    assert [(part.tag, part.attrib) for part in off] == [
        ("skipped", {"message": "no second CNI was named"})
    ]
    assert (written.attrib["file"], written.attrib["line"]) == ("checks.yaml", "7")


def test_github() -> None:
    first, second, third = github.findings(REPORT, PLAIN).split("\n")
    assert first == (
        "::error file=shop/policies 1%25.yaml,line=12,title=kubeverdict lint%3A dns-blocked::"
        "3 pods cannot reach DNS%0Aover TCP 53%0ANames do not resolve.%0AAllow TCP 53 too."
    )
    assert second.startswith("::warning file=/abs/b.yaml,title=")
    assert third.startswith("::notice file=a%3Ab%2Cc.yaml,line=3,title=")


def test_what_does_not_show_the_place_names_the_object() -> None:
    """In a dump without line ends every place is line 1."""
    one = Finding(
        "dns-blocked",
        Severity.ERROR,
        "isolates all",
        "dump.json",
        1,
        about="NetworkPolicy shop/deny",
        fingerprint="0123456789abcdef",
    )
    report = Report("lint", (DNS,), (one,))
    assert "::NetworkPolicy shop/deny: isolates all" in github.findings(report, PLAIN)
    (result,) = json.loads(sarif.findings(report, PLAIN))["runs"][0]["results"]
    assert result["message"]["text"] == "NetworkPolicy shop/deny: isolates all"
    assert result["partialFingerprints"] == {"kubeverdict/v1": "0123456789abcdef"}
    (suite,) = fromstring(junit.findings(report, PLAIN).encode())
    assert suite[0][0].attrib["message"] == "NetworkPolicy shop/deny: isolates all"


def test_nothing_found() -> None:
    report = Report("lint", (DNS,), ())
    assert json.loads(sarif.findings(report, PLAIN))["runs"][0]["results"] == []
    (suite,) = fromstring(junit.findings(report, PLAIN).encode())
    assert (suite.attrib["failures"], len(suite[0])) == ("0", 0)
    assert github.findings(report, PLAIN) == ""


def test_github_and_sarif_of_a_change() -> None:
    told = github.findings(reports.WHATIF, PLAIN)
    assert told == (
        "::warning file=data.yaml,line=44,title=kubeverdict whatif%3A connection-opened::"
        "opens shop/web[Deployment] to data/db[StatefulSet], TCP 5432 (4 pod pairs)%0A"
        "before: denied: ingress is isolated by data/deny (data.yaml:3); no rule matches%0A"
        "after: allowed: ingress allowed by data/allow-web spec.ingress[0] (data.yaml:44)"
    )
    (run,) = json.loads(sarif.findings(reports.WHATIF, PLAIN))["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        *("connection-opened", "connection-closed")
    ]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("connection-opened", "warning")
    (place,) = result["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "data.yaml"},
        "region": {"startLine": 44},
    }
    (policy,) = place["logicalLocations"]
    assert policy["fullyQualifiedName"] == "NetworkPolicy data/allow-web"
    assert run["automationDetails"] == {"id": "kubeverdict/whatif/"}
    assert json.loads(sarif.findings(reports.NOTHING, PLAIN))["runs"][0]["results"] == []
    assert github.findings(reports.NOTHING, PLAIN) == ""


def test_md_of_a_change() -> None:
    lines = md.whatif(reports.WHATIF, PLAIN).splitlines()
    assert lines[0] == "### Network policy: opens 1 connection, closes 0 connections"
    assert lines[2] == "opens ports between 4 pod pairs, closes ports between 0; 10 → 14 connected"
    assert lines[4].startswith("| change | source | destination | ports | pod pairs | before |")
    assert lines[6] == (
        "| opens | shop/web\\[Deployment\\] | data/db\\[StatefulSet\\] | TCP 5432 | 4 | "
        "denied: ingress is isolated by data/deny (data.yaml:3); no rule matches | "
        "allowed: ingress allowed by data/allow-web spec.ingress\\[0\\] (data.yaml:44) |"
    )
    assert md.whatif(reports.NOTHING, PLAIN).endswith("1 pod pair connected")
    many = msgspec.structs.replace(reports.WHATIF, opened=reports.WHATIF.opened * 103)
    assert md.whatif(many, PLAIN).endswith("\n\nand 3 more connections (`-o json` has all)")
