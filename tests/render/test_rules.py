"""What ``lint`` looks for, as it is listed; the page of it in ``docs/`` is current."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kubeverdict.analyses.findings import Check
from kubeverdict.analyses.lint import RULES
from kubeverdict.analyses.lint.examples import EXAMPLES
from kubeverdict.render import rules
from kubeverdict.render.style import Style

PAGE = Path(__file__).parents[2] / "docs" / "lint-rules.md"


def test_the_page_is_what_the_command_writes() -> None:
    text = rules.md(RULES, Style())
    assert f"{text}\n" == PAGE.read_text("utf-8"), "run kubeverdict lint --list-rules -o md"


def test_every_rule_has_an_example() -> None:
    assert list(EXAMPLES) == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_examples_are_yaml_and_everything_fits_a_terminal(rule: Check) -> None:
    assert isinstance(yaml.safe_load(EXAMPLES[rule.id]), dict)
    text = rules.table([rule], Style())
    assert max(map(len, text.split("\n"))) <= 80
    assert all(part in " ".join(text.split()) for part in (rule.id, rule.why, rule.fix))


def test_json() -> None:
    listed = json.loads(rules.json(RULES, Style()))
    assert listed["schema"] == "kubeverdict/lint-rules/v1"
    assert len(listed["rules"]) == len(RULES)
    assert set(listed["rules"][0]) == {"id", "severity", "title", "why", "example", "fix"}
