"""Address blocks of candidates, over atoms that were cut without them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.overlay.overlay import Overlay, OverlayPlane, Spans
from kubeverdict.model.addresses import BITS, Family, parse_address
from kubeverdict.model.policy import BlockPeer

Interval = tuple[Family, int, int]
"""Family, first address and one past the last."""
Piece = tuple[Family, int, int]
"""Family, first and last address."""

_HALF = (1 << 64) - 1


class BlockUnion(msgspec.Struct, frozen=True):
    """The blocks of one rule together. ``owner`` is the candidate that it belongs to, where that
    cuts atoms; -1 otherwise, so that equal unions of other candidates are one."""

    blocks: tuple[BlockPeer, ...]
    owner: int = -1


class Outside:
    """Finds the positions that blocks hold."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._starts: dict[Family, list[int]] = overlay.atom_starts
        self._first_atom: dict[Family, int] = {4: 0, 6: len(self._starts[4])}

    def cut(self, unions: Sequence[BlockUnion]) -> tuple[dict[int, tuple[Piece, Piece]], str]:
        """What the unions of one candidate cut atoms into: by atom, the part that its position
        stands for and the part that its twin stands for; or the reason why that is not enough.
        """
        edges: dict[int, set[int]] = {}
        covered = [list(intervals(union.blocks)) for union in unions]
        for part in covered:
            for family, first, end in part:
                for edge in (first, end):
                    atom, start = self._atom(family, edge)
                    if edge != start and edge < 1 << BITS[family]:
                        edges.setdefault(atom, set()).add(edge)
        pieces: dict[int, tuple[Piece, Piece]] = {}
        for atom, inside in edges.items():
            family, first, last = self._overlay.compiled.addresses.interval(atom)
            begins = [first, *sorted(inside)]
            kinds: dict[tuple[bool, ...], Piece] = {}
            for begin, end in zip(begins, [*begins[1:], last + 1], strict=True):
                kind = tuple(_covers(part, family, begin) for part in covered)
                kinds.setdefault(kind, (family, begin, end - 1))
            if len(kinds) > 2:
                return {}, "its rules cut the same addresses in different ways"
            if len(kinds) == 2:
                one, other = kinds.values()
                pieces[atom] = one, other
        for plane in self._overlay.planes:
            if any(self._cuts_pods(plane, part) for part in covered):
                return {}, "a block holds some pods of a workload and not others"
        return pieces, ""

    def positions(
        self, plane: OverlayPlane, union: BlockUnion, pieces: dict[int, tuple[Piece, Piece]]
    ) -> NDArray[np.int64]:
        """The positions in ``plane`` that a union holds, ascending."""
        covered = list(intervals(union.blocks))
        profile = self._overlay.compiled.profile
        inside = np.zeros(plane.size, np.bool_)
        for family, first, end in covered:
            if family not in plane.families:
                continue
            atom, start = self._atom(family, first)
            low = atom + (first != start)
            high, _ = self._atom(family, end - 1)
            high += end == self._end(high)
            inside[plane.atoms[low:high]] = True
            inside[plane.twins + low : plane.twins + high] = True
            if profile.ipblock_matches_pods:
                for spans in plane.spans:
                    if spans.family == family:
                        inside[: plane.pods] |= _within(spans, first, end - 1)
        for atom, parts in pieces.items():
            if parts[0][0] in plane.families:
                own, twin = (_covers(covered, part[0], part[1]) for part in parts)
                inside[plane.atoms[atom]] = own
                inside[plane.twins + atom] = twin
        if plane.hosts.size and profile.ipblock_matches_nodes and not self._hosts_are_atoms(plane):
            for position, text in zip(
                plane.hosts.tolist(), self._overlay.compiled.hosts, strict=True
            ):
                address = parse_address(text)
                if position >= 0 and address is not None:
                    inside[position] = _covers(covered, address.family, address.value)
        return np.flatnonzero(inside)

    def _hosts_are_atoms(self, plane: OverlayPlane) -> bool:
        return plane.twins == plane.pods + plane.atoms.size

    def _cuts_pods(self, plane: OverlayPlane, covered: Sequence[Interval]) -> bool:
        """Whether the intervals hold a part of the pods of a position, or distinguish families that
        the plane has together."""
        if not self._overlay.compiled.profile.ipblock_matches_pods:
            return False
        for spans in plane.spans:
            within = np.zeros(plane.pods, np.bool_)
            touched = np.zeros(plane.pods, np.bool_)
            for family, first, end in covered:
                if family == spans.family:
                    within |= _within(spans, first, end - 1)
                    touched |= _meets(spans, first, end - 1)
            if (touched & ~within).any() or (len(plane.families) > 1 and touched.any()):
                return True
        return False

    def _atom(self, family: Family, address: int) -> tuple[int, int]:
        """The atom that holds an address, and where it starts. One past the last address
        counts as where the next atom would start."""
        starts = self._starts[family]
        if address == 1 << BITS[family]:
            return self._first_atom[family] + len(starts), address
        index = bisect_right(starts, address) - 1
        return self._first_atom[family] + index, starts[index]

    def _end(self, atom: int) -> int:
        return self._overlay.compiled.addresses.interval(atom)[2] + 1


