"""The verb ``bulk``: many scenarios at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, TextIO

import click

from kubeverdict.cli_parts import (
    CLEAN,
    FINDINGS,
    WRONG,
    compiled_from,
    input_files,
    judging,
    load_input,
    say,
    show,
)
from kubeverdict.errors import UsageError

if TYPE_CHECKING:
    from kubeverdict.analyses.bulk import Pair, ScenarioReport
    from kubeverdict.evaluate.bulk import Workbench
    from kubeverdict.evaluate.outcome import Focus
    from kubeverdict.journal import Journal
    from kubeverdict.manifests.resolving import Resolver
    from kubeverdict.manifests.scenarios import Scenario
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.pipeline import Options


@click.command()
@input_files
@click.option(
    "--scenarios",
    "given",
    metavar="FILE|DIR",
    help="A file of scenarios, or a folder with the manifests of one in each file.",
)
@click.option("--delete-each", is_flag=True, help="Every policy removed on its own.")
@click.option(
    "--apply-each", metavar="FILE|DIR", help="Every policy in it applied on its own, and in pairs."
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
@click.option("--only-opened", is_flag=True, help="Only scenarios that open something.")
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Only changes with an end in it."
)
@click.option("--port", metavar="PORT", help="Only changes on this port, as 8080 or 53/UDP.")
@click.option("--top", type=click.IntRange(0), default=20, show_default=True, help="Rows to show.")
@click.option(
    "--resume",
    metavar="FILE",
    help="Keep results in FILE, and do not compute again those that are there.",
)
@click.option("--memory-limit", metavar="SIZE", help="Refuse what would need more, as 2GiB.")
@judging("bulk")
def bulk(
    files: tuple[str, ...],
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
    from kubeverdict.analyses.bulk import Ranking, ranked, summary
    from kubeverdict.evaluate.bulk import workbench
    from kubeverdict.journal import open_journal
    from kubeverdict.manifests.resolving import Resolver
    from kubeverdict.pipeline import Options

    if not (given or delete_each or apply_each or relabel_each or rollout):
        options_ = "--scenarios, --delete-each, --apply-each, --relabel-each or --rollout"
        raise UsageError(f"no scenarios: say {options_}")
    options = Options(_focus(namespaces, port))
    cluster = load_input(files, skip_invalid).cluster
    _refuse_what_does_not_fit(cluster, memory_limit)
    _warn_of_unknown(cluster, namespaces)
    scenarios = list(_scenarios(cluster, given, delete_each, apply_each, relabel_each))
    bench = workbench(compiled_from(cluster, cni, static))
    resolver = Resolver(bench.compiled.cluster)
    journal = open_journal(resume, (cni, static, options), files)
    started = monotonic()
    found: list[ScenarioReport] = []
    for report in _judged(bench, resolver, scenarios, options, journal):
        if only_opened and not (report.opens or report.error):
            continue
        found.append(report)
        if output == "jsonl":
            show("bulk", "jsonl", report)
    pairs = tuple(_pairs(bench, resolver, scenarios)) if apply_each else ()
    steps, order = _rollout(bench, resolver, rollout, options) if rollout else ([], None)
    for report in steps if output == "jsonl" else ():
        show("bulk", "jsonl", report)
    total = summary((*found, *steps))
    if output != "jsonl":
        if found or not rollout:
            show("bulk", output, Ranking(tuple(ranked(found)), summary(found), top, pairs))
        if rollout:
            show(
                "bulk",
                output,
                Ranking(tuple(steps), summary(steps), top, rollout=True, safe_order=order),
            )
    rate = (len(found) + len(steps)) / max(monotonic() - started, 1e-9)
    say(
        "note",
        f"{total.scenarios:,} scenarios, {total.changed:,} change something, "
        f"{total.redundant:,} redundant, {total.failed:,} failed; {rate:,.0f} a second",
    )
    if total.failed:
        return WRONG
    return FINDINGS if total.changed else CLEAN


def _scenarios(
    cluster: Cluster,
    given: str | None,
    delete_each: bool,
    apply_each: str | None,
    relabel_each: str | None,
) -> Iterator[Scenario]:
    from kubeverdict.manifests import scenarios

    if given is not None:
        yield from scenarios.read_scenarios(given)
    if delete_each:
        yield from scenarios.delete_each(cluster)
    if apply_each is not None:
        yield from scenarios.apply_each(apply_each)
    if relabel_each is not None:
        yield from scenarios.relabel_each(cluster, relabel_each)


def _judged(
    bench: Workbench,
    resolver: Resolver,
    scenarios: Sequence[Scenario],
    options: Options,
    journal: Journal,
) -> Iterator[ScenarioReport]:
    """Reports in the order of the scenarios, known ones from the journal."""
    from kubeverdict.pipeline import pieces, reports

    with Progress(len(scenarios), sys.stderr) as progress:
        for piece in pieces(scenarios):
            new = [scenario for scenario in piece if journal.known(scenario) is None]
            fresh = iter(reports(bench, resolver, new, options))
            for scenario in piece:
                report = journal.known(scenario)
                if report is None:
                    report = next(fresh)
                    journal.keep(scenario, report)
                yield report
            progress.advance(len(piece))


def _pairs(bench: Workbench, resolver: Resolver, scenarios: Iterable[Scenario]) -> Iterator[Pair]:
    from kubeverdict.analyses.bulk import Pair
    from kubeverdict.errors import KubeverdictError
    from kubeverdict.evaluate.combine import interactions

    edits = []
    for scenario in scenarios:
        if not scenario.name.startswith("apply "):
            continue
        try:
            edits.append(resolver.edit(scenario))
        except KubeverdictError:
            continue  # its own report says so
    found = sorted(interactions(bench, edits), key=lambda one: -(one.overlap + one.conflict))
    for one in found:
        names = edits[one.first].name, edits[one.second].name
        yield Pair(*names, one.overlap, one.conflict)


def _rollout(
    bench: Workbench, resolver: Resolver, path: str, options: Options
) -> tuple[list[ScenarioReport], tuple[str, ...] | None]:
    """The steps, and an order in which none breaks a connection where that is not theirs."""
    from kubeverdict.analyses.bulk import report
    from kubeverdict.evaluate import combine
    from kubeverdict.manifests.scenarios import apply_each

    edits = [resolver.edit(scenario) for scenario in apply_each(path)]
    outcomes = combine.rollout(bench, edits, focus=options.focus, examples=options.examples)
    order = None
    if any(outcome.breaks for outcome in outcomes):
        found = combine.safe_order(bench, edits)
        order = tuple(edits[step].name for step in found) if found is not None else None
    return [report(outcome) for outcome in outcomes], order


class Progress:
    """How many scenarios are done and how many a second, on a terminal; nothing elsewhere."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream if stream.isatty() else None
        self._done = 0
        self._started = monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def advance(self, count: int) -> None:
        self._done += count
        if self._stream is None:
            return
        rate = self._done / max(monotonic() - self._started, 1e-9)
        filled = 30 * self._done // max(self._total, 1)
        bar = "#" * filled + "." * (30 - filled)
        self._stream.write(
            f"\r\x1b[K[{bar}] {self._done:,} of {self._total:,} scenarios, {rate:,.0f} a second"
        )
        self._stream.flush()


def _focus(namespaces: tuple[str, ...], port: str | None) -> Focus:
    from kubeverdict.analyses.questions import parse_port
    from kubeverdict.evaluate.outcome import Focus

    if port is None:
        return Focus(namespaces)
    question = parse_port(port)
    if question.name or question.protocol is None or not question.protocol.has_ports:
        raise UsageError(f"--port {port}: say a number, as 8080 or 53/UDP")
    return Focus(namespaces, (question.protocol, question.number))


def _warn_of_unknown(cluster: Cluster, namespaces: tuple[str, ...]) -> None:
    known = {namespace.name for namespace in cluster.namespaces}
    for name in namespaces:
        if name not in known:
            say("warning", f"--namespace {name}: there is no such namespace in the input")


_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "K": 10**3, "M": 10**6, "G": 10**9}


def _refuse_what_does_not_fit(cluster: Cluster, limit: str | None) -> None:
    from kubeverdict.evaluate.bulk import needed_memory

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
