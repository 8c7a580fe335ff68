"""Verdicts between two bounds: what is allowed at most, and what is allowed at least."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.flows import Verdicts, judge
from kubeverdict.model.addresses import Family


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Both bounds of some flows: the same verdicts where no rule is conditional.

    What is allowed at least is allowed, what is not allowed at most is denied; a flow between is
    ``conditional`` (n,).
    """

    most: Verdicts
    least: Verdicts

    @property
    def conditional(self) -> NDArray[np.bool_]:
        return self.most.allowed & ~self.least.allowed


def judge_bounds(
    compiled: CompiledPolicy,
    sources: ArrayLike,
    destinations: ArrayLike,
    protocols: ArrayLike,
    ports: ArrayLike,
    *,
    family: Family | None = None,
) -> Bounds:
    """As :func:`~kubeverdict.evaluate.flows.judge`; both bounds have the same endpoint ids."""
    flows = sources, destinations, protocols, ports
    most = judge(compiled, *flows, family=family)
    if not compiled.least:
        return Bounds(most, most)
    return Bounds(most, judge(compiled.least[0], *flows, family=family))


def conditions(compiled: CompiledPolicy, decided: Iterable[int]) -> tuple[str, ...]:
    """The conditions of those of some rules and reasons that have one, each once."""
    rules = (compiled.rules[number].rule for number in decided if number >= 0)
    return tuple(dict.fromkeys(rule.condition for rule in rules if rule.condition))
