from __future__ import annotations

from msgspec.structs import replace

from kubeverdict.compile.isolation import Isolation
from kubeverdict.model.policy import Action, Direction, Policy, Tier
from tests.clusters.records import cluster, pod, policy, selector

WEB = pod("shop/web", "app=web", "10.0.0.1")
IN, OUT = Direction.INGRESS, Direction.EGRESS


def isolating(*policies: Policy, direction: Direction = IN) -> list[str]:
    made = cluster([WEB], policies, namespaces={"shop": "team=a"})
    ordered = tuple(sorted(policies, key=lambda one: one.sort_key))
    found = Isolation(made.namespaces, ordered).of(WEB, direction)
    return [str(one) for one in found]


def test_policies_of_the_namespace_that_select_the_pod_in_the_direction() -> None:
    policies = [
        policy("shop/b", "app=web", ingress=[]),
        policy("shop/a", ingress=[], egress=[]),
        policy("shop/other", "app=db", ingress=[]),
        policy("data/c", ingress=[]),
    ]
    assert isolating(*policies) == ["shop/a", "shop/b"]
    assert isolating(*policies, direction=OUT) == ["shop/a"]


def test_policies_of_all_namespaces_select_by_namespace_labels() -> None:
    everywhere = replace(policy("x/all", ingress=[]), namespace=None, namespaces=selector("team=a"))
    elsewhere = replace(everywhere, name="none", namespaces=selector("team=b"))
    assert isolating(everywhere, elsewhere) == ["all"]


def test_the_first_tier_that_isolates_ends_the_matter() -> None:
    early = replace(policy("shop/early", ingress=[]), tier=Tier(1.0, "early"))
    passing = replace(policy("shop/passing", ingress=[]), tier=Tier(0.0, "p", Action.PASS))
    assert isolating(policy("shop/late", ingress=[]), early, passing) == ["shop/early"]
