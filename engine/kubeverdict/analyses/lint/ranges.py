"""The addresses of a cluster, sorted, so that those inside a block are counted at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from kubeverdict.model.addresses import Address, Block, parse_address
from kubeverdict.model.policy import BlockPeer


def parsed(texts: Iterable[str]) -> list[Address]:
    """The addresses that some texts spell; what is none is left out."""
    return [address for text in texts if (address := parse_address(text)) is not None]


class Ranges:
    """The addresses of some things."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        values: dict[int, list[int]] = {4: [], 6: []}
        for address in addresses:
            values[address.family].append(address.value)
        self._values = {family: sorted(found) for family, found in values.items()}

    def matched(self, peer: BlockPeer) -> int:
        """How many are in the block of a peer and in none of its excepts."""
        return self._inside(peer.block) - sum(map(self._inside, _outermost(peer.excepts)))

    def _inside(self, block: Block) -> int:
        values = self._values[block.family]
        return bisect_right(values, block.last) - bisect_left(values, block.first)


def _outermost(excepts: tuple[Block, ...]) -> list[Block]:
    """Excepts without those that are inside another."""
    distinct = set(excepts)
    return [
        one
        for one in distinct
        if not any(
            other != one
            and other.family == one.family
            and other.first <= one.first
            and one.last <= other.last
            for other in distinct
        )
    ]
