"""The plot of growth."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.growth import draw, main, points

RESULTS = {
    "benchmarks": [
        {"extra_info": {"compile, mixed 10k/1k": {"value": 0.05}}},
        {"extra_info": {"compile, mixed 100k/10k": {"value": 0.6}}},
        {"extra_info": {"all pairs, mixed 10k/1k, all cores": {"value": 2.0}}},
        {"extra_info": {}},
    ]
}


def test_lines_of_more_than_one_point() -> None:
    assert points(RESULTS) == {"compile": [(10_000, 0.05), (100_000, 0.6)]}


def test_the_plot_is_svg_with_a_point_for_each_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.json").write_text(json.dumps(RESULTS))
    assert main([str(tmp_path / "r.json"), str(tmp_path / "growth.svg")]) == 0
    assert "growth.svg" in capsys.readouterr().out
    root = ElementTree.parse(tmp_path / "growth.svg").getroot()
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 2
    assert "compile, 600 ms" in draw(points(RESULTS))
