"""Cases of the rules beyond one that fires and one that must not."""

from __future__ import annotations

from textwrap import dedent

import pytest

from kubeverdict.analyses.findings import Severity
from tests.analyses.lint.cases import (
    DNS,
    DNS_PORTS,
    EGRESS,
    NAMESPACES,
    TO_DNS,
    WEB,
    found,
    policy,
    workload,
)
from tests.analyses.lint.reading import ids, lint_text

# --- DNS -------------------------------------------------------------------------------------


def test_pods_that_open_no_connection_are_told_of_with_less_emphasis() -> None:
    (one,) = found("dns-blocked", WEB, DNS, policy("deny", EGRESS))
    assert one.severity is Severity.WARNING
    (one,) = found(
        "dns-blocked",
        WEB,
        DNS,
        policy("in", f"{EGRESS}, egress: [{{to: [{{podSelector: {{}}}}]}}]"),
    )
    assert one.severity is Severity.ERROR
    # A policy for those very pods, which says that they open none.
    own = policy("web", "podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]")
    both = found("dns-blocked", WEB, workload("api"), DNS, own, policy("deny", EGRESS))
    assert {(one.severity, one.objects[1]) for one in both} == {
        (Severity.NOTE, "Deployment shop/web"),
        (Severity.WARNING, "Deployment shop/api"),
    }


def test_without_the_dns_pods_in_the_input_rules_are_looked_at() -> None:
    assert not found("dns-blocked", WEB, policy("dns", f"{EGRESS}, {TO_DNS}"))
    assert found("dns-blocked", WEB, policy("deny", EGRESS))
    udp = TO_DNS.replace(", {protocol: TCP, port: 53}", "")
    (one,) = found("dns-no-tcp", WEB, policy("dns", f"{EGRESS}, {udp}"))
    assert "lacks TCP 53" in one.message


def test_the_port_that_dns_pods_listen_on_counts_not_that_of_the_service() -> None:
    service = """
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  selector: {k8s-app: kube-dns}
  ports:
    - {name: dns, protocol: UDP, port: 53, targetPort: 5353}
    - {name: dns-tcp, protocol: TCP, port: 53, targetPort: 5353}
"""
    (one,) = found("dns-blocked", WEB, DNS, service, policy("dns", f"{EGRESS}, {TO_DNS}"))
    assert "lacks UDP 5353 and TCP 5353" in one.message
    assert one.fix == "Add UDP 5353 and TCP 5353 to its ports."
    (one,) = found("dns-blocked", WEB, DNS, service, policy("deny", EGRESS))
    assert one.fix == "Allow egress to the DNS pods on UDP 5353 and TCP 5353."
    right = TO_DNS.replace("port: 53", "port: 5353")
    assert not found("dns-blocked", WEB, DNS, service, policy("dns", f"{EGRESS}, {right}"))


def test_who_names_the_address_of_the_cache_has_dns() -> None:
    cache = f"egress: [{{to: [{{ipBlock: {{cidr: 169.254.20.10/32}}}}], {DNS_PORTS}}}]"
    assert not found("dns-blocked", WEB, DNS, policy("dns", f"{EGRESS}, {cache}"))


def test_dns_pods_that_are_isolated_themselves() -> None:
    deny = policy("deny", "podSelector: {}, policyTypes: [Ingress]", "kube-system")
    (one,) = found("dns-blocked", WEB, DNS, policy("dns", f"{EGRESS}, {TO_DNS}"), deny)
    assert one.objects[0] == "NetworkPolicy kube-system/deny"
    assert "the DNS pods deny it" in one.message
    assert one.fix == "Allow ingress to the DNS pods on UDP 53 and TCP 53."


def test_of_two_services_for_dns_the_one_that_everybody_asks_counts() -> None:
    service = """
---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: kube-system}
spec:
  selector: {k8s-app: kube-dns}
  ports:
    - {name: dns, protocol: UDP, port: 53, targetPort: %d}
    - {name: dns-tcp, protocol: TCP, port: 53, targetPort: %d}
"""
    both = service % ("coredns", 5353, 5353) + service % ("kube-dns", 53, 53)
    assert not found("dns-blocked", WEB, DNS, both, policy("dns", f"{EGRESS}, {TO_DNS}"))


