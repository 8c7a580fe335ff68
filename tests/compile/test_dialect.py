"""What CNIs make of policies, as rules."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.compile.dialect import in_force
from kubeverdict.model.policy import Direction, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile, implements
from tests.clusters.records import allow, block, policy_of

HTTP = NamedPort(Protocol.TCP, "http")
TCP_80 = PortRange(Protocol.TCP, 80, 80)
EVERY_TCP = PortRange(Protocol.TCP)


def adapted(rule: Rule, profile: Profile) -> Rule:
    ((known,), _) = in_force((policy_of("x/p", rule),), profile)
    return known.rules[0]


def test_the_reference_changes_nothing() -> None:
    rule = allow(Direction.EGRESS, (block("10.0.0.0/8", "10.1.0.0/16"),), (HTTP, TCP_80))
    assert adapted(rule, REFERENCE) is rule


def test_ranges_shrink_to_their_first_port() -> None:
    rule = allow(Direction.INGRESS, None, (PortRange(Protocol.TCP, 80, 90), EVERY_TCP))
    assert adapted(rule, PROFILES["weave"]).ports == (TCP_80, EVERY_TCP)


def test_a_lost_name_covers_its_protocol_unless_a_number_stands_beside_it() -> None:
    ovn = PROFILES["ovn-kubernetes"]
    assert adapted(allow(Direction.INGRESS, None, (HTTP,)), ovn).ports == (EVERY_TCP,)
    assert adapted(allow(Direction.INGRESS, None, (HTTP, TCP_80)), ovn).ports == (TCP_80,)


def test_names_to_anyone_are_dropped() -> None:
    aws = PROFILES["aws-vpc-cni"]
    assert adapted(allow(Direction.EGRESS, None, (HTTP, TCP_80)), aws).ports == (TCP_80,)
    assert adapted(allow(Direction.EGRESS, None, (HTTP,)), aws).ports == ()
    assert adapted(allow(Direction.INGRESS, None, (HTTP,)), aws).ports == (HTTP,)


def test_siblings_share_excepts() -> None:
    wide, inner = block("10.0.0.0/8"), block("10.1.0.0/16", "10.1.2.0/24")
    rule = adapted(allow(Direction.EGRESS, (wide, inner)), PROFILES["kube-router"])
    assert rule.peers == (block("10.0.0.0/8", "10.1.2.0/24"), inner)


def test_a_longer_block_survives_the_except_around_it() -> None:
    wide, inner = block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.2.0/24")
    rule = adapted(allow(Direction.EGRESS, (wide, inner)), PROFILES["kube-router"])
    assert rule.peers == (wide, inner)


def test_policies_of_an_api_that_a_cni_does_not_implement_are_not_in_force() -> None:
    usual = policy_of("x/one", allow(Direction.INGRESS))
    other = replace(usual, kind="BaselineAdminNetworkPolicy", namespace=None)
    assert in_force((usual, other), REFERENCE) == ((other, usual), ())
    kept, notes = in_force((usual, other), PROFILES["weave"])
    assert kept == (usual,)
    assert notes == (
        "Weave Net does not implement BaselineAdminNetworkPolicy: 1 policy has no effect",
    )
    # One that takes rules as they are written, too.
    ours = replace(REFERENCE, policy_apis=("NetworkPolicy",))
    assert in_force((usual, other), ours)[0] == (usual,)


def test_a_kind_that_no_profile_knows_is_in_force_everywhere() -> None:
    for profile in PROFILES.values():
        assert implements(profile, "OurPolicy")
        assert implements(profile, "NetworkPolicy") == profile.enforces
