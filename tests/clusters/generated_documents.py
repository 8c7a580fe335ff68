"""Documents of small clusters made up for tests: pods, NetworkPolicy and admin policies.

For what begins with manifests. Names, labels, ports and addresses collide all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.clusters.policies import Choose

Object = dict[str, Any]
SPACES: dict[str, dict[str, str]] = {"a": {"team": "x"}, "b": {"team": "y"}, "c": {}}
APPS = ("web", "db")
ON_NODE = "192.168.0.1"
NODE: Object = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1", "labels": {"role": "edge"}},
    "status": {"addresses": [{"type": "InternalIP", "address": ON_NODE}]},
}
NAMESPACES: list[Object] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    for name, labels in SPACES.items()
]
NETWORKS = ("0.0.0.0/0", "203.0.113.0/24", "10.0.0.0/30", "10.0.0.2/32", "2001:db8::/32")
PROTOCOLS = ("TCP", "UDP", "SCTP")


class Maker:
    """Documents out of choices."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose

    def cluster(self, pods: int, admin: int, usual: int, baseline: bool = False) -> list[Object]:
        """A node, all namespaces, and so many pods, AdminNetworkPolicies and NetworkPolicies, with
        a BaselineAdminNetworkPolicy or without."""
        return [
            *self._without_admin(pods, usual),
            *(self.admin(number) for number in range(admin)),
            *([self.baseline()] if baseline else ()),
        ]

    def cluster_of_tiers(self, pods: int, policies: int, usual: int) -> list[Object]:
        """The same with ClusterNetworkPolicies."""
        return [
            *self._without_admin(pods, usual),
            *(self.tiered(number) for number in range(policies)),
        ]

    def _without_admin(self, pods: int, usual: int) -> list[Object]:
        return [
            NODE,
            *NAMESPACES,
            *(self.pod(number) for number in range(pods)),
            *(self.usual(number) for number in range(usual)),
        ]

    def selector(self, key: str, values: Sequence[str]) -> Object:
        value = self.choose(values)
        found: Object = self.choose(
            [
                {},
                {"matchLabels": {key: value}},
                {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]},
                {"matchExpressions": [{"key": key, "operator": "DoesNotExist"}]},
            ]
        )
        return found

    def pods(self) -> Object:
        namespaces = self.selector("team", ("x", "y"))
        if self.choose((True, False)):
            return {"namespaces": namespaces}
        return {
            "pods": {"namespaceSelector": namespaces, "podSelector": self.selector("app", APPS)}
        }

    def peer(self, out: bool, named: bool) -> Object:
        if out and not named and self.choose((True, False)):
            return {"networks": sorted({self.choose(NETWORKS), self.choose(NETWORKS)})}
        if out and not named and self.choose((True, False, False)):
            return {"nodes": self.selector("role", ("edge", "core"))}
        return self.pods()

    def rule(self, out: bool, actions: Sequence[str]) -> Object:
        found: Object = {"action": self.choose(actions)}
        named = False
        if self.choose((True, False)):
            found["ports"] = []
            for _ in range(self.choose((0, 1, 2))):
                protocol = {"protocol": self.choose(PROTOCOLS)} if self.choose((0, 1)) else {}
                port: Object = self.choose(
                    [
                        {"portNumber": {**protocol, "port": self.choose((80, 81))}},
                        {"portRange": {**protocol, "start": 80, "end": self.choose((80, 90))}},
                        {"namedPort": self.choose(("http", "dns"))},
                    ]
                )
                named = named or "namedPort" in port
                found["ports"].append(port)
        peers = [self.peer(out, named) for _ in range(self.choose((1, 1, 2)))]
        return {**found, "to" if out else "from": peers}

    def tiered_rule(self, out: bool) -> Object:
        found: Object = {"action": self.choose(("Accept", "Deny", "Pass"))}
        named = False
        if self.choose((True, False)):
            found["protocols"] = []
            for _ in range(self.choose((1, 2))):
                port: Object = self.choose(
                    [
                        {"number": self.choose((80, 81))},
                        {"range": {"start": 80, "end": self.choose((81, 90))}},
                    ]
                )
                protocol = self.choose(("tcp", "udp", "sctp"))
                entry: Object = self.choose(
                    [
                        {protocol: {"destinationPort": port}},
                        {"destinationNamedPort": self.choose(("http", "dns"))},
                    ]
                )
                named = named or "destinationNamedPort" in entry
                found["protocols"].append(entry)
        peers = [self.peer(out, named) for _ in range(self.choose((1, 1, 2)))]
        return {**found, "to" if out else "from": peers}

    def admin(self, number: int) -> Object:
        spec: Object = {"priority": self.choose((0, 5, 5, 1000)), "subject": self.pods()}
        for word, out in (("ingress", False), ("egress", True)):
            count = self.choose((0, 1, 2, 3))
            spec[word] = [self.rule(out, ("Allow", "Deny", "Pass")) for _ in range(count)]
        return _policy("v1alpha1", "AdminNetworkPolicy", f"{self.choose('xy')}-{number}", spec)

    def baseline(self) -> Object:
        spec: Object = {"subject": self.pods()}
        for word, out in (("ingress", False), ("egress", True)):
            spec[word] = [self.rule(out, ("Allow", "Deny")) for _ in range(self.choose((0, 1, 2)))]
        return _policy("v1alpha1", "BaselineAdminNetworkPolicy", "default", spec)

    def tiered(self, number: int) -> Object:
        spec: Object = {
            "tier": self.choose(("Admin", "Baseline")),
            "priority": self.choose((0, 5, 5, 1000)),
            "subject": self.pods(),
        }
        for word, out in (("ingress", False), ("egress", True)):
            spec[word] = [self.tiered_rule(out) for _ in range(self.choose((0, 1, 2, 3)))]
        version = self.choose(("v1alpha2", "v1beta1"))
        return _policy(version, "ClusterNetworkPolicy", f"{self.choose('xy')}-{number}", spec)

    def usual(self, number: int) -> Object:
        types = self.choose((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        spec: Object = {"podSelector": self.selector("app", APPS), "policyTypes": types}
        for word, side in (("ingress", "from"), ("egress", "to")):
            peers = [{"namespaceSelector": self.selector("team", ("x", "y"))}]
            spec[word] = [{side: peers}] if self.choose((True, False)) else []
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"np-{number}", "namespace": self.choose(tuple(SPACES))},
            "spec": spec,
        }

    def pod(self, number: int) -> Object:
        ports = [
            {"name": name, "protocol": protocol, "containerPort": port}
            for name, protocol, port in (
                ("http", "TCP", 80),
                ("http", "UDP", 80),
                ("dns", "TCP", 81),
            )
            if self.choose((True, False))
        ]
        namespace = self.choose(tuple(SPACES))
        labels = {"app": self.choose(APPS)} if self.choose((1, 1, 0)) else {}
        # One container each: a pod may have a name in one container only once.
        containers = [{"name": f"c{i}", "ports": [port]} for i, port in enumerate(ports)]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number}", "namespace": namespace, "labels": labels},
            "spec": {"containers": containers or [{"name": "c"}]},
            "status": {"phase": "Running", "podIP": f"10.0.0.{number + 1}"},
        }


def _policy(version: str, kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": f"policy.networking.k8s.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
