"""Slow twins of the kernels, over Python sets. Nothing here shares code with what it checks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kubeverdict.kernels.bits import Sets


def packed(groups: Iterable[Iterable[int]]) -> Sets:
    """Python sets in the form that kernels take."""
    start, word, bits = [0], [], []
    for group in groups:
        words: dict[int, int] = {}
        for position in group:
            words[position // 64] = words.get(position // 64, 0) | 1 << position % 64
        word += sorted(words)
        bits += [words[number] for number in sorted(words)]
        start.append(len(word))
    return Sets(np.array(start, np.int64), np.array(word, np.int32), np.array(bits, np.uint64))


def opened(arrays: tuple[NDArray[np.generic], ...]) -> list[set[int]]:
    """What a kernel made, as Python sets; checks that words ascend and none is empty."""
    start, word, bits = (array.tolist() for array in arrays)
    groups = []
    for first, stop in itertools.pairwise(start):
        part = word[first:stop]
        assert part == sorted(set(part)) and all(bits[first:stop])
        groups.append(
            {
                number * 64 + place
                for number, value in zip(part, bits[first:stop], strict=True)
                for place in range(64)
                if value >> place & 1
            }
        )
    return groups


def combine(
    unions: Sequence[Sequence[int]], masks: Sequence[int], sets: Sequence[set[int]]
) -> list[set[int]]:
    return [
        set().union(*(sets[part] for part in union)) & (sets[mask] if mask >= 0 else _Everything())
        for union, mask in zip(unions, masks, strict=True)
    ]


class _Everything(set[int]):
    def __rand__(self, other: object) -> set[int]:
        assert isinstance(other, set)
        return other


def project(sets: Sequence[set[int]], targets: Sequence[Sequence[int]]) -> list[set[int]]:
    return [{target for position in one for target in targets[position]} for one in sets]


def spans(pieces: Sequence[Sequence[tuple[int, int, bool]]]) -> list[set[int]]:
    made = []
    for ranges in pieces:
        one: set[int] = set()
        for low, high, take in ranges:
            one = one | set(range(low, high)) if take else one - set(range(low, high))
        made.append(one)
    return made


def refine(sets: Sequence[set[int]], initial: Sequence[int]) -> list[frozenset[int]]:
    """The parts, as sets of positions; positions with part -1 are in none."""
    parts: dict[tuple[int, ...], set[int]] = {}
    for position, part in enumerate(initial):
        if part >= 0:
            key = (part, *(int(position in one) for one in sets))
            parts.setdefault(key, set()).add(position)
    return sorted(map(frozenset, parts.values()), key=min)


def index_rows(
    keys: Sequence[int], sets: Sequence[set[int]], part: Sequence[int], parts: int
) -> list[list[int]]:
    return [
        [
            row
            for row, key in enumerate(keys)
            if any(part[position] == number for position in sets[key])
        ]
        for number in range(parts)
    ]


def interval(bounds: Sequence[int], address: int) -> int:
    return max(index for index, bound in enumerate(bounds) if bound <= address)


def select(
    labels: Sequence[dict[str, str]],
    scope: Iterable[tuple[int, int]],
    requirements: Sequence[tuple[str, bool, Sequence[str]]],
) -> set[int]:
    """Requirements are (key, negative, values); no values asks for the key alone."""

    def holds(member: int, requirement: tuple[str, bool, Sequence[str]]) -> bool:
        key, negative, values = requirement
        value = labels[member].get(key)
        found = value is not None and (not values or value in values)
        return found != negative

    return {
        member
        for low, high in scope
        for member in range(low, high)
        if all(holds(member, requirement) for requirement in requirements)
    }
