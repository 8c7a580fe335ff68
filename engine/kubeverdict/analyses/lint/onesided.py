"""Rules that allow at one end what the other end denies.

A rule is compared with the rules of the other direction that select its peers: what those let
through on one of its ports is alive, the rest is one-sided. A rule for particular pods is told of
for each policy that denies some of it; one for whole namespaces or for anybody only where nothing
at all gets through, because it leaves the choice to the other end.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.lint.facts import Facts, by_name
from kubeverdict.analyses.lint.finding import Hit
from kubeverdict.compile.compiled import RuleRef
from kubeverdict.compile.tiers import order_matters
from kubeverdict.evaluate.policy_rules import Bitmap, PlaneRules, RuleRow, RuleSide
from kubeverdict.model.policy import Direction, PodPeer, Rule

_ID = {Direction.EGRESS: "egress-one-sided", Direction.INGRESS: "ingress-one-sided"}
_OTHER = {
    Direction.EGRESS: Direction.INGRESS,
    Direction.INGRESS: Direction.EGRESS,
}


class Blocked(msgspec.Struct):
    """What one policy denies of a rule: pod pairs, and one of them as places of pods."""

    pairs: int
    subject: int
    peer: int


class Tally(msgspec.Struct):
    """All of a rule: pod pairs that it allows, and those that the other end denies, by policy."""

    pairs: int
    blocked: dict[int, Blocked]


def check(facts: Facts) -> Iterator[Hit]:
    beside = facts.beside
    if order_matters(facts.compiled.policies):
        return
    rules = facts.compiled.rules
    found: dict[int, list[Tally]] = {}
    for plane in beside.planes:
        reader = _Reader(PlaneRules(beside, plane), facts)
        for number, tally in reader.tallies():
            found.setdefault(number, []).append(tally)
    for number, tallies in sorted(found.items()):
        yield from _hits(facts, rules[number], max(tallies, key=lambda one: one.pairs))


def is_particular(rule: Rule) -> bool:
    """Whether a rule names pods, in namespaces that it names: not whole namespaces, nor pods
    wherever they are."""
    return bool(rule.peers) and all(
        isinstance(peer, PodPeer)
        and peer.pods is not None
        and peer.pods.requirements
        and (peer.namespace is not None or by_name(peer.namespaces))
        for peer in rule.peers or ()
    )


class _Reader:
    """Reads one plane."""

    def __init__(self, rules: PlaneRules, facts: Facts) -> None:
        self._rules = rules
        self._refs = facts.compiled.rules
        self._whole = facts.is_whole

    def tallies(self) -> Iterator[tuple[int, Tally]]:
        for direction, side in self._rules.sides.items():
            by_rule: dict[int, list[RuleRow]] = {}
            for row in side.rows:
                if row.rule >= 0:
                    by_rule.setdefault(row.rule, []).append(row)
            for number, rows in by_rule.items():
                rule = self._refs[number].rule
                if not rule.peers:
                    continue
                if is_particular(rule):
                    tally = self._tally(direction, rows)
                elif self._whole and not self._any_alive(direction, rows):
                    tally = _together(self._tally(direction, rows))
                else:
                    continue
                if tally.blocked:
                    yield number, tally

    def _any_alive(self, direction: Direction, rows: list[RuleRow]) -> bool:
        """Whether a rule lets any pair through; a rule for addresses alone is left alone."""
        some = False
        for row in rows:
            peers = self._rules.members(row.peer)
            some |= peers.size > 0
            subjects = self._rules.bitmap(row.subject)
            for part in np.unique(self._other(direction).part_of(peers)).tolist():
                if self._let(_OTHER[direction], part, row.ports, subjects).any():
                    return True
        return not some or self._reaches_outside(rows)

    def _reaches_outside(self, rows: list[RuleRow]) -> bool:
        outside = self._rules.plane.outside
        return any((self._rules.bitmap(row.peer) & outside).any() for row in rows)

    def _other(self, direction: Direction) -> RuleSide:
        return self._rules.sides[_OTHER[direction]]

    def _let(self, direction: Direction, part: int, ports: int, subjects: Bitmap) -> Bitmap:
        """Those of ``subjects`` that the rules of a part let through on one of ``ports``: all of
        them where it is not isolated."""
        if part < 0:
            return subjects
        rows = self._rules.sides[direction].of_part(part)
        if not any(row.rule < 0 for row in rows):
            return subjects
        left = subjects.copy()
        for row in rows:
            if row.rule >= 0 and self._rules.meet(row.ports, ports):
                left &= ~self._rules.bitmap(row.peer)
                if not left.any():
                    break
        return subjects & ~left

    def _tally(self, direction: Direction, rows: list[RuleRow]) -> Tally:
        """Pair by pair of positions: each peer with the subjects that the rule gives it."""
        rules = self._rules
        possible: dict[int, Bitmap] = {}
        alive: dict[int, Bitmap] = {}
        side = self._other(direction)
        for row in rows:
            subjects = rules.bitmap(row.subject) & rules.pods
            peers = rules.members(row.peer)
            by_part: dict[int, Bitmap] = {}
            for peer, part in zip(peers.tolist(), side.part_of(peers).tolist(), strict=True):
                if part not in by_part:
                    by_part[part] = self._let(_OTHER[direction], part, row.ports, subjects)
                let = by_part[part]
                possible[peer] = possible[peer] | subjects if peer in possible else subjects
                alive[peer] = alive[peer] | let if peer in alive else let
        tally = Tally(0, {})
        if any((subjects & ~alive[peer]).any() for peer, subjects in possible.items()):
            for peer, subjects in possible.items():
                self._add(tally, side, peer, subjects, alive[peer])
        return tally

    def _add(
        self,
        tally: Tally,
        side: RuleSide,
        peer: int,
        subjects: Bitmap,
        alive: Bitmap,
    ) -> None:
        plane = self._rules.plane
        tally.pairs += self._pairs(peer, self._rules.positions(subjects))
        dead = self._rules.positions(subjects & ~alive)
        pairs = self._pairs(peer, dead)
        if not pairs:
            return
        (part,) = side.part_of(np.array([peer])).tolist()
        denying = min(row.policy for row in side.of_part(part) if row.rule < 0)
        known = tally.blocked.get(denying)
        if known is None:
            example = _pods_at(plane.member_start, plane.member, int(dead[0]), peer)
            tally.blocked[denying] = Blocked(pairs, *example)
        else:
            known.pairs += pairs

    def _pairs(self, peer: int, subjects: NDArray[np.int64]) -> int:
        """Pod pairs of a position with others, no pod with itself."""
        weight = self._rules.plane.weight
        itself = int((subjects == peer).any())
        return int(weight[peer]) * (int(weight[subjects].sum()) - itself)


def _together(tally: Tally) -> Tally:
    """All that is denied, in the name of the policy that denies most."""
    if not tally.blocked:
        return tally
    number, most = max(tally.blocked.items(), key=lambda one: one[1].pairs)
    pairs = sum(one.pairs for one in tally.blocked.values())
    return Tally(tally.pairs, {number: Blocked(pairs, most.subject, most.peer)})


def _pods_at(
    start: NDArray[np.int64], member: NDArray[np.int32], subject: int, peer: int
) -> tuple[int, int]:
    """A pod at each of two positions, not the same."""
    last = int(member[start[subject + 1] - 1])
    return last, int(member[start[peer]])


def _hits(facts: Facts, ref: RuleRef, tally: Tally) -> Iterator[Hit]:
    compiled = facts.compiled
    rule, policy = ref.rule, ref.policy
    egress = rule.direction is Direction.EGRESS
    where, other = ("destination", Direction.INGRESS) if egress else ("source", Direction.EGRESS)
    for number, blocked in sorted(tally.blocked.items()):
        denying = compiled.policies[number]
        pods = compiled.pods[blocked.subject], compiled.pods[blocked.peer]
        source, destination = pods if egress else pods[::-1]
        message = (
            f"{blocked.pairs:,} of the {tally.pairs:,} pod pairs that this rule allows fail, "
            f"{source} to {destination} for one: {denying.kind} {denying} isolates the {where} "
            f"for {other.word} and no rule there allows it"
        )
        objects = (f"{denying.kind} {denying}", f"Pod {source}", f"Pod {destination}")
        yield Hit(
            _ID[rule.direction], message, policy, rule.source, objects=objects, key=objects[0]
        )
