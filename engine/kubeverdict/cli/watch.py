"""The verb ``watch``: what each change of a live cluster opens and closes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kubeverdict.cli.inputs import access_of, is_live
from kubeverdict.cli.options import assertion_files, input_files, judging
from kubeverdict.cli.output import StatusLine, say, show
from kubeverdict.command.failures import CLEAN, FINDINGS
from kubeverdict.command.running import verb
from kubeverdict.errors import UsageError
from kubeverdict.model.profile import PROFILES

if TYPE_CHECKING:
    from kubeverdict.analyses.watched import Watched

# How long an interrupt may have to wait.
_TURN_SECONDS = 0.25


@verb()
@input_files
@assertion_files("Say when one of these breaks, and when it holds again; repeatable.")
@judging("watch")
def watch(
    files: tuple[str, ...],
    namespace: str,
    paths: tuple[str, ...],
    output: str,
    cni: str,
    static: bool,
    skip_invalid: bool,
) -> int:
    """Follow a live cluster: what each change opens and closes, its cause, and the rules.

    Ends on Ctrl-C and on SIGTERM; exit status 1 where an assertion does not hold then.
    """
    from kubeverdict.live.following import Follower
    from kubeverdict.manifests.assertions import read_assertions
    from kubeverdict.session.watching import Watching

    if not all(map(is_live, files)):
        raise UsageError("watch follows a live cluster: use --live in place of -f")
    assertions = read_assertions(paths) if paths else None
    follower = Follower(access_of(files), skip_invalid=skip_invalid)
    watching = Watching(follower, PROFILES[cni], static, assertions)
    try:
        with StatusLine(sys.stderr) as line:
            started = list(
                watching.start(lambda kind, count: line.put(f"reading {kind}: {count:,}"))
            )
        for problem in (*follower.errors, *follower.warnings):
            say("warning", str(problem))
        with _ended_by_signals() as ended:
            _show(output, started)
            while not ended.is_set():
                _show(output, watching.next(_TURN_SECONDS))
            last = watching.end()
            _show(output, [last])
    finally:
        follower.close()
    return FINDINGS if last.broken else CLEAN


def _show(output: str, found: Any) -> None:
    one: Watched
    for one in found:
        show("watch", output, one)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; a second one has its usual effect."""
    ended = threading.Event()
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: object) -> None:
        ended.set()
        restore()

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number, handler in usual.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield ended
    finally:
        restore()
