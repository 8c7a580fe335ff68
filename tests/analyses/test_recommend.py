"""What is recommended for clusters that fit on a screen."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.recommend import DraftOptions, Recommendation, recommend
from kubeverdict.analyses.recommend.baselines import INGRESS_CONTROLLER, drafts
from kubeverdict.analyses.recommend.drafts import UnseenWorkload
from kubeverdict.analyses.recommend.groups import groups_of
from kubeverdict.analyses.traffic import LogReading, collect
from kubeverdict.model.cluster import (
    BackendRef,
    Cluster,
    ContainerPort,
    Ingress,
    Pod,
    Service,
    ServicePort,
)
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import PROFILES, REFERENCE
from kubeverdict.render.policies import policies
from tests.analyses.test_recommend_property import Lines, read_back
from tests.clusters.records import cluster, pod, port

DNS = [
    pod("kube-system/dns-0", "k8s-app=kube-dns", workload="dns"),
    pod("kube-system/dns-1", "k8s-app=kube-dns", workload="dns"),
]
HTTP = port("http", 8080)
EVERYTHING = DraftOptions()


def seen(
    source: str, destination: str, number: int, protocol: Protocol = Protocol.TCP, count: int = 1
) -> FlowRecord:
    def end(text: str) -> FlowEnd:
        namespace, slash, name = text.partition("/")
        return FlowEnd(namespace, name) if slash else FlowEnd(address=text, outside=True)

    return FlowRecord(end(source), end(destination), protocol, number, Seen.ARRIVED, None, count)


def found(
    pods: Iterable[Pod],
    *flows: FlowRecord,
    options: DraftOptions = EVERYTHING,
    profile: str = "reference",
    services: Iterable[Service] = (),
) -> Recommendation:
    made: Cluster = cluster(pods, services=services)
    reading = LogReading()
    (traffic,) = collect([Lines(flows)], made, reading, None)
    return recommend(made, PROFILES[profile], False, traffic, reading, options)


def shop(*names: str, ports: Iterable[ContainerPort] = (HTTP,)) -> list[Pod]:
    return [
        pod(f"shop/{name}-{number}", f"app={name}", workload=name, ports=ports)
        for name in names
        for number in range(2)
    ]


def test_a_policy_as_it_is_written() -> None:
    report = found(
        [*shop("web", "db"), *DNS],
        seen("shop/web-0", "shop/db-1", 8080, count=1200),
        seen("shop/web-0", "203.0.113.9", 443),
        seen("shop/web-1", "kube-system/dns-0", 53, Protocol.UDP, count=7),
    )
    text = policies([one for one in report.policies if one.name == "recommended-web"])
    assert text == (
        """# shop/web[Deployment]
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: recommended-web
  namespace: shop
spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes: [Egress]
  egress:
    # DNS, 7 records
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: kube-system
          podSelector:
            matchLabels:
              k8s-app: kube-dns
      ports:
        - {protocol: UDP, port: 53}
        - {protocol: TCP, port: 53}
    # 1,200 records: shop/db[Deployment]
    - to:
        - podSelector:
            matchLabels:
              app: db
      ports:
        - {protocol: TCP, port: http}
    # 1 record on 443/TCP: 203.0.113.9
    - to:
        - ipBlock:
            cidr: "203.0.113.9/32"
      ports:
        - {protocol: TCP, port: 443}
