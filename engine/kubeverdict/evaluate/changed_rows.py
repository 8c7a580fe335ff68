"""Rows of the reachability matrix that differ between two versions, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.evaluate.aligned import Joint
from kubeverdict.evaluate.pairs import MorePairs
from kubeverdict.model.addresses import Family


@dataclass(frozen=True, slots=True)
class DeltaCounts:
    """Changes between pods over the address families of one plane.

    ``pairs_opened`` are ordered pairs of different pods that gain a port, ``pairs_closed`` those
    that lose one (a pair may do both); ``ports_opened`` and ``ports_closed`` count (pair,
    protocol, port).
    """

    families: tuple[Family, ...]
    pairs_opened: int
    pairs_closed: int
    ports_opened: int
    ports_closed: int


@dataclass(frozen=True, slots=True, eq=False)
class DeltaRow:
    """Sources and destinations between which the same ports changed.

    ``sources`` and ``destinations`` are joint identities; ``before`` and ``after`` are bitmaps
    (atoms,) over ``Joint.ports`` of what is allowed in either version.
    """

    destinations: NDArray[np.int64]
    sources: NDArray[np.int64]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]

    def touches(self, first: int) -> bool:
        """Whether an identity from ``first`` on is among its ends."""
        return bool((self.sources >= first).any() or (self.destinations >= first).any())


class Counted(NamedTuple):
    """What changed rows add up to, and how many more pairs there are than before."""

    counts: DeltaCounts
    more: MorePairs


def counted(joint: Joint, rows: Iterable[DeltaRow], pods: int) -> Counted:
    """Add up rows that have no cell in common; the first ``pods`` ends are pods."""
    identity = joint.identity[:pods]
    weight = np.bincount(identity[identity >= 0], minlength=joint.size)
    ports = joint.ports.weight
    totals = np.zeros(4, np.int64)
    more = np.zeros(2, np.int64)
    for row in rows:
        both = np.intersect1d(row.sources, row.destinations, assume_unique=True)
        pairs = int(weight[row.sources].sum()) * int(weight[row.destinations].sum())
        pairs -= int(weight[both].sum())
        was, now = int(ports[row.before].sum()), int(ports[row.after].sum())
        opened = int(ports[row.after & ~row.before].sum())
        closed = int(ports[row.before & ~row.after].sum())
        changes = (opened > 0, closed > 0, opened, closed)
        totals += [pairs * change for change in changes]
        more += [pairs * ((now > 0) - (was > 0)), pairs * (now - was)]
    return Counted(DeltaCounts(joint.families, *totals.tolist()), MorePairs(*more.tolist()))
