"""Each rule has a case in which it fires, at the lines marked so, and one in which it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeverdict.analyses.findings import Finding
from kubeverdict.analyses.lint import RULES, LintSettings
from tests.analyses.lint.reading import lint_files

FIXTURES = Path(__file__).parents[2] / "fixtures" / "lint"
CLUSTER = FIXTURES / "cluster.yaml"
SETTINGS = LintSettings(required_annotations=("owner", "description"))
MARK = "# finds"
IDS = [rule.id for rule in RULES]


def findings(case: Path) -> list[Finding]:
    """What the rule named by the folder finds in a case. Its first line may name CNIs."""
    first = case.read_text().partition("\n")[0]
    cnis = first.removeprefix("# cni:").split() if first.startswith("# cni:") else ["reference"]
    report = lint_files([str(CLUSTER), str(case)], SETTINGS, cnis)
    return [one for one in report.findings if one.id == case.parent.name]


def test_every_rule_has_both_cases_and_no_case_is_of_no_rule() -> None:
    assert sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()) == sorted(IDS)
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("rule", IDS)
def test_it_fires_where_it_should(rule: str) -> None:
    case = FIXTURES / rule / "fires.yaml"
    lines = case.read_text().split("\n")
    marked = [number for number, line in enumerate(lines, start=1) if MARK in line]
    found = findings(case)
    assert marked
    assert [(one.file, one.line) for one in found] == [(str(case), line) for line in marked]
    for one in found:
        assert one.message and one.why and one.fix and one.objects


@pytest.mark.parametrize("rule", IDS)
def test_it_is_silent_where_it_must_not(rule: str) -> None:
    assert findings(FIXTURES / rule / "clean.yaml") == []