def test_a_cni_that_judges_before_translation() -> None:
    """Egress to the cluster IP of the Service is enough there, and egress to the pods is too."""
    service = """
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: 10.96.0.10
  selector: {k8s-app: kube-dns}
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
"""
    rules = f"egress: [{{to: [{{ipBlock: {{cidr: 10.96.0.10/32}}}}], {DNS_PORTS}}}]"
    by_address = policy("dns", f"{EGRESS}, {rules}")
    assert found("dns-blocked", WEB, DNS, service, by_address)
    assert not found("dns-blocked", WEB, DNS, service, by_address, cnis=("aws-vpc-cni",))
    by_labels = policy("dns", f"{EGRESS}, {TO_DNS}")
    assert not found("dns-blocked", WEB, DNS, service, by_labels, cnis=("aws-vpc-cni",))
    assert found("dns-blocked", WEB, DNS, service, policy("deny", EGRESS), cnis=("aws-vpc-cni",))


def test_who_is_not_isolated_has_dns() -> None:
    assert not found("dns-blocked", WEB, DNS, policy("in", "podSelector: {}"))


# --- selectors -------------------------------------------------------------------------------


def from_pods(labels: str) -> str:
    peer = f"[{{podSelector: {{matchLabels: {{{labels}}}}}}}]"
    return f"podSelector: {{}}, policyTypes: [Ingress], ingress: [{{from: {peer}}}]"


@pytest.mark.parametrize(
    ("labels", "rule", "said"),
    [
        ("app: frontent", "selector-typo", "1 letter off"),
        ("app: frontedn", "selector-typo", "1 letter off"),
        ("app: fronted-x", "peer-selects-nothing", "3 letters off"),
        ("app: something-else", "peer-selects-nothing", "app is frontend, worker-1"),
        ("ap: frontend", "peer-selects-nothing", 'did you mean "app"? 1 letter off'),
        # Numbers are not slips.
        ("app: worker-2", "peer-selects-nothing", 'did you mean "worker-1"? 1 letter off'),
    ],
)
def test_the_nearest_label_and_its_distance(labels: str, rule: str, said: str) -> None:
    pods = workload("frontend") + workload("worker-1")
    (one,) = found(rule, pods, policy("p", from_pods(labels)))
    assert said in one.message


def test_one_dead_value_of_a_list_is_a_typo_and_a_number_is_none() -> None:
    pods = workload("frontend") + workload("worker-1")
    spec = (
        "podSelector: {matchExpressions: [{key: app, operator: In, values: [%s]}]}, "
        "policyTypes: [Ingress]"
    )
    assert found("selector-typo", pods, policy("p", spec % "frontend, workr-1"))
    assert not found("selector-typo", pods, policy("p", spec % "frontend, worker-2"))


def test_what_the_input_does_not_hold_is_not_missing() -> None:
    """The pods of namespace data are not in the input, and neither are those of the cluster."""
    peer = "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: data}}, podSelector: "
    peer += "{matchLabels: {app: db}}}]"
    spec = f"podSelector: {{}}, policyTypes: [Egress], egress: [{{to: {peer}}}]"
    assert not found("peer-selects-nothing", WEB, policy("p", spec))
    assert found("peer-selects-nothing", WEB, workload("cache", "data"), policy("p", spec))


def test_pods_of_another_namespace_are_pointed_at() -> None:
    (one,) = found(
        "peer-selects-nothing", WEB, workload("db", "data"), policy("p", from_pods("app: db"))
    )
    assert "such pods are in data" in one.message


def test_a_split_that_may_be_meant_is_a_note() -> None:
    peers = (
        "[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: data}}}, "
        "{podSelector: {matchLabels: {app: web}}}]"
    )
    spec = f"podSelector: {{}}, policyTypes: [Ingress], ingress: [{{from: {peers}}}]"
    data = workload("web", "data") + workload("db", "data")
    (one,) = found("peer-split", WEB, data, policy("p", spec))
    assert one.severity is Severity.NOTE
    (one,) = found("peer-split", workload("api"), data, policy("p", spec))
    assert one.severity is Severity.WARNING
    assert "opens all 2 pods of data" in one.message and "it would be 1 pod of data" in one.message


