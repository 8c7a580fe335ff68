"""The smallest CIDR set: at most so many blocks that hold given addresses and least besides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubeverdict.model.addresses import BITS, Address, Block, Family

# Weight (addresses covered) and the place to cut: how many blocks go to the left part.
_Best = list[tuple[int, int]]


def cover(addresses: Iterable[Address], most: int) -> list[Block]:
    """At most ``most`` blocks, at least one a family, that hold all ``addresses`` and together
    as few others as any such blocks do; of equally small sets the one with fewer blocks.

    A block belongs to a node of the binary trie of the addresses, so the best set for a node is
    the node itself, or the best sets of its two halves with the blocks shared out between them:
    knapsack on a tree, O(n x most) steps for n addresses.
    """
    by_family: dict[Family, list[int]] = {}
    for address in sorted(set(addresses)):
        by_family.setdefault(address.family, []).append(address.value)
    if len(by_family) < 2:
        return [
            block
            for family, values in by_family.items()
            for block in _Tree(family, values, most).blocks(most)
        ]
    # Of two families each gets what it can use; IPv6 waste is never weighed against IPv4's.
    four, six = by_family[4], by_family[6]
    room = max(most, 2)
    for_four = min(max(room - len(six), room // 2), len(four))
    for_six = min(room - for_four, len(six))
    return [
        *_Tree(4, four, for_four).blocks(for_four),
        *_Tree(6, six, for_six).blocks(for_six),
    ]


class _Tree:
    """The compressed trie of ascending values, as a list of nodes with children before parents."""

    def __init__(self, family: Family, values: Sequence[int], most: int) -> None:
        self._family = family
        self._bits = BITS[family]
        self._first: list[int] = []
        self._level: list[int] = []  # address bits below the node
        self._parts: list[tuple[int, int] | None] = []
        self._best: list[_Best] = []
        self._most = most
        self._root = self._build(values)

    def blocks(self, most: int) -> list[Block]:
        found: list[Block] = []
        todo = [(self._root, min(most, len(self._best[self._root])))]
        while todo:
            node, count = todo.pop()
            best = self._best[node]
            # Fewer blocks where more do not cover less.
            while count > 1 and best[count - 2][0] == best[count - 1][0]:
                count -= 1
            parts, left = self._parts[node], best[count - 1][1]
            if parts is None or left == 0:
                prefix = self._bits - self._level[node]
                found.append(Block(self._family, self._first[node], prefix))
            else:
                todo += [(parts[1], count - left), (parts[0], left)]
        return found

    def _build(self, values: Sequence[int]) -> int:
        """Nodes come off a stack as soon as the next value is outside of them."""
        stack: list[int] = []
        for place, value in enumerate(values):
            leaf = self._add(value, 0, None)
            stack.append(leaf)
            # How far up the next value meets this one; nodes below that are complete.
            level = (value ^ values[place + 1]).bit_length() if place + 1 < len(values) else 129
            while len(stack) > 1:
                left, right = stack[-2:]
                joint = (self._first[left] ^ self._first[right]).bit_length()
                if joint >= level:
                    break
                first = self._first[left] >> joint << joint
                stack[-2:] = [self._add(first, joint, (left, right))]
        return stack[0]

    def _add(self, first: int, level: int, parts: tuple[int, int] | None) -> int:
        self._first.append(first)
        self._level.append(level)
        self._parts.append(parts)
        self._best.append(self._shared(level, parts))
        return len(self._first) - 1

    def _shared(self, level: int, parts: tuple[int, int] | None) -> _Best:
        """For each number of blocks from 1 the least weight, and how many go to the left."""
        whole = 1 << level
        best: _Best = [(whole, 0)]
        if parts is None:
            return best
        left, right = self._best[parts[0]], self._best[parts[1]]
        for count in range(2, min(self._most, len(left) + len(right)) + 1):
            weight, cut = min(
                (left[share - 1][0] + right[count - share - 1][0], share)
                for share in range(max(1, count - len(right)), min(len(left), count - 1) + 1)
            )
            best.append((weight, cut) if weight < best[-1][0] else (best[-1][0], best[-1][1]))
        return _kept(best, whole)


def _kept(best: _Best, whole: int) -> _Best:
    """More blocks than cover exactly the addresses are of no use."""
    while len(best) > 1 and best[-1][0] == best[-2][0] and best[-1][1] == best[-2][1]:
        best.pop()
    return best
