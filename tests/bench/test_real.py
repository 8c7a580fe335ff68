"""The benchmark with real programs: what is seen of packets, the page, and a run of all of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import traffic
from bench.comparison import pages
from bench.comparison.entrants import CONTROL
from bench.lab import Lab, missing
from bench.real import __main__ as command
from bench.real import report
from bench.real.agents import AGENTS, AUDIT, OURS
from bench.real.connections import OpenConnections
from bench.real.plan import REAL_FULL, REAL_QUICK
from bench.real.pulses import Heard, Pulse
from bench.real.together import NONE
from kubeverdict.model.policy import PodPeer

needs_root = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_losses_are_what_lies_between_packets_that_arrived() -> None:
    # Ten packets, one a second from 100.0; the first two and the last are lost, then 5 and 6.
    arrived = [2, 3, 4, 7, 8]
    heard = Heard(10, arrived, [100.0 + number for number in arrived])
    assert heard.lost == 2
    assert heard.closed == pytest.approx(2.0)
    assert heard.whole_since(103.0) == pytest.approx(4.0)
    none = Heard(10, [], [])
    assert (none.lost, none.closed, none.opened, none.whole_since(5.0)) == (0, 0, 0, 0)


def test_parts_of_the_page_leave_each_other_alone() -> None:
    page = pages.with_part("# an old page without parts", pages.RENDERED, "# rules\n")
    assert "an old page" not in page
    page = pages.with_part(page, pages.REAL, "# programs, first")
    page = pages.with_part(page, pages.REAL, "# programs")
    assert re.findall("^# .*", page, re.M) == ["# programs", "# rules"]
    assert pages.with_part(page, pages.RENDERED, "# rules") == page


def test_the_scenarios_have_as_many_policies_as_they_say() -> None:
    for plan in (REAL_FULL, REAL_QUICK):
        scenario = plan.spread
        own = [one for one in scenario.cluster.policies if not one.name.startswith("z-")]
        assert len(own) == scenario.policies
        assert len({(one.namespace, one.name) for one in own}) == len(own)
        # What a NetworkPolicy can say: pods of its own namespace, or selected namespaces.
        for policy in scenario.cluster.policies:
            for rule in policy.rules:
                for peer in rule.peers or ():
                    assert not isinstance(peer, PodPeer) or peer.namespace in (
                        None,
                        policy.namespace,
                    )
        other = scenario.rewritten()
        assert [str(pod) for pod in other.pods] == [str(pod) for pod in scenario.cluster.pods]
        same = sum(a.rules == b.rules for a, b in zip(own, other.policies, strict=False))
        assert same < 0.2 * len(own)


# --- packets ---------------------------------------------------------------------------------


@needs_root
def test_pulses_show_when_a_way_is_closed_and_opened() -> None:
    with Lab() as lab:
        server = lab.add_pod("shop", "server", ipv4="10.1.0.2")
        outside = lab.add_outside()

        def rule(verb: str) -> float:
            lab.run(["iptables", verb, "FORWARD", "-s", "198.51.100.7", "-j", "DROP"])
            return time.monotonic()

        with Pulse(outside, server, 7000, "198.51.100.7") as pulse:
            assert pulse.first(time.monotonic(), 10, lambda: None) < 5
            begin = time.monotonic()
            closed = rule("-A")
            assert pulse.last(closed, 10, lambda: None) < 0.2
            time.sleep(0.3)
            pulse.forget()
            opened = rule("-D")
            assert pulse.first(opened, 10, lambda: None) < 0.2
            time.sleep(0.1)
            heard = pulse.finish()
        assert heard.sent > 100
        assert heard.lost == 0 and heard.whole_since(begin) == 0


@needs_root
def test_connections_tell_that_they_were_cut_off() -> None:
    with Lab() as lab:
        server = lab.add_pod("shop", "server", ipv4="10.1.0.2")
        client = lab.add_pod("shop", "client", ipv4="10.1.0.3")
        traffic.serve(server)
        with OpenConnections(client, "10.1.0.2", 5) as kept:
            time.sleep(0.3)
            assert kept.finish().broke == 0
        reject = ["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"]
        with OpenConnections(client, "10.1.0.2", 5) as kept:
            time.sleep(0.2)
            lab.run(["iptables", "-A", "FORWARD", *reject])
            time.sleep(0.5)
            assert kept.finish()[:2] == (5, 5)


# --- the page --------------------------------------------------------------------------------


def results() -> dict[str, Any]:
    def alone(agent: str, added: float, memory: int, broken: int) -> dict[str, Any]:
        restart = {
            "how": "SIGKILL",
            "down": 1.0,
            "back": 2.0,
            "lost": 0,
            "closed": 0.0,
            "leaked": 0,
            "open": 0.0,
            "connections": 50,
            "broken": broken,
            "longest_wait": 0.05,
        }
        fed = {"rest": 50_000_000} if agent == OURS else {}
        return {
            "scenario": "policies-100",
            "agent": agent,
            "seconds": {"policy added": [added, added * 2, added], "everything replaced": [added]},
            "memory": {"rest": memory},
            "cpu": {"rest": 0.01},
            "feed_memory": fed,
            "feed_cpu": {"rest": 0.0} if fed else {},
            "accepting": 8.0,
            "lost": 0,
            "leaked": 3,
            "restarts": [restart],
            "load": memory / 1e8,
            "failed": "it\nended" if agent == "kube-router" else "",
        }

    base = [[100.0], [100.0], [100.0]]
    measured = {
        "scenario": "policies-100",
        "samples": {
            "crr": {NONE: base, CONTROL: base, OURS: [[95.0]] * 3, "kube-router": [[70.0]] * 3}
        },
        "cpu": {},
        "refused": {},
        "probes": {OURS: 300},
        "install": {},
        "memory": {},
    }
    return {
        "date": "2026-01-01",
        "minutes": 20.0,
        "machine": {
            "cores": 2,
            "processor": "one",
            "kernel": "6",
            "memory_gb": 8.0,
            "load": [0.5, 2.5],
        },
        "settings": {"quick": False, **REAL_FULL.settings},
        "titles": {NONE: "no policy", CONTROL: "no policy, again"}
        | {name: agent.title for name, agent in AGENTS.items()},
        "scenarios": {"policies-100": "a hundred"},
        "alone": [
            alone(OURS, 0.2, 200_000_000, 0),
            alone("felix-nftables", 0.1, 140_000_000, 0),
            alone("kube-router", 0.6, 450_000_000, 4),
        ],
        "traffic": [measured],
    }


def test_the_page_says_first_where_others_are_ahead() -> None:
    view = report.RealView(results())
    drawn = report.plots(view)
    page = "\n".join(report.part(view, list(drawn)))
    first, second = (
        page.split(title)[1].split("\n## ")[0]
        for title in ("## Where the others are ahead", "## Where kubeverdict is ahead")
    )
    assert page.index("Where the others") < page.index("Where kubeverdict")
    assert "policy added, policies-100: kubeverdict 200 ms, Felix (nftables) 100 ms" in first
    assert "250 MB, Felix (nftables) 140 MB" in first
    assert "kube-router" not in first
    assert "kubeverdict 0, kube-router 4" in second
    assert "ahead of kube-router (0.70)" in second
    assert "kube-router was not asked for more: it ended." in page
    assert "4 of 50" in page
    assert "was not the same for all" in page
    for name, text in drawn.items():
        ElementTree.fromstring(text)
        assert f"results/{name}" in page


# --- a run -----------------------------------------------------------------------------------


def left() -> list[str]:
    """Namespaces of labs that this process made."""
    return [space.name for space in Path("/var/run/netns").glob(f"kv{os.getpid()}-*")]


def processes_of(mark: str) -> list[str]:
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if mark in line]


@needs_root
@pytest.mark.programs
def test_a_quick_run_writes_its_part_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_BENCH", tmp_path)
    (tmp_path / "RESULTS.md").write_text(pages.with_part("", pages.RENDERED, "# rules"))
    mounts = Path("/proc/self/mounts").read_text()
    assert command.main(quick=True) == 0
    page = (tmp_path / "RESULTS.md").read_text()
    assert "## Where the others are ahead" in page and "# rules" in page
    (path,) = (tmp_path / "results").glob("*.json")
    found = json.loads(path.read_text())
    alone = {one["agent"]: one for one in found["alone"]}
    assert alone.keys() == AGENTS.keys()
    assert {name: one["failed"] for name, one in alone.items() if one["failed"]} == {}
    for name, one in alone.items():
        assert one["memory"]["rest"] > 10_000_000
        if name != AUDIT:
            assert len(one["seconds"]["policy added"]) == REAL_QUICK.changes
            assert one["restarts"][0]["connections"] == REAL_QUICK.connections
    (measured,) = found["traffic"]
    assert measured["refused"] == {}
    assert measured["samples"]["crr"].keys() == {NONE, CONTROL, *AGENTS}
    for plot in (tmp_path / "results").glob("*.svg"):
        assert f"results/{plot.name}" in page
    assert left() == []
    assert processes_of(f"real-bench-{os.getpid()}") == []
    new = set(Path("/proc/self/mounts").read_text().splitlines()) - set(mounts.splitlines())
    # Other tests mount things at the same time.
    assert [line for line in new if "real-bench" in line or f"kv{os.getpid()}-" in line] == []
