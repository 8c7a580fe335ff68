"""Flows that a CPU has cached: no verdict may differ."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.lab import bpffs
from kubeverdict_agent.datapath import compiling
from kubeverdict_agent.datapath.layout import Mode, PacketReason, PodDirection, State
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from tests.agent.packets import ACK, FIN, RST, SYN, SYN_ACK, TCP, UDP, packet
from tests.agent.programs import needs_root
from tests.agent.web import (
    CLIENT,
    CLIENT6,
    DB,
    DB6,
    INGRESS_ONLY,
    POLICY,
    REVOKED,
    WEB,
    WEB6,
    WORLD,
    Web,
)

pytestmark = needs_root
MANY = 40  # packets: more than a flow must have to be cached


@pytest.fixture(scope="module", autouse=True)
def _one_cpu() -> Iterator[None]:
    """Test runs happen on the CPU of the caller, and each CPU has a cache of its own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def connect(web: Web, port: int = 40000) -> None:
    """A connection from the client, busy enough to be cached in both directions."""
    assert web.arrives(packet(CLIENT, WEB, TCP, port, 80))
    assert web.leaves(packet(WEB, CLIENT, TCP, 80, port, flags=SYN_ACK))
    for _ in range(MANY):
        assert web.arrives(packet(CLIENT, WEB, TCP, port, 80, flags=ACK))
        assert web.leaves(packet(WEB, CLIENT, TCP, 80, port, flags=ACK))


def cached(web: Web) -> int:
    """Packets that were counted in the cache and not in their flow since."""
    return sum(packets for packets, _ in web.datapath.uncounted().values())


def counted(web: Web, local_port: int) -> tuple[int, int]:
    """Packets and bytes of the connection of the pod's with this port."""
    more = web.datapath.uncounted()
    for family, keys, values in web.datapath.flows():
        for key, value in zip(keys, values, strict=True):
            if key["owner"] >> 8 == web.endpoint and key["local_port"] == local_port:
                ahead = more.get((family, key.tobytes()), (0, 0))
                return int(value["packets"]) + ahead[0], int(value["bytes"]) + ahead[1]
    raise AssertionError(f"no connection with port {local_port}")


@pytest.mark.parametrize(("own", "db"), [(WEB, DB), (WEB6, DB6)])
def test_every_packet_is_counted_wherever_that_is(web: Web, own: str, db: str) -> None:
    before = cached(web)
    frame = packet(own, db, UDP, 5353, 53)
    passed = web.counted(PodDirection.EGRESS, PacketReason.FLOW, dropped=False)
    for _ in range(MANY):
        assert web.leaves(frame)
    assert cached(web) > before, "nothing was cached, so this shows nothing"
    assert counted(web, 5353) == (MANY, MANY * len(frame))
    # The first began the flow.
    assert web.counted(PodDirection.EGRESS, PacketReason.FLOW, dropped=False) == passed + MANY - 1


def test_the_end_of_a_connection_is_not_overlooked(web: Web) -> None:
    connect(web)
    assert cached(web)
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=FIN | ACK))
    assert web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=FIN | ACK))
    assert web.state(80) & State.CLOSING
    # A packet that ends it is the last: all is counted.
    assert web.endpoint not in {
        int.from_bytes(key[-4:], "little") >> 8 for _, key in web.datapath.uncounted()
    }
    assert counted(web, 80)[0] == 2 * MANY + 4


def test_a_revoked_connection_is_cut_at_once(web: Web) -> None:
    connect(web)
    web.use(REVOKED)
    assert not web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=ACK))
    assert not web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))


def test_switched_off_and_on_again(web: Web) -> None:
    connect(web)
    web.use(mode=Mode.OFF)
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=ACK))
    web.use()
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80, flags=ACK))
    assert not web.arrives(packet(CLIENT, WEB, TCP, 40000, 81, flags=ACK))


def test_another_pod_hits_nothing(web: Web) -> None:
    connect(web)
    web.fresh()
    assert not web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))


def test_what_is_denied_is_never_cached(web: Web) -> None:
    web.fresh(mode=Mode.AUDIT)
    for _ in range(MANY):
        assert web.leaves(packet(WEB, WORLD, UDP, 5000, 5000))
    _, totals = web.datapath.totals()
    assert int(totals["packets"].sum()) == MANY


