"""Documents of small clusters with Calico's policies beside NetworkPolicy, made up for tests."""

from __future__ import annotations

from typing import Any

from tests.clusters.generated_documents import NAMESPACES, PROTOCOLS, SPACES, Maker, Object

API = "projectcalico.org/v3"
ACCOUNTS = ("default", "web", "runner")
TIERS = ("default", "default", "default", "early", "late", "unordered")
KEYS = (
    "app",
    "pcns.team",
    "projectcalico.org/namespace",
    "projectcalico.org/serviceaccount",
    "role",
)
VALUES: dict[str, tuple[str, ...]] = {
    "app": ("web", "db"),
    "pcns.team": ("x", "y"),
    "team": ("x", "y"),
    "projectcalico.org/name": tuple(SPACES),
    "projectcalico.org/namespace": tuple(SPACES),
    "projectcalico.org/serviceaccount": ACCOUNTS,
    "role": ("feed", "bad"),
}
NETS: dict[int, tuple[str, ...]] = {
    4: ("203.0.113.0/24", "203.0.113.8/31", "10.0.0.0/30", "10.0.0.2/32", "0.0.0.0/0"),
    6: ("2001:db8::/32", "2001:db8:1::2/127", "::/0"),
}
# Calico's own policy store finds no address in blocks of a set that are longer than 24 of 32 bits
# (120 of 128), and are no single address. Felix, which does not use it, has them in its sets.
SET_NETS = (
    *("203.0.113.0/24", "203.0.113.9", "203.0.113.9/32", "10.0.0.0/24", "10.0.0.2/32"),
    *("2001:db8::/32", "2001:db8:1::2", "0.0.0.0/0"),
)
OUTSIDE = {4: ("203.0.113.9", "203.0.113.1", "198.51.100.7"), 6: ("2001:db8::9", "2001:4860::8")}


