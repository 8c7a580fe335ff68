"""The verb ``replay``: logged connections against policies."""

from __future__ import annotations

import click

from kubeverdict.cli.flows import check_inputs, flow_logs, say_nothing_judged, traffic_in
from kubeverdict.cli.inputs import check_pods, cluster_in, compiled_from, load_input
from kubeverdict.cli.options import input_files, judging
from kubeverdict.cli.output import say, show
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb


@verb()
@input_files
@flow_logs
@click.option(
    "--apply",
    "applied",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Manifests to apply first: policies that are proposed; repeatable.",
)
@judging("replay")
def replay(
    files: tuple[str, ...],
    namespace: str,
    logs: tuple[str, ...],
    columns: str | None,
    applied: tuple[str, ...],
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Which connections of flow logs policies would break, and which rules nothing used.

    Exit status 1 where a connection that was seen would break.
    """
    from kubeverdict.analyses.finished import with_finished
    from kubeverdict.analyses.replay import replay as replay_
    from kubeverdict.analyses.traffic import BATCH, LogReading
    from kubeverdict.manifests import apply
    from kubeverdict.render.replay import remarks

    check_inputs(files, logs, applied)
    cluster = cluster_in(files, namespace, skip_invalid)
    policies = compiled_from(with_finished(cluster), cni, static)
    present = None
    if applied:
        present = policies
        changed = apply(cluster, load_input(applied, namespace, skip_invalid))
        policies = compiled_from(with_finished(changed), cni, static)
    check_pods(policies)
    reading = LogReading()
    traffic = traffic_in(logs, columns, cluster, reading, BATCH)
    report = replay_(traffic, policies, reading, present)
    if output == "csv":
        for kind, text in remarks(report):
            say(kind, text)
    show("replay", output, report)
    judged = (report.allowed, report.breaking, report.refused, report.admitted)
    if not any(count.records for count in judged):
        return say_nothing_judged(reading)
    return FINDINGS if report.breaking.records else CLEAN
