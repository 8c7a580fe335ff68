"""Rows of decisions: what is decided between a class of subjects and a class of peers, by port
atom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import CompiledPolicy, Plane, Reason
from kubeverdict.evaluate.local_classes import Decisions, LocalClasses, decisions
from kubeverdict.model.policy import Direction
from kubeverdict_agent.datapath import layout

PROTOCOLS = 3  # that have ports
# A denial by default counts as a rule below all reasons, one for each tier, because each is of
# other policies.
_DEFAULT = -16


@dataclass(frozen=True, slots=True, eq=False)
class PlaneView:
    """What the pods of this node need of one plane: the classes of each direction, and the class
    of each pod in it (2, pods), -1 where it has no address in the plane. ``least`` is the same
    plane of what is allowed at least, where rules are conditional: classes are of both."""

    plane: Plane
    near: tuple[LocalClasses, LocalClasses]
    subject: NDArray[np.int32]
    least: Plane | None = None

    def isolates(self, direction: Direction, subjects: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether some rule selects each of these classes of subjects; never for -1."""
        entries = self.plane.ingress if direction is Direction.INGRESS else self.plane.egress
        selected = entries.subject_class[self.near[direction].subject] >= 0
        found: NDArray[np.bool_] = (subjects >= 0) & np.append(selected, False)[subjects]
        return found


class DecidedRules(NamedTuple):
    """What stands behind each decision number: a rule id or a Reason, and for a denial because
    nothing matches the number of the tier that denies, otherwise -1. Decisions from number
    ``conditional`` on allow under a condition only, that of their rule."""

    rules: NDArray[np.int32]
    tiers: NDArray[np.int32]
    conditional: int

    @classmethod
    def of(cls, rules: NDArray[np.int32], conditional: int) -> DecidedRules:
        by_default = rules <= _DEFAULT
        return cls(
            np.where(by_default, np.int32(Reason.NO_RULE_MATCHES), rules),
            np.where(by_default, _DEFAULT - rules, np.int32(-1)),
            conditional,
        )


# A decision in one number, until rules are numbered: the rule, and in the lower bits whether it
# allows, and does so under a condition only.
_ALLOWS, _CONDITIONAL, _RULE = 1, 2, 2


def code(rule: int, allowed: bool) -> int:
    """A decision that depends on no condition."""
    return (rule << _RULE) + allowed * _ALLOWS


