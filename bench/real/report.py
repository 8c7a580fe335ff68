"""From the results of a run with real programs to its part of bench/RESULTS.md, and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from bench.comparison.entrants import CONTROL
from bench.comparison.plots import bars, lines
from bench.comparison.report import (
    METRIC_TITLES,
    ResultsView,
    images,
    markdown,
    time_text,
    traffic_intro,
    traffic_results,
    traffic_tables,
)
from bench.real.agents import AUDIT, OURS
from bench.real.together import NONE

_KINDS = (
    "start",
    "policy added",
    "policy removed",
    "pod added",
    "pod removed",
    "new pod of the node reached",
    "new pod of the node open to others",
    "everything replaced",
    "policy added during churn",
    "policy removed during churn",
)
_PLOTTED = ("start", "policy added", "policy removed", "pod added", "everything replaced")
# Closer than this is equal: a program that looks in intervals is as often early as late.
_EQUAL = 1.1
# The packets that show something are so far apart.
_RESOLUTION = 0.002
_STATES = {"rest": "at rest", "churn": "during churn"}


class RealView:
    """The results, as questions about them. ``results`` is the JSON of a run; see __main__.py."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results
        self.titles: Mapping[str, str] = results["titles"]
        described = [
            one | {"description": results["scenarios"][one["scenario"]]}
            for one in results["traffic"]
        ]
        self.traffic = ResultsView({**results, "traffic": described, "changes": []})

    def alone(self, scenario: str) -> dict[str, Mapping[str, Any]]:
        return {one["agent"]: one for one in self.results["alone"] if one["scenario"] == scenario}

    def scenarios(self) -> list[str]:
        """Those that programs went through alone, the one with everything first."""
        return list(dict.fromkeys(one["scenario"] for one in self.results["alone"]))

    def medians(self, scenario: str, kind: str) -> dict[str, float]:
        """Seconds by program."""
        found = {name: one["seconds"].get(kind) for name, one in self.alone(scenario).items()}
        return {name: median(values) for name, values in found.items() if values}

    def of_all(self, name: str, one: Mapping[str, Any], what: str, state: str) -> float | None:
        """Memory or CPU of a program and of what feeds it."""
        own = one[what].get(state)
        return None if own is None else own + one[f"feed_{what}"].get(state, 0)


def plots(view: RealView) -> dict[str, str]:
    """SVG by file name."""
    found = {}
    for scenario in view.scenarios():
        for kind in _PLOTTED:
            if values := view.medians(scenario, kind):
                named = {view.titles[name]: value for name, value in values.items()}
                title = f"{kind}, {scenario}: until it is in force"
                found[f"real-{kind.replace(' ', '-')}-{scenario}.svg"] = bars(title, named)
    memory = {
        view.titles[name]: value
        for name, one in view.alone(view.scenarios()[0]).items()
        if (value := view.of_all(name, one, "memory", "rest")) is not None
    }
    if memory:
        found["real-memory.svg"] = bars("memory at rest", memory, _megabytes)
    counted = [(count, name) for count, name in _counted(view) if name in view.traffic.traffic]
    for metric in ("crr", "rr16", "udp"):
        series: dict[str, list[tuple[float, float]]] = {}
        for count, scenario in counted:
            for name, ratio in view.traffic.ratios(scenario, metric).items():
                if name not in (NONE, CONTROL):
                    series.setdefault(view.titles[name], []).append((count, ratio.median))
        if len(counted) > 1 and series:
            title = f"{METRIC_TITLES[metric]}, ratio to no policy"
            found[f"real-{metric}.svg"] = lines(title, "policies on the node", series)
    return found


def _counted(view: RealView) -> list[tuple[int, str]]:
    counts = {"change": 5_000} | {
        name: int(name.rpartition("-")[2])
        for name in view.results["scenarios"]
        if name.startswith("policies-")
    }
    return sorted((count, name) for name, count in counts.items())


def part(view: RealView, plot_files: Sequence[str]) -> Iterator[str]:
    """The part of the page, in Markdown."""
    yield from _head(view)
    yield from _ahead(view)
    yield from _changes(view, plot_files)
    yield from _restarts(view)
    yield from _costs(view, plot_files)
    yield "## Traffic through what the programs wrote"
    yield ""
    yield from traffic_intro(view.traffic)
    yield from images(plot_files, ("real-crr", "real-rr16", "real-udp"))
    yield from traffic_tables(view.traffic)
    yield from _method(view)


