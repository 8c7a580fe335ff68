"""Connections of the control plane, and what leads to pods from outside by way of objects."""

from __future__ import annotations

import pytest

from kubeverdict.analyses.findings import Severity
from kubeverdict.manifests.loading import load_text
from tests.analyses.lint.cases import NAMESPACES, WEB, found, policy, workload
from tests.analyses.lint.reading import ids, lint_text

SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: https, port: 443, targetPort: http}]}
"""
HOOK = """
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: hook}
webhooks:
  - {name: a.example, clientConfig: {service: {namespace: shop, name: web}}, failurePolicy: %s}
  - {name: b.example, clientConfig: {url: "https://hooks.example"}}
"""
CRD = """
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example}
spec:
  conversion: {strategy: Webhook, webhook: {clientConfig: {service: {namespace: shop, name: web}}}}
"""
NODE = """
---
apiVersion: v1
kind: Node
metadata: {name: %s, labels: {%s: ""}}
status: {addresses: [{type: InternalIP, address: %s}]}
"""
CONTROL_PLANE = NODE % ("cp", "node-role.kubernetes.io/control-plane", "10.0.0.1")
WORKER = NODE % ("worker", "node-role.kubernetes.io/worker", "10.0.0.9")
INSIDE = policy("web", "podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]")


def block(cidr: str) -> str:
    return policy("web", f"podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]")


def test_every_write_fails_where_the_webhook_is_required() -> None:
    (one,) = found("webhook-unreachable", WEB, SERVICE, HOOK % "Fail", INSIDE)
    assert one.severity is Severity.ERROR
    assert one.message == (
        "the API server cannot reach TCP 8080 of Deployment shop/web: every write that "
        "MutatingWebhookConfiguration hook (a.example) guards fails (failurePolicy: Fail)"
    )
    assert one.objects == (
        "NetworkPolicy shop/web",
        "MutatingWebhookConfiguration hook",
        "Service shop/web",
        "Deployment shop/web",
    )
    assert one.fix == (
        "Allow ingress on TCP 8080 without a `from`, or from the addresses of the control plane."
    )


def test_without_its_webhook_what_it_guards_against_passes() -> None:
    (one,) = found("webhook-unreachable", WEB, SERVICE, HOOK % "Ignore", INSIDE)
    assert one.severity is Severity.WARNING
    assert one.message.endswith("is admitted unchecked (failurePolicy: Ignore)")


def test_conversions_are_webhooks_too() -> None:
    (one,) = found("webhook-unreachable", WEB, SERVICE, CRD, INSIDE)
    assert "CustomResourceDefinition things.example" in one.message


@pytest.mark.parametrize(
    ("nodes", "peer", "said"),
    [
        # Unknown: a block may be that of the control plane.
        ("", "10.0.0.0/24", None),
        (WORKER, "203.0.113.0/24", None),
        (CONTROL_PLANE, "10.0.0.1/32", None),
        (CONTROL_PLANE + WORKER, "10.0.0.9/32", "from 10.0.0.1"),
        (CONTROL_PLANE, "203.0.113.0/24", "from 10.0.0.1"),
    ],
)
def test_the_addresses_of_the_control_plane(nodes: str, peer: str, said: str | None) -> None:
    hits = found("webhook-unreachable", WEB, SERVICE, HOOK % "Fail", nodes, block(peer))
    assert [said in one.message for one in hits if said] == ([True] if said else [])
    assert bool(hits) is bool(said)


def test_the_addresses_that_the_api_server_publishes() -> None:
    endpoints = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
addressType: IPv4
endpoints: [{addresses: [198.51.100.7]}]
ports: [{name: https, port: 6443}]
"""
    parts = (WEB, SERVICE, HOOK % "Fail", endpoints)
    (one,) = found("webhook-unreachable", *parts, block("203.0.113.0/24"))
    assert "from 198.51.100.7" in one.message
    assert not found("webhook-unreachable", *parts, block("198.51.100.0/24"))


def test_an_api_server_behind_a_tunnel_comes_from_pods() -> None:
    agent = workload("konnectivity-agent", "kube-system", "k8s-app: konnectivity-agent")
    parts = (WEB, SERVICE, HOOK % "Fail", CONTROL_PLANE)
    peer = "from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]"
    inside = policy("web", f"podSelector: {{}}, ingress: [{{{peer}}}]")
    assert not found("webhook-unreachable", *parts, agent, inside)
    (one,) = found("webhook-unreachable", *parts, agent, block("10.0.0.1/32"))
    assert "through its konnectivity agents" in one.message