def test_peers_that_may_be_in_another_input_are_a_note() -> None:
    """A chart lets in whoever has a label of its own, which the pods of other charts wear."""
    client = policy("p", from_pods('web-client: "true"'))
    (one,) = found("peer-selects-nothing", WEB, client)
    assert one.severity is Severity.NOTE
    (one,) = found("peer-selects-nothing", WEB, DNS, client)
    assert one.severity is Severity.WARNING
    (one,) = found("selector-typo", workload("frontend"), policy("p", from_pods("app: frontent")))
    assert one.severity is Severity.ERROR


def test_a_policy_in_a_namespace_without_pods() -> None:
    spec = "podSelector: {matchLabels: {app: web}}"
    (one,) = found("policy-selects-nothing", WEB, DNS, policy("p", spec, "shpo"))
    assert one.message == (
        'selects nothing: namespace shpo has no pod (did you mean "shop"? 1 letter off)'
    )
    assert (one.severity, one.fix) == (Severity.WARNING, 'Write "shop".')
    (one,) = found("policy-selects-nothing", WEB, DNS, policy("p", spec, "data"))
    assert one.message == "selects nothing: namespace data has no pod"
    assert one.severity is Severity.NOTE
    # Without the pods of the cluster itself the input may lack those of a namespace.
    assert not found("policy-selects-nothing", WEB, policy("p", spec, "shpo"))


# --- ports -----------------------------------------------------------------------------------


def on_port(port: str, protocol: str = "TCP") -> str:
    rule = f"{{from: [{{podSelector: {{}}}}], ports: [{{protocol: {protocol}, port: {port}}}]}}"
    return f"podSelector: {{}}, policyTypes: [Ingress], ingress: [{rule}]"


def test_pods_that_declare_no_port_may_listen_on_any() -> None:
    bare = workload("api")
    for rule, spec in (
        ("port-not-listened", on_port("9")),
        ("port-name-unknown", on_port("http")),
    ):
        assert not found(rule, bare, policy("p", spec))
    assert found("port-not-listened", WEB, policy("p", on_port("9")))
    assert not found("port-not-listened", WEB, bare, policy("p", on_port("9")))


def test_the_pods_concerned_are_named() -> None:
    pods = [workload(name, ports="{containerPort: 8080}") for name in "abcd"]
    (one,) = found("port-not-listened", *pods, policy("p", on_port("9")))
    assert one.objects == ("NetworkPolicy shop/p", *(f"Deployment shop/{name}" for name in "abc"))


