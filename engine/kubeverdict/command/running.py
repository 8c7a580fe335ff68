"""What both commands have in common: how they are parsed, run and how they end.

An option that is given twice is an error unless it is repeatable: which of the two was meant is
unknown, and taking the last has hidden mistakes. A flag says the same however often it is
given, so it may be; a pair of flags (``--follow/--no-follow``) may not.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.types import StringParamType

from kubeverdict.command.failures import WRONG
from kubeverdict.command.interrupts import INTERRUPTED
from kubeverdict.errors import InputError, KubeverdictError
from kubeverdict.model.counts import count

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_OF_FILES = ("FILE", "DIR", "OLD", "NEW")
# Of a group, and through it of every verb.
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Files(StringParamType):
    """Text that names files or folders; a shell completes it so."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


FILES = _Files()


class Command(click.Command):
    """A verb. Its options stand once each, and those that name a FILE or DIR complete so."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for one in self.params:
            if one.type is click.STRING and any(word in str(one.metavar) for word in _OF_FILES):
                one.type = FILES

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _refuse_repeated(self, ctx, list(args))
        return super().parse_args(ctx, args)


class VerbGroup(click.Group):
    """All verbs of a command."""

    command_class = Command


def verb(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Declare a verb in a module of its own; the list of verbs adds it."""
    return click.command(name, cls=Command)


def _refuse_repeated(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    _, _, given = command.make_parser(ctx).parse_args(args)
    for option, times in Counter(given).items():
        if times > 1 and isinstance(option, click.Option) and _stands_once(option):
            # The longest name says most.
            name = max(option.opts, key=len)
            raise click.UsageError(f"Option '{name}' is given {times} times, and takes one.", ctx)


def _stands_once(option: click.Option) -> bool:
    means_the_same = option.is_flag and not option.secondary_opts
    return not (option.multiple or option.count or means_the_same)


def run(group: click.Group, name: str) -> int:
    """Run a command with the arguments of this process; its exit status. Wrong usage and wrong
    input are reported here; any other error is raised."""
    # numpy's linear algebra, of which nothing is used, starts a thread for each core when it is
    # imported: a third of the time of a small answer.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return _status(group, name)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
    except InputError as error:
        _say_problems(error)
    except KubeverdictError as error:
        click.echo(f"error: {error}", err=True)
    return WRONG


def completion_variable(name: str) -> str:
    """By which a shell asks for completions, as the scripts of click have it."""
    return f"_{name}_COMPLETE".replace("-", "_").replace(" ", "_").upper()


def _status(group: click.Group, name: str) -> int:
    """Not by ``group.main``, which takes a reader that went away for a status of its own."""
    variable = completion_variable(name)
    asked = os.environ.get(variable)
    if asked:
        from click.shell_completion import shell_complete

        return shell_complete(group, {}, name, variable, asked)
    if not sys.argv[1:]:
        # Wrong usage for click from 8.2 on, and an answer before that.
        context = group.make_context(name, [], resilient_parsing=True)
        click.echo(context.get_help(), err=True)
        return WRONG
    with group.make_context(name, sys.argv[1:]) as context:
        status: int = group.invoke(context)
        return status


def _say_problems(error: InputError) -> None:
    for warning in error.warnings:
        click.echo(f"warning: {warning}", err=True)
    for problem in error.problems:
        click.echo(str(problem), err=True)
    errors = count(len(error.problems), "error")
    # A document has a line; a file that cannot be read has none, and cannot be skipped.
    skip = "; --skip-invalid goes on without these documents"
    skippable = error.skippable and all(problem.line for problem in error.problems)
    click.echo(f"error: {errors} in the input{skip if skippable else ''}", err=True)
