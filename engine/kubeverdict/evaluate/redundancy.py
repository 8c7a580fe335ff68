"""Policies without which the same connections are allowed: many of them at once.

That each of two policies changes nothing does not mean that both can go: each may be there for
the other. Policies are taken out from last to first, and one that is out counts for none of those
before it. That finds a large set, not the largest there is; before anybody is told of it, the
engine judges the cluster without all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import numpy as np

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.compile.overlay.overlay import Overlay
from kubeverdict.compile.tiers import order_matters
from kubeverdict.evaluate.policy_rules import PlaneRules, RuleRow
from kubeverdict.evaluate.scenarios.outcome import Outcome
from kubeverdict.evaluate.scenarios.workbench import Workbench, evaluate, workbench
from kubeverdict.model.edit import Edit, policy_key
from kubeverdict.model.policy import Direction, Policy


class PolicyCover(msgspec.Struct, frozen=True):
    """What does all that a policy does: policies that do it ``alone``, and enough of them
    ``together``. All are places in ``CompiledPolicy.policies``."""

    policy: int
    alone: frozenset[int]
    together: frozenset[int]


class Removal(msgspec.Struct, frozen=True):
    """Policies that can be removed ``together``; and those that ``stay`` because what does the
    same is among them, though each could go by itself."""

    together: tuple[PolicyCover, ...] = ()
    stay: tuple[PolicyCover, ...] = ()


class Refused(msgspec.Struct, frozen=True):
    """A policy that has to stay when others are removed. ``outcome`` is what its removal on top
    of theirs changes; None for a default deny, which stays for the pods to come."""

    policy: int
    outcome: Outcome | None


def removal(bench: Workbench, among: Collection[int] | None = None) -> Removal:
    """The policies ``among`` some (None: all) whose rules and isolation others cover, as far as
    the rules say. Empty where rules deny: there more rules do not simply allow more."""
    beside = bench.beside
    if order_matters(bench.compiled.policies):
        return Removal()
    together, stay = _Covers(beside).removal(among)
    proven, _ = _proven(bench, [cover.policy for cover in together])
    kept = set(proven)
    return Removal(
        tuple(cover for cover in together if cover.policy in kept),
        tuple(cover for cover in stay if not kept.isdisjoint(cover.together)),
    )


def removable(
    bench: Workbench, candidates: Sequence[int]
) -> tuple[list[int], list[Refused], Removal]:
    """Of ``candidates``, each of which changes nothing by itself: those that can be removed
    together, those that have to stay then, and what the rules alone say of it.

    Costs a compilation of the cluster without the first, where there are others.
    """
    by_rules = removal(bench, frozenset(candidates))
    gone = {cover.policy for cover in by_rules.together}
    policies = bench.compiled.policies
    left = [one for one in candidates if one not in gone]
    guards = [one for one in left if is_default_deny(policies[one])]
    left = [one for one in left if not is_default_deny(policies[one])]
    refused = [Refused(one, None) for one in guards]
    if not left:
        return sorted(gone), refused, by_rules
    rest = _without(bench, gone)
    place = {policy_key(policies[one]): one for one in left}
    keys = list(place)
    outcomes = evaluate(rest, [Edit("", (key,)) for key in keys], examples=1)
    idle = [key for key, outcome in zip(keys, outcomes, strict=True) if _is_idle(outcome)]
    proven, also = _proven(rest, [rest.numbers[key] for key in idle])
    gone |= {place[policy_key(rest.compiled.policies[one])] for one in proven}
    changed = {
        place[key]: outcome
        for key, outcome in zip(keys, outcomes, strict=True)
        if not _is_idle(outcome)
    }
    changed |= {
        place[policy_key(rest.compiled.policies[one])]: outcome for one, outcome in also.items()
    }
    refused += [Refused(one, outcome) for one, outcome in sorted(changed.items())]
    return sorted(gone), refused, by_rules


def is_default_deny(policy: Policy) -> bool:
    """Whether a policy is the ground that others stand on: it is not redundant because each of
    the pods that there are today has a policy of its own."""
    return not policy.pods.requirements and not policy.rules


def _is_idle(outcome: Outcome) -> bool:
    return not outcome.changes and not outcome.error


def _without(bench: Workbench, gone: Collection[int]) -> Workbench:
    compiled = bench.compiled
    out = {policy_key(compiled.policies[one]) for one in gone}
    kept = tuple(one for one in compiled.cluster.policies if policy_key(one) not in out)
    cluster = msgspec.structs.replace(compiled.cluster, policies=kept)
    return workbench(compile_cluster(cluster, compiled.profile, static=compiled.static))


def _proven(bench: Workbench, numbers: Sequence[int]) -> tuple[list[int], dict[int, Outcome]]:
    """As many of some policies as can be removed together, by judging the cluster without them;
    and what each of the others would change then. Halves are tried where all of them change
    something."""
    policies = bench.compiled.policies
    proven: list[int] = []
    refused: dict[int, Outcome] = {}
    todo = [list(numbers)]
    while todo:
        group = todo.pop()
        if not group:
            continue
        keys = tuple(policy_key(policies[one]) for one in (*proven, *group))
        (outcome,) = evaluate(bench, [Edit("", keys)], examples=1)
        if _is_idle(outcome):
            proven += group
        elif len(group) == 1:
            refused[group[0]] = outcome
        else:
            half = len(group) // 2
            todo += [group[half:], group[:half]]
    return proven, refused


# --- what covers a policy, by its rules ------------------------------------------------------


class _Covers:
    """The rules of all planes, policy by policy."""

    def __init__(self, beside: Overlay) -> None:
        self._policies = beside.compiled.policies
        self._planes = [PlaneRules(beside, plane) for plane in beside.planes]
        self._rows = [_rows_by_policy(plane) for plane in self._planes]

    def removal(self, among: Collection[int] | None) -> tuple[list[PolicyCover], list[PolicyCover]]:
        """Covers of what can be taken out from last to first, and of what could have been before
        others were."""
        gone: set[int] = set()
        together: list[PolicyCover] = []
        stay: list[PolicyCover] = []
        for number in range(len(self._policies) - 1, -1, -1):
            if (among is not None and number not in among) or is_default_deny(
                self._policies[number]
            ):
                continue
            missed: set[int] = set()
            cover = self._cover(number, gone, missed)
            if cover is not None:
                gone.add(number)
                together.append(cover)
            elif missed and (cover := self._cover(number, (), set())) is not None:
                stay.append(cover)
        return together[::-1], stay[::-1]

    def _cover(self, number: int, gone: Collection[int], missed: set[int]) -> PolicyCover | None:
        """What covers a policy without those that are ``gone``; ``missed`` gets those of them
        that are about the same pods."""
        covers = []
        for plane, rows in zip(self._planes, self._rows, strict=True):
            own = rows.get(number, [])
            cover = _covering(plane, own, self._policies[number], gone, missed)
            if cover is None:
                return None
            covers.append(cover)
        alone = frozenset.intersection(*(frozenset(cover.alone) for cover in covers))
        together = frozenset[int]().union(*(cover.together for cover in covers))
        return PolicyCover(number, alone, together) if together else None


class _Cover:
    """A cover in one plane."""

    def __init__(self) -> None:
        self.alone: set[int] = set()
        self.together: set[int] = set()


def _rows_by_policy(plane: PlaneRules) -> dict[int, list[tuple[Direction, RuleRow]]]:
    found: dict[int, list[tuple[Direction, RuleRow]]] = {}
    for direction, side in plane.sides.items():
        for row in side.rows:
            found.setdefault(row.policy, []).append((direction, row))
    return found


def _covering(
    plane: PlaneRules,
    own: list[tuple[Direction, RuleRow]],
    policy: Policy,
    gone: Collection[int],
    missed: set[int],
) -> _Cover | None:
    """What covers a policy in one plane; None where something of it is not covered, or where a
    rule of it has no effect (which is told of elsewhere)."""
    if len({row.rule for _, row in own if row.rule >= 0}) < len(policy.rules):
        return None
    cover = _Cover()
    alone: set[int] | None = None
    # Isolation first: it is found out soonest.
    for direction, row in sorted(own, key=lambda one: one[1].rule):
        side = plane.sides[direction]
        for part in np.unique(side.part_of(plane.members(row.subject))).tolist():
            same = [
                other
                for other in side.of_part(part)
                if other.policy != row.policy and (other.rule < 0) == (row.rule < 0)
            ]
            others = [other for other in same if other.policy not in gone]
            if len(others) < len(same):
                missed.update(other.policy for other in same if other.policy in gone)
            if row.rule < 0:
                if not others:
                    return None
                cover.together.add(others[0].policy)
                continue
            single = {other.policy for other in others if _contains(plane, other, row)}
            alone = single if alone is None else alone & single
            if single:
                cover.together.add(min(single))
                continue
            used = _together(plane, others, row)
            if used is None:
                return None
            cover.together |= used
    cover.alone = alone or set()
    return cover


def _contains(plane: PlaneRules, outer: RuleRow, inner: RuleRow) -> bool:
    if outer.ports != inner.ports and outer.ports:
        if not inner.ports:
            return False
        spans = plane.ranges(outer.ports)
        for low, high in plane.ranges(inner.ports):
            if not any(first <= low and high <= stop for first, stop in spans):
                return False
    if outer.peer in (0, inner.peer):
        return True
    return not (plane.bitmap(inner.peer) & ~plane.bitmap(outer.peer)).any()


def _together(plane: PlaneRules, others: list[RuleRow], row: RuleRow) -> set[int] | None:
    """Policies whose rules, taken together, allow all that ``row`` does; None where they do not."""
    peers = plane.bitmap(row.peer)
    near = [other for other in others if plane.meet(other.ports, row.ports)]
    if len(near) < 2:
        return None
    used: set[int] = set()
    for place in _cells(plane, near, row):
        left = peers.copy()
        for other in near:
            if plane.holds(other.ports, place):
                bits = plane.bitmap(other.peer)
                if (left & bits).any():
                    left &= ~bits
                    used.add(other.policy)
        if left.any():
            return None
    return used


def _cells(plane: PlaneRules, others: list[RuleRow], row: RuleRow) -> list[int]:
    """A place in each part into which other rules cut the ports of one."""
    edges = {edge for other in others for span in plane.ranges(other.ports) for edge in span}
    cells: set[int] = set()
    for low, high in plane.ranges(row.ports):
        cells.add(low)
        cells.update(edge for edge in edges if low < edge < high)
    return sorted(cells)
