"""Egress firewalls from manifest to verdict, compared with a plain reading of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random

import pytest

import kubeverdict as kv
from kubeverdict.manifests import delete
from tests.cli.running import run_here
from tests.clusters.documents import text
from tests.clusters.firewall_documents import FirewallMaker
from tests.clusters.generated_documents import ON_NODE, PROTOCOLS, Object
from tests.manifests.reading import load_text, problems_of, told
from tests.manifests.test_admin_verdicts import CONNECTIONS, OUTSIDE, Side, end_of, is_open

# --- the plain reading ---------------------------------------------------------------------------


def firewall_says(
    objects: Sequence[Object], source: Side, other: Side, protocol: str, port: int, at_least: bool
) -> bool:
    """Whether the firewall of the source's namespace lets a connection out. Which addresses were
    given for a name is not known: at least, rules by name that deny count; else those that
    allow."""
    for one in objects:
        if not one["kind"].startswith("Egress"):
            continue
        if one["metadata"]["namespace"] != source.namespace:
            continue
        for rule in one["spec"]["egress"]:
            to, ports = rule["to"], rule.get("ports", ())
            if ports and not any(
                (entry["protocol"], entry.get("port", port)) == (protocol, port) for entry in ports
            ):
                continue
            if other.namespace:
                continue
            if "cidrSelector" in to:
                met = ip_address(other.address) in ip_network(to["cidrSelector"])
            elif "nodeSelector" in to:
                met = other.address == ON_NODE and to["nodeSelector"]["matchLabels"] == {
                    "role": "edge"
                }
            else:
                met = rule["type"] == ("Deny" if at_least else "Allow")
            if met:
                return bool(rule["type"] == "Allow")
    return True


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_verdicts_are_those_of_a_plain_reading(first: int) -> None:
    """With NetworkPolicy and AdminNetworkPolicy beside: all have to allow."""
    closed = 0
    for seed in range(first, first + 10):
        random = Random(seed)
        make = FirewallMaker(random.choice)
        objects = make.firewalled_cluster(random.choice((1, 2, 3)), random.choice((0, 1, 2)), 1)
        compiled = kv.compile_cluster(load_text(text(objects)).cluster)
        pods = [one for one in objects if one["kind"] == "Pod"]
        sides = [*map(end_of, pods), Side(OUTSIDE), Side(ON_NODE)]
        for at_least in (False, True):
            closed += check(compiled.bound(at_least), objects, sides, at_least, seed)
    assert closed


def check(
    bound: kv.CompiledPolicy,
    objects: list[Object],
    sides: list[Side],
    at_least: bool,
    seed: int,
) -> int:
    """How many connections the firewalls alone deny."""
    ids = [kv.pod_id(bound, pod) for pod in bound.pods]
    ids += kv.address_ids(bound, [OUTSIDE, ON_NODE]).tolist()
    asked = [
        (s, d, *one)
        for s in range(len(sides))
        for d in range(len(sides))
        for one in CONNECTIONS
        if s != d
    ]
    verdicts = kv.judge(
        bound,
        [ids[s] for s, *_ in asked],
        [ids[d] for _, d, *_ in asked],
        [protocol for *_, protocol, _ in asked],
        [port for *_, port in asked],
    )
    closed = 0
    for (s, d, protocol, port), allowed in zip(asked, verdicts.allowed.tolist(), strict=True):
        source, other, word = sides[s], sides[d], PROTOCOLS[protocol]
        policies = all(
            is_open(objects, source, other, out, word, port, False) for out in (True, False)
        )
        firewall = firewall_says(objects, source, other, word, port, at_least)
        assert allowed == (policies and firewall), (seed, at_least, source, other, word, port)
        closed += policies and not firewall
    return closed


# --- what the text says, row by row --------------------------------------------------------------

WORLD = f"""
apiVersion: v1
kind: Node
metadata: {{name: n1, labels: {{role: edge}}}}
status: {{addresses: [{{type: InternalIP, address: {ON_NODE}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: shop}}
spec: {{containers: [{{name: c}}]}}
status: {{phase: Running, podIP: 10.0.0.1}}
---
apiVersion: v1
kind: Pod
metadata: {{name: db, namespace: data}}
spec: {{containers: [{{name: c}}]}}
status: {{phase: Running, podIP: 10.0.0.2}}
---
"""
DENY = "{type: Deny, to: {cidrSelector: 0.0.0.0/0}}"


def firewall(*rules: str, kind: str = "EgressFirewall", name: str = "default") -> str:
    version = "k8s.ovn.org/v1" if kind == "EgressFirewall" else "network.openshift.io/v1"
    return (
        f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\n"
        f"spec: {{egress: [{', '.join(rules)}]}}\n"
    )


ADMIN = """---
apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: admin}
spec:
  priority: 1
  subject: {namespaces: {}}
  egress: [{action: Allow, to: [{networks: [0.0.0.0/0]}]}]
"""
EXCEPT = "{type: Allow, to: {cidrSelector: 203.0.113.0/24}}"
CASES = [
    # The first rule that matches decides, and what none matches is allowed.
    ((EXCEPT, DENY), OUTSIDE, "allowed"),
    ((DENY, EXCEPT), OUTSIDE, "denied"),
    ((EXCEPT,), "198.51.100.7", "allowed"),
    # Pods are left out of blocks, nodes are not.
    ((DENY,), "data/db", "allowed"),
    ((DENY,), ON_NODE, "denied"),
    (("{type: Allow, to: {nodeSelector: {matchLabels: {role: edge}}}}", DENY), ON_NODE, "allowed"),
    # Ports, and protocols with any port.
    (
        ("{type: Deny, to: {cidrSelector: 0.0.0.0/0}, ports: [{protocol: UDP}]}",),
        OUTSIDE,
        "allowed",
    ),
    (
        ("{type: Deny, to: {cidrSelector: 0.0.0.0/0}, ports: [{protocol: TCP, port: 80}]}",),
        OUTSIDE,
        "denied",
    ),
    # Which addresses a name has is not known.
    (("{type: Allow, to: {dnsName: '*.example.com'}}", DENY), OUTSIDE, "conditional"),
]


@pytest.mark.parametrize(("rules", "to", "verdict"), CASES)
@pytest.mark.parametrize("cni", ["reference", "ovn-kubernetes"])
def test_what_the_text_says(
    tmp_path: Path, cni: str, rules: tuple[str, ...], to: str, verdict: str
) -> None:
    assert explained(tmp_path, firewall(*rules), to, cni) == verdict


def explained(folder: Path, policies: str, to: str, cni: str = "reference") -> str:
    path = folder / "all.yaml"
    path.write_text(WORLD + policies)
    done = run_here(
        *("explain", "-f", path, "--from", "shop/web", "--to", to, "--port", "80", "--cni", cni)
    )
    lines = [line for line in done.out.splitlines() if not line.startswith("note:")]
    return lines[0].partition(":")[0].partition(" ")[0]


def test_no_admin_policy_reopens_what_a_firewall_denies(tmp_path: Path) -> None:
    assert explained(tmp_path, firewall(DENY) + ADMIN, OUTSIDE) == "denied"


def test_only_ovn_kubernetes_has_them(tmp_path: Path) -> None:
    assert explained(tmp_path, firewall(DENY), OUTSIDE, "calico") == "allowed"
    plain = firewall(DENY, kind="EgressNetworkPolicy", name="any")
    assert explained(tmp_path, plain, OUTSIDE) == "denied"
    assert explained(tmp_path, plain, OUTSIDE, "ovn-kubernetes") == "allowed"
    (warning,) = load_text(plain).warnings
    assert "OpenShift SDN alone" in warning.message


def test_a_firewall_goes_by_its_name() -> None:
    cluster = load_text(WORLD + firewall(DENY) + ADMIN).cluster
    left = delete(cluster, ["egressfirewall/shop/default"]).policies
    assert [one.kind for one in left] == ["AdminNetworkPolicy"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            firewall(DENY, name="other"),
            'metadata.name: Invalid value: "other": must be default: a namespace has one '
            "EgressFirewall",
        ),
        (
            firewall("{type: Drop, to: {cidrSelector: 10.0.0.0/8}}"),
            'spec.egress[0].type: Unsupported value: "Drop": supported values: "Allow", "Deny"',
        ),
        (
            firewall("{type: Deny, to: {cidrSelector: 10.0.0.0/8, dnsName: a.b}}"),
            "spec.egress[0].to: Required value: exactly one of cidrSelector, dnsName, nodeSelector",
        ),
        (
            firewall("{type: Deny, to: {dnsName: 'a b'}}"),
            'spec.egress[0].to.dnsName: Invalid value: "a b": must be a domain name, which may '
            "begin with '*.' for one label",
        ),
        (
            firewall("{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: [{protocol: ICMP}]}"),
            'spec.egress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: '
            '"TCP", "UDP", "SCTP"',
        ),
        (
            firewall("{type: Deny, to: {nodeSelector: {}}}", kind="EgressNetworkPolicy"),
            "spec.egress[0].to: Required value: exactly one of cidrSelector, dnsName",
        ),
    ],
)
def test_what_is_refused(document: str, message: str) -> None:
    assert told(problems_of(document)) == [message]