def test_a_busy_flow_comes_back_from_a_full_table(web: Web) -> None:
    """Its entry is used once a tick only, so that it may be taken for idle."""
    reply = packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK)
    connect(web)
    for number in range(6000):
        # Answered, or they would be given up for one that was looked for since it began.
        assert web.leaves(packet(WEB, DB, TCP, 1024 + number, 5432))
        assert web.arrives(packet(DB, WEB, TCP, 5432, 1024 + number, flags=SYN_ACK))
    with pytest.raises(AssertionError, match="no connection"):
        counted(web, 80)
    time.sleep(1.1)  # a tick: now it has to be looked for
    assert web.leaves(reply)
    assert counted(web, 80)[0]
    web.use(REVOKED)
    assert not web.leaves(reply)


def copied(folder: Path, least: int) -> Path:
    """The sources of a datapath that caches flows of more than ``least`` packets."""
    sources = folder / "datapath"
    shutil.copytree(compiling.SOURCES, sources)
    header = sources / "recent.h"
    text, changes = re.subn(r"(?m)^(#define WORTH_CACHING) 8$", rf"\1 {least}u", header.read_text())
    assert changes == 1
    header.write_text(text)
    return sources


PEERS = ((WEB, (DB, CLIENT, WORLD)), (WEB6, (DB6, CLIENT6, "2001:db8::9")))
PORTS = (80, 5432, 9000, 40000)


def anything(chance: random.Random) -> tuple[bytes, bool]:
    """A packet, and whether it leaves the pod. Few of each, so that they belong together."""
    own, peers = chance.choice(PEERS)
    peer, protocol = chance.choice(peers), chance.choice((TCP, TCP, UDP))
    ours, theirs = chance.choice(PORTS), chance.choice(PORTS)
    flags = chance.choices((ACK, SYN, SYN_ACK, FIN | ACK, RST), (40, 4, 4, 1, 1))[0]
    leaves = chance.random() < 0.5
    ends = (own, peer, protocol, ours, theirs) if leaves else (peer, own, protocol, theirs, ours)
    return packet(*ends, flags=flags), leaves


def change(webs: Sequence[Web], chance: random.Random) -> None:
    policy = chance.choice((POLICY, POLICY, INGRESS_ONLY, REVOKED))
    mode = chance.choice((Mode.ENFORCE, Mode.ENFORCE, Mode.AUDIT, Mode.OFF))
    another = chance.random() < 0.05
    for web in webs:
        if another:
            web.fresh(policy, mode)
        else:
            web.use(policy, mode)


def connections(web: Web) -> dict[tuple[int, bytes], tuple[int, ...]]:
    """Packets, bytes, and how each connection stands."""
    more = web.datapath.uncounted()
    found: dict[tuple[int, bytes], tuple[int, ...]] = {}
    for family, keys, values in web.datapath.flows():
        for key, value in zip(keys, values, strict=True):
            packets, size = more.get((family, key.tobytes()), (0, 0))
            counts = int(value["packets"]) + packets, int(value["bytes"]) + size
            standing = (int(value[name]) for name in ("decision", "origin", "state"))
            found[family, key.tobytes()] = (*counts, *standing)
    return found


def test_caching_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random packets and changes, on a datapath that caches all it can and one that never does."""
    chance = random.Random(6)
    with bpffs() as always_on, bpffs() as never_on:
        webs = []
        for folder, least in ((always_on, 0), (never_on, 1 << 31)):
            place = tmp_path_factory.mktemp("sources")
            with monkeypatch.context() as patched:
                patched.setattr(compiling, "SOURCES", copied(place, least))
                datapath = NodeDatapath.open(folder / "packets", flows=2048)
            webs.append(Web(datapath, tmp_path_factory.mktemp("cluster")))
        caching, plain = webs
        for step in range(30_000):
            if step % 300 == 0:
                change(webs, chance)
            frame, leaves = anything(chance)
            actions = [web.leaves(frame) if leaves else web.arrives(frame) for web in webs]
            assert actions[0] == actions[1], f"step {step}"
        assert cached(caching) and not cached(plain)
        assert (caching.datapath.counters() == plain.datapath.counters()).all()
        assert connections(caching) == connections(plain)
        for web in webs:
            web.datapath.close()
