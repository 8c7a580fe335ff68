"""The verb ``explain``: why one connection is allowed or denied."""

from __future__ import annotations

import click

from kubeverdict.cli.inputs import check_pods, compiled_in
from kubeverdict.cli.options import input_files, judging
from kubeverdict.cli.output import say, show
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb


@verb()
@input_files
@click.option(
    "--from", "source", required=True, metavar="POD", help="NS/POD, NS/WORKLOAD or an IP address."
)
@click.option(
    "--to",
    "destination",
    required=True,
    metavar="POD",
    help="As --from, or svc/NS/NAME (or an address of it) for the backends of a Service.",
)
@click.option(
    "--port",
    metavar="PORT",
    help="8080, 8080/TCP, 53/UDP, the name of a port, icmp or icmp:TYPE. Optional for a Service.",
)
@judging("explain")
def explain(
    files: tuple[str, ...],
    namespace: str,
    source: str,
    destination: str,
    port: str | None,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Why a connection is allowed or denied.

    For each direction the rule that decides, or the policies that isolate the pod and the rule
    of each that comes nearest. KIND/NS/NAME (deploy/shop/web) names a workload that shares its
    name with a pod. Exit status 1 where a connection is denied.
    """
    from kubeverdict.analyses.explain import explain as explain_
    from kubeverdict.analyses.questions import parse_port

    question = parse_port(port) if port is not None else None
    compiled = compiled_in(files, namespace, skip_invalid, cni, static)
    check_pods(compiled)
    report = explain_(compiled, source, destination, question)
    for note in report.notes:
        say("note", note)
    show("explain", output, report)
    return CLEAN if report.allowed else FINDINGS