def test_the_port_of_a_service_is_recognised() -> None:
    service = """
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""
    (one,) = found("port-not-listened", WEB, service, policy("p", on_port("80")))
    assert "80 is the port of Service shop/web, which sends to http" in one.message
    assert one.fix == "Write http."


def test_both_protocols_beside_each_other_are_no_mix_up() -> None:
    dns = workload("dns", ports="{containerPort: 53, protocol: UDP}")
    ports = "[{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]"
    spec = f"podSelector: {{}}, policyTypes: [Ingress], ingress: [{{ports: {ports}}}]"
    assert not found("port-protocol", dns, policy("p", spec))
    assert found("port-protocol", dns, policy("p", on_port("53")))


def test_a_name_of_several_protocols_is_told_of_once() -> None:
    spec = (
        "podSelector: {}, ingress: [{ports: [{port: %s}, {protocol: UDP, port: %s}, "
        "{protocol: SCTP, port: %s}]}]"
    )
    assert not found("port-protocol", WEB, policy("p", spec.replace("%s", "http")))
    assert len(found("port-name-unknown", WEB, policy("p", spec.replace("%s", "grpc")))) == 1


def test_a_name_with_many_numbers() -> None:
    pods = [workload(f"w{n}", ports=f"{{name: http, containerPort: {n}}}") for n in range(1, 5)]
    (one,) = found("port-name-varies", *pods, policy("p", on_port("http")))
    assert one.message == ("TCP http is 1 on shop/w1; 2 on shop/w2; 3 on shop/w3; and 1 more")


# --- too broad -------------------------------------------------------------------------------


def test_dns_wherever_it_runs_is_not_everywhere() -> None:
    assert not found("egress-to-everywhere", WEB, policy("dns", f"{EGRESS}, {TO_DNS}"))
    anybody = TO_DNS.replace("to: [{namespaceSelector: {}}], ", "")
    (one,) = found("egress-to-everywhere", WEB, policy("dns", f"{EGRESS}, {anybody}"))
    assert one.severity is Severity.NOTE


# --- policyTypes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("podSelector: {}, egress: []", ["policy-types-too-few"]),
        (
            "podSelector: {}, policyTypes: [Egress], ingress: [{}], egress: []",
            ["policy-types-too-few"],
        ),
        ("podSelector: {}, ingress: [{}]", []),
        ("podSelector: {}, ingress: [{}], egress: [{}]", []),
        ("podSelector: {}, egress: [{}]", ["policy-types-too-many"]),
        ("podSelector: {}, policyTypes: [Ingress, Egress]", []),
    ],
)
def test_policy_types(spec: str, expected: list[str]) -> None:
    report = lint_text(NAMESPACES + WEB + policy("p", spec))
    assert [one for one in ids(report) if one.startswith("policy-types")] == expected


def test_rules_that_policy_types_leaves_out_and_a_cni_applies() -> None:
    spec = "podSelector: {}, policyTypes: [Ingress], ingress: [{}], egress: [{}]"
    (one,) = found("policy-types-too-few", WEB, policy("p", spec), cnis=("cilium",))
    assert one.message == (
        "isolates for egress with Cilium, and by the API does not: it writes egress, and "
        "policyTypes lists only Ingress"
    )
    # An empty list adds no direction, with Cilium neither.
    empty = "podSelector: {}, policyTypes: [Ingress], egress: []"
    (one,) = found("policy-types-too-few", WEB, policy("p", empty), cnis=("cilium",))
    assert one.message.startswith("writes egress and does not isolate for it")
    (one,) = found("cni-differs", WEB, policy("p", spec), cnis=("calico", "cilium"))
    assert one.message == (
        "whether rules that policyTypes leaves out count: Calico: ignored, Cilium: applied"
    )
    for cnis in (("calico", "cilium"), ("cilium", "calico")):
        assert not found("cni-differs", WEB, policy("p", empty), cnis=cnis)
        assert found("cni-differs", WEB, policy("p", spec), cnis=cnis)


def test_labels_that_a_cni_does_not_see() -> None:
    spec = "podSelector: {matchLabels: {pod-template-hash: x}}, ingress: [{}]"
    (one,) = found("policy-selects-nothing", WEB, policy("p", spec), cnis=("cilium",))
    assert one.message.endswith("it wants a label of pods that Cilium does not see")
    (one,) = found("cni-differs", WEB, policy("p", spec), cnis=("calico", "cilium"))
    assert one.message == "which labels of pods its selectors see: Calico: all, Cilium: identity"


def test_what_denies_by_default_is_told_as_the_cni_has_it() -> None:
    spec = "podSelector: {}, policyTypes: [Ingress], egress: [{to: [{podSelector: {}}]}]"
    rule = "no-default-deny-egress"
    assert found(rule, WEB, policy("p", spec))
    assert not found(rule, WEB, policy("p", spec), cnis=("cilium",))


# --- coverage --------------------------------------------------------------------------------


def test_of_two_policies_alike_one_is_told_of() -> None:
    spec = "podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]"
    (one,) = found("policy-shadowed", WEB, policy("a", spec), policy("b", spec))
    assert one.objects == ("NetworkPolicy shop/b", "NetworkPolicy shop/a")


def test_a_default_deny_is_not_redundant() -> None:
    deny = policy("deny", "podSelector: {}, policyTypes: [Ingress]")
    own = policy("web", from_pods("app: web"))
    assert not found("policy-redundant", WEB, deny, own)


def test_a_namespace_without_any_policy_is_told_of_once_for_each_direction() -> None:
    report = lint_text(NAMESPACES + WEB)
    assert ids(report) == ["no-default-deny-ingress", "no-default-deny-egress"]
    assert "no policy at all" in report.findings[0].message


@pytest.mark.parametrize(
    ("ingress", "denies"),
    [
        ("[]", True),
        ("[{from: [{podSelector: {}}]}]", True),
        ("[{ports: [{port: 80}]}]", True),
        ("[{}]", False),
        ("[{ports: [{port: 80}]}, {}]", False),
    ],
)
def test_a_policy_that_opens_a_direction_is_no_default_deny(ingress: str, denies: bool) -> None:
    both = f"podSelector: {{}}, policyTypes: [Ingress, Egress], ingress: {ingress}"
    assert bool(found("no-default-deny-ingress", WEB, policy("p", both))) is not denies
    assert not found("no-default-deny-egress", WEB, policy("p", both))


def test_without_its_object_a_namespace_is_told_of_at_a_workload_of_it() -> None:
    report = lint_text(workload("first", "chart") + workload("second", "chart"))
    (one, _) = report.findings
    assert (one.id, one.objects) == ("no-default-deny-ingress", ("Namespace chart",))
    assert (one.file, one.line) == ("<stdin>", 5)
    bare = """
