"""The verb ``whatif``: what one change would open and close."""

from __future__ import annotations

import click

from kubeverdict.cli.inputs import check_pods, load_input, say_notes, session_in
from kubeverdict.cli.options import fail_on, input_files, judging
from kubeverdict.cli.output import show
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb
from kubeverdict.errors import UsageError


@verb()
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

    if not applied and not deleted:
        raise UsageError("nothing to change: use --apply or --delete")
    session = session_in(files, namespace, skip_invalid, cni, static)
    before = session.now
    manifests = load_input(applied, namespace, skip_invalid) if applied else None
    change = before.resolver.change(manifests, deleted)
    after = session.judge(change).compiled
    say_notes(after)
    check_pods(before.compiled, after)
    report = whatif_(before.compiled, after)
    show("whatif", output, report)
    wanted = {"opened": report.opened, "closed": report.closed}
    found = wanted.get(fail_on, report.opened or report.closed)
    return FINDINGS if found else CLEAN
