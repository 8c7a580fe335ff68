"""The verb ``bulk``: many scenarios at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import click

from kubeverdict.cli.inputs import check_pods, is_live, session_in
from kubeverdict.cli.options import fail_on, input_files, judging
from kubeverdict.cli.output import StatusLine, say, show
from kubeverdict.command.failures import CLEAN, FINDINGS, WRONG
from kubeverdict.command.interrupts import at_interrupt
from kubeverdict.command.running import verb
from kubeverdict.errors import UsageError
from kubeverdict.model.counts import count

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Order, Pair, ScenarioReport
    from kubeverdict.analyses.redundancy import Removable
    from kubeverdict.distributed.client import Judged
    from kubeverdict.evaluate.scenarios.outcome import Focus
    from kubeverdict.manifests.scenarios import Scenario
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.session.pipeline import ReportOptions
    from kubeverdict.session.version import Version


@verb()
@partial(input_files, required=False)
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME=PATH",
    help="The same scenarios on several clusters, to see where they differ; instead of -f. "
    "PATH may be live:CONTEXT.",
)
@click.option(
    "--scenarios",
    "given",
    metavar="FILE|DIR",
    help="A file of scenarios, or a folder in which each file of manifests is one scenario.",
)
@click.option("--delete-each", is_flag=True, help="Every policy removed on its own.")
@click.option(
    "--apply-each",
    metavar="FILE|DIR",
    help="Every policy in it applied on its own; pairs are checked for overlap and conflict.",
)
@click.option(
    "--relabel-each",
    metavar="KEY=VALUE",
    help="A label set on every workload in turn; KEY- removes it.",
)
@click.option(
    "--rollout",
    metavar="FILE|DIR",
    help="The policies in it applied one on top of the other, in the order of their files.",
)
@click.option(
    "--only-opened", is_flag=True, help="Show and count only scenarios that open something."
)
@click.option(
    "--in-namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Only changes with an end in this namespace; repeatable.",
)
@click.option("--port", metavar="PORT", help="Only changes on this port, as 8080 or 53/UDP.")
@click.option("--top", type=click.IntRange(0), default=20, show_default=True, help="Rows to show.")
@click.option(
    "--resume",
    metavar="FILE",
    help="Keep results in FILE, and do not compute again those that are there.",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    help="Refuse to start if more memory would be needed, as 2GiB.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Judge on the workers of this Dask scheduler.")
@fail_on("opened", "closed")
@judging("bulk")
def bulk(
    files: tuple[str, ...],
    namespace: str,
    clusters: tuple[str, ...],
    given: str | None,
    delete_each: bool,
    apply_each: str | None,
    relabel_each: str | None,
    rollout: str | None,
    only_opened: bool,
    namespaces: tuple[str, ...],
    port: str | None,
    top: int,
    resume: str | None,
    memory_limit: str | None,
    scheduler: str | None,
    fail_on: str,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """What each of many changes would open and close.

    Scenarios are ranked by blast radius: the pod pairs that gain or lose a port, then the ports,
    then the workloads. -o jsonl writes them as they come. Exit status 1 where any of them
    changes something, 2 where one could not be judged.
    """
    from kubeverdict.session import runs
    from kubeverdict.session.journal import open_journal
    from kubeverdict.session.pipeline import ReportOptions

    if not (given or delete_each or apply_each or relabel_each or rollout):
        known = "--scenarios, --delete-each, --apply-each, --relabel-each or --rollout"
        raise UsageError(f"no scenarios: use {known}")
    inputs = _inputs(files, clusters)
    if rollout and len(inputs) > 1:
        raise UsageError("--rollout is for one cluster")
    options = ReportOptions(_focus(namespaces, port))
    fits = partial(_refuse_what_does_not_fit, memory_limit)
    versions = {
        name: session_in(paths, namespace, skip_invalid, cni, static, fits).now
        for name, paths in inputs.items()
    }
    for version in versions.values():
        check_pods(version.compiled)
    read = [version.compiled.cluster for version in versions.values()]
    _refuse_unknown(read, namespaces)
    scenarios: dict[str, Scenario] = {}
    for cluster in read:
        for scenario in _scenarios(
            cluster, namespace, given, delete_each, apply_each, relabel_each
        ):
            scenarios.setdefault(scenario.name, scenario)
    paths = [path for paths in inputs.values() for path in paths]
    if resume and any(map(is_live, paths)):
        raise UsageError("--resume is for files: a live cluster may change between two runs")
    started = monotonic()
    total = len(scenarios) * len(versions)
    with (
        open_journal(resume, (cni, static, namespace, options), paths) as journal,
        StatusLine(sys.stderr) as line,
        at_interrupt(line.clear),
    ):
        progress = Progress(total, line)
        run = list(scenarios.values())
        if scheduler is None:
            judged = runs.judged_here(versions, run, options, journal, progress.advance)
        else:
            judged = runs.judged_on(scheduler, versions, run, options, journal, progress.advance)
        if len(versions) > 1:
            return _compare(
                runs.by_scenario(judged, len(versions)), tuple(versions), top, output, fail_on
            )
        (version,) = versions.values()
        found = list(_shown(judged, only_opened, output))
    seconds = monotonic() - started
    pairs = tuple(_pairs(version, run)) if apply_each else ()
    steps, order = _rollout(version, rollout, namespace, options) if rollout else ([], None)
    idle = _removable(version, run, found) if delete_each and output in ("table", "md") else None
    status = _finish(found, pairs, idle, steps, order, (top, output, seconds))
    if status == FINDINGS and not any(_fails(one, fail_on) for one in (*found, *steps)):
        return CLEAN
    return status


def _fails(report: ScenarioReport, fail_on: str) -> bool:
    return {"opened": report.opens, "closed": report.closes}.get(fail_on, report.changes)


def _finish(
    found: list[ScenarioReport],
    pairs: tuple[Pair, ...],
    idle: Removable | None,
    steps: list[ScenarioReport],
    order: Order | None,
    shown: tuple[int, str, float],
) -> int:
    """Show a run on one cluster, and say how it went."""
    from kubeverdict.analyses.bulk import Ranking, ranked, summary

    top, output, seconds = shown
    total = summary((*found, *steps))
    if output == "jsonl":
        for report in steps:
            show("bulk", "jsonl", report)
    else:
        if found or not steps:
            ranking = Ranking(tuple(ranked(found)), summary(found), top, pairs, removable=idle)
            show("bulk", output, ranking)
        if steps:
            ranking = Ranking(tuple(steps), summary(steps), top, (), True, order)
            show("bulk", output, ranking)
    rate = f"; {len(found) / seconds:,.0f} a second" if seconds > _WORTH_A_RATE else ""
    conditional = f"{total.conditional:,} conditional, " if total.conditional else ""
    say(
        "note",
        f"{count(total.scenarios, 'scenario')}, {total.changed:,} with changes, {conditional}"
        f"{total.redundant:,} redundant, {total.failed:,} failed{rate}",
    )
    if total.failed:
        return WRONG
    return FINDINGS if total.changed else CLEAN


def _shown(judged: Iterator[Judged], only_opened: bool, output: str) -> Iterator[ScenarioReport]:
    """The reports that are wanted, written as they come where that is the format."""
    for _, _, report in judged:
        if only_opened and not (report.opens or report.error):
            continue
        if output == "jsonl":
            show("bulk", "jsonl", report)
        yield report


def _compare(
    found: Iterator[tuple[str, dict[str, ScenarioReport]]],
    clusters: tuple[str, ...],
    top: int,
    output: str,
    fail_on: str,
) -> int:
    """Show where scenarios do not come out alike on all clusters."""
    from kubeverdict.analyses.drift import DriftRun, drift, ranked

    scenarios = []
    for name, by_cluster in found:
        one = drift(name, by_cluster)
        scenarios.append(one)
        if output == "jsonl":
            show("drift", "jsonl", one)
    if output != "jsonl":
        show("drift", output, DriftRun(clusters, tuple(ranked(scenarios)), top))
    if fail_on == "any" and any(one.differ for one in scenarios):
        return FINDINGS
    reports = (report for one in scenarios for report in one.clusters.values())
    return FINDINGS if any(_fails(report, fail_on) for report in reports) else CLEAN


def _inputs(files: tuple[str, ...], clusters: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The files of each cluster, by name."""
    if bool(files) == bool(clusters):
        raise UsageError("use -f for one cluster, or --cluster NAME=PATH for each of several")
    if files:
        return {"": files}
    found: dict[str, tuple[str, ...]] = {}
    for text in clusters:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--cluster {text}: write it as NAME=PATH")
        if name in found:
            raise UsageError(f"--cluster {text}: {name} is named twice")
        found[name] = (path,)
    return found


