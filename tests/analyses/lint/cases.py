"""Small clusters that tests of single rules are made of."""

from __future__ import annotations

from kubeverdict.analyses.findings import Finding
from kubeverdict.analyses.lint import LintSettings
from tests.analyses.lint.reading import lint_text

NAMESPACES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: data}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
"""


def workload(name: str, namespace: str = "shop", labels: str = "", ports: str = "") -> str:
    return f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  template:
    metadata: {{labels: {{{labels or f"app: {name}"}}}}}
    spec: {{containers: [{{name: main, ports: [{ports}]}}]}}
"""


def policy(name: str, spec: str, namespace: str = "shop") -> str:
    return f"""
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{spec}}}
"""


WEB = workload("web", ports="{name: http, containerPort: 8080}")
DNS = workload("coredns", "kube-system", "k8s-app: kube-dns")
DNS_PORTS = "ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]"
TO_DNS = f"egress: [{{to: [{{namespaceSelector: {{}}}}], {DNS_PORTS}}}]"
EGRESS = "podSelector: {}, policyTypes: [Egress]"


def found(rule: str, *parts: str, cnis: tuple[str, ...] = ("reference",)) -> list[Finding]:
    report = lint_text(NAMESPACES + "".join(parts), LintSettings(), cnis)
    return [one for one in report.findings if one.id == rule]
