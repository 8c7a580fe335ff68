from __future__ import annotations

from importlib import import_module

import pytest

from kubeverdict.render import FORMATS, render
from kubeverdict.render.style import Style
from tests.render import reports

REPORTS = {
    "explain": reports.DENIED,
    "list": reports.CONNECTIONS,
    "diff": reports.DIFFERENCES,
    "whatif": reports.WHATIF,
    "bulk": reports.RANKING,
    "drift": reports.DRIFT_RUN,
}
# What is written as it comes is a part of the report.
PARTS = {("bulk", "jsonl"): reports.RANKING.reports[0], ("drift", "jsonl"): reports.DRIFT}


@pytest.mark.parametrize(
    ("verb", "form"), [(verb, form) for verb, forms in FORMATS.items() for form in forms]
)
def test_every_format_of_every_verb_renders(verb: str, form: str) -> None:
    text = render(verb, form, PARTS.get((verb, form), REPORTS[verb]), Style())
    assert text and not text.endswith("\n")


def test_every_format_is_a_module_of_its_own() -> None:
    modules = {name.split(".")[0] for forms in FORMATS.values() for name in forms.values()}
    for module in modules:
        import_module(f"kubeverdict.render.{module}")
    assert {form for forms in FORMATS.values() for form in forms} == modules
