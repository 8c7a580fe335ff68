"""The verb ``replay``: logged connections against policies."""

from __future__ import annotations

import click

from kubeverdict.cli.flows import check_inputs, flow_logs, say_nothing_judged, traffic_in
from kubeverdict.cli.inputs import (
    check_pods,
    cluster_of,
    compiled_of,
    load_input,
    say_notes,
    session_of,
    snapshot_in,
)
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
    from kubeverdict.analyses.finished import edit_with_finished, with_finished
    from kubeverdict.analyses.replay import replay as replay_
    from kubeverdict.analyses.traffic import BATCH, LogReading
    from kubeverdict.manifests.resolving import Resolver
    from kubeverdict.render.replay import remarks

    check_inputs(files, logs, applied)
    snapshot = snapshot_in(files)
    cluster = cluster_of(snapshot, files, namespace, skip_invalid)
    present = None
    if applied:
        session = session_of(snapshot, with_finished(cluster), cni, static)
        present = session.now.compiled
        edit = Resolver(cluster).change(load_input(applied, namespace, skip_invalid))
        policies = session.judge(edit_with_finished(cluster, edit)).compiled
        say_notes(policies)
    else:
        policies = compiled_of(snapshot, with_finished(cluster), cni, static)
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
