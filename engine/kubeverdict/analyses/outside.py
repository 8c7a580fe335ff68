"""Address space outside the cluster, as the identities of a plane cut it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kubeverdict.analyses.cells import Intervals
from kubeverdict.model.addresses import Family, parse_address


def outside(
    space: Iterable[tuple[tuple[Family, int, int], int]], hosts: Iterable[tuple[str, int]]
) -> Intervals:
    """Intervals of address space in order, each with its identity, and nodes among them.

    A node that is treated unlike the addresses around it becomes an interval of its own. Identity
    -1 is what the plane does not serve.
    """
    waiting: dict[Family, list[tuple[int, int]]] = {4: [], 6: []}
    for text, identity in hosts:
        address = parse_address(text)
        assert address is not None  # the compiler refuses others
        waiting[address.family].append((address.value, identity))
    for listed in waiting.values():
        listed.sort(reverse=True)  # the lowest is taken first
    bounds: list[tuple[Family, int, int]] = []
    identities: list[int] = []
    for (family, first, last), identity in space:
        if identity < 0:
            continue
        while waiting[family] and waiting[family][-1][0] <= last:
            value, of_host = waiting[family].pop()
            if of_host == identity:
                continue
            if first < value:
                bounds.append((family, first, value - 1))
                identities.append(identity)
            bounds.append((family, value, value))
            identities.append(of_host)
            first = value + 1
        if first <= last:
            bounds.append((family, first, last))
            identities.append(identity)
    return Intervals(bounds, np.array(identities, np.int64))
