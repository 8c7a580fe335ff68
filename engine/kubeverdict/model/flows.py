"""Connections as logs record them, before their ends are resolved to pods."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

import msgspec

DIRECTED: Final = -1


class Seen(IntEnum):
    """What a record says became of the connection.

    SENT: it left its source, and no record says yet that it arrived. Logs that record both ends
    have two records of one connection, and the first says nothing of the second.
    """

    ARRIVED = 0
    SENT = 1
    DENIED = 2


class FlowEnd(msgspec.Struct, frozen=True, gc=False):
    """One end, as far as the log knows it; what it does not know is empty.

    ``pod`` may end in a star (``web-7d9f-*``) where the log has put pods together. ``outside``:
    the log itself says that this is no pod.
    """

    namespace: str = ""
    pod: str = ""
    address: str = ""
    workload: str = ""
    outside: bool = False


class FlowRecord(msgspec.Struct, frozen=True, gc=False):
    """One record. ``protocol`` is a number of ``Protocol``; ``port`` is the destination's, 0 for
    protocols without. ``time`` is as the log spells it, see :func:`seconds`. ``source_port`` is
    ``DIRECTED`` where the log says that the source began the connection; where it does not, the
    port at the source, 0 if that is not known either."""

    source: FlowEnd
    destination: FlowEnd
    protocol: int
    port: int
    seen: int
    time: str | float | None = None
    count: int = 1
    source_port: int = DIRECTED


def seconds(time: str | float | None) -> float | None:
    """A time of a log as seconds since 1970; None where there is none. Text is ISO 8601 (UTC
    where it does not say), or a number of seconds."""
    if time is None or isinstance(time, int | float):
        return time
    if time.replace(".", "", 1).isdigit():
        return float(time)
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
