"""What ``lint`` found, as people and programs read it."""

from __future__ import annotations

import json

from msgspec.structs import replace

from kubeverdict.analyses.findings import Finding, Severity
from kubeverdict.analyses.lint import LintReport
from kubeverdict.analyses.lint.baseline import Compared, Known
from kubeverdict.render import lint
from kubeverdict.render.style import Style
from tests.render import reports

PLAIN = Style()


def test_the_table_goes_by_rule_and_says_once_what_findings_have_in_common() -> None:
    assert lint.table(reports.LINT, PLAIN) == (
        "error  dns-blocked: DNS\n"
        "  why: Names matter.\n"
        "    NetworkPolicy shop/deny  a.yaml:7\n"
        "      2 pods cannot\n"
        "      fix: Allow it.\n"
        "    a.yaml:9\n"
        "      1 pod cannot\n"
        "      fix: F.\n"
        "\n"
        "warning  peer-split: a split\n"
        "  fix: Fix.\n"
        "    Namespace shop\n"
        "      opens all\n"
        "\n"
        "2 errors, 1 warning, 0 notes in 1 file; 1 turned off by annotations"
    )


def many(*sizes: int) -> LintReport:
    """As many findings of one rule in each namespace, in one file without line ends."""
    findings = [
        Finding(
            "peer-split",
            Severity.NOTE,
            f"opens {number}",
            "dump.json",
            1,
            about=f"NetworkPolicy n{space}/p{number}",
        )
        for space, size in enumerate(sizes)
        for number in range(size)
    ]
    return replace(reports.LINT, findings=tuple(findings), suppressed=0)


def test_what_a_rule_finds_often_is_counted_by_namespace() -> None:
    assert lint.table(many(2, 9, 1, 5, 1, 1, 1, 1), PLAIN) == (
        "in dump.json\n"
        "\n"
        "note  peer-split: a split\n"
        "  21 findings in 8 namespaces\n"
        "    NetworkPolicy n1/p0\n"
        "      opens 0\n"
        "    NetworkPolicy n3/p0\n"
        "      opens 0\n"
        "    NetworkPolicy n0/p0\n"
        "      opens 0\n"
        "    and 18 more; findings by namespace: n1 9, n3 5, n0 2, n2 1, n4 1, n5 1, 2\n"
        "      more\n"
        "\n"
        "0 errors, 0 warnings, 21 notes in 1 file; 3 of 21 shown, --all shows every one"
    )
    whole = lint.table(replace(many(2, 9), whole=True), PLAIN)
    assert whole.count("opens") == 11 and "more" not in whole
    assert lint.table(many(4, 4), PLAIN).count("opens") == 8
    assert lint.md(many(2, 9), PLAIN).count("opens") == 2
    assert len(json.loads(lint.json(many(2, 9), PLAIN))["findings"]) == 11


def test_lines_fit_a_terminal() -> None:
    long = Finding("peer-split", Severity.NOTE, "word " * 60, "a.yaml", 1, about="x " * 50)
    report = replace(reports.LINT, findings=(long,))
    assert max(map(len, lint.table(report, PLAIN).split("\n"))) <= 80


def test_a_baseline_is_told_of() -> None:
    gone = Known("f", "peer-split", "NetworkPolicy shop/old", "opened all")
    report = replace(reports.LINT, findings=(), suppressed=0, compared=Compared(7, (gone,)))
    assert lint.table(report, PLAIN) == (
        "known and gone: 1 finding\n"
        "  peer-split  NetworkPolicy shop/old\n"
        "\n"
        "no new findings; 7 known"
    )
    assert json.loads(lint.json(report, PLAIN))["baseline"] == {
        "known": 7,
        "gone": [
            {
                "fingerprint": "f",
                "id": "peer-split",
                "object": "NetworkPolicy shop/old",
                "message": "opened all",
            }
        ],
    }
    one = replace(reports.LINT, compared=Compared(7, ()))
    assert lint.summary(one).startswith("new: 2 errors, 1 warning, 0 notes in 1 file; 7 known")


def test_colours_go_by_severity() -> None:
    text = lint.table(reports.LINT, Style(color=True))
    assert "\x1b[31merror" in text and "\x1b[33mwarning" in text


def test_markdown() -> None:
    lines = lint.md(reports.LINT, PLAIN).split("\n")
    assert lines[0] == "| severity | rule | where | object | finding | fix |"
    assert lines[2] == (
        "| error | dns-blocked | a.yaml:7 | NetworkPolicy shop/deny | 2 pods cannot | Allow it. |"
    )
    assert lines[-2:] == ["", "2 errors, 1 warning, 0 notes in 1 file; 1 turned off by annotations"]


def test_json() -> None:
    report = json.loads(lint.json(reports.LINT, PLAIN))
    assert report["schema"] == "kubeverdict/lint/v1"
    assert report["profile"] == "reference"
    assert report["summary"] == {"error": 2, "warning": 1, "note": 0, "suppressed": 1}
    assert report["findings"][1] == {
        "fingerprint": "0123456789abcdef",
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
