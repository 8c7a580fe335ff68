"""Rules as rows: who, with whom, on which ports, and what then."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from msgspec.structs import replace

from kubeverdict.compile.compiled import Reason
from kubeverdict.compile.ports import ALL_ICMP, PortList
from kubeverdict.compile.rules import LAST
from kubeverdict.compile.sets import ALL
from kubeverdict.model.policy import Action, Direction, EndSet, NamedPeer, Policy, Tier
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from tests.clusters.records import allow, block, pods_in, policy, policy_of, tcp
from tests.compile.stages import held, made, names, only_plane, shop

IN, OUT = Direction.INGRESS, Direction.EGRESS
ADMIN = Tier(1.0, "admin", Action.PASS)
DB, WEB = "data/db-0", "shop/web-0 shop/web-1"
ANYONE = "anyone"


class Row(NamedTuple):
    """A row of the table with names for numbers."""

    direction: Direction
    tier: int
    order: int
    subject: list[str]
    peer: list[str] | str
    ports: PortList | None
    action: Action
    rule: int


def rows(*policies: Policy, profile: Profile = REFERENCE) -> list[Row]:
    """The rows of a plane whose ends are pods: of addresses only hosts are named."""
    found = made(shop(*policies), profile)
    plane = only_plane(found)
    by_position = names(found, plane)
    lists = {number: ports for ports, number in found.lists.items()}

    def ends(which: int) -> list[str]:
        return held(plane.sets, which, by_position)

    return [
        Row(
            Direction(direction),
            tier,
            order,
            ends(subject),
            ANYONE if peer == ALL else ends(peer),
            lists[ports],
            Action(action),
            rule,
        )
        for direction, tier, order, subject, peer, ports, action, rule in plane.table.tolist()
    ]


def denial(direction: Direction, tier: int, *subject: str) -> Row:
    """What comes behind the rules of a tier that denies by default."""
    names_of = list(subject)
    return Row(direction, tier, LAST, names_of, ANYONE, None, Action.DENY, Reason.NO_RULE_MATCHES)


def test_a_rule_and_the_denial_behind_it() -> None:
    one = policy("data/in", "app=db", ingress=[([pods_in("shop", "app=web")], [tcp(80)])])
    assert rows(one) == [
        Row(IN, 0, 0, [DB], [WEB], ((80, 81),), Action.ALLOW, 0),
        denial(IN, 0, DB),
    ]


def test_peers_are_united_and_anyone_is_everything() -> None:
    peers = [pods_in("shop"), pods_in("data")]
    united, anyone, nobody, *_ = rows(
        policy("data/in", ingress=[(peers, None), (None, [tcp(80)]), ([], None)])
    )
    assert (united.peer, united.ports) == ([DB, WEB], None)
    assert (anyone.peer, anyone.ports) == (ANYONE, ((80, 81),))
    # A rule without a peer has no row: what follows is the denial.
    assert nobody == denial(IN, 0, DB)


def test_names_of_ports_split_an_ingress_rule_by_its_subject() -> None:
    everyone = policy_of("all", allow(IN, None, (tcp("http"), tcp(22))), tier=ADMIN)
    assert rows(everyone) == [
        Row(IN, 0, 0, [DB, WEB], ANYONE, ((22, 23),), Action.ALLOW, 0),
        Row(IN, 0, 0, [WEB], ANYONE, ((8080, 8081),), Action.ALLOW, 0),
        Row(IN, 0, 0, [DB], ANYONE, ((9090, 9091),), Action.ALLOW, 0),
    ]


def test_and_an_egress_rule_by_its_peers() -> None:
    out = policy_of("out", allow(OUT, (pods_in("shop"),), (tcp("http"),)), tier=ADMIN)
    reached = [(row.subject, row.peer, row.ports) for row in rows(out) if row.peer]
    assert reached == [([DB, WEB], [WEB], ((8080, 8081),))]


def test_names_are_not_looked_up_behind_blocks_where_the_cni_does_not() -> None:
    out = policy_of("shop/out", allow(OUT, (block("10.0.0.0/8"),), (tcp("http"),)))
    through = [row for row in rows(out) if row.rule == 0]
    assert {row.ports for row in through} == {((8080, 8081),), ((9090, 9091),)}
    never = replace(REFERENCE, named_port_through_ipblock=False)
    assert [row for row in rows(out, profile=never) if row.rule == 0] == []


def test_a_port_that_a_rule_excludes_is_no_number_of_a_name() -> None:
    rule = replace(allow(IN, None, (tcp("http"),)), excluded_ports=(tcp(8080),))
    (only,) = rows(policy_of("all", rule, tier=ADMIN))
    assert (only.subject, only.ports) == ([DB], ((9090, 9091),))


def test_rows_are_in_evaluation_order() -> None:
    found = rows(
        policy_of("late", allow(IN, action=Action.DENY), tier=ADMIN, order=9.0),
        policy_of("early", allow(IN, action=Action.PASS), tier=ADMIN, order=1.0),
        policy("data/net", ingress=[(None, None)]),
    )
    assert [(row.tier, row.rule, row.action) for row in found] == [
        (0, 0, Action.PASS),
        (0, 1, Action.DENY),
        (1, 2, Action.ALLOW),
        (1, Reason.NO_RULE_MATCHES, Action.DENY),
    ]


def test_a_rule_about_the_node_of_its_subject_is_a_row_for_each_node() -> None:
    found = rows(policy_of("p", allow(IN, (NamedPeer(EndSet.HOST),)), tier=ADMIN))
    assert [(row.subject, row.peer) for row in found] == [
        ([DB, "shop/web-0"], ["host 192.168.0.1"]),
        (["shop/web-1"], ["host 192.168.0.2"]),
    ]


def test_the_subjects_of_a_tier_are_denied_together() -> None:
    *_, last = rows(
        policy("data/one", "app=db", ingress=[]),
        policy("shop/two", "app=web", ingress=[]),
    )
    assert last == denial(IN, 0, DB, WEB)


@pytest.mark.parametrize("profile", [one for one in PROFILES.values() if one.icmp == "always"])
def test_icmp_comes_before_all_rules_where_the_cni_lets_it_through(profile: Profile) -> None:
    first, *_ = rows(policy("data/in", ingress=[]), profile=profile)
    assert first == Row(IN, 0, -1, [DB], ANYONE, ALL_ICMP, Action.ALLOW, Reason.ALWAYS_ICMP)
