"""Writing the answer to standard output, and remarks to standard error."""

from __future__ import annotations

import os
import sys
from typing import TextIO

import click

from kubeverdict.command.failures import write_out
from kubeverdict.render import pieces
from kubeverdict.render.style import Style

_said: set[str] = set()


def say(kind: str, text: str) -> None:
    """A line on standard error; once, as two inputs have most of their notes in common."""
    line = f"{kind}: {text}"
    if line not in _said:
        _said.add(line)
        click.echo(line, err=True)


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


class StatusLine:
    """A line that says how far something is, on a terminal; nothing elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *failure: object) -> None:
        self.clear()

    def clear(self) -> None:
        self.put("")

    def put(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
