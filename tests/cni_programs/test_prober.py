"""The prober sees what the kernel's rules let through, and nothing else. No program is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab import missing
from kubeverdict.model.ports import Protocol
from kubeverdict.model.profile import REFERENCE
from tests.cni_programs.comparison import packet_of
from tests.cni_programs.prober import Packet, Prober
from tests.cni_programs.staging import NODE_ADDRESSES, local_pods, staged_cluster, staged_probes
from tests.cni_programs.wires import Wires
from tests.kubernetes import enclosure
from tests.kubernetes.enclosure import Room

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

RULES = """
table inet test {
  chain forwarded { type filter hook forward priority 0; tcp dport 80 drop; udp dport 81 reject; }
  chain received { type filter hook input priority 0; meta l4proto { icmp, icmpv6 } drop; }
  chain sent { type filter hook output priority 0; meta nfproto ipv6 udp dport 80 drop; }
}
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = Path(tmp_path_factory.mktemp("lab"), f"lab-{os.getpid()}")
    yield enclosure.begin(folder, own_network=True)
    enclosure.end(folder)


def test_what_rules_drop_does_not_arrive(room: Room) -> None:
    wires = Wires(room)
    prober = Prober(room, wires.outside)
    try:
        for seed, rules in ((4, ""), (5, RULES), (11, "")):
            cluster = staged_cluster(seed)
            places = wires.connect(local_pods(cluster))
            asked = staged_probes(cluster, REFERENCE, 200, seed)
            packets = list(dict.fromkeys(map(packet_of, asked)))
            room.run("nft", "-f", "-", input=rules or "flush ruleset")
            dropped = [dropped_by_rules(packet) and bool(rules) for packet in packets]
            assert len(packets) > 100 and any(dropped) == bool(rules)
            arrived = prober.arrived(packets, places)
            assert arrived == [not each for each in dropped]
    finally:
        prober.close()


def dropped_by_rules(packet: Packet) -> bool:
    if packet.destination in NODE_ADDRESSES:
        return packet.protocol is Protocol.ICMP
    if packet.source in NODE_ADDRESSES:
        return ":" in packet.source and (packet.protocol, packet.port) == (Protocol.UDP, 80)
    return (packet.protocol, packet.port) in {(Protocol.TCP, 80), (Protocol.UDP, 81)}
