"""Sets of addresses as text.

A text has one *term* or several, with ``; `` between them; together they are the set. A term is
a list of blocks (``10.0.0.0/8, 192.168.0.0/16``), or all of one block but others
(``0.0.0.0/0 except 10.0.0.0/8, 172.16.0.0/12``). An address alone is written without a prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from kubeverdict.model.addresses import BITS, Block, Family, format_address

Span = tuple[int, int]
"""First and last address."""

EXCEPT = " except "
BLOCKS, TERMS = ", ", "; "


class Term(NamedTuple):
    """All addresses of ``block`` but those in ``excepts``."""

    block: Block
    excepts: list[Block]


def address_text(family: Family, spans: Sequence[Span]) -> str:
    """The shortest text, counted in blocks, of spans that are ascending and apart."""
    parts: list[str] = []
    for listed, group in groupby(terms(family, spans), key=lambda term: not term.excepts):
        if listed:
            parts.append(BLOCKS.join(_block_text(term.block) for term in group))
        else:
            parts += [
                f"{_block_text(term.block)}{EXCEPT}{BLOCKS.join(map(_block_text, term.excepts))}"
                for term in group
            ]
    return TERMS.join(parts)


def range_text(family: Family, first: int, last: int) -> str:
    """Both ends of a span, even where they are one."""
    return f"{format_address(family, first)}-{format_address(family, last)}"


def terms(family: Family, spans: Sequence[Span]) -> list[Term]:
    """The fewest blocks whose union, each without its ``excepts``, is ``spans``.

    Blocks form a tree. Going down, each may state anew whether its addresses belong to the set;
    the fewest statements are those of the smallest forwarding table for two next hops (Draves,
    King, Venkatachary and Zill, "Constructing Optimal IP Routing Tables", 1999). A block that is
    stated to belong is a term, those stated not to belong directly below it are its excepts.
    """
    if not spans:
        return []
    found: list[Term] = []
    _state(_tree(family, spans, 0, 0, 0, len(spans)), False, None, found)
    return found


class _Node(NamedTuple):
    """A block, and how many statements it takes if, without any, its addresses do not belong
    (``cost[0]``) or do (``cost[1]``). Blocks that are all of one kind have no halves."""

    block: Block
    cost: tuple[int, int]
    halves: tuple[_Node, _Node] | None = None

    def of_halves(self, belongs: bool) -> int:
        assert self.halves is not None
        return self.halves[0].cost[belongs] + self.halves[1].cost[belongs]


def _tree(
    family: Family, spans: Sequence[Span], first: int, prefix: int, low: int, high: int
) -> _Node:
    """The tree of the block at ``first``; ``spans[low:high]`` are those that it meets."""
    block = Block(family, first, prefix)
    if low == high:
        return _Node(block, (0, 1))
    if spans[low][0] <= first and spans[low][1] >= block.last:
        return _Node(block, (1, 0))
    middle = first + (1 << (BITS[family] - prefix - 1))
    cut = low
    while cut < high and spans[cut][1] < middle:
        cut += 1
    left_high = cut + 1 if cut < high and spans[cut][0] < middle else cut
    left = _tree(family, spans, first, prefix + 1, low, left_high)
    right = _tree(family, spans, middle, prefix + 1, cut, high)
    costs = [left.cost[kind] + right.cost[kind] for kind in (0, 1)]
    cost = min(costs[0], 1 + costs[1]), min(costs[1], 1 + costs[0])
    return _Node(block, cost, (left, right))


def _state(node: _Node, belongs: bool, term: Term | None, found: list[Term]) -> None:
    """Put the statements of a block and those below it into ``found``. ``belongs`` is what
    holds without any; then ``term`` says so."""
    if not node.cost[belongs]:
        return
    if node.halves is None or node.of_halves(belongs) > node.cost[belongs]:
        belongs = not belongs
        if term is None:
            term = Term(node.block, [])
            found.append(term)
        else:
            term.excepts.append(node.block)
            term = None
    for half in node.halves or ():
        _state(half, belongs, term, found)


def _block_text(block: Block) -> str:
    alone = block.prefix == BITS[block.family]
    return format_address(block.family, block.first) if alone else str(block)


def shortened(text: str, width: int) -> str:
    """A text of this module that is longer than ``width``, with blocks counted instead."""
    if len(text) <= width:
        return text
    first, *others = text.split(TERMS)
    block, excepted, excepts = first.partition(EXCEPT)
    if excepted and not others:
        return f"{block}{EXCEPT}{len(excepts.split(BLOCKS))} blocks"
    if EXCEPT in text:
        return f"{block.split(BLOCKS)[0]} with exceptions"
    count = len(text.split(BLOCKS))
    return f"{block.split(BLOCKS)[0]} and {count - 1} more"
