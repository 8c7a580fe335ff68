"""From the results of a run to bench/RESULTS.md and its plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from bench.baselines.differences import DIFFERENCES
from bench.comparison import statistics
from bench.comparison.entrants import CONTROL
from bench.comparison.plots import bars, lines
from bench.comparison.rounds import FLOOD, FLOOD_RATE
from bench.comparison.scenarios import POLICY_COUNTS, RULE_COUNTS
from bench.comparison.statistics import Ratio
from bench.figures import Figure, table
from bench.traffic import METRICS

OURS = "kubeverdict"
_BASE = "none"
METRIC_TITLES = {name: metric.title for name, metric in METRICS.items()} | {
    FLOOD: f"request/response, 16 connections, beside {FLOOD_RATE:,} denials a second"
}

Results = Mapping[str, Any]
"""As the JSON of a run holds them; see __main__.py."""


class ResultsView:
    """The results, as questions about them."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.traffic: dict[str, Mapping[str, Any]] = {
            one["scenario"]: one for one in results["traffic"]
        }
        self.titles: Mapping[str, str] = results["titles"]

    def ratios(self, scenario: str, metric: str) -> dict[str, Ratio]:
        """Ratios to "none" by entrant; empty where that was not measured."""
        samples = self.traffic.get(scenario, {}).get("samples", {}).get(metric, {})
        figures = {name: [sample[0] for sample in rounds] for name, rounds in samples.items()}
        return statistics.ratios(figures, _BASE) if _BASE in figures else {}

    def noise(self, scenario: str, metric: str) -> float:
        ratios = self.ratios(scenario, metric)
        return statistics.noise(ratios[CONTROL]) if CONTROL in ratios else 0.05

    def metrics(self, scenario: str) -> list[str]:
        return list(self.traffic[scenario]["samples"])

    def changes(self, scenario: str, kind: str) -> dict[str, Mapping[str, Any]]:
        return {
            change["entrant"]: change
            for change in self.results["changes"]
            if change["scenario"] == scenario and change["kind"] == kind
        }

    def change_scenarios(self) -> list[str]:
        return list(dict.fromkeys(change["scenario"] for change in self.results["changes"]))

    def rivals(self, names: Mapping[str, Any]) -> list[str]:
        """Those of ``names`` that are policies for other pods."""
        ours_and_none = (_BASE, CONTROL, "conntrack")
        return [n for n in names if not n.startswith(OURS) and n not in ours_and_none]


def plots(reading: ResultsView) -> dict[str, str]:
    """SVG by file name."""
    found = {}
    for file, heading, scenarios, axis in (
        ("policies", "policies", _numbered("policies", POLICY_COUNTS, reading), "policies"),
        ("rules", "rules a pod", _numbered("rules", RULE_COUNTS, reading), "rules a pod"),
    ):
        if len(scenarios) < 2:
            continue
        for metric in ("crr", "rr16", "udp"):
            series: dict[str, list[tuple[float, float]]] = {}
            for count, scenario in scenarios:
                for name, ratio in reading.ratios(scenario, metric).items():
                    if name not in (_BASE, CONTROL):
                        series.setdefault(reading.titles[name], []).append((count, ratio.median))
            title = f"{METRIC_TITLES[metric]}, ratio to no policy, against {heading}"
            found[f"{file}-{metric}.svg"] = lines(title, axis, series)
    for kind in ("one policy added", "one pod added", "everything rewritten"):
        for scenario in reading.change_scenarios():
            changes = reading.changes(scenario, kind)
            values = {
                reading.titles[name]: median(change["applying"]) for name, change in changes.items()
            }
            if values:
                title = f"{kind}, {scenario}: seconds of applying it"
                found[f"change-{kind.replace(' ', '-')}-{scenario}.svg"] = bars(title, values)
    return found


def _numbered(prefix: str, counts: Sequence[int], reading: ResultsView) -> list[tuple[int, str]]:
    names = ((count, f"{prefix}-{count}") for count in counts)
    return [(count, name) for count, name in names if name in reading.traffic]


