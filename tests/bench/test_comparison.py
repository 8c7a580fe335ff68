"""The comparison: figures from samples, the page from figures, and a run of all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.comparison import __main__ as command
from bench.comparison import changes, report, rounds, statistics
from bench.comparison.entrants import CONTROL, DATAPLANES, Entrant
from bench.comparison.plan import FULL, QUICK, Plan
from bench.comparison.plots import bars, lines
from bench.comparison.rounds import FLOOD, Measured, prepare, prove
from bench.comparison.scenarios import SCENARIOS
from bench.lab import missing
from kubeverdict_agent.datapath import layout

needs_root = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_ratios_are_of_the_same_round() -> None:
    # The machine became twice as fast between the rounds; the ratio did not change.
    found = statistics.ratio([50, 100, 200], [100, 200, 400])
    assert (found.median, found.low, found.high) == (0.5, 0.5, 0.5)


def test_differences_inside_the_noise_are_none() -> None:
    control = statistics.ratio([99, 103, 97, 101], [100, 100, 100, 100])
    noise = statistics.noise(control)
    assert 0.02 <= noise < 0.05
    near, far = statistics.Ratio(0.90, 0.89, 0.91), statistics.Ratio(0.70, 0.69, 0.71)
    assert statistics.compare(near, statistics.Ratio(0.91, 0.9, 0.92), noise) == 0
    assert statistics.compare(near, far, noise) == 1
    assert statistics.compare(far, near, noise) == -1
    wide = statistics.Ratio(0.85, 0.60, 1.0)
    assert statistics.compare(near, wide, noise) == 0


def test_noise_is_never_taken_for_nothing() -> None:
    assert statistics.noise(statistics.Ratio(1, 1, 1)) == statistics.LEAST_NOISE


def results(**of_crr: list[float]) -> dict[str, Any]:
    measured = {
        "scenario": "policies-10000",
        "description": "many",
        "samples": {"crr": {name: [[value] for value in of_crr[name]] for name in of_crr}},
        "cpu": {},
        "refused": {"naive": "too slow"},
        "probes": {"kubeverdict": 240},
        "install": {},
        "memory": {},
    }
    change = {
        "scenario": "change",
        "kind": "one policy added",
        "allowed": 100,
        "lost": 0,
        "denied": 100,
    }
    return {
        "date": "2026-01-01",
        "minutes": 1.0,
        "machine": {"cores": 2, "processor": "<one>", "kernel": "6", "memory_gb": 8.0},
        "settings": {"quick": True, "rounds": 3, "seconds": 0.1},
        "titles": {name: make().title for name, make in DATAPLANES.items()},
        "descriptions": {"change": "a change"},
        "traffic": [measured],
        "changes": [
            change | {"entrant": name, "preparing": [0.2], "applying": [own], "leaked": leaked}
            for name, own, leaked in (("kubeverdict", 0.001, 0), ("kube-router", 0.5, 7))
        ],
        "ipset_add": [0.0001],
    }


def test_the_page_says_where_kubeverdict_is_not_ahead() -> None:
    base = [100.0, 100.0, 100.0, 100.0]
    reading = report.ResultsView(
        results(
            **{
                "none": base,
                CONTROL: base,
                "kubeverdict": [80.0, 81.0, 80.0, 79.0],
                "kube-router": [40.0, 41.0, 40.0, 39.0],
                "calico-nftables": [90.0, 91.0, 90.0, 89.0],
                "calico-iptables": [80.0, 80.0, 81.0, 80.0],
            }
        )
    )
    page = report.page(reading, [])
    behind = page.split("## Where kubeverdict is not ahead")[1].split("##")[0]
    assert "behind Calico (nftables) (0.90)" in behind
    assert "equal to Calico (iptables) (0.80)" in behind
    assert "kube-router" not in behind
    assert "one iptables rule a pair has no figures here: too slow" in page
    assert "7 of 100" in page
    figures = {figure.name: figure for figure in report.targets(reading)}
    times = figures["new connections at 10,000 policies: times kube-router's"]
    assert times.value == pytest.approx(2.0) and times.reached
    assert figures["wrong verdicts, one policy added, change"].reached
    added = "one policy added to 5,000, {}: times faster than iptables' fastest"
    assert figures[added.format("applying it")].reached
    assert figures[added.format("from the changed cluster on")].reached is False


def test_plots_are_well_formed() -> None:
    drawn = lines("a < b", "policies", {"one": [(10, 0.5), (100, 0.4)], "two": [(10, 0.5)]})
    assert len(list(ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}circle"))) == 3
    drawn = bars("times", {"one": 0.001, "two": 2.0})
    assert "1 ms" in drawn and "2 s" in drawn
    ElementTree.fromstring(drawn)


def test_plans_name_scenarios_that_there_are() -> None:
    for plan in (FULL, QUICK):
        assert set(plan.all_scenarios) <= SCENARIOS.keys()


@needs_root
def test_who_gives_wrong_verdicts_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules of another cluster: the proof must keep them out."""
    scenario = SCENARIOS["proof"]
    said: list[str] = []
    # What is missing will not come.
    monkeypatch.setattr(rounds, "_PATIENCE", 0.0)
    with Entrant(DATAPLANES["calico-iptables"](), scenario.local, None) as entrant:
        install = entrant.dataplane.install
        other = SCENARIOS["proof-wide"].cluster
        monkeypatch.setattr(entrant.dataplane, "install", lambda lab, cluster: install(lab, other))
        measured, ready = prepare(scenario, [entrant], said.append)
    assert ready == []
    assert measured.refused["calico-iptables"].startswith("not the engine's verdict: ")
    assert any("is not timed" in line for line in said)


