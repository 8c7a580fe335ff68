"""The verb ``lint``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from kubeverdict.cli.inputs import compiled_from, compiled_of, load_input, snapshot_in
from kubeverdict.cli.options import input_files
from kubeverdict.cli.output import say, show
from kubeverdict.command.cni import CniName
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb
from kubeverdict.errors import UsageError
from kubeverdict.model.counts import count
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render import FORMATS

if TYPE_CHECKING:
    from kubeverdict.analyses.lint.finding import ObjectKey, Places
    from kubeverdict.compile.compiled import CompiledPolicy

_FORMATS = list(FORMATS["lint"])


@verb()
@partial(input_files, required=False)
@click.option(
    "--list-rules",
    is_flag=True,
    help="What lint looks for: each rule with why, an example and the fix. Needs no input.",
)
@click.option(
    "--disable", multiple=True, metavar="RULE", help="Turn a rule off, by its id; repeatable."
)
@click.option(
    "--cni",
    "cnis",
    type=CniName(),
    multiple=True,
    metavar="NAME",
    help="Judge as this network plug-in does; repeated: also report where the others differ. "
    f"One of {', '.join(PROFILES)}.",
)
@click.option(
    "--baseline", metavar="FILE", help="Report only findings that are not listed in FILE."
)
@click.option(
    "--write-baseline",
    metavar="FILE",
    help="Write what is found to FILE, for --baseline, instead of showing it.",
)
@click.option("--all", "whole", is_flag=True, help="Every finding of a rule, in table and md too.")
@click.option("--static", is_flag=True, help="Judge by labels: keep pods that have no address yet.")
@click.option(
    "--skip-invalid", is_flag=True, help="Go on without invalid documents, and name them."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(_FORMATS),
    default=_FORMATS[0],
    show_default=True,
    help="Format.",
)
def lint(
    files: tuple[str, ...],
    namespace: str,
    list_rules: bool,
    disable: tuple[str, ...],
    cnis: tuple[str, ...],
    baseline: str | None,
    write_baseline: str | None,
    whole: bool,
    static: bool,
    skip_invalid: bool,
    output: str,
) -> int:
    """The classic mistakes in network policies.

    DNS that cannot be reached, selectors that match nothing, ports on which nothing listens,
    connections that only one end allows, rules that open too much, pods that no policy guards.
    kubeverdict.toml in the current folder turns rules off and says which annotations every policy
    must have; the annotation kubeverdict.io/lint-disable.RULE turns a rule off for its policy, and
    its value says why. --write-baseline accepts the present findings, so that later runs with
    --baseline report only new ones. Exit status 1 where anything reported is more than a note; 0
    with --write-baseline.
    """
    if list_rules:
        return _show_rules(files, output)
    if not files:
        raise UsageError("no input: use -f FILE or --live, or --list-rules for what lint looks for")
    from kubeverdict.analyses.findings import is_failure
    from kubeverdict.analyses.lint import in_full, without_known
    from kubeverdict.analyses.lint import lint as lint_
    from kubeverdict.analyses.lint.baseline import remembered
    from kubeverdict.session import lint_baseline
    from kubeverdict.session.settings import lint_settings

    if baseline and write_baseline:
        raise UsageError("--baseline and --write-baseline do not go together")
    known = lint_baseline.read_baseline(baseline) if baseline else None
    settings = lint_settings(disable)
    names = list(dict.fromkeys(cnis)) or [REFERENCE.name]
    compiled, places = _input(files, namespace, skip_invalid, names[0], static)
    report = lint_(compiled, places, settings, [PROFILES[name] for name in names[1:]])
    if write_baseline:
        lint_baseline.write_baseline(write_baseline, remembered(report.findings))
        number = len(report.findings)
        say("note", f"{count(number, 'finding')} written to {write_baseline}")
        return CLEAN
    if known is not None:
        report = without_known(report, known)
    show("lint", output, in_full(report) if whole else report)
    return FINDINGS if any(map(is_failure, report.findings)) else CLEAN


def _show_rules(files: Sequence[str], output: str) -> int:
    from kubeverdict.analyses.lint import RULES

    if files:
        raise UsageError("--list-rules needs no input: leave -f out")
    if output not in FORMATS["rules"]:
        raise UsageError(f"-o {output}: --list-rules has {', '.join(FORMATS['rules'])}")
    show("rules", output, RULES)
    return CLEAN


def _input(
    files: Sequence[str], namespace: str, skip_invalid: bool, cni: str, static: bool
) -> tuple[CompiledPolicy, Places]:
    """The cluster, compiled, and where its objects are; a snapshot knows that of policies only."""
    snapshot = snapshot_in(files)
    if snapshot is not None:
        path = snapshot.path
        compiled = compiled_of(snapshot, snapshot.compiled.cluster, cni, static)
        return compiled, lambda key: (path, 0)
    from kubeverdict.analyses.lint.finding import NAME

    loaded = load_input(files, namespace, skip_invalid)

    def place(key: ObjectKey) -> tuple[str, int]:
        origin = loaded.origins.get(key)
        return (origin.file, origin.line_of(NAME)) if origin else ("", 0)

    return compiled_from(loaded.cluster, cni, static), place
