"""The verb ``diff``: what differs between two inputs."""

from __future__ import annotations

import click

from kubeverdict.cli.inputs import check_pods, compiled_from, compiled_in
from kubeverdict.cli.options import (
    address_ranges,
    cni_of_each,
    fail_on,
    judging,
    live_options,
    namespace_option,
    two_cnis,
)
from kubeverdict.cli.output import say, show
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb


@verb()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@live_options
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

    OLD and NEW are files, folders, snapshots, - or live:CONTEXT; the same one twice where only the
    CNIs differ. Exit status 1 where any connection differs. For --fail-on, a changed connection
    with more ports than before counts as added, one with fewer as removed.
    """
    from kubeverdict.analyses.conditional import certain_differences
    from kubeverdict.analyses.external import families_in_use
    from kubeverdict.model.counts import count

    cni_old, cni_new = cni_of_each(cni, cni_old, cni_new)
    before = compiled_in((old,), namespace, skip_invalid, cni_old, static)
    if old != new:
        after = compiled_in((new,), namespace, skip_invalid, cni_new, static)
    else:  # read once: it may be standard input
        after = compiled_from(before.cluster, cni_new, static)
    check_pods(before, after)
    # An address family that only one side has is shown for both.
    families = families_in_use(before.cluster, after.cluster)
    report = certain_differences(before, after, by_range=by_range, families=families)
    if report.conditional:
        more = count(len(report.conditional), "change depends", "changes depend")
        say("note", f"{more} on the conditions of rules; -o json lists them under `conditional`")
    show("diff", output, report)
    found = bool(report.changes or report.conditional)
    if fail_on != "any":
        found = report.adds if fail_on == "added" else report.removes
    return FINDINGS if found else CLEAN
