"""What CNIs make of policies, as rules."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.compile.dialect import in_force
from kubeverdict.model.policy import Direction, PodPeer, Rule
from kubeverdict.model.ports import NamedPort, PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile, implements
from kubeverdict.model.selectors import NOTHING, Operator, Selector
from tests.clusters.records import allow, block, label, policy_of, selector

HTTP = NamedPort(Protocol.TCP, "http")
TCP_80 = PortRange(Protocol.TCP, 80, 80)
EVERY_TCP = PortRange(Protocol.TCP)


def adapted(rule: Rule, profile: Profile) -> Rule:
    ((known,), _) = in_force((policy_of("x/p", rule),), profile)
    return known.rules[0]


def test_the_reference_changes_nothing() -> None:
    rule = allow(Direction.EGRESS, (block("10.0.0.0/8", "10.1.0.0/16"),), (HTTP, TCP_80))
    assert adapted(rule, REFERENCE) is rule


def test_directions_that_policy_types_leave_out() -> None:
    into, out = allow(Direction.INGRESS), allow(Direction.EGRESS, None, (TCP_80,))
    written = policy_of("x/p", into, isolates=(Direction.INGRESS,))
    written = replace(written, unlisted_rules=(out,))
    assert in_force((written,), REFERENCE) == ((written,), ())
    ((widened,), notes) = in_force((written,), PROFILES["cilium"])
    assert widened.isolates == (Direction.INGRESS, Direction.EGRESS)
    assert widened.rules == (into, out)
    assert notes == ("Cilium applies rules that policyTypes leaves out: 1 policy has some",)
    # A policy that lists what it has rules for is left as it is.
    listed = policy_of("x/q", into, out)
    assert in_force((listed,), PROFILES["cilium"]) == ((listed,), ())


def test_labels_that_are_no_part_of_an_identity() -> None:
    cilium = PROFILES["cilium"]
    for key, seen in (
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("batch.kubernetes.io/job-name", True),
        ("kubernetes.io/arch", False),
        ("k8s.io/x", False),
        ("pod-template-hash", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("topology.beta.kubernetes.io/zone", False),
    ):
        for operator, empty in (
            (Operator.IN, NOTHING),
            (Operator.EXISTS, NOTHING),
            (Operator.NOT_IN, selector("tier=front")),
            (Operator.DOES_NOT_EXIST, selector("tier=front")),
        ):
            values = ("x",) if operator in (Operator.IN, Operator.NOT_IN) else ()
            wanted = label(key, *values, operator=operator)
            asked = Selector.all_of([wanted, selector("tier=front")])
            peers = (PodPeer(asked, "x"), PodPeer(None), block("10.0.0.0/8"))
            written = policy_of("x/p", allow(Direction.INGRESS, peers), pods=asked)
            ((known,), _) = in_force((written,), cilium)
            if seen:
                assert known is written
            else:
                assert known.pods == empty
                assert known.rules[0].peers == (PodPeer(empty, "x"), *peers[1:])
    # Labels of namespaces are all seen.
    space = PodPeer(None, namespaces=label("kubernetes.io/metadata.name", "x"))
    written = policy_of("x/p", allow(Direction.INGRESS, (space,)))
    assert in_force((written,), cilium)[0] == (written,)


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
