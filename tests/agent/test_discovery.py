"""Neighbour and listener discovery, which pass before policy, and ARP."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.agent import packets
from tests.agent.packets import ethernet, ipv6
from tests.agent.programs import needs_root
from tests.agent.web import (
    CLIENT6,
    WEB6,
    Web,
)

pytestmark = needs_root


def discovery(
    source: str, destination: str, kind: int, *, hops: int = 255, code: int = 0, rest: bytes = b""
) -> bytes:
    body = packets.icmp(kind, code, rest=rest)
    return ethernet(0x86DD, ipv6(source, destination, packets.ICMPV6, body, hops=hops))


TARGET = b"\0" * 16  # what a solicitation has behind its first eight bytes
NEIGHBOUR6 = "fd00::99"  # of the pod's subnet, and no pod


@pytest.mark.parametrize(
    ("destination", "passes"),
    [
        ("fe80::2", True),
        ("ff02::1:ff00:2", True),
        ("ff01::1", True),
        (NEIGHBOUR6, True),
        ("ff05::2", False),
        ("fd00:0:0:1::99", False),
        ("2001:db8::9", False),
    ],
)
def test_neighbour_discovery_goes_no_further_than_the_subnet(
    web: Web, destination: str, passes: bool
) -> None:
    for kind, rest in (
        (133, b""),
        (134, b"\0" * 8),
        (135, TARGET),
        (136, TARGET),
        (137, TARGET * 2),
    ):
        for source in (WEB6, "fe80::1"):
            assert web.leaves(discovery(source, destination, kind, rest=rest)) is passes


@pytest.mark.parametrize(
    "malformed",
    [
        {"rest": b""},
        {"rest": TARGET[:-1]},
        {"rest": TARGET + b"\1"},
        {"rest": TARGET + b"\1\0" + b"\0" * 6},
        {"rest": TARGET + b"\1\2" + b"\0" * 6},
        {"rest": TARGET + (b"\1\1" + b"\0" * 6) * 20},
        {"rest": TARGET, "code": 1},
        {"rest": TARGET, "hops": 254},
    ],
)
def test_malformed_discovery_is_judged_as_any_packet(web: Web, malformed: dict[str, Any]) -> None:
    assert web.leaves(discovery(WEB6, "fe80::2", 135, rest=TARGET + b"\1\1" + b"\0" * 6))
    assert not web.leaves(discovery(WEB6, "fe80::2", 135, **malformed))


def test_discovery_is_never_fragmented(web: Web) -> None:
    """RFC 6980."""
    atomic = struct.pack("!BBHI", packets.ICMPV6, 0, 0, 1) + packets.icmp(135, rest=TARGET)
    assert not web.leaves(ethernet(0x86DD, ipv6(WEB6, "fe80::2", 44, atomic, hops=255)))


def test_discovery_of_another_pod_is_refused(web: Web) -> None:
    assert not web.leaves(discovery(CLIENT6, "fe80::2", 136, rest=TARGET))


def test_discovery_and_arp_pass(web: Web) -> None:
    near = discovery("fe80::1", WEB6, 135, rest=TARGET)
    assert web.arrives(near) and web.leaves(near)
    assert not web.arrives(discovery("fe80::1", WEB6, 135, rest=TARGET, hops=64))
    for destination, hops, passes in (
        ("ff02::16", 1, True),
        ("ff05::1", 1, True),
        ("ff02::16", 64, False),
        (NEIGHBOUR6, 1, False),
    ):
        report = discovery(WEB6, destination, 143, hops=hops, rest=b"\0" * 20)
        assert web.leaves(report) is passes
    assert web.arrives(ethernet(0x0806, b"\0" * 28))
