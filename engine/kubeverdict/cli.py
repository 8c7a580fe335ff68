"""The command line: arguments to calls.

Data goes to standard output, notes and warnings to standard error. Exit status: 0 clean, 1
findings (a denial that was asked about, a difference), 2 wrong usage or input. What a command
does not need is not imported, so that ``--help`` and small questions are answered at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from kubeverdict import __version__
from kubeverdict.errors import InputError, KubeverdictError, UsageError
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render import FORMATS, render
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy
    from kubeverdict.manifests import Loaded
    from kubeverdict.model.cluster import Cluster

CLEAN, FINDINGS, WRONG = 0, 1, 2
# As shells report a process that a signal ended.
INTERRUPTED, BROKEN_PIPE = 130, 141

Command = TypeVar("Command", bound=Callable[..., Any])


def main() -> NoReturn:
    """Run the command line and exit with its status. Bad input never ends in a traceback."""
    # numpy's linear algebra, of which nothing is used, starts a thread for each core when it is
    # imported: a third of the time of a small answer.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    name = PurePath(sys.argv[0]).name
    kubectl = name == "kubectl-kubeverdict"
    try:
        status = cli.main(
            prog_name="kubectl kubeverdict" if kubectl else "kubeverdict", standalone_mode=False
        )
    except click.Abort:
        status = INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = WRONG
    except InputError as error:
        _say_problems(error)
        status = WRONG
    except KubeverdictError as error:
        click.echo(f"error: {error}", err=True)
        status = WRONG
    sys.exit(status)


def _say_problems(error: InputError) -> None:
    for warning in error.warnings:
        _say("warning", str(warning))
    for problem in error.problems:
        click.echo(str(problem), err=True)
    count = len(error.problems)
    errors = "1 error" if count == 1 else f"{count} errors"
    # A document has a line; a file that cannot be read has none, and cannot be skipped.
    skip = "; --skip-invalid goes on without these documents"
    skippable = all(problem.line for problem in error.problems)
    click.echo(f"error: {errors} in the input{skip if skippable else ''}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Who can talk to whom in a Kubernetes cluster, which rule decides, what a change does."""


def judging(verb: str) -> Callable[[Command], Command]:
    """The options of every verb that judges."""
    formats = list(FORMATS[verb])
    options = (
        click.option(
            "-o",
            "--output",
            type=click.Choice(formats),
            default=formats[0],
            show_default=True,
            help="Format.",
        ),
        click.option(
            "--cni",
            type=click.Choice(list(PROFILES)),
            default=REFERENCE.name,
            show_default=True,
            metavar="NAME",
            help=f"Judge as this network plug-in does: {', '.join(PROFILES)}.",
        ),
        click.option(
            "--static",
            is_flag=True,
            help="Judge by labels: keep pods that have no address yet.",
        ),
        click.option(
            "--skip-invalid",
            is_flag=True,
            help="Go on without invalid documents, and name them.",
        ),
    )
    return lambda command: _with(command, options)


