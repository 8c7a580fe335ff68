"""The rules of ``lint``: why each matters, an example, and the fix."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from kubeverdict.analyses.findings import Check
from kubeverdict.analyses.lint.examples import EXAMPLES
from kubeverdict.render.json import document
from kubeverdict.render.style import Style

_HEADING = """# The rules of `kubeverdict lint`

A rule is turned off by `--disable RULE`, by `disable` below `[lint]` in `kubeverdict.toml`, or for
one policy by the annotation `kubeverdict.io/lint-disable.RULE`, whose value says why. A severity is
that of most findings of a rule; some weigh less. `kubeverdict lint --list-rules -o md` writes this
page."""


def table(rules: Iterable[Check], style: Style) -> str:
    return "\n\n".join(_rule(rule, style) for rule in rules)


def _rule(rule: Check, style: Style) -> str:
    lines = [f"{rule.severity.value:7}  {style.paint(rule.id, 'bold')}"]
    lines += [_line(rule.title), _line(f"why: {rule.why}"), _line(f"fix: {rule.fix}")]
    return "\n".join([*lines, textwrap.indent(_example(rule), "    ")])


def _line(text: str) -> str:
    return textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="    ")


def _example(rule: Check) -> str:
    return EXAMPLES[rule.id].strip("\n")


def md(rules: Iterable[Check], style: Style) -> str:
    sections = [
        f"## {rule.id}\n\n"
        f"**{rule.severity.value}**: {rule.title}.\n\n"
        f"{rule.why}\n\n"
        f"```yaml\n{_example(rule)}\n```\n\n"
        f"Fix: {rule.fix}"
        for rule in rules
    ]
    return "\n\n".join([_HEADING, *sections])


def json(rules: Iterable[Check], style: Style) -> str:
    listed = [
        {
            "id": rule.id,
            "severity": rule.severity.value,
            "title": rule.title,
            "why": rule.why,
            "example": _example(rule),
            "fix": rule.fix,
        }
        for rule in rules
    ]
    return document("lint-rules", {"rules": listed})
