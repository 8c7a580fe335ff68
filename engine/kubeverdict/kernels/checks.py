"""Claims about rows of the reachability matrix: which of many does each row break.

A *check* claims that nothing of some sources reaches some destinations on some ports, or that
all of it does. Checks are listed by the destinations that they are about, so that each row is
made once, however many there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.bits import ZERO
from kubeverdict.kernels.jit import making_kernel
from kubeverdict.kernels.reach import BEFORE, one_row

_ROWS = 16  # port patterns of a row that there is room for at first


class Checks(NamedTuple):
    """Checks by destination group, and what they claim."""

    start: NDArray[np.int64]  # (groups + 1,)
    check: NDArray[np.int32]  # (entries,) numbers of checks
    source: NDArray[np.int32]  # (checks,) bitmap of each
    ports: NDArray[np.int32]  # (checks,) port list of each
    denied: NDArray[np.bool_]  # (checks,) nothing may get through; or else everything must
    bitmap: NDArray[np.uint64]  # (bitmaps, words) of source identities
    port_start: NDArray[np.int64]  # (port lists + 1,)
    port_atom: NDArray[np.int32]


@making_kernel
def check_rows(first, stop, destination, outside, checks, ingress, egress, space, work, broken):
    """Look at the destination groups ``first`` to ``stop - 1``; ``destination[g]`` is one of each.

    ``broken[e]`` becomes true where the row of an entry's group breaks the claim of its check. A
    pod and itself count as a pair. Words from ``outside`` on are of identities outside the
    cluster; no row is about two of them.
    """
    words = space.universe.shape[1]
    rows = np.empty((_ROWS, words), np.uint64)
    lists = checks.port_start.size - 1
    for g in range(first, stop):
        if checks.start[g] == checks.start[g + 1]:
            continue
        d = destination[g]
        width = words if d < outside << 6 else outside
        # Each row needs a stamp that no other has.
        count = one_row(d, BEFORE, ingress, egress, space, work, 2 * g, rows)
        if count < 0:
            rows = np.empty((-count, words), np.uint64)
            count = one_row(d, BEFORE, ingress, egress, space, work, 2 * g + 1, rows)
        asked = np.zeros((lists, count), np.bool_)
        for t in range(lists):
            for at in range(checks.port_start[t], checks.port_start[t + 1]):
                asked[t, work.part[checks.port_atom[at]]] = True
        for e in range(checks.start[g], checks.start[g + 1]):
            c = checks.check[e]
            claimed = checks.bitmap[checks.source[c]]
            for q in range(count):
                if not asked[checks.ports[c], q] or broken[e]:
                    continue
                for w in range(width):
                    reached = rows[q, w]
                    if not checks.denied[c]:
                        reached = ~reached
                    if reached & claimed[w] != ZERO:
                        broken[e] = True
                        break
