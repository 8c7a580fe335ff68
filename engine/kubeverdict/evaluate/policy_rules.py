"""The compiled rules of one plane, as sets that can be compared.

Positions are those of :class:`~kubeverdict.compile.overlay.overlay.OverlayPlane`; bitmaps are
words (words,) over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.overlay.overlay import Overlay, OverlayPlane
from kubeverdict.compile.sets import ALL, members
from kubeverdict.kernels.actions import ALLOW, LAYER_BITS, PASS
from kubeverdict.kernels.collect import ACTION, PEER, POLICY, PORTS, RULE, SUBJECT, TIER, Rules
from kubeverdict.model.policy import Direction

Bitmap = NDArray[np.uint64]


class RuleRow:
    """One rule, or the isolation of one policy (``rule`` is then negative), in numbers of sets
    and lists."""

    __slots__ = ("action", "peer", "policy", "ports", "rule", "subject", "tier")

    def __init__(self, row: NDArray[np.int64]) -> None:
        columns = row.tolist()
        self.subject: int = columns[SUBJECT]
        self.peer: int = columns[PEER]
        self.ports: int = columns[PORTS]
        self.rule: int = columns[RULE]
        self.policy: int = columns[POLICY]
        self.action: int = columns[ACTION]
        self.tier: int = columns[TIER]


class Share(NamedTuple):
    """The peers (words,) that one rule, or the isolation of one policy, decides about or passes
    on. Rules of one tier and action that follow one another have those that they share both."""

    row: RuleRow
    peers: Bitmap


class Decided(NamedTuple):
    """What rules make of peers at one place of ports: those that are ``allowed``, and who decides.
    Peers that no rule decides about are allowed and counted for no policy."""

    allowed: Bitmap
    shares: list[Share]


class RuleSide:
    """The rules of one direction: all of them, and those of each part of the positions, which are
    the positions that the same rules select."""

    def __init__(self, rules: Rules) -> None:
        self.rows = [RuleRow(row) for row in rules.table]
        self._rules = rules
        self._of_part: dict[int, list[RuleRow]] = {}

    @property
    def parts(self) -> range:
        return range(self._rules.start.size - 1)

    def part_of(self, positions: NDArray[np.int64]) -> NDArray[np.int32]:
        """The part of each position; -1 where no rule selects it."""
        return self._rules.part[positions]

    def of_part(self, part: int) -> list[RuleRow]:
        found = self._of_part.get(part)
        if found is None:
            start = self._rules.start
            rows = self._rules.row[start[part] : start[part + 1]].tolist()
            found = self._of_part[part] = [self.rows[row] for row in rows]
        return found


class PlaneRules:
    """Both directions of one plane."""

    def __init__(self, overlay: Overlay, plane: OverlayPlane) -> None:
        self.plane = plane
        self.sides = {
            Direction.INGRESS: RuleSide(plane.ingress),
            Direction.EGRESS: RuleSide(plane.egress),
        }
        self._runs = overlay.runs
        self._meet: dict[tuple[int, int], bool] = {}
        self._ranges: dict[int, list[tuple[int, int]]] = {}
        self._bitmaps: dict[int, Bitmap] = {}
        self._members: dict[int, NDArray[np.int64]] = {}
        self._pods: dict[int, tuple[Bitmap, NDArray[np.int64]]] = {}
        self._parts: dict[tuple[Direction, int], list[int]] = {}

    def members(self, which: int) -> NDArray[np.int64]:
        """The positions of pods in a set."""
        found = self._members.get(which)
        if found is None:
            positions = members(self.plane.sets, which)
            found = self._members[which] = positions[positions < self.plane.pods]
        return found

    def parts(self, direction: Direction, which: int) -> list[int]:
        """The parts of the pods in a set; -1 where no rule selects one."""
        found = self._parts.get((direction, which))
        if found is None:
            found = np.unique(self.sides[direction].part_of(self.members(which))).tolist()
            self._parts[direction, which] = found
        return found

    def bitmap(self, which: int) -> Bitmap:
        """A set as a bitmap; must not be changed."""
        found = self._bitmaps.get(which)
        if found is None:
            found = np.zeros(self.plane.words, np.uint64)
            if which == ALL:
                found |= self.plane.universe
            else:
                sets = self.plane.sets
                span = slice(sets.start[which], sets.start[which + 1])
                found[sets.word[span]] = sets.bits[span]
            self._bitmaps[which] = found
        return found

    @cached_property
    def pods(self) -> Bitmap:
        """All positions of pods."""
        bits = np.zeros(self.plane.words << 6, np.uint8)
        bits[: self.plane.pods] = 1
        return np.packbits(bits, bitorder="little").view(np.uint64)

    def pods_in(self, which: int) -> tuple[Bitmap, NDArray[np.int64]]:
        """The pods in a set, as a bitmap and as positions; must not be changed."""
        found = self._pods.get(which)
        if found is None:
            pods = self.bitmap(which) & self.pods
            found = self._pods[which] = pods, self.positions(pods)
        return found

    def weigh(self, bitmap: Bitmap) -> int:
        """The pods behind a bitmap."""
        return int(self.plane.weight[self.positions(bitmap)].sum())

    def positions(self, bitmap: Bitmap) -> NDArray[np.int64]:
        """The positions in a bitmap, ascending; most have a few words that are not zero."""
        words = np.flatnonzero(bitmap)
        bits = np.unpackbits(bitmap[words].view(np.uint8), bitorder="little").view(np.bool_)
        word, column = np.nonzero(bits.reshape(-1, 64))
        return words[word] * 64 + column

    def ranges(self, ports: int) -> list[tuple[int, int]]:
        """A port list as ranges of places, the end not included."""
        found = self._ranges.get(ports)
        if found is None:
            span = slice(self._runs.start[ports], self._runs.start[ports + 1])
            low, high = self._runs.low[span].tolist(), self._runs.high[span].tolist()
            found = self._ranges[ports] = list(zip(low, high, strict=True))
        return found

    def meet(self, one: int, other: int) -> bool:
        """Whether two port lists have a port in common."""
        if not one or not other:
            return True
        key = (one, other)
        known = self._meet.get(key)
        if known is None:
            known = self._meet[key] = any(
                low < high_other and low_other < high
                for low, high in self.ranges(one)
                for low_other, high_other in self.ranges(other)
            )
        return known

    def distinct(self, rows: Sequence[RuleRow]) -> list[list[RuleRow]]:
        """Those of ``rows`` that match a port, in each way in which that happens."""
        found: dict[tuple[int, ...], list[RuleRow]] = {}
        for place in self.places(rows):
            met = [number for number, row in enumerate(rows) if self.holds(row.ports, place)]
            found.setdefault(tuple(met), [rows[number] for number in met])
        return list(found.values())

    def decided(self, rows: Sequence[RuleRow]) -> Decided:
        """What ``rows``, of one subject in evaluation order, make of all peers on a port that they
        all match."""
        left = self.plane.universe.copy()
        allowed = np.zeros_like(left)
        shares: list[Share] = []
        layer = 0
        for number, tier in groupby(rows, key=lambda row: row.tier):
            if number >> LAYER_BITS != layer:
                # What one layer lets through has to get through the next.
                layer = number >> LAYER_BITS
                left |= allowed
                allowed[:] = 0
            # Passed peers are out of this tier, and in the next again.
            here = left.copy()
            for action, equals in groupby(tier, key=lambda row: row.action):
                met = np.zeros_like(here)
                for row in equals:
                    peers = here & self.bitmap(row.peer)
                    if peers.any():
                        shares.append(Share(row, peers))
                        met |= peers
                here &= ~met
                if action != PASS:
                    left &= ~met
                if action == ALLOW:
                    allowed |= met
        return Decided(allowed | left, shares)

    def places(self, rows: Iterable[RuleRow], among: int = ALL) -> list[int]:
        """A place in each part into which ``rows`` cut the ports of list ``among``."""
        edges = {edge for row in rows for span in self.ranges(row.ports) for edge in span}
        found: set[int] = set()
        for low, high in self.ranges(among):
            found.add(low)
            found.update(edge for edge in edges if low < edge < high)
        return sorted(found)

    def holds(self, ports: int, place: int) -> bool:
        return any(low <= place < high for low, high in self.ranges(ports))
