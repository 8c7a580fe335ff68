"""Rankings as people read them."""

from __future__ import annotations

import json

from kubeverdict.render import render
from kubeverdict.render.style import Style
from tests.render import reports


def test_a_ranking_shows_what_decides() -> None:
    lines = render("bulk", "table", reports.RANKING, Style()).splitlines()
    assert lines[0] == "1 could not be judged"
    assert "delete networkpolicy/shop/web  -      1,234   2          2           closed" in lines
    assert "    closes shop/web-0 → data/db-0 5432/TCP" in lines
    before = "egress by shop/web spec.egress[0] (web.yaml:12), ingress is not isolated"
    assert f"      before allowed: {before}" in lines
    assert "      after denied: egress is isolated, no rule matches" in lines
    assert "  delete networkpolicy/shop/old: covered by shop/web" in lines
    together = "both change 3 (pair, port); together 4 (pair, port) differ from each alone"
    assert f"  one / two: {together}" in lines


def test_a_rollout_shows_the_step_that_breaks_and_a_better_order() -> None:
    text = render("bulk", "table", reports.ROLLOUT, Style())
    assert "breaks 2 pod pairs that are connected before the first step and after the last" in text
    assert text.endswith("  1. second\n  2. first")


def test_plain_output_is_plain() -> None:
    text = render("bulk", "table", reports.RANKING, Style(unicode=False))
    assert text.isascii()


def test_a_line_is_a_contract() -> None:
    line = json.loads(render("bulk", "jsonl", reports.SCENARIO, Style()))
    assert line["schema"] == "kubeverdict/bulk/v2"
    assert line["changes"] is True
    assert line["figures"] == {
        "pairs_opened": 0,
        "pairs_closed": 1234,
        "ports_opened": 0,
        "ports_closed": 1234,
    }
    (example,) = line["examples"]
    assert example["before"]["egress"]["rule"]["line"] == 12


def test_csv_has_a_row_for_each() -> None:
    rows = render("bulk", "csv", reports.RANKING, Style()).splitlines()
    assert rows[0].startswith("scenario,pairs opened,pairs closed")
    assert rows[2].endswith(",covered by shop/web,")


def test_clusters_that_differ_are_named() -> None:
    lines = render("drift", "table", reports.DRIFT_RUN, Style()).splitlines()
    assert lines[1].split("  ")[-1] == "c"
    assert lines[-1] == (
        "1 scenario on 3 clusters: 1 has another effect on some of them"
        " (opens, closes, both or nothing; how much is not compared)"
    )
