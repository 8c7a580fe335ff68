"""Ports as ranges, and the patterns into which the rules of one row cut them.

A *place* is a protocol and a port in one number (``PortSpace.table`` is indexed by it). A port list
is ranges of places. Of all places, the lists of the few rules that meet in one row distinguish only
some patterns, and a row is judged once for each of these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.bits import first_at_least, sort
from kubeverdict.kernels.jit import kernel

_PROTOCOL = 65536
# Behind the places of ports, of ICMP and of all else: the types and codes of ICMP and ICMPv6, and
# for both a place of packets whose type is not known.
TYPES = 3 * _PROTOCOL + 2
END = TYPES + 2 * 65536 + 2


class Runs(NamedTuple):
    """Port lists as ascending ranges that do not touch. List 0 is everything."""

    start: NDArray[np.int64]  # (lists + 1,)
    low: NDArray[np.int32]
    high: NDArray[np.int32]  # one past the last place


class Cut(NamedTuple):
    """The patterns of one row, and working memory to find them."""

    seen: NDArray[np.int64]  # by list: when it was last met
    lists: NDArray[np.int32]  # the lists of the row
    edge: NDArray[np.int32]  # where cells begin, from the second on
    part: NDArray[np.int32]  # by cell: its pattern
    place: NDArray[np.int32]  # by pattern: a place in it, -1 where there is none
    weight: NDArray[np.int64]  # by pattern: ports in it
    members: NDArray[np.int32]
    hits: NDArray[np.int32]
    renamed: NDArray[np.int32]
    met: NDArray[np.int32]
    counts: NDArray[np.int64]  # lists, edges, and the stamp of the row at hand


def cut_memory(runs: Runs) -> Cut:
    """Working memory for rows over ``runs``."""
    lists = runs.start.size - 1
    # All lists may meet in one row, each range with two edges.
    cells = 2 * runs.low.size + 2
    return Cut(
        seen=np.zeros(lists, np.int64),
        lists=np.empty(lists, np.int32),
        edge=np.empty(cells, np.int32),
        part=np.empty(cells, np.int32),
        place=np.empty(cells, np.int32),
        weight=np.empty(cells, np.int64),
        members=np.empty(cells, np.int32),
        hits=np.zeros(cells, np.int32),
        renamed=np.full(cells, -1, np.int32),
        met=np.empty(cells, np.int32),
        counts=np.zeros(3, np.int64),
    )


@kernel
def ports_in(low, high):
    """Ports 1 to 65535 of TCP, UDP and SCTP among the places ``low`` to ``high - 1``."""
    total = np.int64(0)
    for protocol in range(3):
        first = max(low, protocol * _PROTOCOL + 1)
        stop = min(high, (protocol + 1) * _PROTOCOL)
        if stop > first:
            total += stop - first
    return total


@kernel
def holds(runs, ports, place):
    """Whether a port list holds a place."""
    if ports == 0:
        return True
    for i in range(runs.start[ports], runs.start[ports + 1]):
        if place < runs.low[i]:
            return False
        if place < runs.high[i]:
            return True
    return False


@kernel
def new_cut(cut):
    """Begin a row without port lists."""
    cut.counts[0] = 0
    cut.counts[2] += 1


@kernel
def add_list(cut, ports):
    """Let a port list of a rule cut the row."""
    if ports != 0 and cut.seen[ports] != cut.counts[2]:
        cut.seen[ports] = cut.counts[2]
        cut.lists[cut.counts[0]] = ports
        cut.counts[0] += 1


@kernel
def _edges(cut, runs):
    """Cells: ``edge[c - 1]`` to ``edge[c] - 1``, from 0 and to END at the ends."""
    found = 0
    for k in range(cut.counts[0]):
        t = cut.lists[k]
        for i in range(runs.start[t], runs.start[t + 1]):
            cut.edge[found] = runs.low[i]
            cut.edge[found + 1] = runs.high[i]
            found += 2
    sort(cut.edge, found)
    kept = 0
    for i in range(found):
        if kept == 0 or cut.edge[i] != cut.edge[kept - 1]:
            cut.edge[kept] = cut.edge[i]
            kept += 1
    cut.counts[1] = kept
    return kept


@kernel
def patterns(cut, runs, low, high):
    """Cut the ports into what the lists of the row distinguish; returns how many patterns.

    Fills ``cut.place`` and ``cut.weight``, over the places from ``low`` to ``high - 1`` only.
    Pattern 0 is what no list names.
    """
    edges = _edges(cut, runs)
    for cell in range(edges + 1):
        cut.part[cell] = 0
    cut.members[0] = edges + 1
    count = 1
    for k in range(cut.counts[0]):
        t = cut.lists[k]
        met = 0
        for turn in range(2):
            for i in range(runs.start[t], runs.start[t + 1]):
                # Cell 0 lies before the first edge.
                first = first_at_least(cut.edge, 0, edges, runs.low[i]) + 1
                stop = first_at_least(cut.edge, 0, edges, runs.high[i]) + 1
                for cell in range(first, stop):
                    old = cut.part[cell]
                    if turn == 1:
                        if cut.renamed[old] >= 0:
                            cut.part[cell] = cut.renamed[old]
                        continue
                    if cut.hits[old] == 0:
                        cut.met[met] = old
                        met += 1
                    cut.hits[old] += 1
            if turn == 1:
                break
            for i in range(met):
                old = cut.met[i]
                # What no list names keeps number 0, even if nothing is left of it.
                if old == 0 or cut.hits[old] < cut.members[old]:
                    cut.renamed[old] = count
                    cut.members[count] = cut.hits[old]
                    cut.members[old] -= cut.hits[old]
                    count += 1
        for i in range(met):
            cut.hits[cut.met[i]] = 0
            cut.renamed[cut.met[i]] = -1
    for q in range(count):
        cut.place[q] = -1
        cut.weight[q] = 0
    for cell in range(edges + 1):
        begin = max(low, cut.edge[cell - 1] if cell > 0 else 0)
        end = min(high, cut.edge[cell] if cell < edges else END)
        if end <= begin:
            continue
        q = cut.part[cell]
        weight = ports_in(begin, end)
        if cut.place[q] < 0 or (cut.weight[q] == 0 and weight > 0):
            # Port 0 is in no rule's range, and no place to show.
            cut.place[q] = begin + 1 if begin % _PROTOCOL == 0 and end > begin + 1 else begin
        cut.weight[q] += weight
    return count
