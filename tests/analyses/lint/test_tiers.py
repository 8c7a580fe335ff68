"""Lint where policies have tiers, Deny and Pass, and select pods of the whole cluster."""

from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.analyses.findings import Finding
from kubeverdict.analyses.lint import lint
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.cluster import Namespace
from kubeverdict.model.policy import Action, Direction, PodPeer, Policy, Rule, Tier
from kubeverdict.model.ports import PortRange, Protocol
from tests.clusters.records import allow, block, label, pod, policy_of, xy_cluster

BOTH = (Direction.INGRESS, Direction.EGRESS)
FIRST = Tier(1.0, "first", Action.DENY)
SECOND = Tier(2.0, "second", Action.DENY)
ADMIN = Tier(10.0, "admin", Action.PASS)
BASELINE = Tier(2_000_000.0, "baseline", Action.PASS)
PODS = (
    pod("x/web", "app=web", "10.0.0.1"),
    pod("y/db", "app=db", "10.0.0.2"),
)
DNS = pod("kube-system/dns", "k8s-app=kube-dns", "10.0.0.9")
ALL_PODS = PodPeer(None)


def rule(
    direction: Direction, action: Action, *peers: PodPeer, ports: tuple[PortRange, ...] = ()
) -> Rule:
    return allow(direction, peers or None, ports or None, action)


def found(*policies: Policy, dns: bool = False) -> list[Finding]:
    made = xy_cluster((*PODS, DNS) if dns else PODS, *policies)
    if dns:
        made = replace(made, namespaces=(*made.namespaces, Namespace("kube-system", {})))
    return list(lint(compile_cluster(made), lambda key: ("a.yaml", 1)).findings)


def ids(*policies: Policy) -> set[str]:
    return {one.id for one in found(*policies)}


def without_default(direction: Direction, *policies: Policy) -> int:
    """How many namespaces are told to have no default deny."""
    wanted = f"no-default-deny-{direction.word}"
    return sum(one.id == wanted for one in found(*policies))


def test_a_policy_of_one_tier_does_not_stand_for_one_of_another() -> None:
    """Without the first the second would decide, and lets web in."""
    web = PodPeer(label("app", "web"))
    closed = policy_of("first", isolates=BOTH, tier=FIRST)
    opened = policy_of("second", rule(Direction.INGRESS, Action.ALLOW, web), tier=SECOND)
    told = [one for one in found(closed, opened) if one.id.startswith("policy-")]
    assert [one.message for one in told] == [
        "all that it matches is decided alike without it, by first"
    ]
    assert told[0].about == "NetworkPolicy second"


def test_a_rule_that_denies_elsewhere_hides_no_shadowed_policy() -> None:
    web = PodPeer(label("app", "web"), "x")
    wide = policy_of("y/wide", rule(Direction.INGRESS, Action.ALLOW, ALL_PODS))
    narrow = policy_of("y/narrow", rule(Direction.INGRESS, Action.ALLOW, web))
    denying = policy_of(
        "deny",
        allow(Direction.EGRESS, (block("203.0.113.9/32"),), None, Action.DENY),
        tier=ADMIN,
        isolates=(),
    )
    assert "policy-shadowed" in ids(wide, narrow)
    assert "policy-shadowed" in ids(wide, narrow, denying)


def test_a_default_deny_of_the_cluster_counts_in_each_namespace() -> None:
    for direction in BOTH:
        assert without_default(direction) == 2
        assert without_default(direction, policy_of("all", isolates=BOTH, tier=FIRST)) == 0
        some = replace(
            policy_of("some", isolates=BOTH, tier=FIRST),
            namespaces=label("kubernetes.io/metadata.name", "x"),
        )
        assert without_default(direction, some) == 1
        for peers in ((), (ALL_PODS,)):
            denies = policy_of(
                "all", rule(direction, Action.DENY, *peers), tier=BASELINE, isolates=()
            )
            assert without_default(direction, denies) == 0


def test_what_is_passed_or_allowed_before_is_not_denied_by_default() -> None:
    base = policy_of("base", isolates=BOTH, tier=SECOND)
    for action in (Action.PASS, Action.ALLOW):
        front = policy_of("front", rule(Direction.INGRESS, action), tier=FIRST, isolates=BOTH)
        assert without_default(Direction.INGRESS, front) == 2
        assert without_default(Direction.EGRESS, front) == 0
    passed = policy_of("front", rule(Direction.INGRESS, Action.PASS), tier=FIRST, isolates=BOTH)
    assert without_default(Direction.INGRESS, passed, base) == 0
    allowed = policy_of("front", rule(Direction.INGRESS, Action.ALLOW), tier=ADMIN, isolates=())
    assert without_default(Direction.INGRESS, allowed, replace(base, tier=BASELINE)) == 2


def test_pods_that_an_admin_policy_selects_are_not_guarded_by_it() -> None:
    some = policy_of(
        "some",
        rule(Direction.INGRESS, Action.DENY, ports=(PortRange(Protocol.TCP, 22, 22),)),
        tier=ADMIN,
        isolates=(),
    )
    web = policy_of("x/web", isolates=BOTH, pods=label("app", "none"))
    (one,) = (each for each in found(some, web) if "Pod x/web" in each.objects[-1:])
    assert (one.id, one.message) == ("pod-unselected", "no policy isolates 1 pod: Pod x/web")


def test_a_wide_rule_that_another_always_goes_before_opens_nothing() -> None:
    wide = policy_of("x/wide", rule(Direction.EGRESS, Action.ALLOW), tier=ADMIN)
    closed = policy_of("x/closed", rule(Direction.EGRESS, Action.DENY), tier=FIRST)
    assert "egress-to-everywhere" in ids(wide)
    assert "egress-to-everywhere" not in ids(wide, closed)


def test_metadata_is_not_open_where_a_rule_denies_it() -> None:
    world = policy_of("x/world", allow(Direction.EGRESS, (block("169.0.0.0/8"),)))
    denied = policy_of(
        "deny",
        allow(Direction.EGRESS, (block("169.254.169.254/32"),), None, Action.DENY),
        tier=ADMIN,
        isolates=(),
    )
    assert "metadata-open" in ids(world)
    assert "metadata-open" not in ids(world, denied)


def test_dns_that_an_admin_rule_denies_is_blocked_by_it() -> None:
    dns = PodPeer(label("k8s-app", "kube-dns"))
    denied = policy_of("deny", rule(Direction.EGRESS, Action.DENY, dns), tier=ADMIN, isolates=())
    (one,) = (each for each in found(denied, dns=True) if each.id == "dns-blocked")
    assert "cannot reach DNS over UDP and TCP: this rule denies it" in one.message


def test_dns_that_an_admin_rule_allows_is_not_blocked() -> None:
    dns = PodPeer(label("k8s-app", "kube-dns"))
    isolating = policy_of("x/closed", isolates=(Direction.EGRESS,))
    allowed = policy_of("allow", rule(Direction.EGRESS, Action.ALLOW, dns), tier=ADMIN, isolates=())
    for known in (True, False):
        blocked = [one for one in found(isolating, dns=known) if one.id == "dns-blocked"]
        assert len(blocked) == 1
        assert not [one for one in found(isolating, allowed, dns=known) if one.id == "dns-blocked"]
