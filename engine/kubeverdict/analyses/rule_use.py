"""Which rules traffic used: those that decided a connection, and those that merely match one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane
from kubeverdict.compile.sets import members
from kubeverdict.evaluate.flows import Verdicts
from kubeverdict.model.policy import Action, Direction


class RuleUse:
    """Adds up over batches of judged connections.

    ``decided`` (rules,) counts the records whose connection a rule allowed or denied in its
    direction; ``matched`` (rules,) says of the others whether they would have.
    """

    def __init__(self, compiled: CompiledPolicy) -> None:
        self._compiled = compiled
        self.decided = np.zeros(len(compiled.rules), np.int64)
        self.matched = np.zeros(len(compiled.rules), np.bool_)

    def add(
        self,
        sources: NDArray[np.int32],
        destinations: NDArray[np.int32],
        atoms: NDArray[np.int32],
        weight: NDArray[np.int64],
        verdicts: Verdicts,
    ) -> None:
        """Connections by endpoint ids and port atoms, (n,), each with its number of records."""
        rules = self.decided.size
        for column in (verdicts.egress, verdicts.ingress):
            by_rule = column >= 0
            if by_rule.any():
                found = np.bincount(column[by_rule], weight[by_rule], rules)
                self.decided += found.astype(np.int64)
        # A connection is of the first family that both its ends have.
        left = np.ones(sources.size, np.bool_)
        for plane in self._compiled.planes:
            identity = plane.ends.identity
            here = left & (identity[sources] >= 0) & (identity[destinations] >= 0)
            self._match(plane, sources[here], destinations[here], atoms[here])
            left &= ~here

    @property
    def idle(self) -> list[int]:
        """The rules that allow something, and nothing that was seen."""
        return [
            number
            for number in np.flatnonzero((self.decided == 0) & ~self.matched).tolist()
            if self._compiled.rules[number].rule.action is Action.ALLOW
        ]

    @property
    def shadowed(self) -> list[int]:
        """The rules that match something, all of which other rules decided before them."""
        return np.flatnonzero((self.decided == 0) & self.matched).tolist()

    def _match(
        self,
        plane: Plane,
        sources: NDArray[np.int32],
        destinations: NDArray[np.int32],
        atoms: NDArray[np.int32],
    ) -> None:
        if not sources.size:
            return
        rows = plane.rows
        open_rules = (self.decided == 0) & ~self.matched
        # Rows that isolate have no rule, and there may be no others.
        numbered = np.flatnonzero(rows.rule >= 0)
        wanted = numbered[open_rules[rows.rule[numbered]]]
        if not wanted.size:
            return
        identity = plane.ends.identity
        ends = np.stack((identity[destinations], identity[sources]))
        flows = np.unique(np.vstack((ends, atoms)), axis=1)
        for direction in Direction:
            of_direction = (wanted < plane.ingress_rows) == (direction is Direction.INGRESS)
            subject, peer = (0, 1) if direction is Direction.INGRESS else (1, 0)
            table = flows[:, np.argsort(flows[subject], kind="stable")]
            start = np.searchsorted(table[subject], np.arange(plane.size + 1))
            for row in wanted[of_direction].tolist():
                rule = rows.rule[row]
                if not self.matched[rule] and self._matches(
                    plane, row, table, start, subject, peer
                ):
                    self.matched[rule] = True

    def _matches(
        self,
        plane: Plane,
        row: int,
        table: NDArray[np.int32],
        start: NDArray[np.int64],
        subject: int,
        peer: int,
    ) -> bool:
        """Whether any connection at the subjects of a row is of its peers and ports."""
        rows, sets = plane.rows, plane.sets
        subjects = members(sets, int(rows.subject[row]))
        present = subjects[start[subjects] < start[subjects + 1]]
        if not present.size:
            return False
        flows = np.concatenate([np.arange(start[at], start[at + 1]) for at in present.tolist()])
        peers, ports = int(rows.peer[row]), int(rows.ports[row])
        if peers:
            flows = flows[_holds(members(sets, peers), plane.size, table[peer, flows])]
        if ports and flows.size:
            space = self._compiled.ports
            held = members(space.sets, ports)
            flows = flows[_holds(held, space.weight.size, table[2, flows])]
        return bool(flows.size)


def _holds(held: NDArray[np.int64], size: int, positions: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of some positions are among those held."""
    marks = np.zeros(size, np.bool_)
    marks[held] = True
    found: NDArray[np.bool_] = marks[positions]
    return found
