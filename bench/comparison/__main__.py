"""Compare dataplanes and write bench/RESULTS.md.

./run bench datapath [--real] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison import pages, report
from bench.comparison.changes import CHANGES, ChangeKind, changes
from bench.comparison.entrants import DATAPLANES, Entrant
from bench.comparison.ipset import add_times
from bench.comparison.machine import machine
from bench.comparison.plan import FULL, QUICK, Plan, takes_part
from bench.comparison.progress import RunProgress
from bench.comparison.rounds import Measured, measure, prepare
from bench.comparison.scenarios import SCENARIOS
from bench.lab import missing

_BENCH = Path(__file__).parents[1]
_LOCAL = SCENARIOS["policies-10"].local


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./run bench datapath", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes instead of fifteen")
    parser.add_argument(
        "--real",
        action="store_true",
        help="the CNIs' own programs, beside the agent, on a real API server (needs Go)",
    )
    options = parser.parse_args(arguments)
    if why := missing():
        parser.error(why)
    if options.real:
        # Needs what tests of clusters need, which the rest does not.
        from bench.real.__main__ import main as real

        # What was made is taken down then as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        return real(options.quick)
    progress = RunProgress()
    plan = QUICK if options.quick else FULL
    traffic, changed, ipset_add = _measure(plan, progress)
    results = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "minutes": progress.minutes,
        "machine": machine(),
        "settings": {"quick": options.quick, **plan.settings},
        "titles": {name: make().title for name, make in DATAPLANES.items()},
        "descriptions": {name: SCENARIOS[name].description for name in plan.all_scenarios},
        "traffic": [
            asdict(one) | {"description": SCENARIOS[one.scenario].description} for one in traffic
        ],
        "changes": [change.as_dict() for change in changed],
        "ipset_add": ipset_add,
    }
    _write(results, progress)
    return 0


def _measure(
    plan: Plan, progress: RunProgress
) -> tuple[list[Measured], list[ChangeKind], list[float]]:
    # The server on one core, clients and what they send through on the other.
    server_cpu, client_cpu = (1, 0) if (os.cpu_count() or 1) > 1 else (None, None)
    traffic: list[Measured] = []
    changed: list[ChangeKind] = []
    with ExitStack() as stack:
        progress.say(f"{len(DATAPLANES)} nodes with {_LOCAL} pods each")
        entrants = [
            stack.enter_context(Entrant(make(), _LOCAL, server_cpu)) for make in DATAPLANES.values()
        ]
        for name, metrics in plan.traffic.items():
            measured, ready = prepare(SCENARIOS[name], entrants, progress.say)
            progress.say(f"{name}: {plan.rounds} rounds of {', '.join(metrics)}")
            total = plan.rounds * len(metrics) * len(ready)
            samples = measure(
                measured, ready, metrics, plan.rounds, plan.seconds, client_cpu, plan.budget
            )
            for done, _ in enumerate(samples, start=1):
                progress.step(done, total)
            traffic.append(measured)
        for name in plan.changes:
            for entrant in entrants:
                entrant.remove()
            for entrant in entrants:
                dataplane = entrant.dataplane
                if not dataplane.enforces or dataplane.judges_replies:
                    continue
                if not takes_part(dataplane.name, name):
                    continue
                progress.say(f"changes, {name}: {dataplane.title}")
                entrant.install(SCENARIOS[name])
                changed += changes(
                    entrant, SCENARIOS[name], list(CHANGES), plan.repetitions, plan.change_budget
                )
                entrant.remove()
        ipset_add = add_times(entrants[0].lab)
    return traffic, changed, ipset_add


def _write(results: dict[str, object], progress: RunProgress) -> None:
    folder = _BENCH / "results"
    folder.mkdir(exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"datapath-{stamp}.json"
    path.write_text(json.dumps(results, indent=1))
    write_page(path)
    progress.say(f"written: {path}, {_BENCH / 'RESULTS.md'}")


def write_page(path: Path) -> None:
    """RESULTS.md and its plots, from the JSON of a run."""
    reading = report.ResultsView(json.loads(path.read_text()))
    drawn = report.plots(reading)
    pages.write(_BENCH, pages.RENDERED, report.page(reading, list(drawn)), drawn)


if __name__ == "__main__":
    sys.exit(main())
