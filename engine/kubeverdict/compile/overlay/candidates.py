"""Policies compiled in addition to those of a cluster."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from kubeverdict.compile.compiled import Reason, RuleRef
from kubeverdict.compile.dialect import adapt
from kubeverdict.compile.lowering import Questions, lower
from kubeverdict.compile.overlay.blocks import BlockUnion, Outside, Piece
from kubeverdict.compile.overlay.overlay import LAST, Overlay, OverlayPlane, directions_of, where
from kubeverdict.compile.ports import PortList, port_runs
from kubeverdict.compile.rules import Base, RowMaker, resolve_names
from kubeverdict.compile.selectors import Scope, evaluate_selectors, merged_ranges
from kubeverdict.compile.sets import ALL, from_positions, join, moved, offsets
from kubeverdict.compile.tiers import isolates
from kubeverdict.kernels.bits import Sets
from kubeverdict.kernels.collect import RULE_COLUMNS, Rules
from kubeverdict.kernels.flows import Rows
from kubeverdict.kernels.ports import Runs
from kubeverdict.model.policy import Action, BlockPeer, Direction, PodPeer, Policy, Rule
from kubeverdict.model.ports import NamedPort
from kubeverdict.model.selectors import Selector

_INTERLEAVED = "a rule with a precedence of its own"


@dataclass(frozen=True, slots=True, eq=False)
class WithCandidates:
    """One plane with candidates in it: what they add stands behind what the base has."""

    sets: Sets
    ingress: Rules
    egress: Rules
    subject: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Policies in addition to those of the base. Candidate ``c`` is policy ``len(base policies) +
    c``.

    ``rules`` continue the rule ids of the base. ``apart`` are candidates that cannot be added to
    it, with the reason. ``pieces`` tells which addresses the two positions of an atom stand for, by
    candidate, where it cuts the atom.
    """

    planes: tuple[WithCandidates, ...]
    runs: Runs
    rules: tuple[RuleRef, ...]
    directions: NDArray[np.uint8]
    apart: dict[int, str]
    pieces: dict[int, dict[int, tuple[Piece, Piece]]]


def add_candidates(overlay: Overlay, policies: Sequence[Policy]) -> Candidates:
    """Compile ``policies`` as additions to the base, none of them in force."""
    return _Adder(overlay, policies).add()


