"""Traffic with its verdicts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.traffic import LogReading, Traffic, endpoints
from kubeverdict.compile.compiled import CompiledPolicy, Reason
from kubeverdict.evaluate.flows import Verdicts, judge

NO_PART = "pods that take no part: {}"
NO_FAMILY = "ends that have no address family in common"

_PART = 250_000  # connections judged by one call


class Count(msgspec.Struct, frozen=True):
    """Records as the log has them, and distinct connections."""

    records: int = 0
    connections: int = 0


class JudgedTraffic(NamedTuple):
    """Traffic by endpoint id, and its verdicts."""

    traffic: Traffic
    source: NDArray[np.int32]
    destination: NDArray[np.int32]
    verdicts: Verdicts


def judged(
    compiled: CompiledPolicy, traffic: Traffic, reading: LogReading | None = None
) -> JudgedTraffic:
    """Judge traffic. Ends that take no part in ``compiled`` are left out and counted."""
    ids, why = endpoints(compiled, traffic.ends)
    if why:
        lost = (ids[traffic.source] < 0) | (ids[traffic.destination] < 0)
        if reading is not None:
            _note_lost(traffic.rows(lost), why, reading, NO_PART)
        traffic = traffic.rows(~lost)
    source, destination = ids[traffic.source], ids[traffic.destination]
    verdicts = _verdicts(compiled, source, destination, traffic)
    part = JudgedTraffic(traffic, source, destination, verdicts)
    apart = verdicts.egress == Reason.NO_ADDRESS
    if apart.any():
        if reading is not None:
            strangers = traffic.rows(apart)
            _note_lost(strangers, dict.fromkeys(strangers.source.tolist(), ""), reading, NO_FAMILY)
        part = only(part, ~apart)
    return part


def _verdicts(
    compiled: CompiledPolicy,
    source: NDArray[np.int32],
    destination: NDArray[np.int32],
    traffic: Traffic,
) -> Verdicts:
    """In parts that fit into the cache, several at a time where there are many."""

    def part(first: int) -> Verdicts:
        rows = slice(first, first + _PART)
        columns = (source, destination, traffic.protocol, traffic.port)
        return judge(compiled, *(column[rows] for column in columns), threads=1)

    firsts = range(0, source.size, _PART)
    if len(firsts) <= 1:
        return part(0)
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(part, firsts))
    return Verdicts(
        np.concatenate([one.allowed for one in parts]),
        np.concatenate([one.egress for one in parts]),
        np.concatenate([one.ingress for one in parts]),
    )


def _note_lost(lost: Traffic, why: dict[int, str], reading: LogReading, what: str) -> None:
    columns = (lost.source, lost.destination, lost.observed + lost.denied)
    for source, destination, count in zip(*(c.tolist() for c in columns), strict=True):
        end = source if source in why else destination
        reading.not_attributed(what.format(why[end]), count, lost.ends[end].name)


def only(part: JudgedTraffic, which: NDArray[np.bool_]) -> JudgedTraffic:
    """Some of the connections."""
    verdicts = part.verdicts
    return JudgedTraffic(
        part.traffic.rows(which),
        part.source[which],
        part.destination[which],
        Verdicts(verdicts.allowed[which], verdicts.egress[which], verdicts.ingress[which]),
    )


def counted(part: JudgedTraffic, which: NDArray[np.bool_]) -> Count:
    """How many of the connections ``which`` (n,) are, of those that were seen."""
    return Count(int(part.traffic.observed[which].sum()), int(which.sum()))


def at_least(compiled: CompiledPolicy, part: JudgedTraffic) -> JudgedTraffic:
    """The same connections where as little as possible is allowed: another bound than that of
    ``part`` only where rules are conditional."""
    for bound in compiled.least:
        return part._replace(verdicts=_verdicts(bound, part.source, part.destination, part.traffic))
    return part