apiVersion: v1
kind: Pod
metadata: {name: a-1, namespace: chart}
"""
    assert [(one.file, one.line) for one in lint_text(bare).findings] == [("<stdin>", 4)] * 2


# --- exposure --------------------------------------------------------------------------------

FRONT = """
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}], %s}
"""


def test_what_clients_look_like_is_said() -> None:
    inside = policy("web", "podSelector: {}, ingress: [{from: [{podSelector: {}}]}]")
    (one,) = found("service-unreachable", WEB, FRONT % "externalTrafficPolicy: Local", inside)
    assert "clients come with their own address" in one.message
    (one,) = found("service-unreachable", WEB, FRONT % "", inside)
    assert "clients come with the address of a node" in one.message


def test_a_narrow_block_under_policy_cluster_is_not_what_clients_come_with() -> None:
    spec = "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}]"
    assert found("service-source", WEB, FRONT % "", policy("web", spec))
    local = FRONT % "externalTrafficPolicy: Local"
    assert not found("service-source", WEB, local, policy("web", spec))


# --- CNIs ------------------------------------------------------------------------------------


def test_a_difference_that_does_not_show_here_is_not_told_of() -> None:
    spec = "podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]"
    assert not found("cni-differs", WEB, policy("p", spec), cnis=("calico", "cilium"))
    named = policy("p", on_port("http"))
    (one,) = found("cni-differs", WEB, named, cnis=("calico", "ovn-kubernetes"))
    assert "Calico: resolve, OVN-Kubernetes: any-port" in one.message
    assert not found("cni-differs", WEB, named, cnis=("calico", "cilium"))


ADMIN = """
---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec: {priority: 1, subject: {namespaces: {}}, %s}
"""


def test_rules_of_admin_policies_that_not_every_cni_understands() -> None:
    nodes = ADMIN % "egress: [{action: Allow, to: [{nodes: {}}]}]"
    (one,) = found("cni-differs", WEB, nodes, cnis=("calico", "antrea"))
    assert one.message == (
        "whether a rule with the peer nodes is understood: Calico: no, Antrea: yes"
    )
    named = ADMIN % (
        "ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{namedPort: http}]}]"
    )
    (one,) = found("cni-differs", WEB, named, cnis=("calico", "antrea"))
    assert one.message.endswith("Calico: any-port, Antrea: resolve")
    blocks = ADMIN % "egress: [{action: Deny, to: [{networks: [203.0.113.0/24]}]}]"
    assert not found("cni-differs", WEB, blocks, cnis=("calico", "antrea"))


def test_one_cni_differs_from_none() -> None:
    report = lint_text(NAMESPACES + WEB + policy("p", on_port("http")))
    skipped = {check.id: check.skipped for check in report.checks if check.skipped}
    assert skipped["cni-differs"] == "only one CNI was named"


def test_a_service_without_a_selector_exposes_the_pods_of_its_endpoints() -> None:
    text = """
    kind: Pod
    apiVersion: v1
    metadata: {name: web, namespace: shop, labels: {app: web}}
    spec: {containers: [{name: main, image: web}]}
    status: {phase: Running, podIP: 10.0.0.1}
    ---
    kind: Service
    apiVersion: v1
    metadata: {name: front, namespace: shop}
    spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}
    ---
    kind: EndpointSlice
    apiVersion: discovery.k8s.io/v1
    metadata: {name: front-1, namespace: shop, labels: {kubernetes.io/service-name: front}}
    addressType: IPv4
    endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web}}]
    ports: [{port: 8080}]
    ---
    kind: NetworkPolicy
    apiVersion: networking.k8s.io/v1
    metadata: {name: closed, namespace: shop}
    spec: {podSelector: {}, policyTypes: [Ingress]}
    """
    report = lint_text(dedent(text))
    (found,) = (one for one in report.findings if one.id == "service-unreachable")
    assert "TCP 8080" in found.message
