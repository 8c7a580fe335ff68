from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.conditions import Context
from kubeverdict.analyses.ends import Party
from kubeverdict.analyses.misses import RuleMiss, policy_miss
from kubeverdict.analyses.questions import Flow
from kubeverdict.compile.dialect import in_force
from kubeverdict.model.addresses import parse_address
from kubeverdict.model.cluster import Cluster, ContainerKind, ContainerPort, Node, Pod
from kubeverdict.model.policy import Direction, Peer, Policy
from kubeverdict.model.ports import PortMatch, PortRange, Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.model.selectors import Operator, Requirement, Selector
from tests.clusters.records import (
    block,
    cluster,
    pod,
    pods_in,
    pods_where,
    policy,
    port,
    tcp,
    udp,
)

CHECKOUT = pod("shop/checkout-1", "app=checkout,tier=front", "10.0.0.1")
DB = pod("shop/db-0", "app=db", "10.0.0.2", ports=[port("postgres", 5432)])
WEB = pod("web/web-0", "app=web", "10.0.0.3")
Rules = Iterable[tuple[Iterable[Peer] | None, Iterable[PortMatch] | None]]


def party(one: Pod | str) -> Party:
    if isinstance(one, str):
        address = parse_address(one)
        assert address is not None
        return Party(one, (address,))
    addresses = tuple(a for a in map(parse_address, one.addresses) if a)
    return Party(str(one), addresses, one, managed=not one.host_network)


def context_of(made: Cluster, profile: Profile = REFERENCE) -> Context:
    policies, _ = in_force(made.policies, profile)
    return Context(made, profile, policies)


def nearest(
    *rules: tuple[Iterable[Peer] | None, Iterable[PortMatch] | None],
    source: Pod | str = CHECKOUT,
    destination: Pod | str = DB,
    number: int = 5432,
    protocol: Protocol = Protocol.TCP,
    profile: Profile = REFERENCE,
    direction: Direction = Direction.INGRESS,
    others: Iterable[Pod] = (),
    nodes: Iterable[Node] = (),
) -> RuleMiss:
    """The nearest miss of a policy in namespace shop that holds ``rules``."""
    ends = [one for one in (source, destination) if isinstance(one, Pod)]
    written: Policy = (
        policy("shop/allow", ingress=rules)
        if direction is Direction.INGRESS
        else policy("shop/allow", egress=rules)
    )
    context = context_of(
        cluster(
            {CHECKOUT, DB, WEB, *ends, *others},
            [written],
            namespaces={"shop": "team=a", "web": "team=b"},
            nodes=nodes,
        ),
        profile,
    )
    flow = Flow(party(source), party(destination), protocol, number)
    (adapted,) = context.policies
    miss = policy_miss(context, adapted, direction, flow)
    assert miss.nearest is not None
    return miss.nearest


def messages(miss: RuleMiss) -> list[str]:
    return [failure.message for failure in miss.failures]


def test_a_typo_in_a_label_names_the_label_that_exists() -> None:
    miss = nearest(([pods_in("shop", "app=chekout")], [tcp(5432)]))
    assert messages(miss) == [
        "peer wants app=chekout in namespace shop, shop/checkout-1 has app=checkout "
        '(no pod has app=chekout; did you mean "checkout"? 1 letter off)'
    ]
    (failure,) = miss.failures
    assert (failure.condition, failure.wanted, failure.found) == (
        "pod label",
        "app=chekout",
        "app=checkout",
    )
    assert failure.closest is not None and failure.closest.word == "checkout"


def test_a_label_that_other_pods_have_is_no_typo() -> None:
    miss = nearest(([pods_in("shop", "app=web")], None))
    assert messages(miss) == [
        "peer wants app=web in namespace shop, shop/checkout-1 has app=checkout"
    ]


def test_a_typo_in_a_key_names_the_key_that_exists() -> None:
    miss = nearest(([pods_in("shop", "apps=checkout")], None))
    assert messages(miss) == [
        "peer wants apps=checkout in namespace shop, shop/checkout-1 has no label apps "
        '(no pod has the label apps; did you mean "app"? 1 letter off)'
    ]


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        (
            Requirement("app", Operator.NOT_IN, ("checkout",)),
            "peer wants app!=checkout, shop/checkout-1 has app=checkout",
        ),
        (
            Requirement("tier", Operator.DOES_NOT_EXIST),
            "peer wants no tier, shop/checkout-1 has tier=front",
        ),
        (
            Requirement("stage", Operator.EXISTS),
            "peer wants stage exists, shop/checkout-1 has no label stage "
            "(no pod has the label stage)",
        ),
    ],
)
def test_every_operator_says_what_it_wanted(requirement: Requirement, message: str) -> None:
    peer = pods_where("")
    miss = nearest(([replace(peer, pods=Selector.of([requirement]))], None))
    assert messages(miss) == [message]


def test_the_right_labels_in_another_namespace() -> None:
    miss = nearest(([pods_in("shop", "app=web")], None), source=WEB)
    assert messages(miss) == ["peer wants pods of namespace shop, web/web-0 is in web"]


