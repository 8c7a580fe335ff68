"""The verb ``list``: every connection that is allowed."""

from __future__ import annotations

import click

from kubeverdict.cli.inputs import check_pods, compiled_in
from kubeverdict.cli.options import address_ranges, input_files, judging
from kubeverdict.cli.output import say, show
from kubeverdict.command.failures import CLEAN
from kubeverdict.command.running import verb


@verb("list")
@input_files
@click.option("--pods", "by_pod", is_flag=True, help="Pods instead of workloads.")
@click.option(
    "--focus", metavar="NS/NAME", default="", help="Only connections of this pod or workload."
)
@click.option(
    "--in-namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Only connections with an end in this namespace; repeatable.",
)
@click.option(
    "--direction",
    type=click.Choice(["ingress", "egress"]),
    help="Only connections into (ingress) or out of (egress) the focus or namespace.",
)
@address_ranges
@judging("list")
def list_(
    files: tuple[str, ...],
    namespace: str,
    by_pod: bool,
    focus: str,
    namespaces: tuple[str, ...],
    direction: str | None,
    by_range: bool,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """The connections that are allowed.

    Between workloads, and between them and addresses outside.
    """
    from kubeverdict.analyses.conditional import certain_connections
    from kubeverdict.analyses.connections import Selection
    from kubeverdict.model.counts import count
    from kubeverdict.model.policy import Direction

    selection = Selection(focus, namespaces, Direction[direction.upper()] if direction else None)
    compiled = compiled_in(files, namespace, skip_invalid, cni, static)
    check_pods(compiled)
    report = certain_connections(compiled, by_pod=by_pod, by_range=by_range, selection=selection)
    if report.conditional:
        more = count(len(report.conditional), "connection depends", "connections depend")
        say("note", f"{more} on the conditions of rules; -o json lists them under `conditional`")
    show("list", output, report)
    return CLEAN
