"""Logged connections to Services: judged at what they ended at, or counted with the reason."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubeverdict.analyses.traffic import DROPPED, NO_BACKEND, NO_ENDPOINTS, UNCLEAR
from kubeverdict.model.cluster import Cluster
from tests.analyses.test_attribution import at, collected, record
from tests.services import inputs

WEB = "10.244.0.5"


def led(cluster: Cluster, address: str, port: int) -> tuple[set[tuple[str, int]], list[str]]:
    """The ends that a connection from the first pod was one to, and why there is none."""
    traffic, reading = collected(record(at(WEB), at(address), number=port), inside=cluster)
    names = [traffic.ends[end].name for end in traffic.destination.tolist()]
    ends = set(zip(names, traffic.port.tolist(), strict=True))
    return ends, list(reading.unattributed)


@pytest.mark.parametrize(
    ("address", "port", "ends"),
    [
        ("10.96.0.20", 80, {("shop/db-0", 8080)}),
        ("198.51.100.9", 80, {("shop/db-0", 8080)}),
        ("203.0.113.50", 80, {("shop/db-0", 8080)}),
        ("192.168.1.2", 30080, {("shop/db-0", 8080)}),
        ("192.168.1.2", 22, {("192.168.1.2", 22)}),
        ("203.0.113.51", 80, {("203.0.113.51", 80)}),  # the balancer forwards it itself
    ],
)
def test_where_a_connection_to_an_address_ended(
    address: str, port: int, ends: set[tuple[str, int]]
) -> None:
    assert led(inputs.cluster(inputs.BALANCER), address, port) == (ends, [])


@pytest.mark.parametrize("listed", ["apiserver-slice", "apiserver-endpoints"])
def test_the_api_server_is_its_endpoints(listed: str) -> None:
    ends, why = led(inputs.cluster(("apiserver", listed)), "10.96.0.1", 443)
    assert (ends, why) == ({("172.18.0.2", 6443), ("172.18.0.3", 6443)}, [])


def test_what_leads_nowhere_is_counted_with_the_reason() -> None:
    known = inputs.cluster(inputs.BALANCER)
    assert led(known, "10.96.0.20", 81) == (set(), [NO_BACKEND])
    assert led(known, "10.96.0.22", 80) == (set(), [DROPPED])
    assert led(inputs.cluster(("apiserver",)), "10.96.0.1", 443) == (set(), [NO_ENDPOINTS])
    twice = tuple(replace(one, also="a:1 and b:1") for one in known.services)
    unclear = replace(known, services=twice)
    assert led(unclear, "10.96.0.20", 80) == (set(), [UNCLEAR])
