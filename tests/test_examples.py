"""The shop does what its README says, the mistake included; the proposed change does as well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import kubeverdict
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.evaluate.ends import address_ids
from kubeverdict.evaluate.flows import judge
from kubeverdict.manifests import load
from kubeverdict.model.cluster import Cluster
from kubeverdict.model.policy import Policy
from kubeverdict.model.ports import Protocol

EXAMPLES = Path(kubeverdict.__file__).parent / "examples"


def changed(before: Cluster, proposed: Sequence[Policy]) -> Cluster:
    by_name = {str(policy): policy for policy in (*before.policies, *proposed)}
    return Cluster(
        before.namespaces, before.pods, tuple(by_name.values()), before.nodes, before.services
    )


@pytest.fixture(scope="module")
def shop() -> CompiledPolicy:
    loaded = load([str(EXAMPLES / "shop")])
    assert (loaded.warnings, loaded.ignored, loaded.skipped) == ((), {}, ())
    assert len(loaded.workloads) == 12
    return compile_cluster(loaded.cluster)


@pytest.fixture(scope="module")
def shop_after(shop: CompiledPolicy) -> CompiledPolicy:
    proposed = load([str(EXAMPLES / "shop-change")]).cluster.policies
    assert len(proposed) == 2
    return compile_cluster(changed(shop.cluster, proposed))


def allowed(compiled: CompiledPolicy, source: str, destination: str, port: int) -> bool:
    """Ends are names of workloads; a destination may be an address."""
    ends = {pod.workload.name: index for index, pod in enumerate(compiled.pods)}
    target = ends.get(destination)
    if target is None:
        target = int(address_ids(compiled, [destination])[0])
    return bool(judge(compiled, [ends[source]], [target], [Protocol.TCP], [port]).allowed[0])


INTENDED = [
    ("ingress-nginx", "frontend", 8080),
    ("frontend", "catalog", 8080),
    ("frontend", "cart", 8080),
    ("frontend", "checkout", 8080),
    ("catalog", "search", 9200),
    ("cart", "cart-cache", 6379),
    ("checkout", "cart", 8080),
    ("checkout", "payments", 8080),
    ("payments", "203.0.113.9", 443),
    ("orders-backup", "orders-db", 5432),
    ("orders-backup", "198.51.100.9", 443),
    ("prometheus", "frontend", 9090),
    ("prometheus", "ingress-nginx", 10254),
    ("prometheus", "orders-db", 9187),
    ("cart", "coredns", 53),
    ("orders-db", "coredns", 53),
]
FORBIDDEN = [
    ("frontend", "payments", 8080),
    ("frontend", "orders-db", 5432),
    ("cart", "search", 9200),
    ("ingress-nginx", "checkout", 8080),
    ("prometheus", "orders-db", 5432),
    ("checkout", "203.0.113.9", 443),
    ("payments", "203.0.113.9", 80),
    ("payments", "169.254.169.254", 443),
    ("payments", "10.1.2.3", 443),
]


@pytest.mark.parametrize(("source", "destination", "port"), INTENDED)
def test_what_is_meant_to_happen(
    shop: CompiledPolicy, source: str, destination: str, port: int
) -> None:
    assert allowed(shop, source, destination, port)


@pytest.mark.parametrize(("source", "destination", "port"), FORBIDDEN)
def test_what_is_not(shop: CompiledPolicy, source: str, destination: str, port: int) -> None:
    assert not allowed(shop, source, destination, port)


def test_nobody_can_pay_until_the_label_is_spelt_right(
    shop: CompiledPolicy, shop_after: CompiledPolicy
) -> None:
    assert not allowed(shop, "checkout", "orders-db", 5432)
    assert allowed(shop_after, "checkout", "orders-db", 5432)


@pytest.mark.parametrize("source", ["cart", "catalog", "payments"])
def test_the_change_opens_more_than_it_should(
    shop: CompiledPolicy, shop_after: CompiledPolicy, source: str
) -> None:
    assert not allowed(shop, source, "orders-db", 5432)
    assert allowed(shop_after, source, "orders-db", 5432)


@pytest.mark.parametrize(("exporter", "port"), [("cart-cache", 9121), ("search", 9114)])
def test_the_change_closes_what_nobody_meant_to_close(
    shop: CompiledPolicy, shop_after: CompiledPolicy, exporter: str, port: int
) -> None:
    assert allowed(shop, "prometheus", exporter, port)
    assert not allowed(shop_after, "prometheus", exporter, port)


@pytest.mark.parametrize("source", ["ingress-nginx", "prometheus"])
def test_the_platform_team_locks_itself_out_of_dns(shop: CompiledPolicy, source: str) -> None:
    proposed = load([str(EXAMPLES / "shop-dns")]).cluster.policies
    after = compile_cluster(changed(shop.cluster, proposed))
    assert allowed(shop, source, "coredns", 53)
    assert not allowed(after, source, "coredns", 53)
    # What the two are there for goes on.
    assert allowed(after, "ingress-nginx", "frontend", 8080)
    assert allowed(after, "prometheus", "orders-db", 9187)
