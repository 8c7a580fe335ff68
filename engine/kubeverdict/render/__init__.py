"""Reports as text, one output format per module.

In: a report of :mod:`kubeverdict.analyses` and what the output device can show. Out: text without a
final line end, in one piece or, where it may be large, in many. ``FORMATS`` is the whole list of
verbs and formats; the first of a verb is its default. A renderer is imported
when it is used, as most of them never are.

Decided: tables and trees of our own, some tens of lines each. Rejected: rich for them; importing
it takes a quarter of the time in which a small question is answered, and output that is piped
must not depend on the width of a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from kubeverdict.render import unevaluated
from kubeverdict.render.style import Style

FORMATS: dict[str, dict[str, str]] = {
    "explain": {"tree": "tree.explanation", "json": "json.explanation"},
    "list": {
        "table": "table.connections",
        "json": "json.connections",
        "csv": "csv.connections",
        "md": "md.connections",
        "dot": "dot.connections",
        "matrix": "matrix.connections",
        "svg": "svg.connections",
    },
    "diff": {
        "table": "table.differences",
        "json": "json.differences",
        "csv": "csv.differences",
        "md": "md.differences",
        "dot": "dot.differences",
        "matrix": "matrix.differences",
        "svg": "svg.differences",
    },
    "whatif": {
        "tree": "tree.whatif",
        "json": "json.whatif",
        "md": "md.whatif",
        "svg": "svg.whatif",
        "sarif": "sarif.findings",
        "github": "github.findings",
    },
    "equal": {"text": "equal.text", "json": "equal.json", "md": "equal.md"},
    "bulk": {"table": "table.bulk", "jsonl": "jsonl.bulk", "csv": "csv.bulk", "md": "md.bulk"},
    "replay": {
        "table": "replay.table",
        "json": "replay.json",
        "csv": "replay.csv",
        "md": "replay.md",
    },
    "verify": {
        "table": "verify.table",
        "json": "verify.json",
        "md": "verify.md",
        "sarif": "sarif.findings",
        "junit": "junit.findings",
        "github": "github.findings",
    },
    "watch": {"text": "watch.text", "jsonl": "watch.jsonl"},
    "lint": {
        "table": "lint.table",
        "json": "lint.json",
        "md": "lint.md",
        "sarif": "sarif.findings",
        "junit": "junit.findings",
        "github": "github.findings",
    },
    # What lint looks for.
    "rules": {"table": "rules.table", "json": "rules.json", "md": "rules.md"},
    "recommend": {
        "table": "recommend.table",
        "yaml": "recommend.yaml",
        "json": "recommend.json",
        "md": "recommend.md",
    },
    "drift": {
        "table": "table.drift",
        "jsonl": "jsonl.drift",
        "csv": "csv.drift",
        "md": "md.drift",
    },
}


def render(verb: str, form: str, report: Any, style: Style) -> str:
    """The text of ``report`` in a format of ``FORMATS[verb]``."""
    return "".join(pieces(verb, form, report, style))


def pieces(verb: str, form: str, report: Any, style: Style) -> Iterator[str]:
    """The same in pieces, made one after the other where it may be large."""
    module, function = FORMATS[verb][form].split(".")
    renderer = getattr(import_module(f"kubeverdict.render.{module}"), function)
    text: str | Iterator[str] = renderer(report, style)
    yield from (text,) if isinstance(text, str) else text
    found = getattr(report, "unevaluated", ())
    if found:
        yield unevaluated.below(form, found, style)