def intervals(blocks: Sequence[BlockPeer]) -> Iterator[Interval]:
    """The addresses that any of the blocks holds, as ascending intervals that do not touch."""
    found: list[Interval] = []
    for peer in blocks:
        block = peer.block
        begin = block.first
        for part in sorted(peer.excepts, key=lambda part: part.first):
            if part.family != block.family or part.last < begin or part.first > block.last:
                continue
            if part.first > begin:
                found.append((block.family, begin, part.first))
            begin = max(begin, part.last + 1)
        if begin <= block.last:
            found.append((block.family, begin, block.last + 1))
    found.sort()
    current: Interval | None = None
    for family, first, end in found:
        if current is not None and current[0] == family and first <= current[2]:
            current = (family, current[1], max(end, current[2]))
            continue
        if current is not None:
            yield current
        current = (family, first, end)
    if current is not None:
        yield current


def _covers(covered: Sequence[Interval], family: Family, address: int) -> bool:
    return any(own == family and first <= address < end for own, first, end in covered)


def _at_least(values: NDArray[np.uint64], wanted: int) -> NDArray[np.bool_]:
    upper, lower = np.uint64(wanted >> 64), np.uint64(wanted & _HALF)
    found: NDArray[np.bool_] = (values[:, 0] > upper) | (
        (values[:, 0] == upper) & (values[:, 1] >= lower)
    )
    return found


def _at_most(values: NDArray[np.uint64], wanted: int) -> NDArray[np.bool_]:
    upper, lower = np.uint64(wanted >> 64), np.uint64(wanted & _HALF)
    found: NDArray[np.bool_] = (values[:, 0] < upper) | (
        (values[:, 0] == upper) & (values[:, 1] <= lower)
    )
    return found


def _known(spans: Spans) -> NDArray[np.bool_]:
    """Positions with a pod that has an address of the family."""
    low, high = spans.low, spans.high
    found: NDArray[np.bool_] = (low[:, 0] < high[:, 0]) | (
        (low[:, 0] == high[:, 0]) & (low[:, 1] <= high[:, 1])
    )
    return found


def _within(spans: Spans, first: int, last: int) -> NDArray[np.bool_]:
    """Positions all of whose pods are in a range of addresses."""
    return _known(spans) & _at_least(spans.low, first) & _at_most(spans.high, last)


def _meets(spans: Spans, first: int, last: int) -> NDArray[np.bool_]:
    """Positions whose pods may be in a range of addresses."""
    return _known(spans) & _at_least(spans.high, first) & _at_most(spans.low, last)