class CalicoMaker(Maker):
    """Documents out of choices."""

    def calico_cluster(self, pods: int, policies: int, usual: int, sets: int = 3) -> list[Object]:
        """All namespaces and tiers, and so many pods, Calico's policies, NetworkPolicies and
        network sets; and the endpoints of a Service."""
        return [
            *NAMESPACES,
            *(self._tier(name) for name in ("early", "late", "unordered")),
            *(self.dual_pod(number) for number in range(pods)),
            *(self.usual(number) for number in range(usual)),
            *(self.calico(number) for number in range(policies)),
            *(self.network_set(number) for number in range(sets)),
            *self.service(pods),
        ]

    def _tier(self, name: str) -> Object:
        order = {"early": 100, "late": 2_000_000}.get(name)
        spec: Object = {} if order is None else {"order": order}
        if self.choose((True, False)):
            spec["defaultAction"] = self.choose(("Pass", "Deny"))
        return _object("Tier", name, spec)

    def dual_pod(self, number: int) -> Object:
        pod = self.pod(number)
        if self.choose((True, False)):
            pod["spec"]["serviceAccountName"] = self.choose(ACCOUNTS)
        pod["spec"]["nodeName"] = "n1"
        addresses = [pod["status"]["podIP"], f"2001:db8:1::{number + 1}"]
        pod["status"]["podIPs"] = [{"ip": one} for one in addresses]
        return pod

    def service(self, pods: int) -> list[Object]:
        backends = [f"10.0.0.{number + 1}" for number in range(pods) if self.choose((0, 1))]
        head = {"namespace": "a", "name": "web"}
        label = {"kubernetes.io/service-name": "web"}
        return [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": head,
                "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**head, "labels": label},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [one]} for one in (*backends, "203.0.113.9")],
                "ports": [{"name": "p", "protocol": self.choose(PROTOCOLS), "port": 81}],
            },
        ]

    def network_set(self, number: int) -> Object:
        kind = self.choose(("NetworkSet", "GlobalNetworkSet"))
        nets = [self.choose(SET_NETS) for _ in range(2)]
        labels = {"role": self.choose(VALUES["role"])} if self.choose((1, 1, 0)) else {}
        if self.choose((True, False)):
            labels["app"] = self.choose(VALUES["app"])
        found = _object(kind, f"s-{number}", {"nets": sorted(set(nets))})
        found["metadata"]["labels"] = labels
        if kind == "NetworkSet":
            found["metadata"]["namespace"] = self.choose(tuple(SPACES))
        return found

    def calico(self, number: int) -> Object:
        kind = self.choose(("NetworkPolicy", "GlobalNetworkPolicy"))
        tier = self.choose(TIERS)
        spec: Object = {} if tier == "default" else {"tier": tier}
        order = self.choose((None, 10, 1000, 1000, 1000.5, 5000))
        if order is not None:
            spec["order"] = order
        if self.choose((True, True, False)):
            spec["selector"] = self.expression(KEYS[:4])
        if kind == "GlobalNetworkPolicy" and self.choose((True, False)):
            spec["namespaceSelector"] = self.expression(("team", "projectcalico.org/name"))
        space = self.choose(tuple(SPACES)) if kind == "NetworkPolicy" else None
        for way in ("ingress", "egress"):
            count = self.choose((0, 1, 2, 3))
            if count:
                spec[way] = [self.calico_rule(way, space) for _ in range(count)]
        if self.choose((True, False)):
            spec["types"] = self.choose((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        letter = self.choose("xy")
        name = f"{letter}-{number}" if tier == "default" else f"{tier}.{letter}-{number}"
        found = _object(kind, name, spec)
        if space is not None:
            found["metadata"]["namespace"] = space
        return found

    def calico_rule(self, way: str, space: str | None) -> Object:
        rule: Object = {"action": self.choose(("Allow", "Allow", "Deny", "Pass", "Log"))}
        family = self.choose((4, 4, 6))
        protocol = self.choose((None, "TCP", "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", 6))
        if protocol in ("ICMP", "ICMPv6"):
            family = 4 if protocol == "ICMP" else 6
            word = self.choose((None, "icmp", "notICMP"))
            if word:
                rule[word] = self.choose(({"type": 8}, {"type": 128}, {"type": 3, "code": 1}))
        if protocol is not None:
            rule["protocol"] = protocol
        elif self.choose((True, False, False)):
            rule["notProtocol"] = self.choose(PROTOCOLS)
        if self.choose((False,) * 5 + (True,)):
            rule["ipVersion"] = family
        other, own = ("source", "destination") if way == "ingress" else ("destination", "source")
        entity = self.entity(family, way, space)
        if entity:
            rule[other] = entity
        if self.choose((False, False, False, True)):
            rule[own] = {"selector": self.expression(KEYS[:4])}
        backends = "services" in entity
        if protocol in (*PROTOCOLS, 6) and not backends and self.choose((True, False)):
            word = self.choose(("ports", "ports", "notPorts"))
            ports = [self.choose((80, 81, "80:90", "http", "dns")) for _ in range(2)]
            rule["destination"] = {**rule.get("destination", {}), word: ports}
        return rule

    def entity(self, family: int, way: str, space: str | None) -> Object:
        """The other end of a rule; nothing where it may be anything."""
        found: Object = {}
        if self.choose((False,) * 7 + (True,)):
            return {"services": {"name": "web", "namespace": "a"}}
        for word, some in (
            ("selector", lambda: self.expression(KEYS)),
            ("notSelector", lambda: self.expression(KEYS)),
            ("namespaceSelector", lambda: self.namespaces()),
            ("nets", lambda: [self.choose(NETS[family]) for _ in range(2)]),
            ("notNets", lambda: [self.choose(NETS[family][:-1])]),
            ("serviceAccounts", lambda: {"names": [self.choose(ACCOUNTS)]}),
        ):
            if self.choose((False, False, True)):
                found[word] = some()
        return found

    def namespaces(self) -> str:
        return str(
            self.choose(
                (
                    "all()",
                    "global()",
                    self.expression(("team", "projectcalico.org/name")),
                    self.expression(("team", "projectcalico.org/name")),
                )
            )
        )

    def expression(self, keys: tuple[str, ...], depth: int = 0) -> str:
        kind = self.choose(("plain",) * (3 + 2 * depth) + ("and", "or", "not"))
        if kind == "not":
            return f"!({self.expression(keys, depth + 1)})"
        if kind in ("and", "or"):
            sign = " && " if kind == "and" else " || "
            return f"({sign.join(self.expression(keys, depth + 1) for _ in range(2))})"
        key = self.choose(keys)
        value = self.choose(VALUES[key])
        plain: Any = self.choose(
            (
                f"{key} == '{value}'",
                f"{key} == '{value}'",
                f"{key} != '{value}'",
                f"{key} in {{'{value}', 'z'}}",
                f"{key} not in {{'{value}'}}",
                f"has({key})",
                f"{key} starts with '{value[0]}'",
                f"{key} contains '{value[-1]}'",
            )
        )
        return str(plain)


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}
