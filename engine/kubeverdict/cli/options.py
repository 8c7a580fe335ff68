"""Options that several verbs have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from kubeverdict.errors import UsageError
from kubeverdict.model.defaults import DEFAULT_NAMESPACE
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render import FORMATS

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
    """For verbs that compare two inputs, in addition to --cni."""
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
    """The CNI of each of two inputs. Raises UsageError where --cni is given together with one of
    them."""
    source = click.get_current_context().get_parameter_source("cni")
    if (old or new) and source is ParameterSource.COMMANDLINE:
        raise UsageError("--cni is for both inputs: use --cni, or --cni-old and --cni-new")
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
    help="The namespace of objects in manifests that have none.",
)


address_ranges = click.option(
    "--ranges",
    "by_range",
    is_flag=True,
    help="Addresses as ranges, a row each and of both families; JSON in version 1.",
)
