from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.explain import Answer, Explanation, explain
from kubeverdict.analyses.misses import policy_view
from kubeverdict.analyses.questions import parse_port
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.errors import UsageError
from kubeverdict.model.addresses import Family
from kubeverdict.model.cluster import Cluster, Pod, Service, ServicePort
from kubeverdict.model.policy import Direction, Policy
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE, Profile
from kubeverdict.model.sources import field_text
from tests.clusters.generated import clusters, profiles
from tests.clusters.records import block, cluster, pod, pods_in, pods_where, policy, port, tcp
from tests.oracle import Oracle, Reason, decides_to_allow
from tests.oracle_parts import FAMILIES

WEB = [pod(f"shop/web-{n}", f"app=web,n={n}", f"10.0.0.{n + 1}", workload="web") for n in (0, 1, 2)]
DB = [
    pod(
        f"data/db-{n}",
        f"app=db,n={n}",
        f"10.0.1.{n + 1}",
        workload="db",
        kind="StatefulSet",
        ports=[port("sql", 5432 + n)],
    )
    for n in (0, 1)
]
SERVICE = Service(
    "data",
    "db",
    {"app": "db"},
    (
        ServicePort(Protocol.TCP, 80, "sql", "sql"),
        ServicePort(Protocol.TCP, 81, 9000, "admin"),
    ),
    addresses=("10.96.0.1",),
)


def ask(
    source: str,
    destination: str,
    port_text: str | None = "5432",
    *policies: Policy,
    profile: Profile = REFERENCE,
    services: tuple[Service, ...] = (SERVICE,),
    pods: list[Pod] | None = None,
) -> Explanation:
    made = cluster(pods or [*WEB, *DB], policies, services=services)
    question = parse_port(port_text) if port_text else None
    return explain(compile_cluster(made, profile), source, destination, question)


def only(report: Explanation) -> Answer:
    (answer,) = report.answers
    return answer


def into_db(*peers: str) -> Policy:
    rules = [([pods_where("", text)], [tcp(5432)]) for text in peers]
    return policy("data/in", "app=db", ingress=rules, line=7)


def test_nothing_isolates() -> None:
    answer = only(ask("shop/web-0", "data/db-0"))
    assert answer.allowed
    assert (answer.egress.reason, answer.ingress.reason) == ("not-isolated", "not-isolated")


def test_the_rule_that_decides_and_where_it_is() -> None:
    report = ask("shop/web-0", "data/db-0", "5432", into_db("app=cache", "app=web"))
    rule = only(report).ingress.rule
    assert report.allowed and rule is not None
    assert (rule.policy.kind, rule.policy.name) == ("NetworkPolicy", "data/in")
    assert (rule.field, rule.file, rule.line) == ("spec.ingress[1]", "policies.yaml", 10)


def test_isolation_names_its_policies_the_nearest_first() -> None:
    deny = policy("data/deny", ingress=[])
    far = policy("data/far", ingress=[([block("192.0.2.0/24")], [tcp(1)])])
    near = policy("data/zz-near", ingress=[([pods_where("", "app=webb")], [tcp(5432)])])
    elsewhere = policy("shop/other", ingress=[])
    outward = policy("data/out", egress=[])
    report = ask("shop/web-0", "data/db-0", "5432", deny, far, near, elsewhere, outward)
    assert not report.allowed
    answer = only(report)
    assert answer.egress.allowed and not answer.ingress.allowed
    assert answer.ingress.reason == "no-rule-matches"
    names = [miss.policy.name for miss in answer.ingress.isolated_by]
    assert names == ["data/zz-near", "data/far", "data/deny"]
    assert answer.ingress.isolated_by[2].nearest is None


def test_both_directions_are_reported_where_the_first_denies() -> None:
    answer = only(
        ask("shop/web-0", "data/db-0", "80", policy("shop/out", egress=[]), into_db("app=web"))
    )
    assert [answer.egress.reason, answer.ingress.reason] == ["no-rule-matches"] * 2


def test_pods_of_a_workload_that_agree_have_one_answer() -> None:
    answer = only(ask("shop/web", "data/db", "5432", into_db("app=web")))
    assert answer.sources == ("shop/web-0", "shop/web-1", "shop/web-2")
    assert answer.destinations == ("data/db-0", "data/db-1")
    assert answer.whole_source and answer.whole_destination


