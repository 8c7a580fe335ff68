"""Sets of addresses as spans: family, first and last address; disjoint and in order."""

from __future__ import annotations

from collections.abc import Iterable

from kubeverdict.model.addresses import BITS, Family
from kubeverdict.model.policy import BlockPeer

Span = tuple[Family, int, int]
Spans = tuple[Span, ...]

FAMILIES: tuple[Family, ...] = (4, 6)


def union(spans: Iterable[Span]) -> Spans:
    """All of them together, neighbours joined."""
    found: list[Span] = []
    for family, first, last in sorted(spans):
        if found and found[-1][0] == family and first <= found[-1][2] + 1:
            found[-1] = (family, found[-1][1], max(found[-1][2], last))
        else:
            found.append((family, first, last))
    return tuple(found)


def complement(spans: Spans) -> Spans:
    """Every address that is in none of them."""
    found: list[Span] = []
    for family in FAMILIES:
        start = 0
        for _, first, last in (span for span in spans if span[0] == family):
            if start < first:
                found.append((family, start, first - 1))
            start = last + 1
        if start < 1 << BITS[family]:
            found.append((family, start, (1 << BITS[family]) - 1))
    return tuple(found)


def common(one: Spans, other: Spans) -> Spans:
    """The addresses that are in both."""
    found: list[Span] = []
    at = 0
    for family, first, last in one:
        while at < len(other) and other[at][::2] < (family, first):
            at += 1
        place = at
        while place < len(other) and other[place][:2] <= (family, last):
            found.append((family, max(first, other[place][1]), min(last, other[place][2])))
            place += 1
    return tuple(found)


def of_block(peer: BlockPeer) -> Spans:
    """The addresses that an ipBlock is about."""
    block = peer.block
    inside = ((block.family, block.first, block.last),)
    outside = union((part.family, part.first, part.last) for part in peer.excepts)
    return common(inside, complement(outside)) if outside else inside
