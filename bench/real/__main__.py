"""Compare programs that enforce policy, as they are, and write their part of bench/RESULTS.md.

./run bench datapath --real [--quick]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison import pages
from bench.comparison.entrants import CONTROL
from bench.comparison.machine import machine
from bench.comparison.progress import RunProgress
from bench.comparison.rounds import Measured
from bench.real import report
from bench.real.agents import AGENTS
from bench.real.alone import SoloFigures, measure_alone
from bench.real.plan import REAL_FULL, REAL_QUICK, RealPlan
from bench.real.site import Site, site
from bench.real.together import NONE, measure_together
from tests.cni_programs.starting import prepare_felix
from tests.programs.build import Unavailable, program

_BENCH = Path(__file__).parents[1]
_PROGRAMS = ("calico-felix", "kube-router")


def main(quick: bool) -> int:
    """A run; returns its status, 2 where something that it needs cannot be had."""
    progress = RunProgress()
    plan = REAL_QUICK if quick else REAL_FULL
    load_before = os.getloadavg()[0]
    try:
        for name in _PROGRAMS:
            program(name)
        # Kernels are compiled once for a machine.
        subprocess.run([sys.executable, "-m", "kubeverdict", "warmup"], check=True)
        progress.restart()
        with site() as place:
            alone, together = _measure(place, plan, progress)
    except Unavailable as missing:
        print(f"./run bench datapath --real: {missing}", file=sys.stderr)
        return 2
    results = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "minutes": progress.minutes,
        "machine": machine() | {"load": [load_before, os.getloadavg()[0]]},
        "settings": {"quick": quick, **plan.settings},
        "titles": {
            NONE: "no policy",
            **{name: agent.title for name, agent in AGENTS.items()},
            CONTROL: "no policy, again",
        },
        "scenarios": {one.name: one.description for one in plan.scenarios},
        "alone": [asdict(one) for one in alone],
        "traffic": [asdict(one) for one in together],
    }
    folder = _BENCH / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"real-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}.json"
    path.write_text(json.dumps(results, indent=1))
    write_part(path)
    progress.say(f"written: {path}, {_BENCH / 'RESULTS.md'}")
    return 0


def _measure(
    place: Site, plan: RealPlan, progress: RunProgress
) -> tuple[list[SoloFigures], list[Measured]]:
    # The server on one core, clients and what they send through on the other.
    cpus = (1, 0) if (os.cpu_count() or 1) > 1 else (None, None)
    progress.say(f"{plan.spread.local.pods:,} pods into the API server")
    place.fill(plan.spread.cluster)
    prepare_felix(place.api)
    begin = time.monotonic()
    ends = [begin + 60 * minutes for minutes in plan.ends]
    alone = []
    for scenario, end in zip((plan.spread, plan.crowded), ends, strict=False):
        if scenario is None:
            continue
        progress.say(f"{scenario.name}: {scenario.description}")
        place.show(scenario.cluster.policies)
        agents = [one for one in AGENTS.values() if scenario is plan.spread or one.enforces]
        # What the faster ones leave of their time is for the slowest.
        agents.sort(key=lambda agent: agent.name == "kube-router")
        for number, agent in enumerate(agents):
            progress.say(f"{scenario.name}: {agent.title}")
            now = time.monotonic()
            until = now + (end - now) / (len(agents) - number)
            alone.append(measure_alone(place, scenario, agent, plan, cpus[0], until, progress.say))
    together = measure_together(
        place, list(AGENTS.values()), plan, cpus, ends[-1], progress.say, progress.step
    )
    return alone, together


def write_part(path: Path) -> None:
    """The part of RESULTS.md and its plots, from the JSON of a run."""
    reading = report.RealView(json.loads(path.read_text()))
    drawn = report.plots(reading)
    pages.write(_BENCH, pages.REAL, "\n".join(report.part(reading, list(drawn))), drawn)


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv[1:]))
