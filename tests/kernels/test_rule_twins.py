"""The kernels that decide, against deciding rule by rule.

Rules are drawn at random over a few identities and port atoms: all three actions, several tiers,
two versions. The twins read them in evaluation order, one source and one destination at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kubeverdict.kernels import actions, flows, reach, selectors
from kubeverdict.kernels.flows import HOST, IPV4, IPV6, Entries, Rows, pack_ends
from kubeverdict.kernels.jit import Kernel
from kubeverdict.kernels.reach import AFTER, BEFORE, Space, View
from tests.kernels import naive

SIZE, ATOMS = 70, 9
ALLOW, DENY, PASS = range(3)
Form = Callable[[Kernel], Callable[..., Any]]


@pytest.fixture(params=["plain", "compiled"], scope="module")
def form(request: pytest.FixtureRequest) -> Form:
    return lambda kernel: getattr(kernel, request.param)


@dataclass(frozen=True)
class Rule:
    subject: frozenset[int]
    peer: frozenset[int] | None  # None is everything
    atoms: frozenset[int] | None
    action: int
    tier: int
    version: int


some = st.one_of(
    st.frozensets(st.integers(0, SIZE - 1), max_size=6), st.just(frozenset(range(0, SIZE, 2)))
)
port_lists = st.one_of(st.none(), st.frozensets(st.integers(0, ATOMS - 1), max_size=4))
rules = st.lists(
    st.builds(
        Rule,
        some,
        st.one_of(st.none(), some),
        port_lists,
        st.sampled_from([ALLOW, ALLOW, DENY, PASS]),
        st.sampled_from([0, 1, 2, 256, 257]),
        st.sampled_from([BEFORE, AFTER, BEFORE | AFTER]),
    ),
    max_size=8,
).map(lambda drawn: sorted(drawn, key=lambda rule: rule.tier))
identities = st.integers(0, SIZE - 1)
atoms = st.integers(0, ATOMS - 1)


def way(
    known: list[Rule], subject: int, peer: int, atom: int
) -> tuple[list[int], int | None, bool, int]:
    """The rules that pass on, the tier that decides, and what it says by which rule."""
    """Where the first layer does not deny, and allows by a rule, that is the one named."""
    passing: list[int] = []
    first: tuple[int | None, int] = (None, actions.NOT_ISOLATED)
    layers: dict[int, list[tuple[int, Rule]]] = {0: [], 1: []}
    for number, rule in enumerate(known):
        layers[rule.tier // 256].append((number, rule))
    for layer in layers.values():
        passed, tier, allowed, decided = in_layer(layer, subject, peer, atom)
        passing += passed
        if not allowed:
            return passing, tier, False, decided
        if first[0] is None:
            first = (tier, decided)
    return passing, first[0], True, first[1]


def in_layer(
    known: list[tuple[int, Rule]], subject: int, peer: int, atom: int
) -> tuple[list[int], int | None, bool, int]:
    passed = None
    passing: list[int] = []
    for number, rule in known:
        if rule.tier == passed or not matches(rule, subject, peer, atom):
            continue
        if rule.action != PASS:
            return passing, rule.tier, rule.action == ALLOW, number
        passed = rule.tier
        passing.append(number)
    return passing, None, True, actions.NOT_ISOLATED


def verdict(known: list[Rule], subject: int, peer: int, atom: int) -> tuple[bool, int]:
    _, _, allowed, decided = way(known, subject, peer, atom)
    return allowed, decided


def matches(rule: Rule, subject: int, peer: int, atom: int) -> bool:
    return (
        subject in rule.subject
        and (rule.peer is None or peer in rule.peer)
        and (rule.atoms is None or atom in rule.atoms)
    )


EVERYTHING = frozenset(range(SIZE))


class Arrays:
    """Rules as a compiled plane has them."""

    def __init__(self, known: list[Rule]) -> None:
        sets: dict[frozenset[int], int] = {EVERYTHING: 0, frozenset(): 1}
        lists: dict[frozenset[int] | None, int] = {None: 0}
        for rule in known:
            sets.setdefault(rule.subject, len(sets))
            sets.setdefault(EVERYTHING if rule.peer is None else rule.peer, len(sets))
            lists.setdefault(rule.atoms, len(lists))
        self.sets = naive.packed(sets)
        self.ports = naive.packed(range(ATOMS) if one is None else one for one in lists)
        self.rows = Rows(
            subject=np.array([sets[rule.subject] for rule in known], np.int32),
            peer=np.array(
                [sets[EVERYTHING if rule.peer is None else rule.peer] for rule in known], np.int32
            ),
            ports=np.array([lists[rule.atoms] for rule in known], np.int32),
            action=np.array([rule.action for rule in known], np.uint8),
            tier=np.array([rule.tier for rule in known], np.int32),
            rule=np.arange(len(known), dtype=np.int32),
        )
        self.version = np.array([rule.version for rule in known], np.uint8)

    def listed(self, keys: NDArray[np.int32]) -> tuple[NDArray[np.int32], Any, Any]:
        """Every identity a class of its own, and the rows whose key holds it."""
        members = naive.opened(self.sets)
        rows = [[row for row, key in enumerate(keys) if i in members[key]] for i in range(SIZE)]
        start = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        return (
            np.arange(SIZE, dtype=np.int32),
            start,
            np.array([row for one in rows for row in one], np.int32),
        )

    def entries(self, form: Form) -> Entries:
        part, start, row = self.listed(self.rows.subject)
        return Entries(part, *form(flows.pack)(start, row, self.rows, self.ports, self.sets))

    def view(self, *, outward: bool) -> View:
        rows = self.rows
        found_by, sources = (rows.peer, rows.subject) if outward else (rows.subject, rows.peer)
        listing = self.listed(found_by)
        return View(
            *listing, found_by, sources, rows.ports, rows.action, rows.tier, rows.rule, self.version
        )


@given(rules, identities, identities, atoms)
def test_decide(form: Form, known: list[Rule], subject: int, peer: int, atom: int) -> None:
    arrays = Arrays(known)
    decided = form(flows.decide)(
        arrays.entries(form), subject, peer, atom, arrays.sets, arrays.ports
    )
    assert decided == verdict(known, subject, peer, atom)


@given(rules, identities, identities, atoms)
def test_trace(form: Form, known: list[Rule], subject: int, peer: int, atom: int) -> None:
    arrays = Arrays(known)
    passed = np.zeros(5, np.int64)
    tiers, decided = np.full(2, -1, np.int64), np.full(2, actions.NOT_ISOLATED, np.int64)
    count = form(flows.trace)(
        *(arrays.entries(form), subject, peer, atom, arrays.sets, arrays.ports),
        *(passed, tiers, decided),
    )
    passing: list[int] = []
    for layer in range(2):
        own = [(number, rule) for number, rule in enumerate(known) if rule.tier // 256 == layer]
        more, decider, _, rule = in_layer(own, subject, peer, atom)
        passing += more
        assert (tiers[layer], decided[layer]) == (-1 if decider is None else decider, rule)
    assert passed[:count].tolist() == passing


seen = st.tuples(identities, identities, atoms, st.booleans(), st.booleans())


@given(rules, st.lists(seen, max_size=6))
def test_mark_used(
    form: Form, known: list[Rule], asked: list[tuple[int, int, int, bool, bool]]
) -> None:
    arrays = Arrays(known)
    columns = zip(*asked, strict=True) if asked else ((), (), (), (), ())
    *ends, judged, allowed = map(np.array, columns)
    matched, used = np.zeros((2, len(known)), np.bool_)
    form(flows.mark_used)(
        *(arrays.entries(form), *(column.astype(np.int32) for column in ends)),
        (judged.astype(np.bool_), allowed.astype(np.bool_)),
        *(arrays.sets, arrays.ports, np.zeros(SIZE, np.bool_), matched, used),
    )
    expected: set[int] = set()
    for *flow, is_judged, is_allowed in asked:
        for layer in range(2) if is_judged else ():
            own = [(number, rule) for number, rule in enumerate(known) if rule.tier // 256 == layer]
            passing, _, allows, decided = in_layer(own, *flow)
            expected |= {
                *passing,
                *([decided] if decided >= 0 and (is_allowed or not allows) else []),
            }
            if not allows:
                break
    assert set(np.flatnonzero(used).tolist()) == expected
    meeting = {
        number
        for number, rule in enumerate(known)
        if any(matches(rule, *flow[:3]) for flow in asked)
    }
    assert set(np.flatnonzero(matched).tolist()) == meeting


@given(rules, st.lists(identities, max_size=3), st.lists(identities, max_size=4))
def test_decide_between(
    form: Form, known: list[Rule], subjects: list[int], peers: list[int]
) -> None:
    arrays = Arrays(known)
    atoms = np.arange(ATOMS, dtype=np.int32)
    row_of, allowed, rule, tier = form(flows.decide_between)(
        arrays.entries(form),
        np.array(subjects, np.int32),
        np.array(peers, np.int32),
        atoms,
        arrays.sets,
        arrays.ports,
    )
    assert row_of.shape == (len(subjects), len(peers))
    assert set(row_of.ravel().tolist()) == set(range(rule.shape[0]))
    for (i, j), row in np.ndenumerate(row_of):
        for atom in range(ATOMS):
            decided = bool(allowed[row, atom]), int(rule[row, atom])
            assert decided == verdict(known, subjects[i], peers[j], atom)
            _, decider, _, _ = way(known, subjects[i], peers[j], atom)
            assert tier[row, atom] == (-1 if decider is None else decider)
    # A subject has one row for peers that the same rules are about.
    for i, subject in enumerate(subjects):
        about = {
            tuple(
                number
                for number, one in enumerate(known)
                if subject in one.subject and (one.peer is None or peer in one.peer)
            )
            for peer in peers
        }
        assert len(set(row_of[i].tolist())) <= len(about)


@given(rules, rules, st.data())
def test_judge(form: Form, egress: list[Rule], ingress: list[Rule], data: st.DataObject) -> None:
    """All ends but the last are pods; the last is a node, the one before has no address."""
    out_rules, in_rules = Arrays(egress), Arrays(ingress)
    identity = np.arange(SIZE, dtype=np.int32)
    identity[SIZE - 2] = -1
    node = np.full(SIZE, -1, np.int32)
    node[[0, 1, SIZE - 1]] = 7
    about = np.full(SIZE, IPV4, np.uint8)
    about[2] = IPV6
    about[SIZE - 1] = IPV4 | HOST
    ends = pack_ends(identity, node, about, SIZE - 1)
    count = 20
    asked = [data.draw(st.tuples(identities, identities, atoms)) for _ in range(count)]
    asked += [(0, SIZE - 1, 0), (SIZE - 1, 1, 0), (3, 3, 0), (2, 2, 0), (SIZE - 2, 3, 0)]
    free = data.draw(st.tuples(*[st.booleans()] * 4))
    source, destination, atom = (np.array(column, np.int64) for column in zip(*asked, strict=True))
    for direction, arrays in (("egress", out_rules), ("ingress", in_rules)):
        nothing = Entries(
            np.full(SIZE, -1, np.int32), np.zeros(1, np.int64), np.zeros((0, 4), np.uint64)
        )
        entries = arrays.entries(form)
        chosen = (entries, nothing) if direction == "egress" else (nothing, entries)
        out = (
            np.zeros(len(asked), np.uint8),
            np.zeros(len(asked), np.int32),
            np.zeros(len(asked), np.int32),
        )
        form(flows.judge)(
            source, destination, atom, IPV4, ends, free, *chosen, arrays.sets, arrays.ports, out
        )
        known = egress if direction == "egress" else ingress
        for index, (s, d, a) in enumerate(asked):
            expected = expect(known, direction, s, d, a, free)
            assert (bool(out[0][index]), int(out[1][index]), int(out[2][index])) == expected


def expect(
    known: list[Rule], direction: str, s: int, d: int, atom: int, free: tuple[bool, ...]
) -> tuple[bool, int, int]:
    to_self, to_pod, to_node, deniable = free
    if SIZE - 2 in (s, d) or 2 in (s, d):
        return False, actions.NO_ADDRESS, actions.NO_ADDRESS
    if to_self and s == d and s < SIZE - 1:
        return True, actions.SELF, actions.SELF
    near = (0, 1)
    egress, ingress = (True, actions.NOT_ISOLATED), (True, actions.NOT_ISOLATED)
    if direction == "egress":
        egress = verdict(known, s, d, atom)
    else:
        ingress = verdict(known, d, s, atom)
    if to_node and s in near and d == SIZE - 1:
        egress = True, actions.OWN_NODE
    denied_by_rule = not ingress[0] and ingress[1] >= 0
    if to_pod and d in near and s == SIZE - 1 and not (deniable and denied_by_rule):
        ingress = True, actions.OWN_NODE
    return egress[0] and ingress[0], egress[1], ingress[1]


class Matrix:
    """Ingress and egress rules as rows of reachability, and the same by asking pair by pair."""

    def __init__(self, ingress: list[Rule], egress: list[Rule], missing: set[int]) -> None:
        self.ingress, self.egress, self.missing = ingress, egress, missing
        both = Arrays(ingress + egress)
        count = len(ingress)
        self.into = cut(both, slice(0, count), outward=False)
        self.out_to = cut(both, slice(count, None), outward=True)
        universe = np.stack(
            [bitmap(EVERYTHING), bitmap(EVERYTHING - missing)]  # some are gone afterwards
        )
        self.weight = np.arange(SIZE, dtype=np.int64) % 4 + 1
        slices = np.stack(
            [bitmap(i for i in range(SIZE) if self.weight[i] >> b & 1) for b in range(3)]
        )
        self.atom_weight = np.array([1, 5, 0, 2, 7, 1, 1, 3, 65535], np.int64)
        self.space = Space(both.sets, both.ports, self.atom_weight, universe, self.weight, slices)

    def allows(self, version: int, source: int, destination: int, atom: int) -> bool:
        if version == AFTER and {source, destination} & self.missing:
            return False
        into = [rule for rule in self.ingress if rule.version & version]
        out = [rule for rule in self.egress if rule.version & version]
        return (
            verdict(into, destination, source, atom)[0]
            and verdict(out, source, destination, atom)[0]
        )

    def ports(self, version: int, source: int, destination: int) -> set[int]:
        return {a for a in range(ATOMS) if self.allows(version, source, destination, a)}


def cut(both: Arrays, part: slice, *, outward: bool) -> View:
    own = Arrays([])
    own.sets, own.ports = both.sets, both.ports
    own.rows = Rows._make(column[part] for column in both.rows)
    own.version = both.version[part]
    return own.view(outward=outward)


def bitmap(members: Any) -> NDArray[np.uint64]:
    one = naive.packed([members])
    words = np.zeros((SIZE + 63) // 64, np.uint64)
    words[one.word] = one.bits
    return words


missing_ones = st.sets(identities, max_size=3)


@given(rules, rules, missing_ones, identities)
def test_rows(
    form: Form, ingress: list[Rule], egress: list[Rule], missing: set[int], destination: int
) -> None:
    matrix = Matrix(ingress, egress, missing)
    work = reach.scratch(matrix.space)
    bitmaps = np.empty((ATOMS + 2, 2), np.uint64)
    for version in (BEFORE, AFTER):
        found = form(reach.one_row)(
            destination, version, matrix.into, matrix.out_to, matrix.space, work, version, bitmaps
        )
        assert found > 0
        for atom in range(ATOMS):
            row = bitmaps[int(work.part[atom])]
            reached = {i for i in range(SIZE) if int(row[i // 64]) >> i % 64 & 1}
            expected = {i for i in range(SIZE) if matrix.allows(version, i, destination, atom)}
            assert reached == expected


@given(rules, rules, missing_ones, st.lists(identities, min_size=1, max_size=3, unique=True))
def test_counts(
    form: Form, ingress: list[Rule], egress: list[Rule], missing: set[int], targets: list[int]
) -> None:
    matrix = Matrix(ingress, egress, missing)
    count = len(targets)
    grouped = (
        np.array(targets, np.int64),
        np.arange(count + 1, dtype=np.int64),
        np.array(targets, np.int64),
    )
    views = (matrix.into, matrix.out_to, matrix.space)
    totals = np.zeros((count, 2), np.int64)
    form(reach.count_rows)(0, count, *grouped, *views, reach.scratch(matrix.space), totals)
    changes = np.zeros((count, 4), np.int64)
    form(reach.count_changes)(0, count, *grouped, *views, reach.scratch(matrix.space), changes)
    for index, target in enumerate(targets):
        expected = np.zeros(6, np.int64)
        for source in range(SIZE):
            before = matrix.ports(BEFORE, source, target)
            after = matrix.ports(AFTER, source, target)
            itself = int(source == target)
            pairs = int(matrix.weight[target]) * (int(matrix.weight[source]) - itself)
            sizes = [
                sum(int(matrix.atom_weight[atom]) for atom in part)
                for part in (before, after - before, before - after)
            ]
            expected += np.array(
                [pairs * bool(size) for size in sizes] + [pairs * s for s in sizes]
            )
        assert totals[index].tolist() == [expected[0], expected[3]]
        assert changes[index].tolist() == [expected[1], expected[2], expected[4], expected[5]]


@given(st.lists(st.lists(st.integers(0, 5), max_size=4, unique=True), max_size=10))
def test_invert(form: Form, rows: list[list[int]]) -> None:
    rows = [sorted(row) for row in rows]
    start = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    label = np.array([one for row in rows for one in row], np.int32)
    posting_start, posting = form(selectors.invert)(start, label, 6)
    found = [posting[posting_start[k] : posting_start[k + 1]].tolist() for k in range(6)]
    assert found == [[m for m, row in enumerate(rows) if k in row] for k in range(6)]
