"""Admin policies from manifest to verdict, compared with a plain reading of the documents.

The plain reading is the algorithm of the API's text over YAML values: no tiers, no rule language.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kubeverdict as kv
from tests.clusters.documents import text
from tests.clusters.generated_documents import ON_NODE, PROTOCOLS, SPACES, Maker, Object

OUTSIDE = "203.0.113.9"
CONNECTIONS = [(0, 80), (0, 81), (1, 80), (2, 90)]


class Side(NamedTuple):
    """An end of a connection; one outside has no namespace."""

    address: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, str, int], ...] = ()  # name, protocol, number


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
    """Whether one of ``ports`` or of ``protocols`` is meant."""
    ((word, part),) = entry.items()
    if word in ("namedPort", "destinationNamedPort"):
        return (part, protocol, port) in destination.ports
    if "destinationPort" in part:
        wanted = part["destinationPort"]
        ends = wanted.get("range") or {"start": wanted.get("number"), "end": wanted.get("number")}
        return bool(word.upper() == protocol and ends["start"] <= port <= ends["end"])
    first = part.get("port", part.get("start"))
    last = part.get("port", part.get("end"))
    return bool(part.get("protocol", "TCP") == protocol and first <= port <= last)


def as_calico_has_it(rule: Object, side: str) -> Object | None:
    """A rule as Calico 3.31 converts it, None where it leaves it out."""
    if any("nodes" in peer for peer in rule[side]):
        everybody = [{"namespaces": {}}, {"networks": ["0.0.0.0/0", "::/0"]}]
        return None if rule["action"] == "Allow" else {"action": "Deny", side: everybody}
    if any("namedPort" in one for one in rule.get("ports", ())):
        return {**rule, "ports": []}
    return rule


def rules_of(objects: Sequence[Object], tier: str, subject: Side, word: str) -> list[Object]:
    """The rules of the policies of a tier that select a pod, those that count first in front."""
    kinds = {"Admin": "AdminNetworkPolicy", "Baseline": "BaselineAdminNetworkPolicy"}
    found = [
        one
        for one in objects
        if one["kind"] == kinds[tier]
        or (one["kind"] == "ClusterNetworkPolicy" and one["spec"]["tier"] == tier)
    ]
    found.sort(key=lambda one: (one["spec"].get("priority"), one["metadata"]["name"]))
    return [
        rule
        for one in found
        if is_among(one["spec"]["subject"], subject)
        for rule in one["spec"][word]
    ]


def is_open(
    objects: Sequence[Object],
    source: Side,
    destination: Side,
    out: bool,
    protocol: str,
    port: int,
    in_calico: bool,
) -> bool:
    """One direction, as the API's text has it, or as Calico does."""
    subject, other = (source, destination) if out else (destination, source)
    word, side = ("egress", "to") if out else ("ingress", "from")
    if not subject.namespace:
        return True

    def decided(tier: str) -> bool | None:
        rules = rules_of(objects, tier, subject, word)
        if in_calico:
            read = [as_calico_has_it(rule, side) for rule in rules]
            rules = [rule for rule in read if rule is not None]
        for rule in rules:
            entries = rule.get("ports") or rule.get("protocols") or []
            if not any(is_peer(peer, other) for peer in rule[side]):
                continue
            if entries and not any(is_port(one, protocol, port, destination) for one in entries):
                continue
            return None if rule["action"] == "Pass" else rule["action"] in ("Allow", "Accept")
        return None

    found = decided("Admin")
    if found is not None:
        return found
    usual = networkpolicies(objects, subject, word)
    if usual:
        return allowed_by(usual, word, other)
    found = decided("Baseline")
    return True if found is None else found


def networkpolicies(
    objects: Sequence[Object], subject: Side, word: str, unlisted: bool = False
) -> list[Object]:
    """Those that isolate a pod; ``unlisted``: by rules of directions that they do not list too."""
    return [
        one["spec"]
        for one in objects
        if one["kind"] == "NetworkPolicy"
        and one["metadata"]["namespace"] == subject.namespace
        and (word.title() in one["spec"]["policyTypes"] or (unlisted and one["spec"][word]))
        and selects(one["spec"]["podSelector"], dict(subject.labels))
    ]


def allowed_by(usual: Sequence[Object], word: str, other: Side) -> bool:
    side = "from" if word == "ingress" else "to"
    return any(
        other.namespace and selects(peer["namespaceSelector"], space_labels(other.namespace))
        for spec in usual
        for rule in spec[word]
        for peer in rule[side]
    )


# --- as Cilium 1.20 has it -----------------------------------------------------------------------


