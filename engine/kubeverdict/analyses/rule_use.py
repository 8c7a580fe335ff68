"""Which rules traffic used: those behind a verdict, and those that merely match a connection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane, PortSpace
from kubeverdict.compile.sets import members
from kubeverdict.evaluate.flows import Verdicts, each_plane, mark_used, port_atoms
from kubeverdict.model.policy import Direction


class RuleUse:
    """Adds up over batches of judged connections.

    ``used`` (rules,) says which rules are behind the verdict of a connection: they deny it, or
    pass it on to a later tier, or allow it where it is allowed in the end. ``matched`` (rules,)
    says of the others whether they match one at all. A conditional rule counts as in either bound.
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
        mark_used(bound, sources, destinations, atoms, verdicts, self.used)
        for plane, here in each_plane(bound, sources, destinations):
            ends = sources[here], destinations[here]
            self._match(plane, bound.ports, *ends, atoms[here])

    @property
    def idle(self) -> list[int]:
        """The rules that match nothing that was seen."""
        return np.flatnonzero(~self.used & ~self.matched).tolist()

    @property
    def shadowed(self) -> list[int]:
        """The rules that match something, all of which others decide."""
        return np.flatnonzero(~self.used & self.matched).tolist()

    def _match(
        self,
        plane: Plane,
        space: PortSpace,
        sources: NDArray[np.int32],
        destinations: NDArray[np.int32],
        atoms: NDArray[np.int32],
    ) -> None:
        if not sources.size:
            return
        rows = plane.rows
        open_rules = ~self.used & ~self.matched
        # Rows that isolate have no rule, and there may be no others.
        numbered = np.flatnonzero(rows.rule >= 0)
        wanted = numbered[open_rules[rows.rule[numbered]]]
        if not wanted.size:
            return
        identity = plane.ends.identity
        ends = identity[destinations].astype(np.int64) * plane.size + identity[sources]
        # Sorted rather than hashed, as np.unique does: there are millions, few of them alike.
        keys = np.sort(ends * space.weight.size + atoms)
        distinct = keys[np.append(True, keys[1:] != keys[:-1])]
        pairs, atom = np.divmod(distinct, space.weight.size)
        flows = np.stack((*np.divmod(pairs, plane.size), atom))
        for direction in Direction:
            of_direction = (wanted < plane.ingress_rows) == (direction is Direction.INGRESS)
            subject, peer = (0, 1) if direction is Direction.INGRESS else (1, 0)
            table = flows[:, np.argsort(flows[subject], kind="stable")]
            start = np.searchsorted(table[subject], np.arange(plane.size + 1))
            for row in wanted[of_direction].tolist():
                rule = rows.rule[row]
                if not self.matched[rule] and _matches(
                    plane, space, row, table, start, subject, peer
                ):
                    self.matched[rule] = True


def _matches(
    plane: Plane,
    space: PortSpace,
    row: int,
    table: NDArray[np.int64],
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
        held = members(space.sets, ports)
        flows = flows[_holds(held, space.weight.size, table[2, flows])]
    return bool(flows.size)


def _holds(held: NDArray[np.int64], size: int, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some positions are among those held."""
    marks = np.zeros(size, np.bool_)
    marks[held] = True
    found: NDArray[np.bool_] = marks[positions]
    return found