def targets(reading: ResultsView) -> list[Figure]:
    """The figures that this project has targets for."""
    figures = []
    for scenario in reading.traffic:
        for metric in ("crr", "rr1", "rr16"):
            if OURS in (ratios := reading.ratios(scenario, metric)):
                name = f"{METRIC_TITLES[metric]}, {scenario}: ratio to none"
                figures.append(Figure(name, ratios[OURS].median, "", 0.95, "at least"))
    ratios = reading.ratios("policies-10000", "crr")
    if OURS in ratios and "kube-router" in ratios:
        value = ratios[OURS].median / ratios["kube-router"].median
        name = "new connections at 10,000 policies: times kube-router's"
        figures.append(Figure(name, value, "", 1.5, "at least"))
    for change in reading.results["changes"]:
        if change["entrant"] == OURS:
            wrong = change["lost"] + change["leaked"]
            name = f"wrong verdicts, {change['kind']}, {change['scenario']}"
            figures.append(Figure(name, wrong, "", 0))
    added = reading.changes("change", "one policy added")
    iptables = [n for n in reading.rivals(added) if n != "calico-nftables"]
    if OURS in added and iptables:
        fastest = min(median(added[name]["applying"]) for name in iptables)
        for text, of in (
            ("applying it", median(added[OURS]["applying"])),
            ("from the changed cluster on", _whole(added[OURS])),
        ):
            name = f"one policy added to 5,000, {text}: times faster than iptables' fastest"
            figures.append(Figure(name, fastest / of, "", 20, "at least"))
    pod = reading.changes("crowd", "one pod added")
    ipset = reading.results.get("ipset_add")
    if OURS in pod and ipset:
        for text, of in (
            ("applying it", median(pod[OURS]["applying"])),
            ("from the changed cluster on", _whole(pod[OURS])),
        ):
            name = f"one pod added to a set of 10,000, {text}"
            figures.append(Figure(name, of * 1e3, "ms", round(median(ipset) * 1e3, 3)))
    return figures


def _whole(change: Mapping[str, Any]) -> float:
    parts = zip(change["preparing"], change["applying"], strict=True)
    return float(median(preparing + applying for preparing, applying in parts))


def page(reading: ResultsView, plot_files: Sequence[str]) -> str:
    """The page, in Markdown."""
    return "\n".join(
        [
            *_head(reading),
            *_targets(reading),
            *_behind(reading),
            *_traffic(reading, plot_files),
            *_changes(reading, plot_files),
            *_memory(reading),
            *_method(reading),
            "",
        ]
    )


def _head(reading: ResultsView) -> Iterator[str]:
    machine = reading.results["machine"]
    settings = reading.results["settings"]
    yield "# kubeverdict and the rules of iptables CNIs: the same policies, the same packets"
    yield ""
    yield (
        f"Measured on {reading.results['date']} by `./run bench datapath"
        f"{' --quick' if settings['quick'] else ''}` in {reading.results['minutes']:.0f} minutes: "
        f"{machine['cores']} cores ({machine['processor']}), Linux {machine['kernel']}, "
        f"{machine['memory_gb']:.0f} GB. This page and its plots are written by that command; "
        "do not edit them."
    )
    if settings["quick"]:
        yield ""
        yield (
            "**This was a quick run: few and short rounds. Its figures show that everything works "
            "and little else.**"
        )
    yield ""


def _targets(reading: ResultsView) -> Iterator[str]:
    figures = targets(reading)
    yield "## Against our own targets"
    yield ""
    yield "```text"
    yield from table(figures)
    yield "```"
    yield ""


def _behind(reading: ResultsView) -> Iterator[str]:
    yield "## Where kubeverdict is not ahead"
    yield ""
    found = list(_not_ahead(reading))
    yield from found or ["Nowhere in this run."]
    yield ""


def traffic_results(reading: ResultsView, words: Mapping[int, str]) -> Iterator[str]:
    """Where ours is behind (-1), equal to (0) or ahead of (1) others, for those that have a word,
    as items of a list."""
    for scenario in reading.traffic:
        for metric in reading.metrics(scenario):
            ratios = reading.ratios(scenario, metric)
            if OURS not in ratios:
                continue
            noise = reading.noise(scenario, metric)
            for result, word in words.items():
                others = [
                    f"{reading.titles[name]} ({ratios[name].median:.2f})"
                    for name in reading.rivals(ratios)
                    if statistics.compare(ratios[OURS], ratios[name], noise) == result
                ]
                if others:
                    yield (
                        f"- {METRIC_TITLES[metric]}, {scenario} ({ratios[OURS].median:.2f}, noise "
                        f"{noise:.2f}): {word} {', '.join(others)}"
                    )