def test_pods_of_a_workload_that_differ_are_answered_apart() -> None:
    report = ask("shop/web", "data/db", "5432", into_db("n=0"))
    assert not report.allowed
    assert [(one.allowed, one.sources, one.whole_source) for one in report.answers] == [
        (True, ("shop/web-0",), False),
        (False, ("shop/web-1", "shop/web-2"), False),
    ]
    # The nearest miss is that of the pods the answer is about.
    (miss,) = report.answers[1].ingress.isolated_by
    assert miss.nearest is not None
    assert "shop/web-1 has n=1" in miss.nearest.failures[0].message


def test_a_workload_and_itself_is_about_its_different_pods() -> None:
    answer = only(ask("shop/web", "shop/web", "80", policy("shop/deny", ingress=[])))
    assert not answer.allowed
    assert answer.sources == ("shop/web-0", "shop/web-1", "shop/web-2")


def test_a_pod_and_itself() -> None:
    answer = only(ask("shop/web-0", "shop/web-0", "80", policy("shop/deny", ingress=[])))
    assert answer.allowed
    assert answer.ingress.reason == "self"


def test_addresses() -> None:
    answer = only(ask("8.8.8.8", "data/db-0", "5432", into_db("app=web")))
    assert not answer.allowed
    assert answer.egress.reason == "not-a-pod"
    answer = only(ask("shop/web-0", "2001:db8::1"))
    assert (answer.allowed, answer.egress.reason) == (False, "no-address")


def test_a_named_port_is_asked_on_the_number_of_each_destination() -> None:
    report = ask("shop/web", "data/db", "sql", into_db("app=web"))
    assert [(one.allowed, one.port, one.destinations) for one in report.answers] == [
        (True, 5432, ("data/db-0",)),
        (False, 5433, ("data/db-1",)),
    ]


def test_icmp() -> None:
    answer = only(ask("shop/web-0", "data/db-0", "icmp", into_db("app=web")))
    assert (answer.allowed, answer.protocol, answer.port) == (False, "ICMP", 0)
    answer = only(
        ask("shop/web-0", "data/db-0", "icmp", into_db("app=web"), profile=PROFILES["kube-router"])
    )
    assert (answer.allowed, answer.ingress.reason) == (True, "icmp")


def test_families_are_answered_apart_where_they_differ() -> None:
    dual = [pod(f"a/p{n}", f"n={n}", f"10.0.0.{n}", f"2001:db8::{n}") for n in (1, 2)]
    only_v4 = policy("a/in", "n=1", ingress=[([block("10.0.0.0/8")], None)])
    report = ask("a/p2", "a/p1", "80", only_v4, pods=dual)
    assert [(one.family, one.allowed) for one in report.answers] == [(4, True), (6, False)]
    both = policy("a/in", "n=1", ingress=[([pods_in("a")], None), ([block("10.0.0.0/8")], None)])
    assert only(ask("a/p2", "a/p1", "80", both, pods=dual)).family is None


def test_a_service_is_answered_for_each_backend_on_target_ports() -> None:
    report = ask("shop/web-0", "svc/data/db", None, into_db("app=web"))
    assert report.destination == "svc/data/db" and report.port == "all ports"
    assert [(one.destinations, one.port, one.through, one.allowed) for one in report.answers] == [
        (("data/db-0",), 5432, "sql 80/TCP", True),
        (("data/db-1",), 5433, "sql 80/TCP", False),
        (("data/db-0",), 9000, "admin 81/TCP", False),
        (("data/db-1",), 9000, "admin 81/TCP", False),
    ]
    by_number = ask("shop/web-0", "svc/data/db", "81")
    assert [one.port for one in by_number.answers] == [9000, 9000]
    by_name = ask("shop/web-0", "svc/data/db", "sql")
    assert [one.port for one in by_name.answers] == [5432, 5433]


def test_a_pod_that_comes_back_to_itself_through_a_service_is_judged() -> None:
    deny = policy("data/deny", ingress=[])
    judged = ask("data/db-0", "svc/data/db", "admin", deny)
    assert [one.allowed for one in judged.answers] == [False, False]
    bypassed = ask("data/db-0", "svc/data/db", "admin", deny, profile=PROFILES["cilium"])
    assert [(one.allowed, one.ingress.reason) for one in bypassed.answers] == [
        (True, "hairpin"),
        (False, "no-rule-matches"),
    ]


def test_egress_to_a_service_that_is_judged_on_its_cluster_ip() -> None:
    out = policy("shop/out", egress=[([block("10.96.0.0/16")], [tcp(80)])])
    assert not ask("shop/web-0", "svc/data/db", "sql", out).allowed
    assert ask("shop/web-0", "svc/data/db", "sql", out, profile=PROFILES["aws-vpc-cni"]).allowed