def is_open_in_cilium(
    objects: Sequence[Object],
    source: Side,
    destination: Side,
    out: bool,
    protocol: str,
    port: int,
    at_least: bool,
) -> bool:
    """One direction. Rules of one tier are one list by priority and then by their place in the
    policy, where Deny comes before Accept before Pass. The baseline is asked before isolation
    denies; what it passes is left to isolation, which the engine takes for a condition."""
    subject, other = (source, destination) if out else (destination, source)
    word, side = ("egress", "to") if out else ("ingress", "from")
    if not subject.namespace:
        return True

    def decided(tier: str) -> str:
        matching = []
        for one in objects:
            if one["kind"] != "ClusterNetworkPolicy" or one["spec"]["tier"] != tier:
                continue
            rules = one["spec"]["ingress"] + one["spec"]["egress"]
            if any("nodes" in peer for rule in rules for peer in rule.get("to", ())):
                continue  # refused
            if not is_among(one["spec"]["subject"], subject):
                continue
            for place, rule in enumerate(one["spec"][word]):
                if any(
                    is_peer_in_cilium(peer, other, out and "destinationNamedPort" in entry)
                    and (not entry or is_port(entry, protocol, port, destination))
                    for peer in rule[side]
                    for entry in rule.get("protocols", [{}])
                ):
                    rank = ("Deny", "Accept", "Pass").index(rule["action"])
                    matching.append((one["spec"]["priority"], place, rank, rule["action"]))
        return str(min(matching)[-1]) if matching else ""

    found = decided("Admin")
    if found in ("Deny", "Accept"):
        return found == "Accept"
    usual = networkpolicies(objects, subject, word, unlisted=True)
    if allowed_by(usual, word, other):
        return True
    found = decided("Baseline")
    if found in ("Deny", "Accept"):
        return found == "Accept"
    if found == "Pass":
        return not at_least
    return not usual


def is_peer_in_cilium(peer: Object, side: Side, by_name: bool) -> bool:
    """Blocks are addresses outside alone, and namespaces that are only excluded are everybody, but
    where the name of a port is looked up."""
    if "networks" in peer and side.address != OUTSIDE:
        return False
    only_excludes = "matchExpressions" in peer.get("namespaces", {})
    return is_peer(peer, side) or (only_excludes and not by_name)


# --- the comparison ------------------------------------------------------------------------------


def end_of(pod: Object) -> Side:
    ports = [port for one in pod["spec"]["containers"] for port in one.get("ports", ())]
    return Side(
        pod["status"]["podIP"],
        pod["metadata"]["namespace"],
        tuple(pod["metadata"]["labels"].items()),
        tuple((port["name"], port["protocol"], port["containerPort"]) for port in ports),
    )


@pytest.mark.parametrize("cni", ["reference", "calico"])
@settings(max_examples=300)
@given(data=st.data())
def test_verdicts_are_those_of_the_text(cni: str, data: st.DataObject) -> None:
    make = Maker(lambda options: data.draw(st.sampled_from(list(options))))
    sizes = (make.choose((1, 2, 3)), make.choose((1, 2, 3)), make.choose((0, 1, 2)))
    check(make.cluster(*sizes, baseline=make.choose((True, False))), cni)


@settings(max_examples=150)
@given(data=st.data())
def test_verdicts_of_cluster_policies_are_those_of_the_text(data: st.DataObject) -> None:
    make = Maker(lambda options: data.draw(st.sampled_from(list(options))))
    sizes = (make.choose((1, 2, 3)), make.choose((1, 2, 3)), make.choose((0, 1, 2)))
    check(make.cluster_of_tiers(*sizes), "reference")


@settings(max_examples=300)
@given(data=st.data())
def test_verdicts_of_cluster_policies_in_cilium(data: st.DataObject) -> None:
    make = Maker(lambda options: data.draw(st.sampled_from(list(options))))
    sizes = (make.choose((1, 2, 3)), make.choose((1, 2, 3)), make.choose((0, 1, 2)))
    objects = make.cluster_of_tiers(*sizes)
    for pod in (one for one in objects if one["kind"] == "Pod"):
        # Of several ports with one name Cilium takes one.
        named = pod["spec"]["containers"]
        pod["spec"]["containers"] = list(
            {str(one.get("ports", [{}])[0].get("name")): one for one in named}.values()
        )
    check(objects, "cilium")


def check(objects: list[Object], cni: str) -> None:
    pods = [one for one in objects if one["kind"] == "Pod"]
    loaded = kv.load(["-"], stdin=io.BytesIO(text(objects).encode()))
    compiled = kv.compile_cluster(loaded.cluster, kv.PROFILES[cni])
    for at_least in (False, True):
        check_bound(compiled.bound(at_least), objects, pods, cni, at_least)


def check_bound(
    compiled: kv.CompiledPolicy, objects: list[Object], pods: list[Object], cni: str, at_least: bool
) -> None:
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
        plain = is_open_in_cilium if cni == "cilium" else is_open
        word = at_least if cni == "cilium" else cni == "calico"
        expected = all(
            plain(objects, sides[s], sides[d], out, PROTOCOLS[protocol], port, word)
            for out in (True, False)
        )
        assert allowed == expected, (sides[s], sides[d], PROTOCOLS[protocol], port)
