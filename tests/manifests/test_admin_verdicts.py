"""Admin policies from manifest to verdict, compared with a plain reading of the documents.

The plain reading is the algorithm of the API's text over YAML values: no tiers, no rule language.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

import kubeverdict as kv

Object = dict[str, Any]
SPACES: dict[str, dict[str, str]] = {"a": {"team": "x"}, "b": {"team": "y"}, "c": {}}
APPS = ("web", "db")
OUTSIDE, ON_NODE = "203.0.113.9", "192.168.0.1"
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1", "labels": {"role": "edge"}},
    "status": {"addresses": [{"type": "InternalIP", "address": ON_NODE}]},
}
NETWORKS = ("0.0.0.0/0", "203.0.113.0/24", "10.0.0.0/30", "10.0.0.2/32", "2001:db8::/32")
CONNECTIONS = [(0, 80), (0, 81), (1, 80), (2, 90)]
PROTOCOLS = ("TCP", "UDP", "SCTP")


class Side(NamedTuple):
    """An end of a connection; one outside has no namespace."""

    address: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, str, int], ...] = ()  # name, protocol, number


# --- what is made up ---------------------------------------------------------------------------


class Maker:
    """Documents out of choices."""

    def __init__(self, choose: Callable[[Sequence[Any]], Any]) -> None:
        self.choose = choose

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

    def rule(self, out: bool) -> Object:
        found: Object = {"action": self.choose(("Allow", "Deny", "Pass"))}
        named = False
        if self.choose((True, False)):
            found["ports"] = []
            for _ in range(self.choose((0, 1, 2))):
                protocol = {"protocol": self.choose(PROTOCOLS)} if self.choose((0, 1)) else {}
                port = self.choose(
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

    def admin(self, number: int) -> Object:
        spec: Object = {"priority": self.choose((0, 5, 5, 1000)), "subject": self.pods()}
        for word, out in (("ingress", False), ("egress", True)):
            spec[word] = [self.rule(out) for _ in range(self.choose((0, 1, 2, 3)))]
        return {
            "apiVersion": "policy.networking.k8s.io/v1alpha1",
            "kind": "AdminNetworkPolicy",
            "metadata": {"name": f"{self.choose('xy')}-{number}"},
            "spec": spec,
        }

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


# --- the plain reading ---------------------------------------------------------------------------


def selects(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    tests = selector.get("matchExpressions", ())
    return all(labels.get(key) == value for key, value in wanted) and all(
        one["key"] not in labels
        if one["operator"] == "DoesNotExist"
        else labels.get(one["key"]) not in one["values"]
        for one in tests
    )


def space_labels(name: str) -> dict[str, str]:
    return {**SPACES[name], "kubernetes.io/metadata.name": name}


def is_among(pods: Object, side: Side) -> bool:
    """Whether ``namespaces`` or ``pods`` select an end."""
    if not side.namespace:
        return False
    both = pods.get("pods") or {"namespaceSelector": pods["namespaces"], "podSelector": {}}
    return selects(both["namespaceSelector"], space_labels(side.namespace)) and selects(
        both["podSelector"], dict(side.labels)
    )


def is_peer(peer: Object, side: Side) -> bool:
    if "networks" in peer:
        address = ip_address(side.address)
        return any(address in ip_network(one) for one in peer["networks"])
    if "nodes" in peer:
        return side.address == ON_NODE and selects(peer["nodes"], {"role": "edge"})
    return is_among(peer, side)


def is_port(entry: Object, protocol: str, port: int, destination: Side) -> bool:
    if "namedPort" in entry:
        return (entry["namedPort"], protocol, port) in destination.ports
    (part,) = entry.values()
    first = part.get("port", part.get("start"))
    last = part.get("port", part.get("end"))
    return bool(part.get("protocol", "TCP") == protocol and first <= port <= last)


def is_open(
    objects: Sequence[Object], source: Side, destination: Side, out: bool, protocol: str, port: int
) -> bool:
    """One direction, as the API's text has it."""
    subject, other = (source, destination) if out else (destination, source)
    word, side = ("egress", "to") if out else ("ingress", "from")
    if not subject.namespace:
        return True
    admin = [one for one in objects if one["kind"] == "AdminNetworkPolicy"]
    admin.sort(key=lambda one: (one["spec"]["priority"], one["metadata"]["name"]))
    rules = [
        rule
        for one in admin
        if is_among(one["spec"]["subject"], subject)
        for rule in one["spec"][word]
    ]
    for rule in rules:
        entries = rule.get("ports") or []
        if not any(is_peer(peer, other) for peer in rule[side]):
            continue
        if entries and not any(is_port(one, protocol, port, destination) for one in entries):
            continue
        if rule["action"] == "Pass":
            break
        return bool(rule["action"] == "Allow")
    usual = [
        one["spec"]
        for one in objects
        if one["kind"] == "NetworkPolicy"
        and one["metadata"]["namespace"] == subject.namespace
        and word.title() in one["spec"]["policyTypes"]
        and selects(one["spec"]["podSelector"], dict(subject.labels))
    ]
    return not usual or any(
        other.namespace and selects(peer["namespaceSelector"], space_labels(other.namespace))
        for spec in usual
        for rule in spec[word]
        for peer in rule[side]
    )


# --- the comparison ------------------------------------------------------------------------------


def end_of(pod: Object) -> Side:
    ports = [port for one in pod["spec"]["containers"] for port in one.get("ports", ())]
    return Side(
        pod["status"]["podIP"],
        pod["metadata"]["namespace"],
        tuple(pod["metadata"]["labels"].items()),
        tuple((port["name"], port["protocol"], port["containerPort"]) for port in ports),
    )


@settings(max_examples=300)
@given(st.data())
def test_verdicts_are_those_of_the_text(data: st.DataObject) -> None:
    make = Maker(lambda options: data.draw(st.sampled_from(list(options))))
    pods = [make.pod(number) for number in range(make.choose((1, 2, 3)))]
    objects = [make.admin(number) for number in range(make.choose((1, 2, 3)))]
    objects += [make.usual(number) for number in range(make.choose((0, 1, 2)))]
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in SPACES.items()
    ]
    body = "\n".join(map(json.dumps, [NODE, *spaces, *pods, *objects]))
    loaded = kv.load(["-"], stdin=io.BytesIO(body.encode()))
    compiled = kv.compile_cluster(loaded.cluster)
    sides = [*map(end_of, pods), Side(OUTSIDE), Side(ON_NODE)]
    ids = [kv.pod_id(compiled, pod) for pod in compiled.pods]
    ids += kv.address_ids(compiled, [OUTSIDE, ON_NODE]).tolist()
    asked = [
        (s, d, *one)
        for s in range(len(sides))
        for d in range(len(sides))
        for one in CONNECTIONS
        if s != d
    ]
    verdicts = kv.judge(
        compiled,
        [ids[s] for s, *_ in asked],
        [ids[d] for _, d, *_ in asked],
        [protocol for *_, protocol, _ in asked],
        [port for *_, port in asked],
    )
    for (s, d, protocol, port), allowed in zip(asked, verdicts.allowed.tolist(), strict=True):
        expected = all(
            is_open(objects, sides[s], sides[d], out, PROTOCOLS[protocol], port)
            for out in (True, False)
        )
        assert allowed == expected, (sides[s], sides[d], PROTOCOLS[protocol], port)
