"""Policies of the other APIs for a generated cluster, as documents.

They are written as teams write them: a platform's cluster policies, Calico's in four tiers, and
Cilium's beside the NetworkPolicies of each application.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from kubeverdict.manifests import load
from kubeverdict.model.cluster import METADATA_NAME, Cluster, Pod

Object = dict[str, Any]

CLUSTER_POLICIES, CALICO_POLICIES, CILIUM_POLICIES = 200, 300, 500
# Two before NetworkPolicy, its own, and one behind it.
_TIERS = {"security": 100, "platform": 200, "default": None, "audit": 2_000_000}
_PORTS = (80, 443, 5432, 6379, 8080, 9090)


def with_other_apis(cluster: Cluster, seed: int = 1) -> Cluster:
    """The cluster with policies of the other APIs as well."""
    documents = [*_documents(cluster.pods, Random(seed))]
    text = "".join(f"---\n{msgspec.json.encode(one).decode()}\n" for one in documents)
    loaded = load(["-"], stdin=io.BytesIO(text.encode())).cluster
    return replace(
        cluster,
        policies=(*cluster.policies, *loaded.policies),
        references=loaded.references,
    )


def _documents(pods: Sequence[Pod], random: Random) -> Iterator[Object]:
    kinds = sorted({(pod.namespace, pod.labels.get("app", "")) for pod in pods})
    apps = [(namespace, app) for namespace, app in kinds if app]
    for number in range(CLUSTER_POLICIES):
        yield _cluster_policy(random, apps, number)
    for name, order in _TIERS.items():
        if order is not None:
            spec: Object = {"order": order, "defaultAction": "Pass"}
            yield _object("projectcalico.org/v3", "Tier", name, spec)
    for number in range(CALICO_POLICIES):
        yield _calico(random, apps, number)
    for number in range(CILIUM_POLICIES):
        yield _cilium(random, apps, number)


def _object(version: str, kind: str, name: str, spec: Object, namespace: str = "") -> Object:
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **where}, "spec": spec}


def _cluster_policy(random: Random, apps: Sequence[tuple[str, str]], number: int) -> Object:
    def namespaces(count: int) -> Object:
        names = sorted({random.choice(apps)[0] for _ in range(count)})
        wanted = {"key": METADATA_NAME, "operator": "In", "values": names}
        return {"namespaces": {"matchExpressions": [wanted]}}

    port = {"tcp": {"destinationPort": {"number": random.choice(_PORTS)}}}
    spec = {
        "tier": "Baseline" if number % 4 == 3 else "Admin",
        # Each its own: 200 in 1,000.
        "priority": number * 5,
        "subject": namespaces(10),
        "ingress": [
            {"action": "Pass", "from": [namespaces(2)], "protocols": [port]},
            {"action": random.choice(("Accept", "Deny")), "from": [namespaces(4)]},
        ],
        "egress": [{"action": "Deny", "to": [{"networks": [f"203.0.{number}.0/24"]}]}],
    }
    return _object(
        "policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", f"cluster-{number}", spec
    )


def _calico(random: Random, apps: Sequence[tuple[str, str]], number: int) -> Object:
    namespace, app = random.choice(apps)
    tier = tuple(_TIERS)[number % len(_TIERS)]
    peer = random.choice(apps)[1]
    spec: Object = {
        "tier": tier,
        "order": number,
        "selector": f"app == '{app}'",
        "types": ["Ingress"],
        "ingress": [
            {
                "action": "Allow",
                "protocol": "TCP",
                "source": {"selector": f"app in {{'{peer}', '{app}'}}"},
                "destination": {"ports": [random.choice(_PORTS), "9000:9100"]},
            },
            {
                "action": "Deny",
                "source": {"nets": [f"198.51.{number % 256}.0/24"]},
            },
        ],
    }
    name = f"policy-{number}" if tier == "default" else f"{tier}.policy-{number}"
    return _object("projectcalico.org/v3", "NetworkPolicy", name, spec, namespace)


def _cilium(random: Random, apps: Sequence[tuple[str, str]], number: int) -> Object:
    namespace, app = random.choice(apps)
    where, peer = random.choice(apps)
    ports = [{"ports": [{"port": str(random.choice(_PORTS)), "protocol": "TCP"}]}]
    wanted = {"app": peer, "io.kubernetes.pod.namespace": where}
    spec: Object = {
        "endpointSelector": {"matchLabels": {"app": app}},
        "ingress": [
            {"fromEndpoints": [{"matchLabels": wanted}], "toPorts": ports},
            {"fromEntities": ["host"]},
        ],
    }
    if number % 5 == 0:
        spec["ingressDeny"] = [{"fromCIDRSet": [{"cidr": f"192.0.2.{number % 256}/32"}]}]
    return _object("cilium.io/v2", "CiliumNetworkPolicy", f"policy-{number}", spec, namespace)
