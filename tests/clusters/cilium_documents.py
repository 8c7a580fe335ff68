"""Documents of small clusters made up for tests, with Cilium's policies beside NetworkPolicy.

Selectors, entities, blocks, Services and ports collide all the time, lists are empty now and then,
and one policy in some is one that agents refuse.
"""

from __future__ import annotations

from typing import Any

from tests.clusters.generated_documents import APPS, SPACES, Maker, Object

NODES = {"n1": "192.168.0.1", "n2": "192.168.0.2"}
API_SERVER = "198.51.100.9"
BLOCKS = ("0.0.0.0/0", "203.0.113.0/24", "203.0.113.8/30", "10.0.0.0/30", "192.168.0.0/24", "::/0")
OUTSIDE = {4: ("203.0.113.9", "203.0.113.12", API_SERVER, "192.168.0.2"), 6: ("2001:db8::9",)}
ENTITIES = (
    *("all", "world", "cluster", "host", "remote-node", "kube-apiserver", "cluster-mesh"),
    *("none", "health"),
)
_NAMESPACE = "io.kubernetes.pod.namespace"
_TEAM = "io.cilium.k8s.namespace.labels.team"
_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"


class CiliumMaker(Maker):
    """Such documents out of choices."""

    def cilium_cluster(self, pods: int, policies: int, usual: int) -> list[Object]:
        """Nodes, namespaces, Services, a group of blocks, and so many pods, policies of Cilium and
        NetworkPolicies."""
        choose = self.choose
        return [
            *(_node(name, address) for name, address in NODES.items()),
            *(
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": labels},
                }
                for name, labels in SPACES.items()
            ),
            *_SERVICES,
            _GROUP,
            *(self._placed(number) for number in range(pods)),
            *(self.usual(number) for number in range(usual)),
            *(self.cilium(number, choose((False, True))) for number in range(policies)),
        ]

    def _placed(self, number: int) -> Object:
        """A pod on a node, of two families, with an account; some are on the node's network."""
        made = self.pod(number)
        made["spec"]["nodeName"] = self.choose(tuple(NODES))
        # The API server fills it in.
        made["spec"]["serviceAccountName"] = self.choose(("robot", "default", "default"))
        if self.choose((False, False, True)):
            made["metadata"]["labels"]["pod-template-hash"] = "1"
        addresses = [made["status"]["podIP"], f"fd00:10::{number + 1}"]
        if self.choose((False,) * 6 + (True,)):
            made["spec"] |= {"nodeName": "n2", "hostNetwork": True}
            addresses = [NODES["n2"]]
        made["status"] |= {"podIP": addresses[0], "podIPs": [{"ip": one} for one in addresses]}
        return made

    def cilium(self, number: int, clusterwide: bool) -> Object:
        choose = self.choose
        where = {} if clusterwide else {"namespace": choose(tuple(SPACES))}
        specs = [self._spec(clusterwide) for _ in range(choose((1, 1, 1, 2, 2)))]
        body: Object = {"spec": specs[0]} if len(specs) == 1 else {"specs": specs}
        return {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy",
            "metadata": {"name": f"{choose('xy')}-{number}", **where},
            **body,
        }

    def _spec(self, clusterwide: bool) -> Object:
        choose = self.choose
        spec: Object = {"endpointSelector": self._subject(clusterwide)}
        for section in choose(
            (
                *(("ingress",), ("egress",), ("ingress", "egress")),
                *(("ingress", "ingressDeny"), ("egress", "egressDeny"), ("ingressDeny",)),
            )
        ):
            count = choose((1, 1, 2, 3))
            spec[section] = [self._rule(section) for _ in range(count)]
        if choose((False,) * 3 + (True,)):
            spec["enableDefaultDeny"] = {choose(("ingress", "egress")): choose((False, True))}
        return spec

    def _subject(self, clusterwide: bool) -> Object:
        choose = self.choose
        labels = self.selector("app", APPS)
        more = choose((None,) * 5 + (_NAMESPACE, _TEAM, _ACCOUNT))
        if more is None or (more == _NAMESPACE and not clusterwide):
            return labels
        value = {_NAMESPACE: "a", _TEAM: "x", _ACCOUNT: "robot"}[more]
        return {**labels, "matchLabels": {**labels.get("matchLabels", {}), more: value}}

    def _rule(self, section: str) -> Object:
        choose = self.choose
        rule: Object = {}
        side = "from" if section.startswith("ingress") else "to"
        kind = choose(
            (
                *("Endpoints",) * 4,
                *("Entities", "Entities", "CIDR", "CIDRSet", "CIDRSet", None),
                *(("Services",) if side == "to" else ()),
            )
        )
        if kind is not None:
            count = choose((1, 1, 1, 2, 2, 0))
            rule[side + kind] = [getattr(self, f"_{kind}")() for _ in range(count)]
        ports = choose(("none", "ports", "ports", "icmp"))
        if ports == "ports":
            rule["toPorts"] = [self._ports(section) for _ in range(choose((1, 1, 2, 0)))]
        elif ports == "icmp" and choose((True, False)):
            rule["icmps"] = [{"fields": [self._icmp() for _ in range(choose((1, 2)))]}]
        if choose((False,) * 12 + (True,)) and not section.endswith("Deny"):
            rule["authentication"] = {"mode": choose(("required", "disabled"))}
        if choose((False,) * 40 + (True,)):
            rule[f"{side}Entities"], rule[f"{side}CIDR"] = ["world"], ["203.0.113.0/24"]
        return rule

    # The names of these are those of the fields.

    def _Endpoints(self) -> Object:
        choose = self.choose
        labels: dict[str, str] = {}
        expressions: list[Object] = []
        for _ in range(choose((0, 1, 1, 2))):
            # Of a key with the source any and the same without one, Cilium keeps either.
            source = choose(("", "k8s:"))
            key, values = choose(
                (
                    ("app", APPS),
                    ("app", APPS),
                    (_NAMESPACE, ("a", "b")),
                    (_TEAM, ("x", "y")),
                    (_ACCOUNT, ("robot", "default")),
                    ("pod-template-hash", ("1",)),
                )
            )
            if choose((True, True, False)):
                labels[source + key] = choose(values)
                continue
            operator = choose(("In", "NotIn", "Exists", "DoesNotExist"))
            listed = {"values": [choose(values)]} if operator in ("In", "NotIn") else {}
            expressions.append({"key": source + key, "operator": operator, **listed})
        if choose((False,) * 10 + (True,)):
            operator = choose(("Exists", "Exists", "DoesNotExist"))
            name = choose(("host", "remote-node", "kube-apiserver"))
            operator = "Exists" if name == "kube-apiserver" else operator
            expressions = [{"key": f"reserved:{name}", "operator": operator}]
            labels = {}
        return {
            **({"matchLabels": labels} if labels else {}),
            **({"matchExpressions": expressions} if expressions else {}),
        }

    def _Entities(self) -> str:
        return self.choose(ENTITIES)

    def _CIDR(self) -> str:
        return self.choose(BLOCKS)

    def _CIDRSet(self) -> Object:
        choose = self.choose
        found: Any = choose(
            [
                {"cidr": choose(BLOCKS)},
                {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/30"]},
                {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/30", "203.0.113.9/32"]},
                {"cidrGroupRef": choose(("office", "gone"))},
                {"cidrGroupSelector": {"matchLabels": {"site": choose(("main", "gone"))}}},
            ]
        )
        return dict(found)

    def _Services(self) -> Object:
        choose = self.choose
        if choose((True, False)):
            named = {"serviceName": choose(("web", "outside", "gone")), "namespace": "a"}
            return {"k8sService": named}
        labels = {"matchLabels": {"kind": choose(("inner", "gone"))}}
        return {"k8sServiceSelector": {"selector": labels}}

    def _ports(self, section: str) -> Object:
        choose = self.choose
        made: Object = {"ports": [self._port() for _ in range(choose((1, 1, 2, 0)))]}
        tcp = made["ports"] and all(
            port.get("protocol") == "TCP" and port["port"] != "0" for port in made["ports"]
        )
        if tcp and not section.endswith("Deny") and choose((False, False, True)):
            made["rules"] = {"http": [{"method": "GET"}]}
        return made

    def _port(self) -> Object:
        choose = self.choose
        port: Object = {"port": choose(("80", "80", "81", "http", "dns", "0", "90"))}
        protocol = choose(("TCP", "TCP", "UDP", "ANY", None))
        if protocol is not None:
            port["protocol"] = protocol
        if port["port"].isdigit() and choose((False, False, True)):
            port["endPort"] = choose((79, 85, 90))
        if choose((False,) * 60 + (True,)):
            port["port"] = "65536"
        return port

    def _icmp(self) -> Object:
        choose = self.choose
        family = choose(("IPv4", "IPv6", None))
        return {"type": choose((8, 0, 3, 128)), **({"family": family} if family else {})}


def _node(name: str, address: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


_SERVICES: list[Object] = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "a", "labels": {"kind": "inner"}},
        "spec": {"selector": {"app": "web"}},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "outside", "namespace": "a"},
        "spec": {},
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "outside-1",
            "namespace": "a",
            "labels": {"kubernetes.io/service-name": "outside"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["203.0.113.12"]}],
        "ports": [{"port": 443}],
    },
]
_GROUP: Object = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumCIDRGroup",
    "metadata": {"name": "office", "labels": {"site": "main"}},
    "spec": {"externalCIDRs": ["198.51.100.0/24", "2001:db8::/32"]},
}