@pytest.mark.parametrize(
    ("service", "port_text", "message"),
    [
        (SERVICE, "99", "has no port 99; it has 80/TCP .sql., 81/TCP .admin."),
        (SERVICE, "sql/udp", "has no port sql/udp"),
        (replace(SERVICE, selector={}), "sql", "has no selector"),
        (replace(SERVICE, selector={"app": "x"}), "sql", "no backend: no pod with app=x"),
        (replace(SERVICE, type="ExternalName"), "sql", "outside the cluster"),
        (replace(SERVICE, ports=()), None, "has no port; it has none at all"),
    ],
)
def test_services_that_lead_nowhere(service: Service, port_text: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask("shop/web-0", "svc/data/db", port_text, services=(service,))


def test_only_a_service_goes_without_a_port() -> None:
    with pytest.raises(UsageError, match="--port is missing"):
        ask("shop/web-0", "data/db-0", None)


def test_a_cni_that_enforces_nothing() -> None:
    report = ask(
        "shop/web-0", "data/db-0", "5432", policy("data/d", ingress=[]), profile=PROFILES["flannel"]
    )
    assert report.allowed and report.profile == "flannel"


@settings(max_examples=100)
@given(clusters(tiers=True, max_pods=4), profiles(), st.data())
def test_every_denial_has_a_cause_that_can_be_said(
    made: Cluster, profile: Profile, data: st.DataObject
) -> None:
    """The engine finds that no rule matches; the conditions, read from the model, must find
    for each isolating policy what did not hold."""
    oracle = Oracle(made, profile)
    if not oracle.managed:
        return
    compiled = compile_cluster(made, profile)
    source, destination = (data.draw(st.sampled_from(oracle.managed)) for _ in range(2))
    number = data.draw(st.sampled_from([80, 81, 443, 8080]))
    report = explain(compiled, str(source), str(destination), parse_port(str(number)))
    ends = oracle.end(source), oracle.end(destination)
    shared: Family = next((one for one in FAMILIES if all(end.has(one) for end in ends)), 4)
    for answer in report.answers:
        verdict = oracle.judge(source, destination, Protocol.TCP, number, answer.family)
        assert verdict.allowed == answer.allowed
        for direction, decision, decided in (
            (Direction.EGRESS, answer.egress, verdict.egress),
            (Direction.INGRESS, answer.ingress, verdict.ingress),
        ):
            assert (decision.reason == "no-rule-matches") == (decided is Reason.NO_RULE_MATCHES)
            if decided in (Reason.SELF, Reason.NO_ADDRESS):
                assert not decision.passed
                continue
            way = oracle.way(
                direction, source, destination, Protocol.TCP, number, answer.family or shared
            )
            assert {policy_view(policy) for policy in way.isolating} == {
                miss.policy for miss in decision.isolated_by
            }
            assert [(view.policy, view.field) for view in decision.passed] == [
                (policy_view(policy), field_text(rule.source.path)) for policy, rule in way.passed
            ]
            assert [(each.layer, each.decision.allowed) for each in decision.layers] == [
                (name, decides_to_allow(one.decided))
                for name, one in (way.layers if len(way.layers) > 1 else ())
            ]
            for miss in decision.isolated_by:
                assert miss.nearest is None or miss.nearest.failures


def test_a_miss_is_told_of_the_family_that_was_judged() -> None:
    """The block holds the other address of the source, which is not used."""
    web = pod("shop/web", "app=web", "10.0.0.2", "fd00::2")
    db = pod("shop/db", "app=db", "fd00::3")
    by_block = policy("shop/in", "app=db", ingress=[([block("10.0.0.0/8")], [tcp(80)])])
    found = explain(
        compile_cluster(cluster([web, db], [by_block])), "shop/web", "shop/db", parse_port("80")
    )
    (answer,) = found.answers
    (miss,) = answer.ingress.isolated_by
    assert miss.nearest is not None
    assert [one.message for one in miss.nearest.failures] == [
        "peer wants IPv4 10.0.0.0/8, shop/web is fd00::2"
    ]


def test_a_cni_of_one_family_knows_the_first_address_of_a_pod() -> None:
    single = replace(REFERENCE, name="single", dual_stack=False)
    pods = [pod(f"shop/p{n}", "", f"fd00::{n}", f"10.0.0.{n}") for n in (1, 2)]
    made = compile_cluster(cluster(pods), single)
    found = explain(made, "shop/p1", "shop/p2", parse_port("80"))
    assert found.allowed and [one.family for one in found.answers] == [None]
