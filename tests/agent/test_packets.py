"""Packets of every shape: tags, options, extension headers, fragments, and what is malformed."""

from __future__ import annotations

import struct

import pytest

from kubeverdict_agent.datapath.layout import Mode, PacketReason, PodDirection
from tests.agent import packets
from tests.agent.packets import TCP, UDP, ethernet, ipv4, ipv6, packet
from tests.agent.programs import needs_root
from tests.agent.web import CLIENT, CLIENT6, DB, DB6, WEB, WEB6, WORLD, Web

pytestmark = needs_root


@pytest.mark.parametrize("tags", [(), (0x8100,), (0x88A8, 0x8100)])
def test_vlan_tags(web: Web, tags: tuple[int, ...]) -> None:
    allowed = ipv4(WEB, DB, TCP, packets.tcp(40000, 5432))
    denied = ipv4(WEB, DB, TCP, packets.tcp(40000, 1))
    assert web.leaves(ethernet(0x0800, allowed, tags=tags))
    assert not web.leaves(ethernet(0x0800, denied, tags=tags))
    six = ipv6(WEB6, DB6, TCP, packets.tcp(40000, 5432))
    assert web.leaves(ethernet(0x86DD, six, tags=tags))


def test_ipv4_options(web: Web) -> None:
    for port, passes in ((5432, True), (22, False)):
        for options in (b"\x01" * 4, b"\x01" * 40):
            frame = ipv4(WEB, DB, TCP, packets.tcp(40000, port), options=options)
            assert web.leaves(ethernet(0x0800, frame)) is passes


def extensions(*kinds: int, last: int) -> bytes:
    following = [*kinds[1:], last]
    return b"".join(
        struct.pack("!BB", after, 1 if kind != 51 else 2) + b"\0" * 14
        for kind, after in zip(kinds, following, strict=True)
    )


@pytest.mark.parametrize("kinds", [(0,), (0, 60), (43, 60, 51), (0, 60, 43, 60, 51)])
def test_ipv6_extension_headers(web: Web, kinds: tuple[int, ...]) -> None:
    chain = extensions(*kinds, last=TCP)
    for port, passes in ((5432, True), (22, False)):
        payload = chain + packets.tcp(40000, port)
        assert web.leaves(ethernet(0x86DD, ipv6(WEB6, DB6, kinds[0], payload))) is passes


def test_too_many_extension_headers_are_malformed(web: Web) -> None:
    payload = extensions(*(60,) * 12, last=TCP) + packets.tcp(40000, 5432)
    assert not web.leaves(ethernet(0x86DD, ipv6(WEB6, DB6, 60, payload)))