def _not_ahead(reading: ResultsView) -> Iterator[str]:
    yield from traffic_results(reading, {-1: "behind", 0: "equal to"})
    for scenario in reading.change_scenarios():
        for kind in dict.fromkeys(change["kind"] for change in reading.results["changes"]):
            changes = reading.changes(scenario, kind)
            if OURS not in changes:
                continue
            ours = _whole(changes[OURS])
            faster = [
                f"{reading.titles[name]} ({time_text(median(changes[name]['applying']))})"
                for name in reading.rivals(changes)
                if median(changes[name]["applying"]) < ours
            ]
            if faster:
                yield (
                    f"- {kind}, {scenario}: {time_text(ours)} from the changed cluster on, while "
                    f"the tools alone took less of {', '.join(faster)}"
                )


def _traffic(reading: ResultsView, plot_files: Sequence[str]) -> Iterator[str]:
    yield "## Traffic"
    yield ""
    yield from traffic_intro(reading)
    yield from images(plot_files, ("policies-", "rules-"))
    yield from traffic_tables(reading)


def traffic_intro(reading: ResultsView) -> Iterator[str]:
    """What the figures of traffic are."""
    yield (
        "Each figure is a ratio to no policy in the same round: median ± half of what lies between "
        f"the quartiles. “{reading.titles[CONTROL]}” is no policy on another node of the same run: "
        "how far it is from 1 is the noise, and differences inside it are none."
    )
    yield ""


def traffic_tables(reading: ResultsView) -> Iterator[str]:
    """A section for each scenario."""
    for scenario, measured in reading.traffic.items():
        metrics = reading.metrics(scenario)
        by_metric = {metric: reading.ratios(scenario, metric) for metric in metrics}
        names = [name for name in reading.titles if any(name in r for r in by_metric.values())]
        yield f"### {scenario}: {measured['description']}"
        yield ""
        rows = [
            [
                "",
                *(METRIC_TITLES[metric] for metric in metrics),
                "CPU a UDP packet",
                "99 % of rr16",
            ],
        ]
        for name in names:
            cells = [str(by_metric[metric].get(name, "–")) for metric in metrics]
            cpu = measured["cpu"].get(name)
            cells.append(f"{median(cpu) * 1e6:.2f} µs" if cpu else "–")
            tails = [sample[2] for sample in measured["samples"].get("rr16", {}).get(name, ())]
            cells.append(f"{median(tails):.0f} µs" if tails else "–")
            rows.append([reading.titles[name], *cells])
        yield from markdown(rows)
        for name, why in measured["refused"].items():
            yield f"{reading.titles[name]} has no figures here: {why}."
            yield ""
        proven = measured["probes"]
        if proven:
            yield (
                f"Proven before they were timed, {min(proven.values())} or more probes each: "
                f"{', '.join(reading.titles[name] for name in proven)}."
            )
            yield ""


def _changes(reading: ResultsView, plot_files: Sequence[str]) -> Iterator[str]:
    yield "## Changes"
    yield ""
    yield (
        "*Applying* is the time from prepared rules or tables to being in force: of a baseline its "
        "tools (with starting them), of kubeverdict a publication. *Preparing* is kubeverdict's "
        "own way from a changed cluster in memory to tables; the rendering of baselines is ours "
        "and in Python, so it is not shown. *Leaked* and *lost* count packets, each a connection "
        "of its own, that were denied or allowed before and after the change and met the other "
        "verdict meanwhile."
    )
    yield ""
    yield from images(plot_files, ("change-",))
    for scenario in reading.change_scenarios():
        rows = [["", "change", "applying", "preparing", "leaked", "lost"]]
        for kind in dict.fromkeys(change["kind"] for change in reading.results["changes"]):
            for name, change in reading.changes(scenario, kind).items():
                preparing = median(change["preparing"]) if name.startswith(OURS) else None
                rows.append(
                    [
                        reading.titles[name],
                        kind,
                        time_text(median(change["applying"])),
                        time_text(preparing) if preparing is not None else "–",
                        f"{change['leaked']:,} of {change['denied']:,}",
                        f"{change['lost']:,} of {change['allowed']:,}",
                    ]
                )
        yield f"### {scenario}: {reading.results['descriptions'][scenario]}"
        yield ""
        yield from markdown(rows)
    if ipset := reading.results.get("ipset_add"):
        yield (
            f"One address added to an ipset of 10,000 over netlink, without starting a tool: "
            f"{time_text(median(ipset))}."
        )
        yield ""


