"""What rules ask for: each distinct selector, block, list of ports and other peer once."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.compile.lowering import LoweredRule, lower
from kubeverdict.compile.ports import port_list
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.policy import (
    Action,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
    PodPeer,
    Policy,
    Tier,
)
from kubeverdict.model.selectors import EVERYTHING, NOTHING, Selector
from tests.clusters.records import (
    allow,
    block,
    label,
    pods_in,
    pods_where,
    policy,
    policy_of,
    selector,
    tcp,
)

IN, OUT = Direction.INGRESS, Direction.EGRESS
WEB, DB = selector("app=web"), selector("app=db")
ADMIN = Tier(1.0, "admin", Action.PASS)


def drafts(*policies: Policy, at_least: bool = False) -> list[LoweredRule]:
    return lower(policies, at_least).drafts


def test_a_rule_becomes_numbers_of_what_it_asks_for() -> None:
    peers: list[Peer] = [pods_in("shop", "app=db"), pods_where("team=b"), block("10.0.0.0/8")]
    asked = lower([policy("shop/p", "app=web", ingress=[(peers, [tcp(80), tcp("http")])])])
    assert asked.selectors == {
        ("shop", WEB, False): 0,
        ("shop", DB, True): 1,
        # No pod selector was written.
        (selector("team=b"), EVERYTHING, False): 2,
    }
    assert asked.blocks == {block("10.0.0.0/8"): 0}
    assert asked.named == {tcp("http")}
    (draft,) = asked.drafts
    assert (draft.direction, draft.action, draft.tier, draft.rule) == (IN, Action.ALLOW, 0, 0)
    assert (draft.subject, draft.selectors, draft.blocks) == (0, (1, 2), (0,))
    assert (draft.anyone, draft.ports, draft.named) == (False, ((80, 81),), (tcp("http"),))
    assert asked.isolated == {(0, IN): [0]} and asked.network_subjects == {IN: {0}}
    assert asked.label_keys() == {"app"}


def test_what_is_asked_twice_is_one_question() -> None:
    rule = ([pods_in("shop", "app=db"), pods_in("shop", "app=db")], [tcp(80)])
    asked = lower([policy("shop/p", "app=db", ingress=[rule, rule], egress=[rule])])
    assert len(asked.selectors) == 2 and len(asked.ports) == 1
    assert [draft.selectors for draft in asked.drafts] == [(1,)] * 3


def test_a_rule_without_peers_is_for_anyone_and_an_empty_one_for_nobody() -> None:
    anyone, nobody = drafts(policy("shop/p", ingress=[(None, None), ([], None)]))
    assert anyone.anyone and anyone.ports is None
    assert not nobody.anyone and nobody.selectors == nobody.blocks == ()


def test_a_subject_is_narrowed_by_a_rule() -> None:
    def subject(policy_: Policy, peer: PodPeer) -> tuple[object, Selector]:
        (rule,) = policy_.rules
        asked = lower([replace(policy_, rules=(replace(rule, subject=peer),))])
        number = asked.drafts[0].subject
        where, pods, _ = list(asked.selectors)[number]
        return where, pods

    own = policy_of("shop/p", allow(IN), pods=WEB)
    assert subject(own, PodPeer(DB)) == ("shop", Selector.all_of((WEB, DB)))
    assert subject(own, PodPeer(DB, "data")) == (EVERYTHING, NOTHING)
    by_label = PodPeer(None, namespaces=selector("team=a"))
    named = label(METADATA_NAME, "shop")
    assert subject(own, by_label) == (Selector.all_of((named, selector("team=a"))), WEB)
    everywhere = policy_of("p", allow(IN), pods=WEB)
    assert subject(everywhere, PodPeer(DB, "data")) == ("data", Selector.all_of((WEB, DB)))


def test_peers_that_are_made_of_others_ask_for_their_parts() -> None:
    but_web = ExceptPeer(NamedPeer(EndSet.CLUSTER), (pods_in("shop", "app=web"),))
    asked = lower([policy_of("p", allow(IN, (but_web, block("10.0.0.0/8"))))])
    assert asked.others == {NamedPeer(EndSet.CLUSTER): 0, but_web: 1}
    assert asked.drafts[0].others == (1,) and asked.drafts[0].blocks == (0,)
    assert ("shop", WEB, True) in asked.selectors
    assert asked.tells_nodes and not asked.tells_own_node
    own = lower([policy_of("p", allow(IN, (NamedPeer(EndSet.HOST),)))])
    assert own.tells_own_node
    assert not lower([policy_of("p", allow(IN, (NamedPeer(EndSet.ALL),)))]).tells_nodes


def test_excluded_ports_are_taken_out_of_numbers_and_kept_for_names() -> None:
    (rule,) = policy("x/p", ingress=[(None, [tcp(80, 90), tcp("http")])]).rules
    (draft,) = drafts(policy_of("x/p", replace(rule, excluded_ports=(tcp(85),))))
    assert draft.ports == ((80, 85), (86, 91))
    assert (draft.named, draft.excluded) == ((tcp("http"),), port_list([tcp(85)]))


def test_precedence_of_rules_makes_places_among_all_rules() -> None:
    late, early = (
        replace(allow(IN, index=index), precedence=place) for index, place in ((0, 9.0), (1, 1.0))
    )
    asked = lower([policy_of("a", late, early, tier=ADMIN), policy_of("b", allow(IN), tier=ADMIN)])
    assert lower([policy_of("b", allow(IN))]).ranks == []
    # The policy without a precedence has order 0, and comes first.
    assert asked.ranks == [2, 1, 0]


def test_conditional_rules_count_in_one_of_two_bounds() -> None:
    rules = [
        replace(allow(IN, action=action, index=index), condition="if it is so")
        for index, action in enumerate((Action.ALLOW, Action.DENY, Action.PASS))
    ]
    made = policy_of("p", *rules, tier=ADMIN)
    most, least = drafts(made), drafts(made, at_least=True)
    counting = [
        [(draft.rule, draft.action) for draft in bound if draft.counts] for bound in (most, least)
    ]
    assert counting[0] == [(0, Action.ALLOW), (2, Action.ALLOW)]
    assert counting[1] == [(1, Action.DENY), (2, Action.DENY)]
    # The others are asked for as well, so that both bounds distinguish the same.
    assert [draft.rule for draft in most] == [draft.rule for draft in least] == [0, 1, 2]
    assert lower([made]).conditional and len(lower([made]).rules) == 3


def test_only_tiers_that_deny_by_default_isolate() -> None:
    asked = lower([policy_of("x/p", isolates=(IN, OUT)), policy_of("first", allow(IN), tier=ADMIN)])
    assert asked.isolated == {(1, IN): [0], (1, OUT): [0]}
    assert asked.network_tier == 1
