"""Which end began a connection, where a log does not say: records in any order, one answer."""

from __future__ import annotations

import itertools

import pytest

from kubeverdict.analyses.traffic import REPLY, UNKNOWN_OPENER, LogReading, collect
from kubeverdict.flowlogs.reading import LineBatch
from kubeverdict.model.flows import DIRECTED, FlowEnd, FlowRecord, Seen
from kubeverdict.model.ports import Protocol
from tests.clusters.records import cluster, pod, port

BACK_PORTS = [port("", number, Protocol.UDP) for number in (8080, 50051)]
CLUSTER = cluster(
    [
        pod("x/front", "app=front", "10.0.0.1"),
        pod("x/back", "app=back", "10.0.0.2", ports=BACK_PORTS),
        pod("x/db", "app=db", "10.0.0.3"),
    ]
)


def record(source: str, source_port: int, destination: str, port: int) -> FlowRecord:
    first, last = (
        FlowEnd("x", end) if end.isalpha() else FlowEnd(address=end)
        for end in (source, destination)
    )
    return FlowRecord(first, last, Protocol.UDP, port, Seen.ARRIVED, None, 1, source_port)


Told = tuple[str, int, str, int]


def traffic(*told: Told) -> tuple[list[tuple[str, str, int]], LogReading]:
    """Connections, as source, destination and port; and how reading went."""
    reading = LogReading()
    batch = LineBatch([record(*one) for one in told], len(told))
    (found,) = collect([batch], CLUSTER, reading, None)
    rows = zip(found.source.tolist(), found.destination.tolist(), found.port.tolist(), strict=True)
    names = [(found.ends[a].name, found.ends[b].name, port) for a, b, port in rows]
    return sorted(names), reading


BACK, GRPC = ("x/front", "x/back", 8080), ("x/front", "x/back", 50051)
DB, TO_FRONT = ("x/front", "x/db", 20000), ("x/back", "x/front", 3000)


@pytest.mark.parametrize(
    ("told", "connections", "replies", "undecided"),
    [
        # The other record tells: a mirrored tuple, a declared port, the ports themselves.
        ([("front", 51000, "back", 8080), ("back", 8080, "front", 51000)], [BACK], 1, 0),
        ([("front", DIRECTED, "db", 20000), ("db", 20000, "front", 3000)], [DB], 1, 0),
        ([("front", DIRECTED, "db", 20000), ("front", 3000, "db", 20000)], [DB], 0, 0),
        # A reply whose beginning no record tells of.
        ([("back", 8080, "front", 51000)], [], 1, 0),
        ([("db", 53, "front", 20000)], [], 1, 0),
        # A declared port, though Linux gives such ports to clients; a port below those.
        ([("front", 40000, "back", 50051), ("back", 50051, "front", 40000)], [GRPC], 1, 0),
        ([("front", 20000, "back", 50051), ("back", 50051, "front", 20000)], [GRPC], 1, 0),
        ([("front", 40000, "db", 9000)], [("x/front", "x/db", 9000)], 0, 0),
        ([("front", 20000, "8.8.8.8", 53)], [("x/front", "8.8.8.8", 53)], 0, 0),
        # Peers of one protocol.
        ([("front", 7946, "db", 7946)], [("x/front", "x/db", 7946)], 0, 0),
        # Nothing tells.
        ([("front", 40000, "db", 50000)], [], 0, 1),
        ([("front", 40000, "db", 50000), ("db", 50000, "front", 40000)], [], 0, 2),
        ([("front", 3000, "db", 9000)], [], 0, 1),
        # A port that meets many is a server's.
        (
            [("front", 40000 + n, "db", 50000) for n in range(3)] + [("db", 50000, "front", 40001)],
            [("x/front", "x/db", 50000)],
            1,
            0,
        ),
        # No port at the source: all but what leads to a client's port of an end that talks too.
        ([("front", 0, "back", 8080), ("back", 0, "front", 51000)], [BACK], 0, 1),
        ([("front", DIRECTED, "back", 8080), ("back", 0, "front", 51000)], [BACK], 0, 1),
        ([("back", 0, "front", 51000)], [("x/back", "x/front", 51000)], 0, 0),
        ([("front", 0, "back", 50051), ("back", 0, "front", 3000)], [GRPC, TO_FRONT], 0, 0),
    ],
)  # fmt: skip
def test_what_becomes_of_records(
    told: list[Told], connections: list[tuple[str, str, int]], replies: int, undecided: int
) -> None:
    for order in itertools.permutations(told):
        found, reading = traffic(*order)
        assert found == sorted(connections)
        assert reading.skipped[REPLY] == replies
        assert reading.unattributed[UNKNOWN_OPENER] == undecided
        assert reading.records == len(told) - replies


def test_what_cannot_be_told_is_named() -> None:
    _, reading = traffic(("front", 40000, "db", 50000))
    assert reading.unattributed_first[UNKNOWN_OPENER] == ["x/front → x/db 50000/UDP"]


def test_ports_of_clients_do_not_add_up() -> None:
    clients = range(32768, 60000)
    found, reading = traffic(
        *[("front", port, "db", 9000) for port in clients],
        *[("db", 9000, "front", port) for port in clients],
    )
    assert found == [("x/front", "x/db", 9000)]
    assert reading.skipped[REPLY] == len(clients)
