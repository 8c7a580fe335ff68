"""Connections counted by namespace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from kubeverdict.analyses.connections import Connection
from kubeverdict.analyses.differences import Change

EXTERNAL = "external"


class Matrix(msgspec.Struct, frozen=True):
    """``counts[source, destination]``, by index into ``namespaces``; absent where it is 0.

    Addresses are the last namespace, ``external``, where there are any.
    """

    namespaces: tuple[str, ...]
    counts: dict[tuple[int, int], int]


def matrix(connections: Iterable[Connection | Change]) -> Matrix:
    """Count what a report lists, by the namespaces of both ends."""
    pairs = Counter((one.source.namespace, one.destination.namespace) for one in connections)
    names = {name for pair in pairs for name in pair}
    ordered = [*sorted(names - {""}), *([""] if "" in names else [])]
    index = {name: place for place, name in enumerate(ordered)}
    return Matrix(
        tuple(name or EXTERNAL for name in ordered),
        {
            (index[source], index[destination]): count
            for (source, destination), count in pairs.items()
        },
    )