def _scenarios(
    cluster: Cluster,
    namespace: str,
    given: str | None,
    delete_each: bool,
    apply_each: str | None,
    relabel_each: str | None,
) -> Iterator[Scenario]:
    from kubeverdict.manifests import scenarios

    if given is not None:
        yield from scenarios.read_scenarios(given, namespace)
    if delete_each:
        yield from scenarios.delete_each(cluster)
    if apply_each is not None:
        yield from scenarios.apply_each(apply_each, namespace)[0]
    if relabel_each is not None:
        yield from scenarios.relabel_each(cluster, relabel_each)


def _removable(
    version: Version, scenarios: Iterable[Scenario], found: Iterable[ScenarioReport]
) -> Removable | None:
    """Those of the policies without which nothing changes that can go together."""
    from kubeverdict.analyses.redundancy import judged

    idle = {report.name for report in found if report.is_redundant}
    if len(idle) < 2:
        return None
    edits = [version.resolver.edit(scenario) for scenario in scenarios if scenario.name in idle]
    return judged(version.workbench, list(dict.fromkeys(edit.policies_out[0] for edit in edits)))


def _pairs(version: Version, scenarios: Iterable[Scenario]) -> Iterator[Pair]:
    from kubeverdict.analyses.bulk import Pair
    from kubeverdict.errors import KubeverdictError
    from kubeverdict.evaluate.scenarios.combine import interactions

    edits = []
    for scenario in scenarios:
        if not scenario.name.startswith("apply "):
            continue
        try:
            edits.append(version.resolver.edit(scenario))
        except KubeverdictError:
            continue  # its own report says so
    found = interactions(version.workbench, edits)
    for one in sorted(found, key=lambda one: -(one.overlap + one.conflict)):
        names = edits[one.first].name, edits[one.second].name
        yield Pair(*names, one.overlap, one.conflict)