BAD = {
    "header length below five": ethernet(
        0x0800, ipv4(WEB, DB, TCP, packets.tcp(1, 5432), length=4)
    ),
    "header longer than the packet": ethernet(0x0800, ipv4(WEB, DB, TCP, b"", length=15)),
    "no room for ports": ethernet(0x0800, ipv4(WEB, DB, TCP, b"\x9c\x40\x15")),
    "TCP cut short": ethernet(0x0800, ipv4(WEB, DB, TCP, packets.tcp(1, 5432)[:10])),
    # Behind a tag, because a test run itself refuses such frames without one.
    "IPv4 cut short": ethernet(0x0800, ipv4(WEB, DB, TCP, b"")[:12], tags=(0x8100,)),
    "IPv6 cut short": ethernet(0x86DD, ipv6(WEB6, DB6, TCP, b"")[:30], tags=(0x8100,)),
    "not version 4": ethernet(0x0800, b"\x55" + ipv4(WEB, DB, TCP, packets.tcp(1, 5432))[1:]),
    "not IP": ethernet(0x88CC, b"\0" * 50),
    "extension cut short": ethernet(0x86DD, ipv6(WEB6, DB6, 60, b"\x06")),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_parsed_is_dropped_when_enforcing_and_counted_when_auditing(
    web: Web, what: str
) -> None:
    reasons = (PacketReason.MALFORMED, PacketReason.UNSUPPORTED)

    def refused(dropped: bool) -> int:
        return sum(web.counted(PodDirection.EGRESS, reason, dropped=dropped) for reason in reasons)

    before = refused(True), refused(False)
    assert not web.leaves(BAD[what])
    web.use(mode=Mode.AUDIT)
    assert web.leaves(BAD[what])
    assert (refused(True), refused(False)) == (before[0] + 1, before[1] + 1)


def test_port_zero_is_a_port_like_others(web: Web) -> None:
    assert not web.leaves(packet(WEB, DB, TCP, port=0))
    assert not web.arrives(packet(CLIENT, WEB, UDP, port=0))


def test_an_ipv6_jumbogram_is_judged(web: Web) -> None:
    """RFC 2675: a payload length of zero, the real one in a hop-by-hop option."""
    jumbo = struct.pack("!BBBBI", TCP, 0, 0xC2, 4, 100_000)
    for port, passes in ((5432, True), (22, False)):
        whole = ipv6(WEB6, DB6, 0, jumbo + packets.tcp(40000, port))
        frame = whole[:4] + b"\0\0" + whole[6:]
        assert web.leaves(ethernet(0x86DD, frame)) is passes


# -- fragments ---------------------------------------------------------------------------------

MORE = 0x2000


def fragments(port: int, ident: int) -> tuple[bytes, bytes]:
    first = ipv4(CLIENT, WEB, UDP, packets.udp(5000, port, b"x" * 64), fragment=MORE, ident=ident)
    later = ipv4(CLIENT, WEB, UDP, b"y" * 32, fragment=9, ident=ident)
    return ethernet(0x0800, first), ethernet(0x0800, later)


def test_fragments_share_the_fate_of_the_first(web: Web) -> None:
    first, later = fragments(9000, 11)
    assert web.arrives(first) and web.arrives(later)
    first, later = fragments(9001, 12)
    assert not web.arrives(first) and not web.arrives(later)


def test_a_fragment_before_its_first_passes_between_ends_that_may_talk(web: Web) -> None:
    first, later = fragments(9000, 13)
    assert web.arrives(later) and web.arrives(first) and web.arrives(later)
    stranger = ipv4(WORLD, WEB, UDP, b"y" * 32, fragment=9, ident=14)
    assert not web.arrives(ethernet(0x0800, stranger))
    # Replies from the resolver, out of order.
    reply = ipv4(DB, WEB, UDP, b"y" * 32, fragment=9, ident=15)
    assert web.arrives(ethernet(0x0800, reply))


def test_ipv6_fragments(web: Web) -> None:
    def fragment(port: int, offset: int, more: int, ident: int) -> bytes:
        header = struct.pack("!BBHI", UDP, 0, offset << 3 | more, ident)
        body = packets.udp(5000, port, b"x" * 56) if offset == 0 else b"y" * 32
        return ethernet(0x86DD, ipv6(CLIENT6, WEB6, 44, header + body))

    assert web.arrives(fragment(9000, 0, 1, 1)) and web.arrives(fragment(9000, 8, 0, 1))
    assert not web.arrives(fragment(9001, 0, 1, 2)) and not web.arrives(fragment(9001, 8, 0, 2))
    assert web.arrives(fragment(9000, 0, 0, 3))  # atomic: whole, with a fragment header


OPTIONS = b"\x11\0\x01\x04\0\0\0\0"  # destination options, then UDP


@pytest.mark.parametrize("named", [60, UDP])
def test_ipv6_fragments_with_headers_behind_the_fragment_header(web: Web, named: int) -> None:
    """Only the first fragment has the headers; what the others say follows does not count."""

    def fragments(port: int, ident: int) -> tuple[bytes, bytes]:
        body = OPTIONS + packets.udp(5000, port, b"x" * 24)
        first = struct.pack("!BBHI", 60, 0, 1, ident) + body
        later = struct.pack("!BBHI", named, 0, len(body) & ~7, ident) + b"y" * 32
        made = [ethernet(0x86DD, ipv6(CLIENT6, WEB6, 44, each)) for each in (first, later)]
        return made[0], made[1]

    first, later = fragments(9000, 21)
    assert web.arrives(first) and web.arrives(later)
    first, later = fragments(9001, 22)
    assert not web.arrives(first) and not web.arrives(later)
    # Before its first: between ends that may talk somehow.
    assert web.arrives(fragments(9000, 23)[1])
    stranger = struct.pack("!BBHI", named, 0, 64, 24) + b"y" * 32
    assert not web.arrives(ethernet(0x86DD, ipv6("2001:db8::9", WEB6, 44, stranger)))