def test_namespace_labels() -> None:
    miss = nearest(([pods_where("team=a", "app=web")], None), source=WEB)
    assert messages(miss) == ["peer wants team=a, namespace web has team=b"]
    miss = nearest(([pods_where("kubernetes.io/metadata.name=wev")], None), source=WEB)
    assert miss.failures[0].closest is not None
    assert miss.failures[0].closest.word == "web"


def test_an_implied_namespace_is_said_to_be_unknown() -> None:
    written = policy("shop/allow", ingress=[([pods_where("team=a")], None)])
    made = cluster([CHECKOUT, DB, WEB], [written])
    made = replace(
        made, namespaces=tuple(replace(namespace, implied=True) for namespace in made.namespaces)
    )
    flow = Flow(party(WEB), party(DB), Protocol.TCP, 5432)
    miss = policy_miss(context_of(made), written, Direction.INGRESS, flow)
    assert miss.nearest is not None
    assert messages(miss.nearest)[1] == (
        "the input has no Namespace object web: its labels are unknown"
    )


def test_a_port_that_is_not_in_the_list() -> None:
    miss = nearest(([pods_in("shop")], [tcp(5432), tcp(6000, 6010), udp(53)]), number=5433)
    assert messages(miss) == ["port 5433 is not in TCP 5432, TCP 6000-6010"]


def test_the_wrong_protocol() -> None:
    miss = nearest((None, [udp(5432)]))
    assert messages(miss) == ["protocol TCP is not in UDP 5432"]
    miss = nearest((None, [tcp(5432)]), number=0, protocol=Protocol.ICMP)
    assert messages(miss) == ["ICMP is covered by no rule with ports, and this one has TCP 5432"]


def test_named_ports() -> None:
    assert messages(nearest((None, [tcp("postgres")]), number=80)) == [
        "named port postgres is 5432 on shop/db-0, not 80"
    ]
    assert messages(nearest((None, [tcp("postgre")]))) == [
        'shop/db-0 has no TCP port named postgre (did you mean "postgres"? 1 letter off)'
    ]
    assert messages(
        nearest((None, [tcp("http")]), destination="8.8.8.8", direction=Direction.EGRESS)
    ) == ["named port http cannot match 8.8.8.8, which is not a pod"]


def test_a_port_that_an_init_container_names_depends_on_the_cni() -> None:
    declared = [ContainerPort("setup", Protocol.TCP, 9000, ContainerKind.INIT)]
    destination = pod("shop/db-0", "app=db", "10.0.0.2", ports=declared)
    rule = (None, [tcp("setup")])
    assert messages(nearest(rule, destination=destination, number=9000)) == [
        "shop/db-0 has no TCP port named setup"
    ]
    # With the port resolved, what is left to fail is the peer.
    peer = pods_in("shop", "app=web")
    miss = nearest(
        ([peer], [tcp("setup")]),
        destination=destination,
        number=9000,
        profile=PROFILES["calico"],
    )
    assert [failure.condition for failure in miss.failures] == ["pod label"]


def test_blocks_and_excepts() -> None:
    assert messages(nearest(([block("10.1.0.0/16")], None))) == [
        "peer wants 10.1.0.0/16, 10.0.0.1 is not in it"
    ]
    assert messages(nearest(([block("10.0.0.0/8", "10.0.0.0/24")], None))) == [
        "peer wants 10.0.0.0/8 except 10.0.0.0/24, 10.0.0.1 is in except 10.0.0.0/24"
    ]
    assert messages(nearest(([block("2001:db8::/32")], None))) == [
        "peer wants IPv6 2001:db8::/32, shop/checkout-1 is 10.0.0.1"
    ]
    template = pod("shop/checkout-1", "app=checkout")
    assert messages(nearest(([block("10.0.0.0/8")], None), source=template)) == [
        "peer wants 10.0.0.0/8, shop/checkout-1 has no address yet"
    ]


def test_a_block_does_not_match_pods_or_nodes_in_cilium() -> None:
    cilium = PROFILES["cilium"]
    rule = ([block("10.0.0.0/8")], None)
    assert messages(nearest(rule, profile=cilium)) == [
        "peer wants 10.0.0.0/8: in Cilium an ipBlock does not match pods"
    ]
    node = Node("node-1", ("10.9.9.9",))
    assert messages(nearest(rule, profile=cilium, source="10.9.9.9", nodes=[node])) == [
        "peer wants 10.0.0.0/8: in Cilium an ipBlock does not match nodes"
    ]


def test_a_label_that_cilium_does_not_see() -> None:
    hashed = pod("shop/checkout-1", "app=checkout,pod-template-hash=x", "10.0.0.1")
    rule = ([pods_in("shop", "pod-template-hash=x")], None)
    assert messages(nearest(rule, profile=PROFILES["cilium"], source=hashed)) == [
        "peer wants a label in namespace shop that Cilium does not see"
    ]


