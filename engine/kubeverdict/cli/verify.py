"""The verb ``verify``: assertions about what must and what must not be reachable."""

from __future__ import annotations

import click

from kubeverdict.cli.inputs import compiled_in
from kubeverdict.cli.options import assertion_files, input_files, judging
from kubeverdict.cli.output import say, show
from kubeverdict.command.failures import CLEAN, FINDINGS, WRONG
from kubeverdict.command.running import verb


@verb()
@input_files
@assertion_files("What must hold, YAML or JSON; repeatable.", required=True)
@click.option(
    "--any",
    "anyone",
    is_flag=True,
    help="Check any pod that could be created in the existing namespaces too.",
)
@judging("verify")
def verify(
    files: tuple[str, ...],
    namespace: str,
    paths: tuple[str, ...],
    anyone: bool,
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Check what must and what must not be reachable.

    Every connection that breaks an assertion is reported, with the rules that decide it. An
    assertion is unknown where nothing breaks it and a policy that was not evaluated could. Exit
    status 1 where one is violated or unknown, 2 where one could not be judged.
    """
    from kubeverdict.analyses.verify.verifying import verify as verify_
    from kubeverdict.manifests.assertions import read_assertions

    assertions = read_assertions(paths)
    compiled = compiled_in(files, namespace, skip_invalid, cni, static)
    report = verify_(compiled, assertions, anyone=anyone)
    for note in report.notes:
        say("note", note)
    show("verify", output, report)
    if report.failed:
        return WRONG
    return FINDINGS if report.violated or report.unknown else CLEAN
