"""What every verb needs: common options, reading the input, and writing the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from kubeverdict.errors import UsageError
from kubeverdict.failures import write_out
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render import FORMATS, pieces
from kubeverdict.render.style import Style

if TYPE_CHECKING:
    from kubeverdict.compile.compiled import CompiledPolicy
    from kubeverdict.manifests import Loaded
    from kubeverdict.model.cluster import Cluster
    from kubeverdict.snapshots import Snapshot

Command = TypeVar("Command", bound=Callable[..., Any])


def judging(verb: str) -> Callable[[Command], Command]:
    """The options of every verb that judges."""
    formats = list(FORMATS[verb])
    output = click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Format.",
    )
    return lambda command: _with(cni_options(command), [output])


def cni_options(command: Command) -> Command:
    """The options of every verb that compiles."""
    return _with(
        command,
        [
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
        ],
    )


def two_cnis(command: Command) -> Command:
    """For verbs that compare two inputs, beside --cni."""
    return _with(
        command,
        [
            click.option(
                f"--cni-{side}",
                type=click.Choice(list(PROFILES)),
                metavar="NAME",
                help=f"As --cni, for {side.upper()} alone.",
            )
            for side in ("old", "new")
        ],
    )


def cni_of_each(cni: str, old: str | None, new: str | None) -> tuple[str, str]:
    """The CNI of each of two inputs. Raises UsageError where --cni is given beside one."""
    source = click.get_current_context().get_parameter_source("cni")
    if (old or new) and source is ParameterSource.COMMANDLINE:
        raise UsageError("--cni is for both inputs: say --cni, or --cni-old and --cni-new")
    return old or cni, new or cni


def _with(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def fail_on(*kinds: str) -> Callable[[Command], Command]:
    """For verbs about changes: which of them a CI job is to fail on."""
    return click.option(
        "--fail-on",
        type=click.Choice([*kinds, "any"]),
        default="any",
        show_default=True,
        help="Exit with status 1 only if a connection changes in this way.",
    )


def input_files(command: Command, required: bool = True) -> Command:
    return _with(
        command,
        [
            click.option(
                "-f",
                "--filename",
                "files",
                multiple=True,
                required=required,
                metavar="FILE|DIR|-",
                help="Manifests or kubectl dumps, YAML or JSON; repeatable. Or a snapshot.",
            ),
            namespace_option,
        ],
    )


namespace_option = click.option(
    "-n",
    "--namespace",
    default=DEFAULT_NAMESPACE,
    show_default=True,
    metavar="NS",
    help="Where objects of manifests are that have no namespace.",
)

address_ranges = click.option(
    "--ranges",
    "by_range",
    is_flag=True,
    help="Addresses as ranges, a row each and of both families; JSON in version 1.",
)


def load_input(files: Sequence[str], namespace: str, skip_invalid: bool) -> Loaded:
    """The cluster in manifests, with what there is to say about it said."""
    from kubeverdict.manifests import load

    loaded = load(files, stdin=sys.stdin.buffer, skip_invalid=skip_invalid, namespace=namespace)
    for kind, text in remarks(loaded):
        say(kind, text)
    if namespace != DEFAULT_NAMESPACE and not loaded.unplaced:
        text = (
            "every object has a namespace; --in-namespace narrows the answer of verbs that have it"
        )
        say("note", f"-n {namespace} has no effect: {text}")
    return loaded


def remarks(loaded: Loaded) -> list[tuple[str, str]]:
    """What there is to say about an input: the kind of each remark, and a sentence."""
    from kubeverdict.manifests.sources import passed_over

    found = [("skipped", str(problem)) for problem in loaded.skipped]
    found += [("warning", str(problem)) for problem in loaded.warnings]
    if loaded.passed_over:
        text = passed_over(loaded.passed_over)
        found.append(("note", f"passed over: {text}; -f PATH reads what it names"))
    if loaded.ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in loaded.ignored.items())
        found.append(("note", f"objects that no verdict depends on: {kinds}"))
    return found


def snapshot_in(files: Sequence[str]) -> Snapshot | None:
    """The snapshot that ``files`` name, if that is what they do; its remarks are said."""
    from kubeverdict import snapshots

    named = [path for path in files if path.endswith(".kvs") or snapshots.is_snapshot(path)]
    if not named:
        return None
    if len(files) > 1:
        raise UsageError(f"{named[0]} is a snapshot: it goes alone")
    snapshot = snapshots.read(named[0])
    for kind, text in snapshot.remarks:
        say(kind, text)
    return snapshot


def cluster_in(files: Sequence[str], namespace: str, skip_invalid: bool) -> Cluster:
    """The cluster in manifests or in a snapshot."""
    snapshot = snapshot_in(files)
    if snapshot is not None:
        return snapshot.compiled.cluster
    return load_input(files, namespace, skip_invalid).cluster


def compiled_in(
    files: Sequence[str], namespace: str, skip_invalid: bool, cni: str, static: bool
) -> CompiledPolicy:
    """The cluster in manifests, compiled; or as a snapshot has it, if that fits."""
    snapshot = snapshot_in(files)
    if snapshot is None:
        return compiled_from(load_input(files, namespace, skip_invalid).cluster, cni, static)
    return fitting(snapshot, cni, static) or compiled_from(snapshot.compiled.cluster, cni, static)


def fitting(snapshot: Snapshot, cni: str, static: bool) -> CompiledPolicy | None:
    """What a snapshot holds, if it was compiled for this CNI."""
    compiled = snapshot.compiled
    if (compiled.profile, compiled.static) != (PROFILES[cni], static):
        return None
    say_notes(compiled)
    return compiled


def compiled_from(cluster: Cluster, cni: str, static: bool) -> CompiledPolicy:
    from kubeverdict.compile.compiler import compile_cluster, kernels_missing

    if kernels_missing(cluster):
        say("note", "the first large input compiles the kernels, which takes a minute")
    compiled = compile_cluster(cluster, PROFILES[cni], static=static)
    say_notes(compiled)
    return compiled


def say_notes(compiled: CompiledPolicy) -> None:
    from kubeverdict.analyses.notes import notes

    for note in notes(compiled):
        say("note", note)


_said: set[str] = set()


def say(kind: str, text: str) -> None:
    """A line on standard error; once, as two inputs have most of their notes in common."""
    line = f"{kind}: {text}"
    if line not in _said:
        _said.add(line)
        click.echo(line, err=True)


def check_pods(*inputs: CompiledPolicy) -> None:
    """Raise UsageError where none of ``inputs`` has a pod: an answer about nothing would look
    like a clean one."""
    from kubeverdict.analyses.notes import why_no_pods

    if not any(len(compiled.pods) for compiled in inputs):
        raise UsageError(why_no_pods(inputs))


def show(verb: str, output: str, report: object) -> None:
    stream = sys.stdout
    _say_unevaluated(output, report)
    color = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    style = Style(color, _encodes_lines(stream.encoding))
    for text in pieces(verb, output, report, style):
        write_out(text)
    write_out("\n")


def _say_unevaluated(output: str, report: object) -> None:
    from kubeverdict.analyses.unevaluated import sentences
    from kubeverdict.render.unevaluated import PURE_DATA

    if output in PURE_DATA:
        for text in sentences(getattr(report, "unevaluated", ())):
            say("note", text)


def _encodes_lines(encoding: str) -> bool:
    try:
        "├─└│→·".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
