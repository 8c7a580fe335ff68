"""What ``lint`` found, as people and programs read it."""

from __future__ import annotations

import json

from msgspec.structs import replace

from kubeverdict.render import lint
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()


def test_the_table_says_once_why_a_rule_matters() -> None:
    assert lint.table(reports.LINT, PLAIN) == (
        "not in a file\n"
        "     -  warning  peer-split  Namespace shop\n"
        "        opens all\n"
        "        fix: Fix.\n"
        "\n"
        "a.yaml\n"
        "     7  error    dns-blocked  NetworkPolicy shop/deny\n"
        "        2 pods cannot\n"
        "        why: Names matter.\n"
        "        fix: Allow it.\n"
        "     9  error    dns-blocked\n"
        "        1 pod cannot\n"
        "        fix: F.\n"
        "\n"
        "2 errors, 1 warning, 0 notes in 1 file; 1 turned off by annotations"
    )


def test_colours_go_by_severity() -> None:
    text = lint.table(reports.LINT, Style(color=True))
    assert "\x1b[31merror" in text and "\x1b[33mwarning" in text


def test_markdown() -> None:
    lines = lint.md(reports.LINT, PLAIN).split("\n")
    assert lines[0] == "| severity | rule | where | object | finding | fix |"
    assert lines[3] == (
        "| error | dns-blocked | a.yaml:7 | NetworkPolicy shop/deny | 2 pods cannot | Allow it. |"
    )
    assert lines[-2:] == ["", "2 errors, 1 warning, 0 notes in 1 file; 1 turned off by annotations"]


def test_json() -> None:
    report = json.loads(lint.json(reports.LINT, PLAIN))
    assert report["schema"] == "kubeverdict/lint/v1"
    assert report["profile"] == "reference"
    assert report["summary"] == {"error": 2, "warning": 1, "note": 0, "suppressed": 1}
    assert report["findings"][1] == {
        "id": "dns-blocked",
        "severity": "error",
        "file": "a.yaml",
        "line": 7,
        "objects": ["NetworkPolicy shop/deny", "Deployment shop/web"],
        "message": "2 pods cannot",
        "why": "Names matter.",
        "fix": "Allow it.",
    }
    assert (report["findings"][0]["file"], report["findings"][0]["line"]) == (None, None)


def test_nothing_found() -> None:
    report = replace(reports.LINT, findings=(), suppressed=0)
    assert lint.table(report, PLAIN) == lint.md(report, PLAIN) == "no findings"
