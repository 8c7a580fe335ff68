from __future__ import annotations

from importlib import import_module

import pytest

from kubeverdict.analyses.equal import Equality
from kubeverdict.analyses.lint import RULES
from kubeverdict.render import FORMATS, render
from kubeverdict.render.style import Style
from tests.render import reports
from tests.render.replayed import RECOMMENDED, REPLAY
from tests.render.verified import VERIFICATION
from tests.render.watched import CLUSTER_CHANGE, WATCHED

REPORTS = {
    "explain": reports.DENIED,
    "list": reports.CONNECTIONS,
    "diff": reports.DIFFERENCES,
    "whatif": reports.WHATIF,
    "equal": Equality(
        profiles=("reference", "cilium"),
        counterexamples=reports.WHATIF.opened,
        different=len(reports.WHATIF.opened),
        doubts=("a doubt",),
        pods=3,
    ),
    "bulk": reports.RANKING,
    "drift": reports.DRIFT_RUN,
    "replay": REPLAY,
    "recommend": RECOMMENDED,
    "verify": VERIFICATION,
    "lint": reports.LINT,
    "rules": RULES,
    "watch": CLUSTER_CHANGE,
}
# What is written as it comes is a part of the report.
PARTS = {("bulk", "jsonl"): reports.RANKING.reports[0], ("drift", "jsonl"): reports.DRIFT}


@pytest.mark.parametrize(
    ("verb", "form"), [(verb, form) for verb, forms in FORMATS.items() for form in forms]
)
def test_every_format_of_every_verb_renders(verb: str, form: str) -> None:
    text = render(verb, form, PARTS.get((verb, form), REPORTS[verb]), Style())
    assert text and not text.endswith("\n")


@pytest.mark.parametrize("verb", FORMATS)
def test_a_format_is_a_module_with_its_verbs_or_a_verb_one_with_its_formats(verb: str) -> None:
    for form, name in FORMATS[verb].items():
        module, function = name.split(".")
        assert callable(getattr(import_module(f"kubeverdict.render.{module}"), function))
        assert module == form or (module, function) == (verb, form)


@pytest.mark.parametrize("form", FORMATS["watch"])
def test_whatever_is_watched_has_its_lines(form: str) -> None:
    texts = [render("watch", form, one, Style()) for one in WATCHED]
    assert len(set(texts)) == len(texts)
    assert all("\n" not in text for text in texts if form == "jsonl")


def test_a_large_change_is_shortened_for_people() -> None:
    text = render("watch", "text", CLUSTER_CHANGE, Style())
    assert "opens 2 more connections" in text
    assert (
        "NetworkPolicy.networking.k8s.io data/db changed by kubectl (resourceVersion 4711)" in text
    )
    assert "cannot be read: no CIDR" in text and "compiled anew: labels of a namespace" in text