def test_selectors_match_neither_addresses_nor_pods_on_the_host() -> None:
    rule = ([pods_in("shop", "app=checkout")], None)
    assert messages(nearest(rule, source="8.8.8.8")) == [
        "peer wants pods with app=checkout in namespace shop, 8.8.8.8 is not a pod"
    ]
    on_host = pod("shop/agent", "app=checkout", "10.9.9.9", host_network=True)
    assert messages(nearest(rule, source=on_host)) == [
        "peer wants pods with app=checkout in namespace shop, shop/agent uses the host network "
        "and counts as the address of its node"
    ]
    # OVN-Kubernetes lets a peer with a pod selector find it, so only the port is left to fail.
    miss = nearest(
        ([pods_in("shop", "app=checkout")], [udp(53)]),
        source=on_host,
        profile=PROFILES["ovn-kubernetes"],
    )
    assert [failure.condition for failure in miss.failures] == ["protocol"]


def test_the_rule_with_the_fewest_failed_conditions_is_the_nearest() -> None:
    far = ([pods_in("other", "app=web")], [udp(53)])
    near = ([pods_in("shop", "app=web"), pods_in("shop", "app=checkout")], [tcp(80)])
    miss = nearest(far, near)
    assert miss.field == "spec.ingress[1]"
    assert messages(miss) == ["port 5432 is not in TCP 80"]


def test_a_slip_of_the_fingers_is_nearer_than_another_label() -> None:
    miss = nearest(([pods_in("shop", "app=web")], None), ([pods_in("shop", "app=checkuot")], None))
    assert miss.field == "spec.ingress[1]"


def test_what_the_cni_makes_of_a_rule_is_what_is_compared() -> None:
    rule = (None, [PortRange(Protocol.TCP, 5000, 6000)])
    miss = nearest(rule, profile=PROFILES["weave"])
    assert messages(miss) == ["port 5432 is not in TCP 5000"]
    assert miss.adapted
    assert not nearest(rule, number=80).adapted


def test_named_ports_of_an_egress_rule_in_cnis_that_resolve_them_otherwise() -> None:
    named = [tcp("postgres")]
    through = nearest(
        ([block("10.0.0.0/8")], named),
        direction=Direction.EGRESS,
        profile=PROFILES["kube-router"],
    )
    assert messages(through) == [
        "kube-router does not resolve named port postgres through an ipBlock"
    ]
    dropped = nearest((None, named), direction=Direction.EGRESS, profile=PROFILES["aws-vpc-cni"])
    assert messages(dropped) == ["AWS VPC CNI makes nothing of the ports of this rule"]
    own = nearest(
        (None, named),
        direction=Direction.EGRESS,
        profile=PROFILES["kube-router"],
        destination="8.8.8.8",
        number=80,
    )
    assert messages(own) == ["named port postgres is 5432 on namespace shop, not 80"]


def test_a_policy_without_rules_has_nothing_to_miss() -> None:
    written = policy("shop/deny", ingress=[])
    flow = Flow(party(CHECKOUT), party(DB), Protocol.TCP, 5432)
    context = context_of(cluster([CHECKOUT, DB], [written]))
    miss = policy_miss(context, written, Direction.INGRESS, flow)
    assert miss.nearest is None
    assert (miss.policy.name, miss.policy.file, miss.policy.line) == (
        "shop/deny",
        "policies.yaml",
        1,
    )


def test_a_rule_for_some_pods_of_its_policy_says_for_which() -> None:
    written = policy("shop/allow", ingress=[(None, [tcp(5432)])])
    (rule,) = written.rules
    narrow = replace(written, rules=(replace(rule, subject=pods_in("shop", "app=web")),))
    context = context_of(cluster([CHECKOUT, DB], [narrow]))
    flow = Flow(party(CHECKOUT), party(DB), Protocol.TCP, 5432)
    miss = policy_miss(context, narrow, Direction.INGRESS, flow).nearest
    assert miss is not None and messages(miss) == [
        "the rule is for pods with app=web in namespace shop, which shop/db-0 is not among"
    ]


def test_a_rule_that_counts_under_a_condition_says_so() -> None:
    written = policy("shop/allow", ingress=[(None, [tcp(5432)])])
    (rule,) = written.rules
    conditional = replace(written, rules=(replace(rule, condition="for GET /api only"),))
    made = cluster([CHECKOUT, DB], [conditional])
    context = Context(made, REFERENCE, (conditional,), at_least=True)
    flow = Flow(party(CHECKOUT), party(DB), Protocol.TCP, 5432)
    miss = policy_miss(context, conditional, Direction.INGRESS, flow).nearest
    assert miss is not None
    assert messages(miss) == ["the rule has a condition: for GET /api only"]


def test_a_rule_that_matches_in_one_family_is_no_miss_of_both() -> None:
    dual = pod("shop/dual", "", "10.0.0.9", "fd00::9")
    written = policy("shop/allow", ingress=[([block("fd00::/8")], None)])
    context = context_of(cluster([dual, DB], [written]))
    flow = Flow(party(dual), party(DB), Protocol.TCP, 5432)
    assert policy_miss(context, written, Direction.INGRESS, flow).nearest is None