def test_what_the_input_lacks_is_not_told_of() -> None:
    assert not found("webhook-unreachable", WEB, HOOK % "Fail", INSIDE)
    assert not found("webhook-unreachable", SERVICE, HOOK % "Fail", INSIDE)
    assert not found("webhook-unreachable", WEB, SERVICE, HOOK % "Fail")


def test_an_open_rule_for_the_api_server_is_not_too_broad() -> None:
    opened = policy("web", "podSelector: {}, ingress: [{ports: [{port: 8080}]}]")
    assert found("ingress-from-everywhere", WEB, SERVICE, opened)
    assert not found("ingress-from-everywhere", WEB, SERVICE, HOOK % "Fail", opened)
    assert not found("ingress-from-everywhere", WEB, SERVICE, CRD, opened)


def test_the_kubelets_of_known_nodes() -> None:
    server = workload("metrics-server", "kube-system", "k8s-app: metrics-server")
    spec = "podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: %s}}]}]"
    parts = (server, CONTROL_PLANE, WORKER)
    (one,) = found("metrics-unreachable", *parts, policy("m", spec % "10.0.0.9/32", "kube-system"))
    assert "TCP 10250 of 1 of 2 addresses of nodes" in one.message
    all_nodes = policy("m", spec % "10.0.0.0/24", "kube-system")
    assert not found("metrics-unreachable", *parts, all_nodes)


# --- the Gateway API -------------------------------------------------------------------------

GATEWAY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: data}
"""
ROUTE = """
---
apiVersion: gateway.networking.k8s.io/%s
kind: %s
metadata: {name: shop, namespace: data}
spec:
  parentRefs: [{name: edge}]
  rules:
    - backendRefs: [{name: web, namespace: shop, port: 443}, {name: web, kind: Other, group: x}]
"""
EDGE = workload("edge", "data", "gateway.networking.k8s.io/gateway-name: edge")


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("v1", "HTTPRoute"),
        ("v1", "GRPCRoute"),
        ("v1alpha2", "TCPRoute"),
        ("v1alpha3", "TLSRoute"),
        ("v1alpha2", "UDPRoute"),
    ],
)
def test_a_route_needs_its_gateway_to_reach_the_backend(version: str, kind: str) -> None:
    route = ROUTE % (version, kind)
    own = policy("web", "podSelector: {}, ingress: [{from: [{podSelector: {}}]}]")
    (one,) = found("ingress-unreachable", WEB, SERVICE, EDGE, GATEWAY, route, own)
    assert one.message == (
        f"Deployment data/edge cannot reach TCP 8080 of Deployment shop/web, to which {kind} "
        "data/shop routes"
    )
    assert not found("ingress-unreachable", WEB, SERVICE, EDGE, GATEWAY, route, INSIDE)
    (one,) = found("ingress-unreachable", WEB, SERVICE, route, own)
    assert one.message.startswith("no client outside the namespace reaches TCP 8080")


def test_the_pods_of_a_gateway_are_there_to_be_reached() -> None:
    opened = policy("edge", "podSelector: {}, ingress: [{}]", "data")
    assert found("ingress-from-everywhere", EDGE, SERVICE, opened)
    assert not found("ingress-from-everywhere", EDGE, SERVICE, GATEWAY, opened)


def test_an_external_ip_leads_to_pods_from_outside() -> None:
    service = SERVICE.replace("spec: {", "spec: {externalIPs: [203.0.113.9], ")
    (one,) = found("service-unreachable", WEB, service, INSIDE)
    assert "through ClusterIP Service shop/web at 203.0.113.9" in one.message
    assert not found("service-unreachable", WEB, SERVICE, INSIDE)


# --- odd input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "webhooks: [{}]"),
        ("apiregistration.k8s.io/v1 APIService", "spec: {}"),
        ("apiextensions.k8s.io/v1 CustomResourceDefinition", "spec: {conversion: null}"),
        ("gateway.networking.k8s.io/v1 HTTPRoute", "spec: {rules: [{backendRefs: [{}]}]}"),
        ("gateway.networking.k8s.io/v1 Gateway", ""),
    ],
)
def test_objects_that_say_little_or_nonsense_are_no_reason_to_stop(kind: str, rest: str) -> None:
    version, _, name = kind.partition(" ")
    head = f"apiVersion: {version}\nkind: {name}\nmetadata: {{name: a}}\n"
    text = NAMESPACES + WEB + SERVICE + INSIDE + "\n---\n" + head
    plain = ids(lint_text(NAMESPACES + WEB + SERVICE + INSIDE))
    assert ids(lint_text(text + rest)) == ids(lint_text(text)) == plain
    loaded = load_text("a.yaml", f"{text}spec: 3\nwebhooks: 3\n".encode())
    assert (loaded.skipped, len(loaded.warnings)) == ((), 0 if name == "Gateway" else 1)
