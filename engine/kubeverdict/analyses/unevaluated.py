"""In words: what an answer does not take into account."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubeverdict.model.counts import count
from kubeverdict.model.unevaluated import Gap, Unevaluated

# Longer lists of kinds are cut short, with a count.
SHOWN = 6

_WHAT = {
    Gap.POLICY: "not evaluated: could change any verdict",
    Gap.RESTRICTION: "not evaluated: could deny what is allowed",
    Gap.POLICY_PART: "not evaluated: policies that are not evaluated refer to it",
    Gap.STAGED: "staged: nothing enforces it, and no verdict depends on it",
    Gap.NODES: "not evaluated: it is about traffic of nodes, not of pods",
    Gap.NETWORK: "not evaluated: connections over other networks are not judged",
    Gap.PODS: "not modelled: makes pods that are not judged",
    Gap.POD_CHANGES: "not modelled: changes pods when they are created",
    Gap.GENERIC: "of an unknown kind: pod templates were found by their shape",
    Gap.NOT_READ: "not read: whether a verdict depends on it is not known",
}


def sentences(found: Iterable[Unevaluated]) -> tuple[str, ...]:
    """A sentence for each gap, the most important first, with the kinds that leave it; none for
    an input of which everything was taken into account."""
    by_gap: dict[Gap, list[Unevaluated]] = {}
    for one in found:
        by_gap.setdefault(one.gap, []).append(one)
    lines: list[str] = []
    for gap in Gap:
        ones = by_gap.get(gap, ())
        lines += [one.detail for one in ones if one.detail]
        plain = [one for one in ones if not one.detail]
        if plain:
            lines.append(f"{_listed(plain)} {_WHAT[gap]}")
    return tuple(lines)


def sentence(one: Unevaluated) -> str:
    """The sentence for one entry."""
    return sentences((one,))[0]


def _listed(found: Sequence[Unevaluated]) -> str:
    kinds = [f"{one.count:,} {one.resource}" for one in found]
    more = len(kinds) - SHOWN
    text = ", ".join(kinds[:SHOWN])
    return f"{text} and {count(more, 'more kind')}" if more > 0 else text
