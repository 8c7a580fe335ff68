"""The command line: arguments to calls.

Data goes to standard output, notes and warnings to standard error. Exit status: 0 clean, 1
findings (a denial that was asked about, a difference), 2 wrong usage or input. What a command
does not need is not imported, so that ``--help`` and small questions are answered at once.
"""

from __future__ import annotations

import click

from kubeverdict.cli_bulk import bulk
from kubeverdict.cli_completion import completion
from kubeverdict.cli_examples import examples
from kubeverdict.cli_lint import lint
from kubeverdict.cli_parts import (
    address_ranges,
    check_pods,
    cni_of_each,
    cni_options,
    compiled_from,
    compiled_in,
    fail_on,
    input_files,
    judging,
    load_input,
    namespace_option,
    remarks,
    say,
    show,
    two_cnis,
)
from kubeverdict.cli_recommend import recommend
from kubeverdict.cli_replay import replay
from kubeverdict.cli_running import Group
from kubeverdict.cli_verify import verify
from kubeverdict.cli_version import version_option
from kubeverdict.errors import UsageError
from kubeverdict.failures import CLEAN, FINDINGS


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@version_option
def cli() -> None:
    """Who can talk to whom in a Kubernetes cluster, which rule decides, what a change does."""


@cli.command()
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
    help="8080, 8080/TCP, 53/UDP, the name of a port, or icmp. A Service may go without.",
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


@cli.command("list")
@input_files
@click.option("--pods", "by_pod", is_flag=True, help="Pods instead of workloads.")
@click.option("--focus", metavar="NS/NAME", default="", help="Only what this pod or workload has.")
@click.option(
    "--in-namespace",
    "namespaces",
    multiple=True,
    metavar="NS",
    help="Only what has an end in this namespace; repeatable.",
)
@click.option(
    "--direction",
    type=click.Choice(["ingress", "egress"]),
    help="Only into, or out of, the focus or namespace.",
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
    from kubeverdict.analyses.connections import Selection, connections
    from kubeverdict.model.policy import Direction

    selection = Selection(focus, namespaces, Direction[direction.upper()] if direction else None)
    compiled = compiled_in(files, namespace, skip_invalid, cni, static)
    check_pods(compiled)
    report = connections(compiled, by_pod=by_pod, by_range=by_range, selection=selection)
    show("list", output, report)
    return CLEAN


@cli.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@namespace_option
@address_ranges
@fail_on("added", "removed")
@two_cnis
@judging("diff")
def diff(
    old: str,
    new: str,
    namespace: str,
    by_range: bool,
    fail_on: str,
    cni_old: str | None,
    cni_new: str | None,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """The connections that differ between two inputs.

    OLD and NEW are files, folders, snapshots or -; the same one twice where only the CNIs differ.
    Exit status 1 where any connection differs. For --fail-on, a changed connection with more ports
    than before counts as added, one with fewer as removed.
    """
    from kubeverdict.analyses.connections import connections
    from kubeverdict.analyses.differences import differences
    from kubeverdict.analyses.external import families_in_use

    cni_old, cni_new = cni_of_each(cni, cni_old, cni_new)
    before = compiled_in((old,), namespace, skip_invalid, cni_old, static)
    if old != new:
        after = compiled_in((new,), namespace, skip_invalid, cni_new, static)
    else:  # read once: it may be standard input
        after = compiled_from(before.cluster, cni_new, static)
    check_pods(before, after)
    # What one side alone has anything of is said of both.
    families = families_in_use(before.cluster, after.cluster)
    report = differences(
        connections(before, by_range=by_range, families=families),
        connections(after, by_range=by_range, families=families),
    )
    show("diff", output, report)
    found = bool(report.changes)
    if fail_on != "any":
        found = report.adds if fail_on == "added" else report.removes
    return FINDINGS if found else CLEAN


@cli.command()
@input_files
@click.option(
    "--apply",
    "applied",
    multiple=True,
    metavar="FILE|DIR|-",
    help="Manifests to apply to the cluster; repeatable.",
)
@click.option(
    "--delete",
    "deleted",
    multiple=True,
    metavar="KIND/NS/NAME",
    help="An object to delete first, as networkpolicy/shop/web; repeatable.",
)
@fail_on("opened", "closed")
@judging("whatif")
def whatif(
    files: tuple[str, ...],
    namespace: str,
    applied: tuple[str, ...],
    deleted: tuple[str, ...],
    fail_on: str,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """What a change would open and close, and which rules would do it.

    -o sarif and github put what opens and closes beside the rules that do it, -o md is for a pull
    request. Exit status 1 where it opens or closes anything.
    """
    from kubeverdict.analyses.whatif import whatif as whatif_
    from kubeverdict.manifests import apply, delete

    if not applied and not deleted:
        raise UsageError("nothing to change: say --apply or --delete")
    before = compiled_in(files, namespace, skip_invalid, cni, static)
    changed = delete(before.cluster, deleted)
    if applied:
        changed = apply(changed, load_input(applied, namespace, skip_invalid))
    after = compiled_from(changed, cni, static)
    check_pods(before, after)
    report = whatif_(before, after)
    show("whatif", output, report)
    wanted = {"opened": report.opened, "closed": report.closed}
    found = wanted.get(fail_on, report.opened or report.closed)
    return FINDINGS if found else CLEAN


@cli.command()
def warmup() -> int:
    """Compile what large inputs need, once.

    Later commands load it from a cache instead of waiting for it.
    """
    from kubeverdict.evaluate.warmup import warmup as warmup_

    warmup_(lambda what, done, total: say(f"{done}/{total}", what))
    return CLEAN


@cli.command()
@input_files
@click.option("-o", "--output", required=True, metavar="FILE.kvs", help="Where to write it.")
@cni_options
def snapshot(
    files: tuple[str, ...],
    namespace: str,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Keep a cluster as it is now, compiled, in one file.

    Every verb reads it in place of manifests, in milliseconds, and answers as of then.
    """
    from kubeverdict import snapshots
    from kubeverdict.evaluate.bulk import workbench

    loaded = load_input(files, namespace, skip_invalid)
    compiled = compiled_from(loaded.cluster, cni, static)
    snapshots.write(output, compiled, workbench(compiled), remarks=remarks(loaded))
    return CLEAN


cli.add_command(bulk)
cli.add_command(completion)
cli.add_command(examples)
cli.add_command(lint)
cli.add_command(replay)
cli.add_command(recommend)
cli.add_command(verify)
