"""Options that several verbs have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from kubeverdict.command.cni import CniName
from kubeverdict.errors import UsageError
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render import FORMATS

LIVE = "live:"
"""An input that begins so is a context of a kubeconfig; without more, the current one."""

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
                type=CniName(),
                default=REFERENCE.name,
                show_default=True,
                metavar="NAME",
                help=f"Judge as this network plug-in does: {', '.join(PROFILES)}.",
            ),
            click.option(
                "--static",
                is_flag=True,
                help="Judge pods without an address too, by their labels; no ipBlock matches them.",
            ),
            click.option(
                "--skip-invalid",
                is_flag=True,
                help="Go on without invalid documents, and name them.",
            ),
        ],
    )


def two_cnis(command: Command, sides: Sequence[str] = ("old", "new")) -> Command:
    """For verbs that compare two inputs, in addition to --cni."""
    return _with(
        command,
        [
            click.option(
                f"--cni-{side}",
                type=CniName(),
                metavar="NAME",
                help=f"As --cni, for {side.upper()} alone.",
            )
            for side in sides
        ],
    )


def cni_of_each(cni: str, old: str | None, new: str | None) -> tuple[str, str]:
    """The CNI of each of two inputs. Raises UsageError where --cni is given together with one of
    them."""
    source = click.get_current_context().get_parameter_source("cni")
    if (old or new) and source is ParameterSource.COMMANDLINE:
        raise UsageError("--cni is for both inputs: use it, or an option for each of them")
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
        live_options(command),
        [
            click.option(
                "-f",
                "--filename",
                "files",
                multiple=True,
                metavar="FILE|DIR|-",
                callback=partial(_one_input, required=required),
                help="Manifests or kubectl dumps, YAML or JSON; repeatable. Or a snapshot.",
            ),
            click.option(
                "--live",
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_kept,
                help="The cluster of a kubeconfig as it is now, instead of -f; it is only read.",
            ),
            click.option(
                "--context",
                metavar="NAME",
                is_eager=True,
                expose_value=False,
                callback=_kept,
                help="With --live: a context of the kubeconfig other than the current one.",
            ),
            namespace_option,
        ],
    )


def assertion_files(text: str, required: bool = False) -> Callable[[Command], Command]:
    """The files of assertions, as ``paths``; ``text`` is what the verb does with them."""
    return click.option(
        "--assertions",
        "paths",
        multiple=True,
        required=required,
        metavar="FILE|DIR",
        help=text,
    )


def live_options(command: Command) -> Command:
    """How clusters are reached that an input names as live:CONTEXT."""
    kept = partial(click.option, is_eager=True, expose_value=False, callback=_kept)
    return _with(
        command,
        [
            kept("--kubeconfig", metavar="FILE", help="Where contexts are looked up."),
            kept("--as", "as_user", metavar="USER", help="Ask a live cluster as USER."),
            kept(
                "--as-group",
                "as_groups",
                metavar="GROUP",
                multiple=True,
                help="With --as: a group of that user; repeatable.",
            ),
        ],
    )


def live_option(name: str) -> Any:
    """What was given for an option about live clusters."""
    return click.get_current_context().meta.get(f"{__name__}.{name}")


def _kept(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Keep a value for :func:`live_option`: only what reads a live cluster asks for it."""
    context.meta[f"{__name__}.{option.name}"] = value
    return value


def _one_input(
    context: click.Context, option: click.Parameter, files: tuple[str, ...], required: bool
) -> tuple[str, ...]:
    """The files, or what stands for the live cluster in their place."""
    name = context.meta.get(f"{__name__}.context")
    if not context.meta.get(f"{__name__}.live"):
        if name is not None:
            raise click.UsageError("--context is for --live", context)
        if required and not files:
            raise click.MissingParameter(
                "Or --live, for the cluster of a kubeconfig.", context, option
            )
        return files
    if files:
        raise click.UsageError("--live is the whole input: it cannot be used with -f", context)
    return (f"{LIVE}{name or ''}",)


namespace_option = click.option(
    "-n",
    "--namespace",
    default=DEFAULT_NAMESPACE,
    show_default=True,
    metavar="NS",
    help="The namespace of objects in manifests that have none.",
)


address_ranges = click.option(
    "--ranges",
    "by_range",
    is_flag=True,
    help="Write addresses as ranges, of IPv4 and IPv6; JSON has version 1 of its schema.",
)