def _head(view: RealView) -> Iterator[str]:
    machine, settings = view.results["machine"], view.results["settings"]
    yield "# Felix, kube-router and kubeverdict: the programs themselves"
    yield ""
    yield (
        f"Measured on {view.results['date']} by `./run bench datapath --real"
        f"{' --quick' if settings['quick'] else ''}` in {view.results['minutes']:.0f} minutes: "
        f"{machine['cores']} cores ({machine['processor']}), Linux {machine['kernel']}, "
        f"{machine['memory_gb']:.0f} GB. The load average was {machine['load'][0]:.1f} before "
        f"the run and {machine['load'][1]:.1f} at its end; what is above 2 waited for the cores. "
        "API server and etcd share them with what is measured. So compare figures of this page "
        "with each other only. This part and its plots are written by that command; do not edit "
        "them."
    )
    if settings["quick"]:
        yield ""
        yield (
            "**This was a quick run in a small cluster. Its figures show that everything works and "
            "little else.**"
        )
    yield ""
    for note in view.results.get("notes", ()):
        yield note
        yield ""


def _ahead(view: RealView) -> Iterator[str]:
    yield "## Where the others are ahead"
    yield ""
    found = [*_compared(view, True), *traffic_results(view.traffic, {-1: "behind"})]
    yield from found or ["Nowhere in this run."]
    yield ""
    yield "## Where kubeverdict is ahead"
    yield ""
    found = [*_compared(view, False), *traffic_results(view.traffic, {1: "ahead of"})]
    yield from found or ["Nowhere in this run."]
    yield ""


def _compared(view: RealView, theirs: bool) -> Iterator[str]:
    """Figures of ours with those of others that are better, or that are worse."""
    for scenario in view.scenarios():
        for kind in _KINDS:
            yield from _item(view, f"{kind}, {scenario}", view.medians(scenario, kind), theirs)
    alone = view.alone(view.scenarios()[0])
    for what, write in (("memory", _megabytes), ("cpu", _percent)):
        for state, words in _STATES.items():
            values = {
                name: value
                for name, one in alone.items()
                if name != AUDIT and (value := view.of_all(name, one, what, state)) is not None
            }
            title = f"{what.replace('cpu', 'CPU')} {words}, the feed of kubeverdict included"
            yield from _item(view, title, values, theirs, write)
    worst = {
        name: sum(one["broken"] for one in trial["restarts"])
        for name, trial in alone.items()
        if trial["restarts"]
    }
    yield from _item(view, "connections that restarts broke", worst, theirs, str)
    for key, title in (("lost", "allowed packets lost"), ("leaked", "others let through")):
        values = {
            name: sum(one[key] for one in trial["restarts"])
            for name, trial in alone.items()
            if trial["restarts"]
        }
        yield from _item(view, f"{title} in restarts", values, theirs, str)


def _item(
    view: RealView,
    title: str,
    values: Mapping[str, float],
    theirs: bool,
    write: Callable[[float], str] = lambda seconds: _short(seconds),
) -> Iterator[str]:
    own = values.get(OURS)
    if own is None:
        return
    better = {
        name: value
        for name, value in values.items()
        if name not in (OURS, AUDIT) and _is_less(*((value, own) if theirs else (own, value)))
    }
    if better:
        others = ", ".join(f"{view.titles[name]} {write(value)}" for name, value in better.items())
        yield f"- {title}: kubeverdict {write(own)}, {others}"


def _is_less(one: float, other: float) -> bool:
    return one * _EQUAL + _RESOLUTION < other


def _changes(view: RealView, plot_files: Sequence[str]) -> Iterator[str]:
    yield "## From the API server to the wire"
    yield ""
    yield (
        "Seconds from the API server's answer to the first packet that gets through, or to the "
        "last one; medians, and in parentheses the longest. *start* is from the start of the "
        "program to everything in force. *everything replaced* is written straight into the API "
        "server's store, and timed from the end of that; how long the writing took is a column of "
        "its own, with the packets that met a wrong verdict meanwhile. A *new pod of the node* has "
        "its link before the API server has its address: how long until it is reached by whom it "
        "may be, and how long it was by others. Felix drops what it does not know yet; kube-router "
        "lets it through, and so does kubeverdict without `--fail closed`. 0 is less than "
        f"{_RESOLUTION * 1e3:.0f} ms, or never."
    )
    yield ""
    yield from images(plot_files, tuple(f"real-{kind.replace(' ', '-')}-" for kind in _PLOTTED))
    for scenario in view.scenarios():
        yield f"### {scenario}: {view.results['scenarios'][scenario]}"
        yield ""
        trials = {name: one for name, one in view.alone(scenario).items() if one["seconds"]}
        loads = [one["load"] for one in trials.values() if one["load"] is not None]
        if loads and max(loads) > 2 * min(loads):
            yield (
                "**Other work on the machine was not the same for all: look at the load average "
                "before comparing two of them.**"
            )
            yield ""
        kinds = [kind for kind in _KINDS if any(kind in one["seconds"] for one in trials.values())]
        replaced = "everything replaced" in kinds
        head = ["", *kinds]
        more = ["time to write it", "lost", "leaked"] if replaced else []
        rows = [[*head, *more, "load average"]]
        for name, one in trials.items():
            row = [view.titles[name], *(_spread(one["seconds"].get(kind)) for kind in kinds)]
            if replaced:
                row += [time_text(one["accepting"]), f"{one['lost']:,}", f"{one['leaked']:,}"]
            rows.append([*row, "–" if one["load"] is None else f"{one['load']:.0f}"])
        yield from markdown(rows)
        for name, one in view.alone(scenario).items():
            if one["failed"]:
                yield f"{view.titles[name]} was not asked for more: {_one_line(one['failed'])}."
                yield ""