def _memory(reading: ResultsView) -> Iterator[str]:
    yield "## Memory in the kernel, and time to install"
    yield ""
    yield (
        "What the kernel had allocated more after an installation than before (slab, vmalloc, "
        "per-CPU), and how long everything took, compiling and rendering included. Of kubeverdict "
        "it is what the kernel accounts to its maps, with the room for connections, which is there "
        "from the start; what others take for connections is not in their figures."
    )
    yield ""
    rows = [["", *reading.traffic]]
    for name, title in reading.titles.items():
        cells = [_installed(measured, name) for measured in reading.traffic.values()]
        if name not in (_BASE, CONTROL):
            rows.append([title, *cells])
    yield from markdown(rows)


def _installed(measured: Mapping[str, Any], name: str) -> str:
    if name not in measured["install"]:
        return "–"
    megabytes = max(measured["memory"][name], 0) / 1e6
    return f"{megabytes:.1f} MB, {time_text(measured['install'][name])}"


def _method(reading: ResultsView) -> Iterator[str]:
    settings = reading.results["settings"]
    yield "## Method"
    yield ""
    yield from (
        "- Pods are network namespaces, routed over veths to a node that is a namespace too. Each "
        "entrant has a node and pods of its own; all are there at the same time.",
        "- One cluster is compiled for each scenario. Baselines are rendered from it as their CNI "
        "would (`python -m bench.baselines NAME --print SCENARIO` prints every rule) and loaded by "
        "iptables-restore, ipset and nft.",
        "- Before an entrant is timed it must give the engine's verdict, by the profile of its "
        "CNI, on every probe: packets of TCP, UDP, SCTP, ICMP and another protocol, from and to "
        "pods of the node, the node, pods elsewhere and the world, allowed and denied.",
        f"- Rounds are interleaved: every entrant once ({settings['seconds']:g} s a figure), then "
        f"all again, {settings['rounds']} times, beginning with another one each time.",
        "- The timed connection is allowed by one rule in the middle of the middle policy of both "
        "ends. Clients and servers are pinned to one core each.",
    )
    yield ""
    yield "## Where baselines are not what the CNIs' programs write"
    yield ""
    yield (
        "Compared with the rules that Calico 3.31.0 and kube-router 2.1.0 wrote for the same "
        "cluster, rule by rule (`./run test -m programs tests/cni_programs`). What was left out is "
        "in the CNI's favour."
    )
    yield ""
    for name, sentences in DIFFERENCES.items():
        yield from (f"- {name}: {sentence}" for sentence in sentences)
    yield ""
    yield "## What this does not show"
    yield ""
    yield from (
        "- A real network card, many cores, or NUMA: packets go through veths of one machine, and "
        "sending, filtering and receiving share its cores.",
        "- IPv6, Services (address translation), encapsulation and host firewalls.",
        "- The agents of the other CNIs. Their rules are ours after their code; what they do "
        "before rules change (watching, selecting, rendering, saving) is not timed here. The other "
        "part of this page has the programs themselves.",
        "- Cilium and the AWS agent as products. Their ways to look policy up are compared in "
        "`bench/bench_designs.py`, on one frame.",
        "- Absolute figures: they drift from machine to machine and from hour to hour. Ratios of "
        "one run are what holds.",
    )


def images(files: Sequence[str], prefixes: tuple[str, ...]) -> Iterator[str]:
    """Those of the plots whose names begin so."""
    for file in files:
        if file.startswith(prefixes):
            yield f"![{escape(file.removesuffix('.svg'))}](results/{file})"
    yield ""


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table; the first row is its head."""
    yield f"| {' | '.join(rows[0])} |"
    yield "|" + "---|" * len(rows[0])
    for row in rows[1:]:
        yield f"| {' | '.join(row)} |"
    yield ""


_UNITS: tuple[tuple[float, str], ...] = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def time_text(seconds: float) -> str:
    """Seconds in the unit that fits."""
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"
