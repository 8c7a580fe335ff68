"""How a command ends when something goes wrong: with a sentence and status 2.

Status 1 means findings, so nothing else may end with it, and a traceback, which Python ends with
that status, does not help a user. An unexpected error is reported in a sentence like any other;
``KUBEVERDICT_DEBUG=1`` shows the traceback in front of it.

In: nothing of ours. Out: imports nothing but the standard library, as it is in place before all
else is imported: a library may be missing or broken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

CLEAN, FINDINGS, WRONG = 0, 1, 2
BROKEN_PIPE = 141  # as shells report a process that this signal ended
DEBUG = "KUBEVERDICT_DEBUG"


class OutputError(Exception):
    """Standard output cannot be written."""


def exit_with(name: str, command: Callable[[], int]) -> NoReturn:
    """Exit with the status of ``command``; with :data:`WRONG` and a sentence where it fails.

    ``name`` is the program's; the verb is taken from its arguments.
    """
    _replace_closed_streams()
    try:
        status = command()
        # Now, while a failure can still be reported; at exit Python would use a status of its own.
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe, as head does.
        status = BROKEN_PIPE
    except Exception as error:
        _report(name, error)
        status = WRONG
    for stream in (sys.stdout, sys.stderr):
        _discard_unwritten(stream)
    sys.exit(status)


def write_out(text: str) -> None:
    """Write to standard output. Raises OutputError where that cannot be done, BrokenPipeError
    where the reader has closed the pipe."""
    stream = sys.stdout
    try:
        # A file name may hold what the terminal's encoding has not.
        stream.buffer.write(text.encode(stream.encoding, "backslashreplace"))
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _replace_closed_streams() -> None:
    """A standard stream that is closed (``>&-``) would be missing, and its number would be given
    to the next file that is opened. What takes its place fails when it is used, as any stream
    may; what would go to standard error is dropped, as was asked for."""
    for number, name, held in ((0, "stdin", "w"), (1, "stdout", "r"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        place = os.open(os.devnull, os.O_WRONLY if held == "w" else os.O_RDONLY)
        if place != number:
            os.dup2(place, number)
            os.close(place)
        stream = open(number, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)


def _report(name: str, error: Exception) -> None:
    verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        if os.environ.get(DEBUG, "0") not in ("", "0"):
            import traceback

            traceback.print_exception(error)
        command = f"{name} {verb}".rstrip()
        print(f"error: {command}: {_sentence(error)} ({_hint(error)})", file=sys.stderr, flush=True)
    except OSError:
        pass  # nothing can be reported; the status remains


def _sentence(error: Exception) -> str:
    match error:
        case OutputError():
            return str(error)
        case OSError():
            reason = error.strerror or str(error) or type(error).__name__
            return f"{_shown(error.filename)}: {reason}" if error.filename else reason
        case MemoryError():
            return "there is not enough memory"
        case RecursionError():
            return "the input is nested more deeply than can be followed"
        case ModuleNotFoundError() if error.name and not error.name.startswith("kubeverdict"):
            return f"the Python package {error.name.partition('.')[0]} is not installed"
        case _:
            return f"unexpected {type(error).__name__}: {error}".rstrip(": ")


def _shown(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, (str, bytes)) else str(filename)


def _hint(error: Exception) -> str:
    where = f"{DEBUG}=1 shows where"
    if isinstance(error, (OSError, OutputError, MemoryError, RecursionError, ImportError)):
        return where
    return f"this is a fault of the program, please report it; {where}"


def _discard_unwritten(stream: TextIO) -> None:
    """What could not be written must not be tried again at exit, which would end with a status
    that means something else."""
    try:
        stream.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