def _restarts(view: RealView) -> Iterator[str]:
    yield "## Restarts"
    yield ""
    rows = [
        [
            *("", "ended by", "nothing ran for", "new policy in force after"),
            *("allowed packets lost", "others let through"),
            *("connections broken", "longest wait on one"),
        ]
    ]
    for scenario in view.scenarios():
        for name, trial in view.alone(scenario).items():
            for one in trial["restarts"]:
                rows.append(
                    [
                        view.titles[name],
                        one["how"],
                        time_text(one["down"]),
                        time_text(one["back"]),
                        f"{one['lost']:,} (closed for {_short(one['closed'])})",
                        f"{one['leaked']:,} (open for {_short(one['open'])})",
                        f"{one['broken']} of {one['connections']}",
                        time_text(one["longest_wait"]),
                    ]
                )
    yield (
        "The program is ended and started again while connections are in use and packets, each a "
        "new connection, are sent that policy allows and that it does not. A policy is added while "
        "nothing runs."
    )
    yield ""
    yield from markdown(rows)


def _costs(view: RealView, plot_files: Sequence[str]) -> Iterator[str]:
    settings = view.results["settings"]
    scenario = view.scenarios()[0]
    yield "## What they cost"
    yield ""
    yield (
        "Memory is the proportional set size; CPU is a share of one core, with that of the tools "
        f"that a program starts. Churn is {settings['rate']:g} pods elsewhere that come, and as "
        "many that go, a second. kubeverdict reads files: the program that writes them from the "
        "API server is a makeshift of these benchmarks, and has figures of its own here."
    )
    yield ""
    yield from images(plot_files, ("real-memory",))
    head = [f"{what} {words}" for what in ("memory", "CPU") for words in _STATES.values()]
    rows = [["", *head]]
    for name, one in view.alone(scenario).items():
        rows.append([view.titles[name], *_cost_cells(one, "")])
        if one["feed_memory"]:
            rows.append([f"the feed of {view.titles[name]}", *_cost_cells(one, "feed_")])
    yield from markdown(rows)


def _cost_cells(one: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for what, write in (("memory", _megabytes), ("cpu", _percent)):
        for state in _STATES:
            value = one[prefix + what].get(state)
            yield "–" if value is None else write(value)


def _method(view: RealView) -> Iterator[str]:
    settings = view.results["settings"]
    yield "## How this was measured"
    yield ""
    yield from (
        "- Felix 3.31.0, kube-router 2.1.0 and Kubernetes are built from their Go modules "
        "(`tests/programs/recipes`) and run with the settings of their manifests; Felix has no "
        "IPv6. The cluster is objects of a real API server; of its nodes one exists, as a network "
        "namespace with its pods, for each program.",
        "- Alone: one program at a time, with the API server and its store on the same cores. "
        f"Packets that show what is in force are {_RESOLUTION * 1e3:.0f} ms apart, each a "
        "connection of its own.",
        f"- Each change was made {settings['changes']} times (pods: {settings['pods']:g}, those of "
        f"the node {settings['local_pods']:g}), fewer where that took longer than 40 s.",
        "- Together: each program has written its rules, and stands still while traffic goes "
        "through what one after the other wrote. "
        "Before that each must give the engine's verdict, by the profile of its CNI, on every "
        "probe. Rounds, metrics and pinning are those of the other part of this page.",
    )
    yield ""


def _spread(values: Sequence[float] | None) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return _short(values[0])
    return f"{_short(median(values))} ({_short(max(values))})"


def _short(seconds: float) -> str:
    return "0" if seconds < _RESOLUTION else time_text(seconds)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _one_line(text: str) -> str:
    return " ".join(text.split())[-300:]
