"""What does all that a policy does, as far as the rules of its direction say.

A policy is covered where every connection that its rules match, or that it denies because nothing
matches, is decided alike without it, by another policy. Where rules add up, that is a question of
sets: each rule is inside others. Where their order matters, the rules of every group of subjects
are gone through twice, with the policy and without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from kubeverdict.compile.overlay.overlay import Overlay
from kubeverdict.compile.tiers import isolates, order_matters
from kubeverdict.evaluate.policy_rules import Bitmap, PlaneRules, RuleRow, Share
from kubeverdict.model.policy import Action, Direction, Policy


class PolicyCover(msgspec.Struct, frozen=True):
    """What does all that a policy does: policies that do it ``alone``, and enough of them
    ``together``. All are places in ``CompiledPolicy.policies``."""

    policy: int
    alone: frozenset[int]
    together: frozenset[int]


def is_default_deny(policy: Policy) -> bool:
    """Whether a policy is a default that other policies narrow: it is not redundant because each of
    the pods that there are today has a policy of its own."""
    isolating = any(isolates(policy, direction) for direction in Direction)
    return isolating and policy.pods.selects_all and not policy.rules


class Covers:
    """The rules of all planes, policy by policy."""

    def __init__(self, overlay: Overlay) -> None:
        self._policies = overlay.compiled.policies
        self._in_order = order_matters(self._policies)
        self._planes = [PlaneRules(overlay, plane) for plane in overlay.planes]
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

    def alike(self, number: int) -> list[int]:
        """The policies that, without this one, decide some of what it decides, and alike."""
        found: set[int] = set()
        for plane, rows in zip(self._planes, self._rows, strict=True):
            own = rows.get(number, [])
            if self._in_order:
                for change in _changes(plane, number, own, ()):
                    alike = change.touched & ~change.differs
                    found.update(
                        one.row.policy for one in change.after if (one.peers & alike).any()
                    )
            else:
                found |= _meeting(plane, own)
        return sorted(found)

    def _cover(self, number: int, gone: Collection[int], missed: set[int]) -> PolicyCover | None:
        """What covers a policy without those that are ``gone``; ``missed`` gets those of them that
        are about the same pods. None where something of it is not covered, or where a rule of it
        has no effect (which is reported elsewhere)."""
        own = [rows.get(number, []) for rows in self._rows]
        rules = {row.rule for rows in own for _, row in rows if row.rule >= 0}
        if len(rules) < len(self._policies[number].rules):
            return None
        covering = _covered_in_order if self._in_order else _covered
        cover = _Cover()
        for plane, rows in zip(self._planes, own, strict=True):
            if not covering(plane, rows, gone, missed, cover):
                return None
        if not cover.together:
            return None
        return PolicyCover(number, frozenset(cover.alone or ()), frozenset(cover.together))


class _Cover:
    """What is found to cover a policy. ``alone`` is None before any of its rules was looked at."""

    def __init__(self) -> None:
        self.alone: set[int] | None = None
        self.together: set[int] = set()

    def add_single(self, policies: set[int]) -> bool:
        """Note policies each of which covers one more part. Returns whether there is one."""
        self.alone = policies if self.alone is None else self.alone & policies
        if policies:
            self.together.add(min(policies))
        return bool(policies)


def _rows_by_policy(plane: PlaneRules) -> dict[int, list[tuple[Direction, RuleRow]]]:
    found: dict[int, list[tuple[Direction, RuleRow]]] = {}
    for direction, side in plane.sides.items():
        for row in side.rows:
            found.setdefault(row.policy, []).append((direction, row))
    return found


# --- where the order of rules matters --------------------------------------------------------


class _Change(NamedTuple):
    """Without a policy, for some subjects at one place of ports: the peers (words,) that it is
    about, those that are decided otherwise, and who decides then."""

    touched: Bitmap
    differs: Bitmap
    after: list[Share]


def _changes(
    plane: PlaneRules,
    number: int,
    own: list[tuple[Direction, RuleRow]],
    gone: Collection[int],
) -> Iterator[_Change]:
    for direction, side in plane.sides.items():
        subjects = {row.subject for way, row in own if way is direction}
        selected = [plane.members(one) for one in subjects]
        parts = np.unique(side.part_of(np.concatenate(selected))) if selected else ()
        for part in map(int, parts):
            rows = [row for row in side.of_part(part) if row.policy not in gone]
            for met in plane.distinct(rows):
                before, after = (
                    plane.decided(some)
                    for some in (met, [row for row in met if row.policy != number])
                )
                touched = _touched(plane, met, number)
                deciding = [one for one in after.shares if one.row.action != Action.PASS]
                yield _Change(touched, before.allowed ^ after.allowed, deciding)


def _touched(plane: PlaneRules, met: list[RuleRow], number: int) -> Bitmap:
    """What the rules of a policy match, and what it isolates from: all that no rule of its tier
    matches."""
    touched = np.zeros_like(plane.plane.universe)
    for own in (row for row in met if row.policy == number):
        peers = plane.bitmap(own.peer)
        if own.rule < 0:
            matched = (
                plane.bitmap(one.peer) for one in met if one.rule >= 0 and one.tier == own.tier
            )
            for others in matched:
                peers = peers & ~others
        touched |= peers
    return touched


def _covered_in_order(
    plane: PlaneRules,
    own: list[tuple[Direction, RuleRow]],
    gone: Collection[int],
    missed: set[int],
    cover: _Cover,
) -> bool:
    if not own:
        return True
    number = own[0][1].policy
    missed.update(gone)
    for change in _changes(plane, number, own, gone):
        if change.differs.any():
            return False
        by_policy: dict[int, Bitmap] = {}
        for row, peers in change.after:
            known = by_policy.get(row.policy)
            by_policy[row.policy] = peers if known is None else known | peers
        left = change.touched.copy()
        if not left.any():
            continue
        if cover.add_single({one for one, peers in by_policy.items() if not (left & ~peers).any()}):
            continue
        for one, peers in by_policy.items():
            if (left & peers).any():
                cover.together.add(one)
                left &= ~peers
        if left.any():
            return False
    return True


# --- where rules add up ----------------------------------------------------------------------


def _covered(
    plane: PlaneRules,
    own: list[tuple[Direction, RuleRow]],
    gone: Collection[int],
    missed: set[int],
    cover: _Cover,
) -> bool:
    # Isolation first: it is found out soonest.
    for direction, row in sorted(own, key=lambda one: one[1].rule):
        side = plane.sides[direction]
        for part in plane.parts(direction, row.subject):
            same = _same_kind(side.of_part(part), row)
            others = [other for other in same if other.policy not in gone]
            if len(others) < len(same):
                missed.update(other.policy for other in same if other.policy in gone)
            if row.rule < 0:
                if not others:
                    return False
                cover.together.add(others[0].policy)
                continue
            single = {other.policy for other in others if _contains(plane, other, row)}
            if cover.add_single(single):
                continue
            used = _together(plane, others, row)
            if used is None:
                return False
            cover.together |= used
    return True


def _same_kind(rows: list[RuleRow], row: RuleRow) -> list[RuleRow]:
    """The rules of other policies where ``row`` is a rule, else their isolation."""
    return [
        other for other in rows if other.policy != row.policy and (other.rule < 0) == (row.rule < 0)
    ]


def _meeting(plane: PlaneRules, own: list[tuple[Direction, RuleRow]]) -> set[int]:
    """Policies with rules for the same subjects that have a peer and a port in common with those
    of one, or that isolate the same subjects."""
    found: set[int] = set()
    for direction, row in own:
        side = plane.sides[direction]
        for part in plane.parts(direction, row.subject):
            found.update(
                other.policy
                for other in _same_kind(side.of_part(part), row)
                if other.policy not in found
                and plane.meet(other.ports, row.ports)
                and (plane.bitmap(other.peer) & plane.bitmap(row.peer)).any()
            )
    return found


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
    for place in plane.places(near, row.ports):
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