def _rollout(
    version: Version, path: str, namespace: str, options: ReportOptions
) -> tuple[list[ScenarioReport], Order | None]:
    """The steps, and an order in which none breaks a connection where that is not theirs."""
    from kubeverdict.analyses.bulk import Order, report
    from kubeverdict.evaluate.scenarios import combine
    from kubeverdict.manifests.scenarios import apply_each

    edits = [version.resolver.edit(scenario) for scenario in apply_each(path, namespace)[0]]
    outcomes = combine.rollout(
        version.workbench, edits, focus=options.focus, examples=options.examples
    )
    order = None
    if any(outcome.breaks for outcome in outcomes):
        found = combine.safe_order(version.workbench, edits)
        order = Order(tuple(edits[step].name for step in found.steps or ()), found.complete)
    known = version.compiled.unevaluated
    return [report(outcome, known) for outcome in outcomes], order


class Progress:
    """How many scenarios are done and how many a second."""

    def __init__(self, total: int, line: StatusLine) -> None:
        self._total = total
        self._line = line
        self._done = 0
        self._started = monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        rate = self._done / max(monotonic() - self._started, 1e-9)
        filled = 30 * self._done // max(self._total, 1)
        bar = "#" * filled + "." * (30 - filled)
        self._line.put(f"[{bar}] {self._done:,} of {self._total:,} scenarios, {rate:,.0f} a second")


def _focus(namespaces: tuple[str, ...], port: str | None) -> Focus:
    from kubeverdict.analyses.questions import parse_port
    from kubeverdict.evaluate.scenarios.outcome import Focus

    if port is None:
        return Focus(namespaces)
    question = parse_port(port)
    if question.name or question.protocol is None or not question.protocol.has_ports:
        raise UsageError(f"--port {port}: give a number, as 8080 or 53/UDP")
    return Focus(namespaces, (question.protocol, question.number))


def _refuse_unknown(clusters: Iterable[Cluster], namespaces: tuple[str, ...]) -> None:
    if not namespaces:
        return
    known = {namespace.name for cluster in clusters for namespace in cluster.namespaces}
    for name in namespaces:
        if name not in known:
            raise UsageError(f"--in-namespace {name}: there is no such namespace in the input")


# Runs longer than this many seconds report their rate.
_WORTH_A_RATE = 1.0
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "K": 10**3, "M": 10**6, "G": 10**9}


def _refuse_what_does_not_fit(limit: str | None, cluster: Cluster) -> None:
    from kubeverdict.evaluate.scenarios.workbench import needed_memory

    if limit is None:
        return
    number = limit.rstrip("KMGiB")
    unit = limit[len(number) :].removesuffix("B") if limit.endswith("iB") else limit[len(number) :]
    unit = f"{unit}B" if limit.endswith("iB") else unit.removesuffix("B")
    try:
        allowed = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        raise UsageError(f"--memory-limit {limit}: write it as 500MiB or 2GiB") from None
    needed = needed_memory(cluster)
    if needed > allowed:
        raise UsageError(
            f"--memory-limit {limit}: this would need about {needed / (1 << 30):.2f} GiB"
        )
