"""Who the ends of logged connections were."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kubeverdict.analyses.attribution import (
    ANOTHERS,
    NOBODYS,
    NOT_AN_ADDRESS,
    NOT_IN_CLUSTER,
    _canonical,
)
from kubeverdict.analyses.traffic import NO_BACKEND, LogReading, Traffic, collect
from kubeverdict.model.cluster import Cluster, Node, Service, ServicePort
from kubeverdict.model.flows import FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol
from tests.analyses.test_recommend_property import Lines
from tests.clusters.records import cluster, pod, port

WEB = replace(pod("shop/web-7d9fb6-x2bcd", "app=web", "10.0.0.1", workload="web"), started=1000)
DB = pod(
    "shop/db-0", "app=db", "10.0.0.2", workload="db", kind="StatefulSet", ports=[port("pg", 5432)]
)
SERVICE = Service(
    "shop", "db", {"app": "db"}, (ServicePort(Protocol.TCP, 80, "pg"),), addresses=("10.96.0.1",)
)
CLUSTER = cluster([WEB, DB], nodes=[Node("n", ("10.0.0.9",))], services=[SERVICE])


def record(
    source: FlowEnd,
    destination: FlowEnd,
    time: float | None = None,
    seen: Seen = Seen.ARRIVED,
    number: int = 80,
) -> FlowRecord:
    return FlowRecord(source, destination, Protocol.TCP, number, seen, time)


def at(address: str, outside: bool = False) -> FlowEnd:
    return FlowEnd(address=address, outside=outside)


def named(text: str, address: str = "") -> FlowEnd:
    namespace, _, name = text.partition("/")
    return FlowEnd(namespace, name, address)


OUT = at("203.0.113.9", outside=True)


def collected(*records: FlowRecord, inside: Cluster = CLUSTER) -> tuple[Traffic, LogReading]:
    reading = LogReading()
    (traffic,) = collect([Lines(records)], inside, reading)
    return traffic, reading


def ends(traffic: Traffic) -> list[tuple[str, str]]:
    names = [end.name for end in traffic.ends]
    pairs = zip(traffic.source.tolist(), traffic.destination.tolist(), strict=True)
    return [(names[source], names[destination]) for source, destination in pairs]


def test_names_go_before_addresses() -> None:
    traffic, reading = collected(record(named("shop/db-0", "10.0.0.1"), OUT))
    assert ends(traffic) == [("shop/db-0", "203.0.113.9")]
    assert not reading.unattributed


def test_an_address_belongs_to_a_pod_from_its_start_on() -> None:
    traffic, reading = collected(
        record(at("10.0.0.1"), OUT, 999.0), record(at("10.0.0.1"), OUT, 1000.0)
    )
    assert ends(traffic) == [("shop/web-7d9fb6-x2bcd", "203.0.113.9")]
    assert traffic.observed.tolist() == [1]
    assert reading.unattributed == {ANOTHERS: 1}
    assert reading.unattributed_first[ANOTHERS] == ["10.0.0.1"]


def test_logs_teach_who_had_an_address() -> None:
    traffic, reading = collected(
        record(named("shop/db-0", "10.0.0.1"), OUT, 500.0, number=1),
        record(at("10.0.0.1"), OUT, 600.0, number=2),
        record(at("10.0.0.1"), OUT, 2000.0, number=3),
    )
    assert dict(zip(traffic.port.tolist(), ends(traffic), strict=True)) == {
        1: ("shop/db-0", "203.0.113.9"),
        2: ("shop/db-0", "203.0.113.9"),
        3: ("shop/web-7d9fb6-x2bcd", "203.0.113.9"),
    }
    assert not reading.unattributed


def test_records_that_come_later_teach_too() -> None:
    traffic, _ = collected(
        record(at("10.7.7.7"), OUT, 600.0, number=2),
        record(named("shop/db-0", "10.7.7.7"), OUT, 500.0, number=1),
    )
    assert {source for source, _ in ends(traffic)} == {"shop/db-0"}


def test_pods_that_are_gone_are_known_by_their_workload() -> None:
    traffic, reading = collected(
        record(named("shop/web-598d5b586d-wsvmz"), OUT),
        record(named("shop/web-598d5b586d-*"), OUT),
        record(named("shop/web-*"), OUT),
        record(FlowEnd("shop", "anything", "", "web"), OUT),
        record(named("shop/web-frontend"), OUT),
    )
    assert ends(traffic) == [("shop/web-7d9fb6-x2bcd", "203.0.113.9")]
    assert traffic.observed.tolist() == [4]
    assert reading.by_workload == 4
    assert reading.unattributed == {NOT_IN_CLUSTER: 1}


def test_what_is_near_pods_and_no_pod_is_not_known() -> None:
    traffic, reading = collected(
        record(at("10.0.0.77"), OUT),
        record(at("10.0.0.9"), OUT),
        record(at("10.0.0.78", outside=True), OUT),
        record(at("nonsense"), OUT),
    )
    assert {source for source, _ in ends(traffic)} == {"10.0.0.9", "10.0.0.78"}
    assert reading.unattributed == {NOBODYS: 1, NOT_AN_ADDRESS: 1}


def test_the_address_of_a_service_leads_to_its_pods() -> None:
    traffic, reading = collected(
        record(at("203.0.113.9"), at("10.96.0.1")), record(OUT, at("10.96.0.1"), number=81)
    )
    assert ends(traffic) == [("203.0.113.9", "shop/db-0")]
    assert traffic.port.tolist() == [5432]
    assert reading.unattributed == {NO_BACKEND: 1}


def test_what_left_and_was_refused_did_not_get_through() -> None:
    both = (named("shop/web-7d9fb6-x2bcd"), named("shop/db-0"))
    for seen, expected in (
        ([Seen.SENT, Seen.DENIED], (0, 1)),
        ([Seen.SENT], (1, 0)),
        ([Seen.SENT, Seen.ARRIVED, Seen.DENIED], (2, 1)),
    ):
        traffic, _ = collected(*(record(*both, seen=one) for one in seen))
        assert (int(traffic.observed[0]), int(traffic.denied[0])) == expected


def test_batches_are_bounded_and_nothing_is_lost() -> None:
    records = [record(at(f"203.0.{n % 7}.{n % 250}"), named("shop/db-0")) for n in range(3000)]
    reading = LogReading()
    batches = [Lines(records[first : first + 100]) for first in range(0, 3000, 100)]
    found = list(collect(batches, CLUSTER, reading, most=150))
    assert len(found) > 5
    assert all(len(traffic) <= 250 for traffic in found)
    assert sum(int(traffic.observed.sum()) for traffic in found) == 3000


def test_addresses_are_the_same_however_they_are_spelt() -> None:
    six = replace(DB, addresses=("fd00::2",))
    inside = cluster([six])
    traffic, _ = collected(
        record(at("fd00:0:0::2"), OUT), record(at("fd00::2"), OUT), inside=inside
    )
    assert ends(traffic) == [("shop/db-0", "203.0.113.9")]


@given(st.ip_addresses())
def test_an_address_is_known_by_its_canonical_spelling(address: IPv4Address | IPv6Address) -> None:
    family = AF_INET if address.version == 4 else AF_INET6
    spelt = inet_ntop(family, address.packed)
    assert _canonical(str(address)) == _canonical(address.exploded) == spelt


def test_what_is_no_address_has_no_spelling() -> None:
    assert [_canonical(text) for text in ("", "web", "010.0.0.1", "10.1", " 10.0.0.1")] == [""] * 5