@needs_root
@pytest.mark.parametrize("name", [name for name in DATAPLANES if name.startswith("kubeverdict")])
def test_kubeverdict_is_proven_too(name: str) -> None:
    scenario = SCENARIOS["proof"]
    measured = Measured(scenario.name)
    with Entrant(DATAPLANES[name](), scenario.local, None) as entrant:
        entrant.install(scenario)
        if entrant.dataplane.enforces:
            assert prove(entrant, scenario.cluster, measured) == []
            assert measured.probes[name] > 100
        # Two halves of tables at least.
        assert (entrant.dataplane.kernel_bytes() or 0) > 2 * layout.HALF_BYTES


@needs_root
def test_a_run_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Plan(
        traffic={"policies-10": ("crr", "udp", FLOOD)},
        rounds=1,
        seconds=0.05,
        budget=60.0,
        changes=("proof",),
        repetitions=1,
        change_budget=0.0,
    )
    names = ("none", CONTROL, "kube-router", "calico-nftables", "kubeverdict")
    monkeypatch.setattr(command, "QUICK", tiny)
    monkeypatch.setattr(command, "DATAPLANES", {name: DATAPLANES[name] for name in names})
    monkeypatch.setattr(command, "_BENCH", tmp_path)
    # So few that a machine that is busy elsewhere loses none on the way.
    monkeypatch.setattr(changes, "_RATE", 200)
    assert command.main(["--quick"]) == 0
    page = (tmp_path / "RESULTS.md").read_text()
    (path,) = (tmp_path / "results").glob("*.json")
    found = json.loads(path.read_text())
    assert found["traffic"][0]["refused"] == {}
    for kind in ("one policy added", "one pod added", "everything rewritten"):
        ours = next(
            change
            for change in found["changes"]
            if (change["entrant"], change["kind"]) == ("kubeverdict", kind)
        )
        assert (ours["leaked"], ours["lost"]) == (0, 0)
        assert ours["denied"] > 0 and ours["allowed"] > 0
    assert "## Where kubeverdict is not ahead" in page
    for plot in (tmp_path / "results").glob("*.svg"):
        assert f"results/{plot.name}" in page
