"""The scenarios of the network policy API's own conformance suite, both versions of the API.

The suite has the same 24 for AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1) as for
ClusterNetworkPolicy (v1alpha2). Here each is written once, as rules, and comes out as documents of
either version. Namespaces, pods and ports are those of the suite; the pods of forbidden-forrest are
on the network of their node. The policies are written from what each scenario is about.

A scenario is a list of steps. A step has the policies that are there and, by question, which
connections they allow: ``harry -> luna TCP/80``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

Object = dict[str, Any]
Tier = Literal["Admin", "Baseline"]
VERSIONS = ("v1alpha1", "v1alpha2")

PODS = {
    "harry": ("gryffindor", "harry-potter", "10.0.1.1"),
    "draco": ("slytherin", "draco-malfoy", "10.0.2.1"),
    "cedric": ("hufflepuff", "cedric-diggory", "10.0.3.1"),
    "luna": ("ravenclaw", "luna-lovegood", "10.0.4.1"),
    "centaur": ("forbidden-forrest", "centaur", "192.168.0.1"),
}
OUTSIDE = "203.0.113.9"
_PORTS = {
    "web": ("TCP", 80),
    "web-too": ("TCP", 8080),
    "dns": ("UDP", 53),
    "dns-too": ("UDP", 5353),
    "sctp": ("SCTP", 9003),
    "sctp-too": ("SCTP", 9005),
}
# Of each protocol the port that rules name, and another one.
_PAIRS = {"TCP": (80, 8080), "UDP": (53, 5353), "SCTP": (9003, 9005)}
_REST = {"Allow": "Deny", "Deny": "Allow", "Pass": "Deny"}


@dataclass(frozen=True)
class Part:
    """A rule. ``ends`` are names of namespaces, blocks of addresses, or ``nodes``; ``ports`` are
    protocols with a number, or names."""

    action: str
    ends: tuple[str, ...]
    ports: tuple[tuple[str, int] | str, ...] = ()


@dataclass(frozen=True)
class Written:
    """A policy about the pods of a namespace."""

    tier: Tier
    ingress: tuple[Part, ...] = ()
    egress: tuple[Part, ...] = ()
    priority: int = 10
    subject: str = "gryffindor"


@dataclass(frozen=True)
class Step:
    name: str
    policies: tuple[Written, ...]
    expected: Mapping[str, bool]
    usual: tuple[Object, ...] = field(default=())  # NetworkPolicies


# --- the scenarios -------------------------------------------------------------------------------


def _asked(out: bool, other: str, protocol: str, port: int) -> str:
    ends = ("harry", other) if out else (other, "harry")
    return f"{ends[0]} -> {ends[1]} {protocol}/{port}"


def _of(tier: Tier, out: bool, *rules: Part, priority: int = 10) -> Written:
    return Written(tier, () if out else rules, rules if out else (), priority)


def _behind(tier: Tier, out: bool) -> tuple[Written, ...]:
    """What denies behind an admin policy, so that Pass and Allow differ."""
    if tier == "Baseline":
        return ()
    return (_of("Baseline", out, Part("Deny", ("ravenclaw", "hufflepuff"))),)


def _protocol(tier: Tier, out: bool, protocol: str) -> Iterator[Step]:
    """Each action: the first of several rules for one end decides, and at a port alone."""
    first, second = _PAIRS[protocol]
    actions = ("Allow", "Deny", "Pass") if tier == "Admin" else ("Allow", "Deny")
    for action in actions:
        others = tuple(Part(one, ("ravenclaw",)) for one in actions if one != action)
        allowed = action == "Allow"
        yield Step(
            f"{action}: the order of rules",
            (_of(tier, out, Part(action, ("ravenclaw",)), *others), *_behind(tier, out)),
            {
                _asked(out, "luna", protocol, first): allowed,
                _asked(out, "luna", protocol, second): allowed,
                _asked(out, "draco", protocol, first): True,
                _asked(not out, "luna", protocol, first): True,
            },
        )
        rest = _REST[action]
        at_port = Part(action, ("hufflepuff",), ((protocol, first),))
        yield Step(
            f"{action}: at a port",
            (_of(tier, out, at_port, Part(rest, ("hufflepuff",))), *_behind(tier, out)),
            {
                _asked(out, "cedric", protocol, first): allowed,
                _asked(out, "cedric", protocol, second): rest == "Allow",
                _asked(out, "draco", protocol, first): True,
            },
        )


def _both_directions(tier: Tier) -> Iterator[Step]:
    """Ingress and egress in one policy, over several protocols, with ports and without."""
    some = (("TCP", 80), ("UDP", 53), ("SCTP", 9003))
    for action in ("Allow", "Deny", "Pass") if tier == "Admin" else ("Allow", "Deny"):
        allowed, rest = action == "Allow", _REST[action]
        for ports in ((), some):
            rules = (
                Part(action, ("ravenclaw",), ports),
                Part(rest, ("ravenclaw",)),
            )
            baseline = (Part("Deny", ("ravenclaw",)),)
            behind = (Written("Baseline", baseline, baseline),) if tier == "Admin" else ()
            expected = {}
            for out in (False, True):
                for protocol, port in some:
                    expected[_asked(out, "luna", protocol, port)] = allowed
                    expected[_asked(out, "draco", protocol, port)] = True
                other = allowed if not ports else rest == "Allow"
                expected[_asked(out, "luna", "TCP", 8080)] = other
            name = f"{action}: {'with' if ports else 'without'} ports"
            yield Step(name, (Written(tier, rules, rules), *behind), expected)


def _blocks(tier: Tier) -> Iterator[Step]:
    to_all = Part("Deny", ("0.0.0.0/0",))
    yield Step(
        "all addresses are those of pods too",
        (_of(tier, True, to_all),),
        {
            "harry -> luna TCP/80": False,
            "harry -> cedric UDP/53": False,
            f"harry -> {OUTSIDE} TCP/443": False,
            "luna -> harry TCP/80": True,
            "draco -> luna TCP/80": True,
        },
    )
    to_some = Part("Allow", ("10.0.4.1/32", "10.0.3.1/32"))
    yield Step(
        "single addresses in front of them",
        (_of(tier, True, to_some, to_all),),
        {
            "harry -> luna TCP/80": True,
            "harry -> cedric UDP/53": True,
            "harry -> draco TCP/80": False,
            f"harry -> {OUTSIDE} TCP/443": False,
        },
    )


def _priorities() -> Iterator[Step]:
    denies = (Part("Deny", ("slytherin",)),)
    passes = (Part("Pass", ("slytherin",)),)
    accepts = (Part("Allow", ("slytherin",)),)
    baseline = Written("Baseline", accepts, accepts)
    for priority, allowed in ((60, False), (40, True)):
        yield Step(
            f"the other policy has {priority}",
            (
                Written("Admin", denies, denies, 50),
                Written("Admin", passes, passes, priority),
                baseline,
            ),
            {
                "harry -> draco TCP/80": allowed,
                "draco -> harry TCP/80": allowed,
                "harry -> luna TCP/80": True,
            },
        )


def _integration() -> Iterator[Step]:
    """An admin policy, a NetworkPolicy and the baseline."""
    peer = [{"namespaceSelector": _of_namespace("slytherin")}]
    opens = _network_policy({"ingress": [{"from": peer}], "egress": [{"to": peer}]})
    closes = _network_policy({"ingress": [], "egress": []})

    def both(action: str, tier: Tier) -> Written:
        rules = (Part(action, ("slytherin",)),)
        return Written(tier, rules, rules)

    def asked(allowed: bool) -> dict[str, bool]:
        return {"harry -> draco TCP/80": allowed, "draco -> harry TCP/80": allowed}

    denied, passed = both("Deny", "Admin"), both("Pass", "Admin")
    baseline = both("Deny", "Baseline")
    yield Step("the admin policy denies", (denied, baseline), asked(False), (opens,))
    yield Step("it passes, the NetworkPolicy allows", (passed, baseline), asked(True), (opens,))
    opening = both("Allow", "Baseline")
    yield Step("it passes, the NetworkPolicy isolates", (passed, opening), asked(False), (closes,))
    yield Step("it passes, there is no NetworkPolicy", (passed, baseline), asked(False))
    yield Step("it passes, and the baseline allows", (passed, opening), asked(True))


def _named(tier: Tier, out: bool) -> Iterator[Step]:
    other, end = ("cedric", "hufflepuff")
    yield Step(
        "a port by its name",
        (_of(tier, out, Part("Allow", (end,), ("web",)), Part("Deny", (end,))),),
        {
            _asked(out, other, "TCP", 80): True,
            _asked(out, other, "TCP", 8080): False,
            _asked(out, other, "UDP", 53): False,
            _asked(out, "luna", "TCP", 8080): True,
        },
    )


def _nodes(tier: Tier) -> Iterator[Step]:
    """The pods of forbidden-forrest have the addresses of their nodes."""
    for action in ("Allow", "Pass", "Deny") if tier == "Admin" else ("Allow", "Deny"):
        at_port = Part(action, ("nodes",), (("TCP", 80),))
        rules = (at_port, Part("Deny", ("nodes",)))
        behind = (_of("Baseline", True, Part("Deny", ("nodes",))),) if tier == "Admin" else ()
        yield Step(
            f"{action}: nodes",
            (_of(tier, True, *rules), *behind),
            {
                "harry -> centaur TCP/80": action == "Allow",
                "harry -> centaur TCP/8080": False,
                "harry -> luna TCP/8080": True,
                "draco -> centaur TCP/8080": True,
            },
        )


Steps = Callable[[], Iterator[Step]]


def _rows() -> Iterator[tuple[str, str, Steps]]:
    """By the names of the suite: of v1alpha2, of v1alpha1."""
    tiers: tuple[tuple[Tier, str, str], ...] = (
        ("Admin", "CNPAdminTier", "AdminNetworkPolicy"),
        ("Baseline", "CNPBaselineTier", "BaselineAdminNetworkPolicy"),
    )
    for tier, kind, older in tiers:

        def row(
            name: str, steps: Steps, kind: str = kind, older: str = older
        ) -> tuple[str, str, Steps]:
            return f"{kind}{name}", f"{older}{name}", steps

        for way, out in (("Ingress", False), ("Egress", True)):
            for protocol in _PAIRS:
                yield row(f"{way}{protocol}", partial(_protocol, tier, out, protocol))
            yield row(f"{way}NamedPort", partial(_named, tier, out))
        yield row("Gress", partial(_both_directions, tier))
        yield row("EgressInlineCIDRPeers", partial(_blocks, tier))
        yield row("EgressNodePeers", partial(_nodes, tier))
        if tier == "Admin":
            yield row("PriorityField", _priorities)
            yield row("Integration", _integration)


ROWS: Mapping[tuple[str, str], Steps] = {
    (version, name): steps
    for newer, older, steps in _rows()
    for version, name in zip(VERSIONS, (older, newer), strict=True)
}


# --- as documents --------------------------------------------------------------------------------


def documents(step: Step, version: str) -> list[Object]:
    """The cluster of a step, its policies in a version of the API."""
    policies = [
        _v1alpha1(one, number) if version == "v1alpha1" else _v1alpha2(one, number)
        for number, one in enumerate(step.policies)
    ]
    return [*_CLUSTER, *policies, *step.usual]


def _of_namespace(name: str) -> Object:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _end(name: str) -> Object:
    if name == "nodes":
        return {"nodes": {"matchLabels": {"kubernetes.io/os": "linux"}}}
    if "/" in name:
        return {"networks": [name]}
    return {"namespaces": _of_namespace(name)}


def _v1alpha1(written: Written, number: int) -> Object:
    def port(one: tuple[str, int] | str) -> Object:
        if isinstance(one, str):
            return {"namedPort": one}
        return {"portNumber": {"protocol": one[0], "port": one[1]}}

    def rule(part: Part, side: str) -> Object:
        ports = {"ports": [port(one) for one in part.ports]} if part.ports else {}
        return {"action": part.action, side: [_end(one) for one in part.ends], **ports}

    spec = _spec(written, rule)
    if written.tier == "Baseline":
        return _policy("v1alpha1", "BaselineAdminNetworkPolicy", "default", spec)
    spec["priority"] = written.priority
    return _policy("v1alpha1", "AdminNetworkPolicy", f"policy-{number}", spec)


def _v1alpha2(written: Written, number: int) -> Object:
    def port(one: tuple[str, int] | str) -> Object:
        if isinstance(one, str):
            return {"destinationNamedPort": one}
        return {one[0].lower(): {"destinationPort": {"number": one[1]}}}

    def rule(part: Part, side: str) -> Object:
        ports = {"protocols": [port(one) for one in part.ports]} if part.ports else {}
        action = "Accept" if part.action == "Allow" else part.action
        return {"action": action, side: [_end(one) for one in part.ends], **ports}

    spec = _spec(written, rule) | {"tier": written.tier, "priority": written.priority}
    return _policy("v1alpha2", "ClusterNetworkPolicy", f"policy-{number}", spec)


def _spec(written: Written, rule: Callable[[Part, str], Object]) -> Object:
    return {
        "subject": {"namespaces": _of_namespace(written.subject)},
        "ingress": [rule(part, "from") for part in written.ingress],
        "egress": [rule(part, "to") for part in written.egress],
    }


def _policy(version: str, kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": f"policy.networking.k8s.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _network_policy(spec: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "gryffindor", "name": "usual"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **spec},
    }


def _pod(namespace: str, name: str, address: str) -> Object:
    ports = [
        {"name": name, "protocol": protocol, "containerPort": number}
        for name, (protocol, number) in _PORTS.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "nodeName": "node-1" if namespace == "forbidden-forrest" else "node-2",
            "hostNetwork": namespace == "forbidden-forrest",
            "containers": [{"name": "server", "ports": ports}],
        },
        "status": {"phase": "Running", "podIP": address},
    }


_CLUSTER: list[Object] = [
    *(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}", "labels": {"kubernetes.io/os": "linux"}},
            "status": {"addresses": [{"type": "InternalIP", "address": f"192.168.0.{number}"}]},
        }
        for number in (1, 2)
    ),
    *(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        for namespace, _, _ in PODS.values()
    ),
    *(_pod(*pod) for pod in PODS.values()),
]