class _Adder:
    def __init__(self, overlay: Overlay, policies: Sequence[Policy]) -> None:
        self._overlay = overlay
        self._outside = Outside(overlay)
        self._apart: dict[int, str] = {}
        self._pieces: dict[int, dict[int, tuple[Piece, Piece]]] = {}
        self._kept: list[int] = []  # number of each policy that is compiled
        self._policies: list[Policy] = []
        self._refs: list[RuleRef] = []
        self._count = len(policies)
        compiled = overlay.compiled
        adapted = adapt(policies, compiled.profile, compiled.pods, overlay.labels_of_namespaces)
        for number, policy in enumerate(adapted):
            if policy is None:
                continue
            if policy.tier not in overlay.tiers:
                self._apart[number] = "a tier that the cluster does not have"
                continue
            strange = _INTERLEAVED if overlay.interleaved else _not_beside(policy)
            if strange:
                self._apart[number] = strange
                continue
            self._kept.append(number)
            self._refs += [RuleRef(policy, rule) for rule in policy.rules]
            self._policies.append(self._with_unions(number, policy))
        self._questions = lower(self._policies, compiled.at_least)

    def _with_unions(self, number: int, policy: Policy) -> Policy:
        """The policy with the blocks of each rule taken together, as one set."""
        unions = {
            index: BlockUnion(blocks)
            for index, rule in enumerate(policy.rules)
            if (blocks := tuple(peer for peer in rule.peers or () if isinstance(peer, BlockPeer)))
        }
        if not unions:
            return policy
        pieces, reason = self._outside.cut(tuple(unions.values()))
        if reason:
            self._apart[number] = reason
        elif pieces:
            # What the twins of atoms stand for differs from candidate to candidate.
            unions = {i: BlockUnion(union.blocks, number) for i, union in unions.items()}
            self._pieces[number] = pieces
        rules = list(policy.rules)
        for index, union in unions.items():
            rules[index] = _with_union(rules[index], union)
        return msgspec.structs.replace(policy, rules=tuple(rules))

    def add(self) -> Candidates:
        overlay = self._overlay
        lists: dict[PortList | None, int] = {None: 0}
        planes = tuple(self._plane(plane, lists) for plane in overlay.planes)
        own = np.zeros(self._count, np.uint8)
        own[self._kept] = [directions_of(policy) for policy in self._policies]
        return Candidates(
            planes=planes,
            runs=_behind(overlay.runs, port_runs(lists)),
            rules=tuple(self._refs),
            directions=np.concatenate((overlay.directions, own)),
            apart=self._apart,
            pieces=self._pieces,
        )

    def _plane(self, plane: OverlayPlane, lists: dict[PortList | None, int]) -> WithCandidates:
        questions = self._questions
        profile = self._overlay.compiled.profile
        base = self._sets(plane, questions)
        rows, ingress_rows, sets = RowMaker(base, lists, profile).make(questions)
        selectors = questions.selectors
        subject = np.ones(self._count, np.int32)  # the empty set
        subject[self._kept] = [
            base.subjects[selectors[where(policy), policy.pods, False]] for policy in self._policies
        ]
        known_lists = self._overlay.runs.start.size - 2
        sides = [
            self._rules(plane, rows, part, direction, subject, known_lists)
            for part, direction in (
                (slice(ingress_rows), Direction.INGRESS),
                (slice(ingress_rows, None), Direction.EGRESS),
            )
        ]
        return WithCandidates(
            sets=sets,
            ingress=sides[0],
            egress=sides[1],
            subject=np.concatenate((plane.subject, subject)),
        )

    def _sets(self, plane: OverlayPlane, questions: Questions) -> Base:
        """What the candidates ask for, evaluated, behind the sets of the plane."""
        profile = self._overlay.compiled.profile
        found = evaluate_selectors(
            plane.labels,
            (selector for _, selector, _ in questions.selectors),
            self._scopes(plane, questions),
            plane.words,
        )
        first = plane.sets.start.size - 1
        count = len(questions.selectors)
        subjects = range(first, first + count)
        parts = [plane.sets, found]
        peers: Sequence[int] = subjects
        own = np.arange(plane.pods, dtype=np.int32)
        if not (plane.as_subject == own).all():
            rest = np.arange(plane.pods, plane.size, dtype=np.int32)
            parts[1:] = [
                moved(found, np.concatenate((target, rest)), plane.words)
                for target in (plane.as_subject, plane.as_peer)
            ]
            written_only = profile.hostnetwork_peers == "with-pod-selector"
            peers = [
                first + index if written_only and not written else first + count + index
                for index, (_, _, written) in enumerate(questions.selectors)
            ]
        behind = first + count * (len(parts) - 1)
        unions = [union for union in questions.blocks if isinstance(union, BlockUnion)]
        parts.append(
            from_positions(
                [
                    self._outside.positions(plane, union, self._pieces.get(union.owner, {}))
                    for union in unions
                ]
            )
        )
        names, holders = resolve_names(questions.named, self._overlay.port_sets, plane.ports)
        parts.append(from_positions(holders))
        named: dict[NamedPort, list[tuple[int, int]]] = {}
        for index, (port, number) in enumerate(names):
            named.setdefault(port, []).append((number, behind + len(unions) + index))
        return Base(
            sets=join(*parts),
            words=plane.words,
            subjects=subjects,
            peers=peers,
            blocks=range(behind, behind + len(unions)),
            named=named,
        )

    def _scopes(self, plane: OverlayPlane, questions: Questions) -> list[Scope]:
        overlay = self._overlay
        selectors = dict.fromkeys(w for w, _, _ in questions.selectors if isinstance(w, Selector))
        total = len(overlay.namespaces)
        matched = evaluate_selectors(
            overlay.namespace_labels,
            selectors,
            [[(0, total)]] * len(selectors),
            (total + 63) >> 6,
        )
        ranges = dict(zip(selectors, merged_ranges(plane.first, matched), strict=True))
        scopes: list[Scope] = []
        for place, _, _ in questions.selectors:
            if isinstance(place, Selector):
                scopes.append(ranges[place])
                continue
            number = overlay.namespaces.get(place)
            if number is None:
                scopes.append(())
            else:
                scopes.append(((int(plane.first[number]), int(plane.first[number + 1])),))
        return scopes

    def _rules(
        self,
        plane: OverlayPlane,
        rows: Rows,
        part: slice,
        direction: Direction,
        subject: NDArray[np.int32],
        known_lists: int,
    ) -> Rules:
        """The rules of the plane in one direction with those of the candidates behind."""
        overlay = self._overlay
        base = plane.ingress if direction is Direction.INGRESS else plane.egress
        compiled = overlay.compiled
        starts = offsets(np.array([len(policy.rules) for policy in self._policies], np.int64))
        kept = Rows._make(column[part] for column in rows)
        kept = Rows._make(column[kept.rule >= 0] for column in kept)
        of_row = np.searchsorted(starts, kept.rule, side="right") - 1
        own = [kept for kept, policy in enumerate(self._policies) if isolates(policy, direction)]
        owner = np.concatenate((of_row, np.array(own, np.int64))).astype(np.int64)
        numbers = np.array(self._kept, np.int64)
        tiers = np.array([overlay.tiers[policy.tier] for policy in self._policies], np.int64)
        order = np.array([self._order(policy) for policy in self._policies], np.int64)
        count = len(own)
        columns = (
            np.concatenate((kept.subject, subject[numbers[own]])),
            np.concatenate((kept.peer, np.full(count, ALL))),
            # List 0 is the same; the others come behind those of the base.
            np.concatenate((kept.ports + known_lists * (kept.ports > 0), np.zeros(count))),
            np.concatenate((kept.action, np.full(count, Action.DENY))),
            tiers[owner],
            np.concatenate((order[of_row], np.full(count, LAST))),
            np.concatenate(
                (kept.rule + len(compiled.rules), np.full(count, Reason.NO_RULE_MATCHES))
            ),
            numbers[owner] + len(compiled.policies),
        )
        table = np.stack([column.astype(np.int64) for column in columns], axis=1)
        table = table.reshape(-1, RULE_COLUMNS)[np.argsort(owner, kind="stable")]
        lengths = np.bincount(numbers[owner], minlength=self._count)
        return base._replace(
            table=np.concatenate((base.table, table)),
            extra=offsets(lengths) + len(base.table),
        )

    def _order(self, policy: Policy) -> int:
        """In front of the rules of the first policy of the base that comes later."""
        rank = bisect_left(self._overlay.sort_keys, policy.sort_key)
        return 2 * int(self._overlay.first_rule[rank])


def _not_beside(policy: Policy) -> str:
    """Why the rules of a policy cannot be added to a compiled cluster; empty where they can."""
    for rule in policy.rules:
        if rule.precedence is not None:
            return _INTERLEAVED
        if rule.subject is not None and not isinstance(rule.subject, PodPeer):
            return "a subject that is told by its address"
        if any(not isinstance(peer, PodPeer | BlockPeer) for peer in rule.peers or ()):
            return "a peer that is made of others"
        if any(isinstance(port, NamedPort) for port in rule.excluded_ports):
            return "a port that is excluded by its name"
    return ""


def _with_union(rule: Rule, union: BlockUnion) -> Rule:
    pods = tuple(peer for peer in rule.peers or () if isinstance(peer, PodPeer))
    return msgspec.structs.replace(rule, peers=(*pods, union))


def _behind(first: Runs, more: Runs) -> Runs:
    """The lists of ``first`` and then those of ``more`` without its list 0, which is alike."""
    skipped = int(more.start[1])
    return Runs(
        np.concatenate((first.start, more.start[2:] - skipped + first.low.size)),
        np.concatenate((first.low, more.low[skipped:])),
        np.concatenate((first.high, more.high[skipped:])),
    )
