"""What the verbs that read flow logs share: their options, and the traffic in the logs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kubeverdict.cli.output import say
from kubeverdict.command.failures import WRONG
from kubeverdict.errors import InputError, Problem, UsageError
from kubeverdict.model.counts import count

if TYPE_CHECKING:
    from kubeverdict.analyses.traffic import LogReading, Traffic
    from kubeverdict.model.cluster import Cluster

Command = TypeVar("Command", bound=Callable[..., Any])


def flow_logs(command: Command) -> Command:
    """The options of every verb that reads flows."""
    for option in (
        click.option(
            "--columns",
            metavar="FIELD=COLUMN,…",
            help="Which columns of CSV, JSON Lines or parquet hold source, destination, port, …",
        ),
        click.option(
            "--flows",
            "logs",
            multiple=True,
            required=True,
            metavar="FILE|DIR|-",
            help="Flow logs: Hubble, Calico, AWS, GKE, OVN, our agent's, CSV, …; repeatable.",
        ),
    ):
        command = option(command)
    return command


def traffic_in(
    logs: tuple[str, ...],
    columns: str | None,
    cluster: Cluster,
    reading: LogReading,
    most: int | None,
) -> Iterator[Traffic]:
    """The traffic in flow logs. Raises InputError where they hold none."""
    from kubeverdict import flowlogs
    from kubeverdict.analyses.traffic import collect

    mapping = flowlogs.Mapping.of(columns) if columns is not None else None
    yield from collect(flowlogs.read(logs, sys.stdin.buffer, mapping), cluster, reading, most)
    if not reading.records:
        problems = list(reading.malformed_first)
        names = ", ".join(logs)
        lines = count(reading.lines, "line")
        kinds = ", ".join(f"{what} ({times:,})" for what, times in reading.skipped.most_common())
        text = f"no connection in {lines}{': ' if kinds else ''}{kinds}"
        problems.append(Problem(names, 0, "", text))
        raise InputError(problems)


def say_nothing_judged(reading: LogReading) -> int:
    """A log of another cluster must not look like a clean one."""
    which = "the record" if reading.records == 1 else f"none of the {reading.records:,} records"
    could = "cannot" if reading.records == 1 else "can"
    say("error", f"{which} {could} be judged: is it this cluster?")
    return WRONG


def check_inputs(files: tuple[str, ...], logs: tuple[str, ...], applied: tuple[str, ...]) -> None:
    if (*files, *logs, *applied).count("-") > 1:
        raise UsageError("standard input (-) can be only one of the inputs")
