"""Annotations of GitHub Actions: workflow commands that put a finding beside its line.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from kubeverdict.analyses.findings import Checked, Finding, Severity
from kubeverdict.analyses.unevaluated import sentences
from kubeverdict.render.style import Style

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def findings(report: Checked, style: Style) -> str:
    """A command for each finding, and for what was not evaluated; nothing where there is none."""
    title = f"title={_property(f'kubeverdict {report.verb}: not evaluated')}"
    unevaluated = [f"::warning {title}::{_data(text)}" for text in sentences(report.unevaluated)]
    return "\n".join([*(_command(report.verb, one) for one in report.findings), *unevaluated])


def _command(verb: str, one: Finding) -> str:
    properties = {"file": one.file, "line": str(one.line) if one.line else ""}
    properties["title"] = f"kubeverdict {verb}: {one.id}"
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    text = "\n".join(part for part in (one.text, one.why, one.fix) if part)
    return f"::{_COMMANDS[one.severity]} {given}::{_data(text)}"


def _data(text: str) -> str:
    """A line end would end the command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A comma or a colon would end the property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
