"""Rules that allow at one end what the other end denies.

A rule is compared with the rules of the other direction that select its peers: what those let
through on one of its ports can connect, the rest is one-sided. A rule for particular pods is
reported for each policy that denies some of it; one for whole namespaces or for anybody only where
nothing at all gets through, because it leaves the choice to the other end.

Where rules add up, a port list is asked about at once: one rule is enough that has a port in
common with it. Where their order matters, each part of the list is, and what the rule's own end
denies for another reason is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.analyses.lint.facts import Facts, by_name
from kubeverdict.analyses.lint.finding import Hit
from kubeverdict.compile.compiled import RuleRef
from kubeverdict.compile.sets import bitmap
from kubeverdict.compile.tiers import order_matters
from kubeverdict.evaluate.policy_rules import Bitmap, Decided, PlaneRules, RuleRow, RuleSide
from kubeverdict.model.policy import Action, Direction, PodPeer, Rule

_ID = {Direction.EGRESS: "egress-one-sided", Direction.INGRESS: "ingress-one-sided"}
_OTHER = {
    Direction.EGRESS: Direction.INGRESS,
    Direction.INGRESS: Direction.EGRESS,
}


class Denier(NamedTuple):
    """The policy that denies, by a rule of its own or because no rule there matches."""

    policy: int
    by_default: bool


class Blocked(msgspec.Struct):
    """What one policy denies of a rule: pod pairs, and one of them as places of pods."""

    pairs: int
    subject: int
    peer: int


class Tally(msgspec.Struct):
    """All of a rule: pod pairs that it allows, and those that the other end denies."""

    pairs: int
    blocked: dict[Denier, Blocked]


class Asked(NamedTuple):
    """What a rule lets through at its own end: ``subjects`` (words,) and the positions of ``peers``
    that are pods, on ``ports``, a port list where rules add up, otherwise a place of ports."""

    ports: int
    subjects: Bitmap
    peers: NDArray[np.int64]


def check(facts: Facts) -> Iterator[Hit]:
    overlay = facts.overlay
    rules = facts.compiled.rules
    found: dict[int, list[Tally]] = {}
    for plane in overlay.planes:
        reader = _Reader(PlaneRules(overlay, plane), facts)
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
        and not peer.pods.selects_all
        and (peer.namespace is not None or by_name(peer.namespaces))
        for peer in rule.peers or ()
    )


class _Reader:
    """Reads one plane."""

    def __init__(self, rules: PlaneRules, facts: Facts) -> None:
        self._rules = rules
        self._refs = facts.compiled.rules
        self._whole = facts.is_whole
        self._in_order = order_matters(facts.compiled.policies)
        self._decided: dict[tuple[Direction, int, int], Decided] = {}

    def tallies(self) -> Iterator[tuple[int, Tally]]:
        for direction, side in self._rules.sides.items():
            by_rule: dict[int, list[RuleRow]] = {}
            for row in side.rows:
                if row.rule >= 0 and row.action == Action.ALLOW:
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
            some |= self._rules.members(row.peer).size > 0
            for asked in self._asked(direction, row):
                for part in np.unique(self._other(direction).part_of(asked.peers)).tolist():
                    if self._let(_OTHER[direction], part, asked).any():
                        return True
        return not some or self._reaches_outside(rows)

    def _reaches_outside(self, rows: list[RuleRow]) -> bool:
        outside = self._rules.plane.outside
        return any((self._rules.bitmap(row.peer) & outside).any() for row in rows)

    def _other(self, direction: Direction) -> RuleSide:
        return self._rules.sides[_OTHER[direction]]

    def _asked(self, direction: Direction, row: RuleRow) -> Iterator[Asked]:
        rules = self._rules
        if not self._in_order:
            yield Asked(row.ports, rules.pods_in(row.subject)[0], rules.pods_in(row.peer)[1])
            return
        peers, _ = rules.pods_in(row.peer)
        selected = rules.members(row.subject)
        part_of = rules.sides[direction].part_of(selected)
        parts = np.unique(part_of).tolist()
        speaking = [one for part in parts for one in rules.sides[direction].of_part(part)]
        other = self._other(direction)
        for part in rules.parts(_OTHER[direction], row.peer):
            speaking += other.of_part(part) if part >= 0 else []
        places = rules.places(speaking, row.ports)
        for part in parts:
            own = bitmap(selected[part_of == part], rules.plane.words)
            for place in places:
                let = self._decide(direction, part, place).allowed & peers
                if let.any():
                    yield Asked(place, own, rules.positions(let))

    def _decide(self, direction: Direction, part: int, place: int) -> Decided:
        key = direction, part, place
        found = self._decided.get(key)
        if found is None:
            rows = self._rules.sides[direction].of_part(part) if part >= 0 else []
            speaking = [row for row in rows if self._rules.holds(row.ports, place)]
            found = self._decided[key] = self._rules.decided(speaking)
        return found

    def _let(self, direction: Direction, part: int, asked: Asked) -> Bitmap:
        """Those of the subjects asked about that the rules of a part let through: all of them
        where it is not isolated."""
        if part < 0:
            return asked.subjects
        if self._in_order:
            return self._decide(direction, part, asked.ports).allowed & asked.subjects
        rows = self._rules.sides[direction].of_part(part)
        if not any(row.rule < 0 for row in rows):
            return asked.subjects
        left = asked.subjects.copy()
        for row in rows:
            if row.rule >= 0 and self._rules.meet(row.ports, asked.ports):
                left &= ~self._rules.bitmap(row.peer)
                if not left.any():
                    break
        return asked.subjects & ~left

    def _deniers(
        self, direction: Direction, part: int, asked: Asked
    ) -> Iterator[tuple[Denier, Bitmap]]:
        """Who denies what the rules of a part do not let through."""
        if self._in_order:
            for row, peers in self._decide(direction, part, asked.ports).shares:
                if row.action == Action.DENY:
                    yield Denier(row.policy, row.rule < 0), peers
        else:
            rows = self._rules.sides[direction].of_part(part)
            yield Denier(min(row.policy for row in rows if row.rule < 0), True), asked.subjects

    def _tally(self, direction: Direction, rows: list[RuleRow]) -> Tally:
        """Pair by pair of positions: each peer with the subjects that the rule gives it."""
        rules = self._rules
        possible: dict[int, Bitmap] = {}
        alive: dict[int, Bitmap] = {}
        asked_of: dict[int, list[Asked]] = {}
        side = self._other(direction)
        for row in rows:
            for asked in self._asked(direction, row):
                by_part: dict[int, Bitmap] = {}
                parts = side.part_of(asked.peers).tolist()
                for peer, part in zip(asked.peers.tolist(), parts, strict=True):
                    if part not in by_part:
                        by_part[part] = self._let(_OTHER[direction], part, asked)
                    let = by_part[part]
                    known = peer in possible
                    possible[peer] = possible[peer] | asked.subjects if known else asked.subjects
                    alive[peer] = alive[peer] | let if known else let
                    asked_of.setdefault(peer, []).append(asked)
        dead = {peer: subjects & ~alive[peer] for peer, subjects in possible.items()}
        tally = Tally(0, {})
        if any(subjects.any() for subjects in dead.values()):
            # Most peers have the same subjects.
            distinct = {id(one): one for one in possible.values()}
            listed = {key: rules.positions(one) for key, one in distinct.items()}
            for peer, subjects in possible.items():
                tally.pairs += self._pairs(peer, listed[id(subjects)])
                self._add(tally, _OTHER[direction], peer, dead[peer], asked_of[peer])
        return tally

    def _add(
        self, tally: Tally, direction: Direction, peer: int, dead: Bitmap, asked: list[Asked]
    ) -> None:
        plane = self._rules.plane
        (part,) = self._rules.sides[direction].part_of(np.array([peer])).tolist()
        for one in asked:
            if not dead.any():
                return
            for denier, bits in self._deniers(direction, part, one):
                subjects = self._rules.positions(dead & bits & one.subjects)
                dead = dead & ~(bits & one.subjects)
                pairs = self._pairs(peer, subjects)
                if not pairs:
                    continue
                known = tally.blocked.get(denier)
                if known is None:
                    example = _pods_at(plane.member_start, plane.member, int(subjects[0]), peer)
                    tally.blocked[denier] = Blocked(pairs, *example)
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
    denier, most = max(tally.blocked.items(), key=lambda one: one[1].pairs)
    pairs = sum(one.pairs for one in tally.blocked.values())
    return Tally(tally.pairs, {denier: Blocked(pairs, most.subject, most.peer)})


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
    for denier, blocked in sorted(tally.blocked.items()):
        denying = compiled.policies[denier.policy]
        pods = compiled.pods[blocked.subject], compiled.pods[blocked.peer]
        source, destination = pods if egress else pods[::-1]
        how = f"has a rule that denies {other.word} of the {where}"
        if denier.by_default:
            how = f"isolates the {where} for {other.word} and no rule there allows it"
        message = (
            f"{blocked.pairs:,} of the {tally.pairs:,} pod pairs that this rule allows fail, "
            f"{source} to {destination} for one: {denying.kind} {denying} {how}"
        )
        objects = (f"{denying.kind} {denying}", f"Pod {source}", f"Pod {destination}")
        yield Hit(
            _ID[rule.direction], message, policy, rule.source, objects=objects, key=objects[0]
        )
