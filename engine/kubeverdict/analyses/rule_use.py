"""Which rules traffic used: those behind a verdict, and those that merely match a connection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.evaluate.flows import Verdicts, mark_used, port_atoms


class RuleUse:
    """Adds up over batches of judged connections.

    ``used`` (rules,) says which rules are behind the verdict of a connection: they deny it, or
    pass it on to a later tier, or allow it where it is allowed in the end. ``matched`` (rules,)
    says whether they match one at all. A conditional rule counts as in either bound.
    """

    def __init__(self, compiled: CompiledPolicy) -> None:
        self.used = np.zeros(len(compiled.rules), np.bool_)
        self.matched = np.zeros(len(compiled.rules), np.bool_)

    def add(
        self,
        bound: CompiledPolicy,
        sources: NDArray[np.int32],
        destinations: NDArray[np.int32],
        protocols: NDArray[np.integer],
        ports: NDArray[np.integer],
        verdicts: Verdicts,
    ) -> None:
        """Connections by endpoint ids, protocols and ports, (n,), with the verdicts of one of the
        bounds: of the cluster itself or of the one in ``least``."""
        numbers = protocols.astype(np.int64), ports.astype(np.int64)
        atoms = port_atoms(bound, sources, destinations, *numbers)
        mark_used(bound, sources, destinations, atoms, verdicts, self.matched, self.used)

    @property
    def idle(self) -> list[int]:
        """The rules that match nothing that was seen."""
        return np.flatnonzero(~self.matched).tolist()

    @property
    def shadowed(self) -> list[int]:
        """The rules that match something, all of which others decide."""
        return np.flatnonzero(~self.used & self.matched).tolist()