def _with(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def input_files(command: Command) -> Command:
    return _with(
        command,
        [
            click.option(
                "-f",
                "--filename",
                "files",
                multiple=True,
                required=True,
                metavar="FILE|DIR|-",
                help="Manifests or kubectl dumps, YAML or JSON; repeatable.",
            )
        ],
    )


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
    help="As --from, or svc/NS/NAME for the backends of a Service.",
)
@click.option(
    "--port",
    metavar="PORT",
    help="8080, 8080/TCP, 53/UDP, the name of a port, or icmp. A Service may go without.",
)
@judging("explain")
def explain(
    files: tuple[str, ...],
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
    compiled = _compile(_load(files, skip_invalid).cluster, cni, static)
    report = explain_(compiled, source, destination, question)
    for note in report.notes:
        _say("note", note)
    _show("explain", output, report)
    return CLEAN if report.allowed else FINDINGS


@cli.command("list")
@input_files
@click.option("--pods", "by_pod", is_flag=True, help="Pods instead of workloads.")
@click.option("--focus", metavar="NS/NAME", default="", help="Only what this pod or workload has.")
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Only with an end in it; repeatable."
)
@click.option(
    "--direction",
    type=click.Choice(["ingress", "egress"]),
    help="Only into, or out of, the focus or namespace.",
)
@judging("list")
def list_(
    files: tuple[str, ...],
    by_pod: bool,
    focus: str,
    namespaces: tuple[str, ...],
    direction: str | None,
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
    compiled = _compile(_load(files, skip_invalid).cluster, cni, static)
    _show("list", output, connections(compiled, by_pod=by_pod, selection=selection))
    return CLEAN


@cli.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@judging("diff")
def diff(old: str, new: str, output: str, cni: str, static: bool, skip_invalid: bool) -> int:
    """The connections that differ between two inputs.

    OLD and NEW are files or folders. Exit status 1 where any connection differs.
    """
    from kubeverdict.analyses.connections import connections
    from kubeverdict.analyses.differences import differences

    before, after = (
        connections(_compile(_load((path,), skip_invalid).cluster, cni, static))
        for path in (old, new)
    )
    report = differences(before, after)
    _show("diff", output, report)
    return FINDINGS if report.changes else CLEAN


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
@judging("whatif")
def whatif(
    files: tuple[str, ...],
    applied: tuple[str, ...],
    deleted: tuple[str, ...],
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """What a change would open and close, and which rules would do it.

    Exit status 1 where it opens or closes anything.
    """
    from kubeverdict.analyses.whatif import whatif as whatif_
    from kubeverdict.manifests import apply, delete

    if not applied and not deleted:
        raise UsageError("nothing to change: say --apply or --delete")
    cluster = _load(files, skip_invalid).cluster
    changed = delete(cluster, deleted)
    if applied:
        changed = apply(changed, _load(applied, skip_invalid))
    report = whatif_(_compile(cluster, cni, static), _compile(changed, cni, static))
    _show("whatif", output, report)
    return FINDINGS if report.opened or report.closed else CLEAN


@cli.command()
def warmup() -> int:
    """Compile what large inputs need, once.

    Later commands load it from a cache instead of waiting for it.
    """
    from kubeverdict.evaluate.warmup import warmup as warmup_

    warmup_(lambda what, done, total: _say(f"{done}/{total}", what))
    return CLEAN


def _load(files: Sequence[str], skip_invalid: bool) -> Loaded:
    from kubeverdict.manifests import load

    loaded = load(files, stdin=sys.stdin.buffer, skip_invalid=skip_invalid)
    for problem in loaded.skipped:
        _say("skipped", str(problem))
    for problem in loaded.warnings:
        _say("warning", str(problem))
    if loaded.ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in loaded.ignored.items())
        _say("note", f"objects that no verdict depends on: {kinds}")
    return loaded


def _compile(cluster: Cluster, cni: str, static: bool) -> CompiledPolicy:
    from kubeverdict.analyses.notes import notes
    from kubeverdict.compile.compiler import compile_cluster, kernels_missing

    if kernels_missing(cluster):
        _say("note", "the first large input compiles the kernels, which takes half a minute")
    compiled = compile_cluster(cluster, PROFILES[cni], static=static)
    for note in notes(compiled):
        _say("note", note)
    return compiled


_said: set[str] = set()


def _say(kind: str, text: str) -> None:
    """A line on standard error; once, as two inputs have most of their notes in common."""
    line = f"{kind}: {text}"
    if line not in _said:
        _said.add(line)
        click.echo(line, err=True)


def _show(verb: str, output: str, report: object) -> None:
    stream = sys.stdout
    color = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    text = render(verb, output, report, Style(color, _encodes_lines(stream.encoding)))
    try:
        # A file name may hold what the terminal's encoding has not.
        stream.buffer.write(f"{text}\n".encode(stream.encoding, "backslashreplace"))
        stream.flush()
    except BrokenPipeError:
        # The reader has seen enough. What is left must not be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(BROKEN_PIPE)


def _encodes_lines(encoding: str) -> bool:
    try:
        "├─└│→·".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
