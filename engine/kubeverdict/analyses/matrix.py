"""Connections counted by namespace."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from kubeverdict.analyses.connections import Connections
from kubeverdict.analyses.differences import Differences
from kubeverdict.analyses.seriation import alike_together

EXTERNAL = "external"
# Up to that many names, the eye finds one fastest in alphabetical order.
FEW = 20


class Matrix(msgspec.Struct, frozen=True):
    """``counts[source, destination]``, by index into ``sources`` and ``destinations``; absent
    where it is 0.

    Namespaces that nothing leaves are no sources, those that nothing enters no destinations.
    Addresses are the last of either, ``external``. Few namespaces are in alphabetical order,
    more in one that puts those with the same partners together.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    counts: dict[tuple[int, int], int]


def matrix(report: Connections | Differences) -> Matrix:
    """Count what a report lists, by the namespaces of both ends."""
    pairs: Counter[tuple[str, str]] = Counter()
    if isinstance(report, Differences):
        pairs.update((one.source.namespace, one.destination.namespace) for one in report.changes)
    else:
        for fan in report.fans:
            reached = Counter([target.peer.namespace for target in fan.targets])
            for namespace, count in reached.items():
                pairs[fan.source.namespace, namespace] += count
    return counted(pairs)


def counted(pairs: Counter[tuple[str, str]]) -> Matrix:
    """The matrix of counts by namespaces of source and destination, empty for addresses."""
    ends = [sorted({pair[side] for pair in pairs} - {""}) for side in (0, 1)]
    if len({*ends[0], *ends[1]}) > FEW:
        places = [{name: place for place, name in enumerate(names)} for names in ends]
        table = np.zeros((len(ends[0]), len(ends[1])), np.bool_)
        for source, destination in pairs:
            if source and destination:
                table[places[0][source], places[1][destination]] = True
        ends = [
            [names[place] for place in alike_together(side)]
            for names, side in zip(ends, (table, table.T), strict=True)
        ]
    ends = [names + [""] * any(not pair[side] for pair in pairs) for side, names in enumerate(ends)]
    index = [{name: place for place, name in enumerate(names)} for names in ends]
    sources, destinations = (tuple(name or EXTERNAL for name in names) for names in ends)
    return Matrix(
        sources,
        destinations,
        {
            (index[0][source], index[1][destination]): count
            for (source, destination), count in pairs.items()
        },
    )
