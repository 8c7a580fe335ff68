from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeverdict.analyses.port_text import NO_PORTS, Ports, PortTexts
from kubeverdict.compile.ports import cut_ports, port_list
from kubeverdict.model.ports import PortRange, Protocol
from tests.analyses.reading import opens

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP


def written(*ports: PortRange, without_icmp: bool = False) -> Ports:
    """The text of one port list, cut also by ports that it does not name."""
    others = (PortRange(TCP, 90, 95), PortRange(UDP, 53, 53), PortRange(TCP, 444, 600))
    space = cut_ports({None: 0, port_list(ports): 1, port_list(others): 2})
    texts = PortTexts(space.first, without_icmp)
    atoms = np.zeros(space.first.size - 1, np.bool_)
    for part in ports:
        start = part.protocol * 65536 if part.protocol.has_ports else 3 * 65536
        atoms |= (space.first[:-1] >= start + part.first) & (space.first[:-1] <= start + part.last)
    return texts.ports(texts.number(atoms))


def test_ranges_are_joined_and_listed_by_protocol() -> None:
    tcp = [PortRange(TCP, first, last) for first, last in ((443, 450), (80, 80), (451, 500))]
    ports = written(PortRange(UDP, 53, 53), *tcp)
    assert str(ports) == "TCP 80,443-500,UDP 53"
    assert ports.protocols == (("TCP", "80,443-500"), ("UDP", "53"))


def test_all_ports_of_some_protocols_are_not_everything() -> None:
    every = [PortRange(protocol) for protocol in (TCP, UDP, SCTP)]
    assert str(written(*every)) == "TCP 1-65535,UDP 1-65535,SCTP 1-65535"


def test_everything_and_nothing() -> None:
    space = cut_ports({None: 0, port_list([PortRange(TCP, 80, 80)]): 1})
    texts = PortTexts(space.first, without_icmp=False)
    everything = np.ones(space.first.size - 1, np.bool_)
    assert str(texts.ports(texts.number(everything))) == "all connections"
    assert texts.number(~everything) == 0
    assert texts.ports(0) == NO_PORTS and not NO_PORTS
    # Port 0 counts neither way: no rule can name it.
    everything[[0]] = False
    assert texts.ports(texts.number(everything)).everything
    assert texts.number(~everything) == 0


def test_icmp() -> None:
    icmp = PortRange(Protocol.ICMP, 0, 0)
    assert str(written(icmp, PortRange(TCP, 80, 80))) == "TCP 80,ICMP all"
    assert str(written(icmp, PortRange(TCP, 80, 80), without_icmp=True)) == "TCP 80"
    assert not written(icmp, without_icmp=True)


@pytest.mark.parametrize("without_icmp", [False, True])
def test_what_one_set_has_and_another_has_not(without_icmp: bool) -> None:
    first, second = (PortRange(TCP, 80, 90), PortRange(UDP, 53, 53)), (PortRange(TCP, 85, 99),)
    space = cut_ports({None: 0, port_list(first): 1, port_list(second): 2})
    texts = PortTexts(space.first, without_icmp)

    def number(ports: tuple[PortRange, ...]) -> int:
        inside = np.zeros(space.first.size - 1, np.bool_)
        for part in ports:
            start = part.protocol * 65536
            places = space.first[:-1] - start
            inside |= (places >= part.first) & (places <= part.last)
        return texts.number(inside)

    one, other = number(first), number(second)
    assert str(texts.ports(texts.less(one, other))) == "TCP 80-84,UDP 53"
    assert str(texts.ports(texts.less(other, one))) == "TCP 91-99"
    assert texts.less(one, one) == 0
    assert texts.first(one) == (TCP, 80)


ranges = st.builds(
    lambda protocol, ends: PortRange(protocol, min(ends), max(ends)),
    st.sampled_from([TCP, UDP, SCTP]),
    st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
)


@given(st.lists(ranges, min_size=1, max_size=5), ranges)
def test_the_text_opens_what_the_ranges_do(ports: list[PortRange], probe: PortRange) -> None:
    text = written(*ports)
    for number in (probe.first, probe.last, ports[0].first, ports[0].last):
        assert opens(text, probe.protocol, number) == any(
            part.protocol is probe.protocol and part.first <= number <= part.last for part in ports
        )


def test_whether_ports_are_within_others() -> None:
    def ports(**texts: str) -> Ports:
        return Ports(tuple(texts.items()))

    every = Ports(everything=True)
    web = ports(TCP="80,443-500")
    assert ports(TCP="444-450").within(web) and web.within(web) and web.within(every)
    assert Ports().within(Ports()) and Ports().within(web)
    assert not every.within(web) and not web.within(Ports())
    assert not ports(TCP="499-501").within(web) and not ports(UDP="80").within(web)
    assert ports(ICMP="all").within(ports(ICMP="all", TCP="1"))
    assert not ports(ICMP="all").within(web)
