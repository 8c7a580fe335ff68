"""Ports as places, and places cut into atoms."""

from __future__ import annotations

import pytest

from kubeverdict.compile.ports import (
    ALL_ICMP,
    FIRST_TYPE,
    atoms_at,
    cut_ports,
    joined,
    place,
    port_list,
    port_runs,
    unknown_type,
)
from kubeverdict.compile.sets import members
from kubeverdict.kernels.ports import END
from kubeverdict.model.ports import IcmpMatch, PortMatch, PortRange, Protocol, icmp_port
from tests.clusters.records import tcp, udp

ICMP = PortRange(Protocol.ICMP, 0, 0)
UDP = 65536


@pytest.mark.parametrize(
    ("protocol", "port", "expected"),
    [
        (Protocol.TCP, 80, 80),
        (Protocol.UDP, 53, UDP + 53),
        (Protocol.SCTP, 1, 2 * UDP + 1),
        (Protocol.ICMP, 0, 3 * UDP),
        (Protocol.OTHER, 0, 3 * UDP + 1),
        (Protocol.ICMP, icmp_port(4, 0, 0), FIRST_TYPE),
        (Protocol.ICMP, icmp_port(4, 8, 1), FIRST_TYPE + 8 * 256 + 1),
        (Protocol.ICMP, icmp_port(6, 0, 0), FIRST_TYPE + 65536),
    ],
)
def test_places(protocol: Protocol, port: int, expected: int) -> None:
    assert place(protocol, port) == expected


@pytest.mark.parametrize(
    ("ports", "excluded", "expected"),
    [
        ([tcp(80), udp(53), tcp(81, 90)], [], ((80, 91), (UDP + 53, UDP + 54))),
        ([tcp("http")], [], ()),
        ([ICMP], [], ALL_ICMP),
        ([IcmpMatch(4, 8)], [], ((FIRST_TYPE + 8 * 256, FIRST_TYPE + 9 * 256),)),
        # Every type of IPv4 is also what is of no known type.
        ([IcmpMatch(4)], [], ((FIRST_TYPE, FIRST_TYPE + 65536), (END - 2, END - 1))),
        # Both versions are ICMP.
        ([IcmpMatch(4), IcmpMatch(6)], [], ALL_ICMP),
        ([tcp(80, 90)], [tcp(85)], ((80, 85), (86, 91))),
        (None, [tcp(1, 65535)], ((0, 1), (UDP, END))),
        ([tcp(80)], [tcp(79, 81)], ()),
    ],
)
def test_lists_of_ports_are_ranges_of_places(
    ports: list[PortMatch] | None, excluded: list[PortRange], expected: object
) -> None:
    assert port_list(ports, excluded) == expected


def test_ranges_that_meet_are_one() -> None:
    assert joined([(5, 7), (1, 3), (3, 4), (6, 9)]) == ((1, 4), (5, 9))


def test_atoms_begin_where_a_list_tells_ports_apart() -> None:
    lists = {None: 0, port_list([tcp(80, 90)]): 1, port_list([tcp(85, 99), udp(53)]): 2}
    space = cut_ports(lists)
    tcp_edges = [0, 1, 80, 85, 91, 100]
    assert space.first.tolist() == [
        *tcp_edges,
        *(UDP, UDP + 1, UDP + 53, UDP + 54),
        *(2 * UDP, 2 * UDP + 1),
        *(3 * UDP, 3 * UDP + 1, 3 * UDP + 2),
    ]
    # Port 0 and what has no ports weigh nothing.
    assert space.weight.tolist()[:6] == [0, 79, 5, 6, 9, 65536 - 100]
    assert space.weight.tolist()[-4:] == [0, 65535, 0, 0]
    first = space.first.tolist()
    assert [[first[atom] for atom in members(space.sets, which)] for which in (1, 2)] == [
        [80, 85],
        [85, 91, UDP + 53],
    ]
    assert members(space.sets, 0).size == space.weight.size
    assert space.table[[0, 79, 80, UDP + 53]].tolist() == [0, 1, 2, 8]


def test_types_of_icmp_have_atoms_only_where_a_rule_names_one() -> None:
    plain = cut_ports({None: 0, port_list([ICMP]): 1})
    assert not plain.has_types and plain.table.size == FIRST_TYPE
    typed = cut_ports({None: 0, port_list([IcmpMatch(4, 8)]): 1})
    assert typed.has_types and typed.table.size == END
    echo, other, unknown = (
        int(typed.table[at])
        for at in (
            place(Protocol.ICMP, icmp_port(4, 8, 0)),
            place(Protocol.ICMP, icmp_port(4, 9, 0)),
            unknown_type(4),
        )
    )
    assert len({echo, other, unknown}) == 3 and members(typed.sets, 1).tolist() == [echo]


def test_a_type_that_no_rule_tells_apart_is_icmp() -> None:
    plain = cut_ports({None: 0})
    at = place(Protocol.ICMP, icmp_port(4, 8, 0))
    assert atoms_at(plain, plain.first[-2:-1]).tolist() == [plain.weight.size - 1]
    assert atoms_at(plain, plain.first[:1] + at).tolist() == [plain.table[3 * UDP]]


def test_the_same_lists_as_runs() -> None:
    runs = port_runs({None: 0, port_list([tcp(80), udp(53)]): 1})
    assert runs.start.tolist() == [0, 1, 3]
    assert list(zip(runs.low.tolist(), runs.high.tolist(), strict=True)) == [
        (0, END),
        (80, 81),
        (UDP + 53, UDP + 54),
    ]