def worst(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place (n,) of what allows least in each row of codes (n, codes): what denies, or else
    what allows under a condition."""
    order = (codes & _ALLOWS) * 2 - ((codes & _CONDITIONAL) != 0)
    place: NDArray[np.int64] = np.argmin(order, axis=1)
    return place


def _distinct(table: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first of each distinct row, and which of these each row is."""
    random = np.random.default_rng(1)
    with np.errstate(over="ignore"):
        hashed = table @ random.integers(1 << 63, size=table.shape[1], dtype=np.uint64)
    _, first, number = np.unique(hashed, return_index=True, return_inverse=True)
    if not np.array_equal(table[first][number], table):  # two rows of one hash: never seen
        _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return first, number.ravel()


def _codes(made: Decisions) -> NDArray[np.int64]:
    """Rows of decisions as codes (rows, atoms)."""
    rule = np.where(made.rule == Reason.NO_RULE_MATCHES, _DEFAULT - made.tier, made.rule)
    return (rule.astype(np.int64) << _RULE) + made.allowed * _ALLOWS


class DecisionRows:
    """Collects rows, each an array of codes by atom, and numbers them once at the end."""

    def __init__(
        self,
        of_protocol: Sequence[NDArray[np.int64]],
        compiled: CompiledPolicy,
        views: Sequence[PlaneView],
        atoms: NDArray[np.int32],
    ) -> None:
        """``atoms`` are port atoms of the compiled policy, ``of_protocol`` the places in these of
        each protocol that has ports."""
        self._atoms = atoms.size
        self._of_protocol = of_protocol
        self._made: list[NDArray[np.int64]] = []
        self._count = 0
        # By plane and direction: the row of each class of subjects and peers.
        self.of = [
            [self._judge(compiled, view, direction, atoms) for direction in Direction]
            for view in views
        ]
        # The codes of all these rows (rows, atoms).
        self.codes = np.concatenate([np.zeros((0, atoms.size), np.int64), *self._made])
        self.own_node = int(self.add_constant(Reason.OWN_NODE, True))
        self.no_address = int(self.add_constant(Reason.NO_ADDRESS, False))
        self.not_isolated = int(self.add_constant(Reason.NOT_ISOLATED, True))

    def _judge(
        self,
        compiled: CompiledPolicy,
        view: PlaneView,
        direction: Direction,
        atoms: NDArray[np.int32],
    ) -> NDArray[np.int64]:
        made = decisions(compiled, view.plane, direction, view.near[direction], atoms)
        if view.least is None:
            rows = self.add(_codes(made))
            numbers: NDArray[np.int64] = rows[made.row_of] if rows.size else made.row_of
            return numbers
        least = decisions(
            compiled.bound(at_least=True), view.least, direction, view.near[direction], atoms
        )
        pairs = np.stack((made.row_of.ravel(), least.row_of.ravel()), axis=1)
        distinct, number = np.unique(pairs, axis=0, return_inverse=True)
        both = distinct[:, 0], distinct[:, 1]
        codes = _codes(made)[both[0]]
        depends = made.allowed[both[0]] & ~least.allowed[both[1]]
        # The rule that has the condition: the one that allows, or the one that denies otherwise.
        has_one = np.array([bool(ref.rule.condition) for ref in compiled.rules], np.bool_)
        own, other = made.rule[both[0]], least.rule[both[1]]
        named = np.where(np.append(has_one, False)[np.maximum(own, -1)], own, other)
        named = np.where(named >= 0, named, own)
        conditional = (named.astype(np.int64) << _RULE) + _ALLOWS + _CONDITIONAL
        rows = self.add(np.where(depends, conditional, codes))
        numbers = rows[number.ravel()].reshape(made.row_of.shape) if rows.size else made.row_of
        return numbers

    def add(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of codes (n, atoms); their numbers (n,)."""
        self._made.append(codes)
        self._count += codes.shape[0]
        return np.arange(self._count - codes.shape[0], self._count)

    def add_constant(self, reason: Reason, allowed: bool) -> np.int64:
        """A row that decides the same for every port."""
        first: np.int64 = self.add(np.full((1, self._atoms), code(reason, allowed), np.int64))[0]
        return first

    def finish(self) -> tuple[NDArray[np.uint16], DecidedRules, NDArray[np.int64]]:
        """Distinct rows (rows, atoms + 3) of decisions, the rule of each decision number, and
        the final number of every row that was added. Decisions on the own node are in row
        ``own_node``, the same in each column."""
        codes = np.concatenate(self._made)
        lowest = int(codes.min(initial=0)) & ~(_ALLOWS | _CONDITIONAL)
        codes -= lowest
        met = np.flatnonzero(np.bincount(codes.ravel(), minlength=1)) + lowest
        depends = (met & _CONDITIONAL) != 0
        rules, rule = np.unique(met[~depends] >> _RULE, return_inverse=True)
        decision = np.zeros(int(codes.max(initial=0)) + 1, np.uint16)
        decision[met[~depends] - lowest] = rule + (met[~depends] & _ALLOWS) * layout.DECISION_ALLOWS
        # Those that depend on conditions have the numbers behind.
        behind = rules.size + np.arange(int(depends.sum()))
        decision[met[depends] - lowest] = behind + layout.DECISION_ALLOWS
        decided = np.concatenate((rules, met[depends] >> _RULE)).astype(np.int32)
        table = decision[codes]
        some = [self._some_port(table[:, atoms]) for atoms in self._of_protocol]
        table = np.column_stack((table, *some))
        first, number = _distinct(table)
        return table[first], DecidedRules.of(decided, rules.size), number

    @staticmethod
    def _some_port(decisions: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The first decision of each row that allows, else its first."""
        allows = (decisions & layout.DECISION_ALLOWS) != 0
        chosen: NDArray[np.uint16] = decisions[np.arange(decisions.shape[0]), allows.argmax(axis=1)]
        return chosen
