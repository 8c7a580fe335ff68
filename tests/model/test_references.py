"""What policies take from other documents."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.model.addresses import Block, parse_block
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.policy import (
    Action,
    Direction,
    EndSet,
    ExceptPeer,
    NamedPeer,
    Peer,
    Policy,
    SetPeer,
    Tier,
)
from kubeverdict.model.references import (
    NO_REFERENCES,
    AddressSet,
    Definition,
    References,
    TierDefinition,
    resolved,
    resolved_policies,
)
from tests.clusters.records import allow, block, label, pods_in, policy_of, selector

TEAMS = {"x": {METADATA_NAME: "x", "team": "X"}, "y": {METADATA_NAME: "y", "team": "Y"}}


def blocks(*texts: str) -> tuple[Block, ...]:
    return tuple(found for found in map(parse_block, texts) if found is not None)


def named_set(name: str, *texts: str, namespace: str | None = None, zone: str = "") -> AddressSet:
    kind = "Partners" if namespace is None else "OwnPartners"
    return AddressSet(kind, namespace, name, {"zone": zone} if zone else {}, blocks(*texts))


SETS = (
    named_set("east", "10.1.0.0/16", "2001:db8::/32", zone="e"),
    named_set("west", "10.2.0.0/16", "10.1.0.0/16", zone="w"),
    named_set("own", "10.3.0.0/16", namespace="x", zone="e"),
    named_set("own", "10.4.0.0/16", namespace="y"),
)


def written(*peers: Peer, tier: str = "") -> Policy:
    policy = policy_of("x/p", allow(Direction.INGRESS, peers))
    if tier:
        policy = replace(policy, tier=Tier(float("inf"), tier), tier_kind="Floor")
    return replace(policy, refers=True)


def peers_of(*peers: Peer, definitions: tuple[Definition, ...] = SETS) -> tuple[Peer, ...] | None:
    [policy] = resolved(References.of([written(*peers)], definitions), TEAMS)
    assert not policy.refers
    return policy.rules[0].peers


def test_a_set_stands_for_its_blocks() -> None:
    assert peers_of(SetPeer("Partners", "east"), pods_in("x")) == (
        block("10.1.0.0/16"),
        block("2001:db8::/32"),
        pods_in("x"),
    )


def test_sets_are_found_by_their_labels_and_equal_blocks_are_one() -> None:
    assert peers_of(SetPeer("Partners", labels=label("zone", "e", "w"))) == (
        block("10.1.0.0/16"),
        block("10.2.0.0/16"),
        block("2001:db8::/32"),
    )
    assert peers_of(SetPeer("Partners", labels=selector("zone=w"))) == (
        block("10.1.0.0/16"),
        block("10.2.0.0/16"),
    )


def test_sets_are_looked_for_in_a_namespace_or_in_those_with_labels() -> None:
    assert peers_of(SetPeer("OwnPartners", "own", namespace="y")) == (block("10.4.0.0/16"),)
    assert peers_of(SetPeer("OwnPartners", namespaces=selector("team=X"))) == (
        block("10.3.0.0/16"),
    )
    assert peers_of(SetPeer("OwnPartners")) == (block("10.3.0.0/16"), block("10.4.0.0/16"))


def test_a_namespace_without_an_object_has_its_name() -> None:
    peer = SetPeer("OwnPartners", namespaces=selector(f"{METADATA_NAME}=y"))
    [policy] = resolved(References.of([written(peer)], SETS), {})
    assert policy.rules[0].peers == (block("10.4.0.0/16"),)


def test_a_set_that_is_not_there_has_no_addresses() -> None:
    assert peers_of(SetPeer("Partners", "north")) == ()
    assert peers_of(SetPeer("Partners", "east"), definitions=()) == ()


def test_excepts_are_those_of_the_family() -> None:
    except_of = blocks("10.1.2.0/24", "2001:db8:1::/48")
    assert peers_of(SetPeer("Partners", "east", excepts=except_of)) == (
        block("10.1.0.0/16", "10.1.2.0/24"),
        block("2001:db8::/32", "2001:db8:1::/48"),
    )


def test_sets_inside_exclusions() -> None:
    everyone, west = NamedPeer(EndSet.ALL), (block("10.1.0.0/16"), block("10.2.0.0/16"))
    gone = SetPeer("Partners", "north")
    assert peers_of(ExceptPeer(everyone, (SetPeer("Partners", "west"),))) == (
        ExceptPeer(everyone, west),
    )
    assert peers_of(ExceptPeer(everyone, (gone,))) == (everyone,)
    assert peers_of(ExceptPeer(SetPeer("Partners", "west"), (pods_in("x"), gone))) == (
        ExceptPeer(west[0], (pods_in("x"),)),
        ExceptPeer(west[1], (pods_in("x"),)),
    )
    assert peers_of(ExceptPeer(gone, (pods_in("x"),))) == ()


def test_a_tier_is_what_its_document_says() -> None:
    tier = Tier(10.0, "security", Action.PASS)
    policy = written(tier="security")
    [known] = resolved(References.of([policy], [TierDefinition("Floor", "security", tier)]), {})
    assert known.tier == tier
    for other in (TierDefinition("Storey", "security", tier), TierDefinition("Floor", "sec", tier)):
        [unknown] = resolved(References.of([policy], [other]), {})
        assert unknown.tier == policy.tier


def test_only_policies_that_refer_to_something_change() -> None:
    plain, one = policy_of("x/plain"), written(SetPeer("Partners", "east"))
    found = resolved_policies([plain, one], References.of([one], SETS), TEAMS)
    assert found[0] is plain
    assert found[1].rules[0].peers == (block("10.1.0.0/16"), block("2001:db8::/32"))
    assert resolved_policies([plain], NO_REFERENCES, TEAMS) == (plain,)