"""
    )
    assert report.one_way == (
        UnseenWorkload("shop/db[Deployment]", "egress"),
        UnseenWorkload("shop/web[Deployment]", "ingress"),
    )
    assert report.left_alone == ("kube-system",)


def test_nothing_is_written_for_the_silent() -> None:
    report = found([*shop("web", "db", "idle"), *DNS], seen("shop/web-0", "shop/db-1", 8080))
    assert report.silent == (UnseenWorkload("shop/idle[Deployment]"),)
    assert {one.name for one in report.policies} == {"recommended-web", "recommended-db"}
    assert all(one.ingress or one.egress for one in report.policies)


@pytest.mark.parametrize("labels", ["job-name=a", "pod-template-hash=1", "version=2", "x/uid=9"])
def test_labels_that_do_not_last_are_not_used(labels: str) -> None:
    pods = [
        pod("shop/a", f"{labels},role=a,team=x"),
        pod("shop/b", "role=b,team=x"),
    ]
    chosen = {group.name: group.labels for group in groups_of(pods, REFERENCE)}
    assert chosen == {"a": (("role", "a"),), "b": (("role", "b"),)}


def test_labels_that_the_cni_does_not_see_are_not_used() -> None:
    pods = [
        pod("shop/a-0", "k8s.io/part=a,team=x", workload="a"),
        pod("shop/b-0", "k8s.io/part=b,team=x", workload="b"),
        pod("shop/c-0", "team=y", workload="c"),
    ]
    selected = {
        name: [group.labels for group in groups_of(pods, PROFILES[name])]
        for name in ("reference", "cilium")
    }
    assert selected == {
        "reference": [(("k8s.io/part", "a"),), (("k8s.io/part", "b"),), (("team", "y"),)],
        "cilium": [(("team", "x"),), (("team", "y"),)],
    }


def test_labels_have_to_be_on_every_replica_and_on_nothing_else() -> None:
    pods = [
        pod("shop/a-0", "app=x,tier=one,extra=1", workload="a"),
        pod("shop/a-1", "app=x,tier=one", workload="a"),
        pod("shop/b-0", "app=x,tier=two", workload="b"),
        pod("shop/c-0", "app=y,tier=two", workload="c"),
        pod("other/a-0", "app=x,tier=one", workload="a"),
    ]
    groups = {f"{group.namespace}/{group.name}": group for group in groups_of(pods, REFERENCE)}
    assert groups["shop/a"].labels == (("tier", "one"),)
    assert groups["shop/b"].labels == (("app", "x"), ("tier", "two"))
    assert groups["shop/c"].labels == (("app", "y"),)
    assert groups["other/a"].labels == (("app", "x"),)


def test_workloads_that_no_labels_tell_apart_share_a_policy() -> None:
    pods = [
        pod("shop/a-0", "app=x,version=1", workload="a"),
        pod("shop/b-0", "app=x,version=2", workload="b"),
        pod("shop/c-0", "app=c", workload="c"),
    ]
    report = found(pods, seen("shop/a-0", "shop/c-0", 80), seen("shop/b-0", "shop/c-0", 81))
    assert report.together == (("shop/a[Deployment]", "shop/b[Deployment]"),)
    (policy,) = (one for one in report.policies if one.egress)
    assert policy.labels == (("app", "x"),)
    assert policy.egress is not None
    assert [rule.ports for rule in policy.egress] == [((Protocol.TCP, 80), (Protocol.TCP, 81))]


def test_ports_by_name_only_where_all_pods_agree() -> None:
    pods = [
        pod("shop/a-0", "app=a", workload="a", ports=[port("http", 8080)]),
        pod("shop/a-1", "app=a", workload="a", ports=[port("http", 9090), port("x", 8080)]),
        pod("shop/b-0", "app=b", workload="b", ports=[port("http", 8080)]),
        pod("shop/c-0", "app=c", workload="c"),
    ]
    flows = (seen("shop/c-0", "shop/a-0", 8080), seen("shop/c-0", "shop/b-0", 8080))
    for profile, name in (("reference", "http"), ("weave", 8080), ("aws-vpc-cni", 8080)):
        report = found(pods, *flows, profile=profile)
        ports = {one.name: rule.ports for one in report.policies for rule in one.ingress or ()}
        assert ports == {
            "recommended-a": ((Protocol.TCP, 8080),),
            "recommended-b": ((Protocol.TCP, name),),
        }


def test_dns_is_found_behind_its_service() -> None:
    service = Service(
        "kube-system",
        "kube-dns",
        {"k8s-app": "coredns"},
        tuple(ServicePort(one, 53, 5353) for one in (Protocol.UDP, Protocol.TCP)),
    )
    pods = [*shop("web", "db"), pod("kube-system/core", "k8s-app=coredns")]
    report = found(pods, seen("shop/web-0", "shop/db-0", 8080), services=[service])
    (policy,) = (one for one in report.policies if one.egress)
    assert policy.egress is not None
    assert policy.egress[0].ports == ((Protocol.UDP, 5353), (Protocol.TCP, 5353))
    lost = found(shop("web", "db"), seen("shop/web-0", "shop/db-0", 8080))
    assert "no DNS pods were found" in lost.notes[0]


def test_dns_itself_answers_everybody() -> None:
    options = DraftOptions(namespaces=("kube-system",))
    report = found(
        [*shop("web"), *DNS],
        seen("shop/web-0", "kube-system/dns-0", 53, Protocol.UDP),
        options=options,
    )
    (policy,) = report.policies
    assert policy.ingress is not None
    text = policies([policy])
    assert "namespaceSelector: {}" in text
    assert [rule.why for rule in policy.ingress] == [("DNS, for everybody",)]


def test_icmp_needs_a_rule_for_all_ports_and_says_so() -> None:
    report = found([*shop("web", "db"), *DNS], seen("shop/web-0", "shop/db-0", 0, Protocol.ICMP))
    rules = [rule for one in report.policies for rule in one.ingress or ()]
    assert [rule.ports for rule in rules] == [None]
    assert "no rule can name it" in rules[0].why[-1]


def test_baselines() -> None:
    prometheus = pod("ops/prometheus-0", "app=prometheus", workload="prometheus")
    web = shop("web", ports=[HTTP, port("metrics", 9090)])
    options = DraftOptions(
        ("shop",), baselines=("deny-all", "dns", "monitoring", "ingress-controller")
    )
    report = found(
        [*web, prometheus, *DNS], seen("shop/web-0", "203.0.113.9", 443), options=options
    )
    by_name = {one.name: one for one in report.policies}
    assert set(by_name) == {
        "recommended-default-deny",
        "recommended-allow-dns",
        "recommended-allow-monitoring",
        "recommended-web",
    }
    deny = by_name["recommended-default-deny"]
    assert (deny.labels, deny.ingress, deny.egress) == ((), (), ())
    # DNS is the namespace's, not the workload's.
    egress = by_name["recommended-web"].egress
    assert egress is not None and len(egress) == 1
    monitoring = by_name["recommended-allow-monitoring"].ingress
    assert monitoring is not None and monitoring[0].ports == ((Protocol.TCP, "metrics"),)
    assert any("ingress-controller" in note for note in report.notes)
    assert len(read_back(report)) == 4


def test_who_is_isolated_by_a_baseline_is_not_said_to_be_open_and_has_dns() -> None:
    report = found(
        [*shop("web", "db", "idle"), *DNS],
        seen("shop/web-0", "shop/db-1", 8080),
        options=DraftOptions(baselines=("deny-all",)),
    )
    deny = ("recommended-default-deny",)
    assert report.silent == (UnseenWorkload("shop/idle[Deployment]", "", deny),)
    assert report.one_way == (
        UnseenWorkload("shop/db[Deployment]", "egress", deny),
        UnseenWorkload("shop/web[Deployment]", "ingress", deny),
    )
    by_name = {one.name: one for one in report.policies}
    egress = by_name["recommended-db"].egress
    assert egress is not None and [rule.why for rule in egress] == [("DNS, always",)]
    assert by_name["recommended-web"].ingress is None
    only_dns = found(
        [*shop("web", "db"), *DNS],
        seen("shop/web-0", "shop/db-1", 8080),
        options=DraftOptions(baselines=("dns",)),
    )
    assert only_dns.one_way == (
        UnseenWorkload("shop/db[Deployment]", "egress", ("recommended-allow-dns",)),
        UnseenWorkload("shop/web[Deployment]", "ingress"),
    )


def test_without_a_connection_there_is_no_baseline() -> None:
    denied = FlowRecord(
        FlowEnd("shop", "web-0"), FlowEnd("shop", "db-0"), Protocol.TCP, 1, Seen.DENIED
    )
    options = DraftOptions(baselines=("deny-all", "dns"))
    for flows in ((), (denied,)):
        assert found([*shop("web", "db"), *DNS], *flows, options=options).policies == ()


@pytest.mark.parametrize("name", ["kubernetes-ingress", "istio-ingressgateway", "traefik"])
def test_ingress_controllers_are_known(name: str) -> None:
    made = cluster([*shop("web"), pod("edge/c-0", f"app={name}", workload="c")])
    groups = list(groups_of(made.pods, REFERENCE))
    _, notes = drafts([INGRESS_CONTROLLER], made, REFERENCE, groups, ["shop"], None)
    assert notes == ("--baseline ingress-controller: no Ingress leads to these namespaces",)


def test_selectors_of_services_lose_labels_that_the_cni_does_not_see() -> None:
    unseen = "statefulset.kubernetes.io/pod-name"
    controller = pod("edge/c-0", "app=traefik", workload="c")
    web = [pod(f"shop/web-{at}", f"app=web,{unseen}=web-{at}", workload="web") for at in (0, 1)]
    http = ServicePort(Protocol.TCP, 80, 8080)
    made = cluster(
        [*web, controller],
        services=[
            Service("shop", "first", {"app": "web", unseen: "web-0"}, (http,)),
            Service("shop", "second", {unseen: "web-1"}, (http,)),
        ],
    )
    ingress = Ingress(
        "shop", "all", (BackendRef("shop", "first", 80), BackendRef("shop", "second", 80))
    )
    made = replace(made, ingresses=(ingress,))
    selected = {}
    for name in ("reference", "cilium"):
        profile = PROFILES[name]
        groups = list(groups_of(made.pods, profile))
        made_for, _ = drafts([INGRESS_CONTROLLER], made, profile, groups, ["shop"], None)
        selected[name] = [dict(draft.labels) for draft in made_for]
    assert selected == {
        "reference": [{"app": "web", unseen: "web-0"}, {unseen: "web-1"}],
        "cilium": [{"app": "web"}],
    }


@pytest.mark.parametrize("value", ["true", "on", "1", "0x1f", "", "1e3", "2026-01-01", "null"])
def test_labels_that_yaml_takes_for_something_else(value: str) -> None:
    pods = [
        pod("shop/a", f"app={value}"),
        pod("shop/b", "app=b"),
    ]
    report = found(pods, seen("shop/a", "shop/b", 80))
    read = read_back(report)
    selected = [str(policy.pods) for policy in read]
    assert f"app={value}" in selected


def test_the_same_flows_give_the_same_text() -> None:
    flows = [
        seen("shop/web-0", "shop/db-1", 8080),
        seen("shop/web-1", "shop/cache-0", 8080),
        seen("198.51.100.7", "shop/web-0", 8080),
        seen("shop/web-0", "203.0.113.9", 443),
    ]
    pods = [*shop("web", "db", "cache"), *DNS]
    first = policies(found(pods, *flows).policies)
    assert policies(found(pods[::-1], *flows[::-1]).policies) == first


def test_at_most_so_many_blocks() -> None:
    flows = [seen("shop/web-0", f"203.0.113.{number}", 443) for number in range(0, 40, 2)]
    report = found(shop("web"), *flows, options=DraftOptions(most_blocks=3))
    (policy,) = report.policies
    assert policy.egress is not None
    (rule,) = policy.egress
    assert len(rule.peers) <= 3
    assert "addresses more than were seen" in rule.why[-1]
