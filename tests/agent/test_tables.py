"""Tables in the kernel: found, swapped in one step, refused where they do not fit, kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.lab import bpffs
from kubeverdict_agent.datapath import bpf_syscall, layout
from kubeverdict_agent.datapath.arena import LayingOut
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.maps import open_maps, remove_pins
from kubeverdict_agent.datapath.node_datapath import NodeDatapath, over_cpus
from kubeverdict_agent.errors import DatapathError, DoesNotFit
from kubeverdict_agent.lowering.hashing import AddressTables
from tests.agent import packets
from tests.agent.packets import ACK, TCP, UDP, packet
from tests.agent.programs import Bench, needs_root
from tests.agent.web import CLIENT, DB, POLICY, REVOKED, WEB, WORLD, Web


def buckets(hashes: tuple[int, int], value: int, width: int, bits: int) -> list[int]:
    return [(value * each & (1 << width) - 1) >> width - bits for each in hashes]


@pytest.mark.parametrize("count", [0, 1, 16, 1_000, 50_000])
def test_every_ipv4_address_is_in_one_of_its_two_buckets(count: int) -> None:
    random = np.random.default_rng(count)
    addresses = np.unique(random.integers(0, 1 << 32, count, np.uint32))
    classes = random.integers(0, 1 << 19, addresses.size, np.uint32)  # with flags
    table, bits = AddressTables().of_ipv4(addresses, classes)
    known = {int(entry) & 0xFFFFFFFF: place for place, entry in enumerate(table) if ~entry}
    assert len(known) == addresses.size
    for address, peer_class in zip(addresses.tolist(), classes.tolist(), strict=True):
        place = known[address]
        assert int(table[place]) >> 32 == peer_class
        assert place // layout.BUCKET in buckets((0x9E3779B1, 0x85EBCA77), address, 32, bits)


def test_neighbouring_addresses_spread_too() -> None:
    addresses = (np.uint32(10 << 24) + np.arange(60_000, dtype=np.uint32)).astype(np.uint32)
    table, bits = AddressTables().of_ipv4(addresses, np.zeros(addresses.size, np.uint16))
    assert table.size <= 8 * addresses.size, bits
    six = np.stack((np.full(9_000, 0xFD00 << 48), np.arange(9_000)), axis=1).astype(np.uint64)
    entries, _ = AddressTables().of_ipv6(six, np.arange(9_000).astype(np.uint16))
    assert np.count_nonzero(entries["class"] != layout.NO_CLASS) == 9_000
    assert entries.size <= 8 * 9_000


@pytest.mark.parametrize("few", [1, 30])
def test_addresses_that_come_and_go_are_in_one_of_their_buckets(few: int) -> None:
    random = np.random.default_rng(few)
    tables, again = AddressTables(), AddressTables()
    addresses = np.unique(random.integers(0, 1 << 32, 3_000, np.uint32))
    stayed = 0
    before: dict[int, int] = {}
    for _ in range(60):
        gone = random.choice(addresses.size, few, replace=False)
        coming = random.integers(0, 1 << 32, few + int(random.integers(0, 30)), np.uint32)
        addresses = np.unique(np.concatenate((np.delete(addresses, gone), coming)))
        classes = random.integers(0, 1 << 19, addresses.size, np.uint32)
        table, bits = tables.of_ipv4(addresses, classes)
        known = {int(entry) & 0xFFFFFFFF: place for place, entry in enumerate(table) if ~entry}
        assert known.keys() == set(addresses.tolist())
        for address, peer_class in zip(addresses.tolist(), classes.tolist(), strict=True):
            assert int(table[known[address]]) >> 32 == peer_class
            place = known[address] // layout.BUCKET
            assert place in buckets((0x9E3779B1, 0x85EBCA77), address, 32, bits)
        stayed += sum(before.get(one) == at for one, at in known.items()) > 2_000
        before = known
        six = np.stack((addresses.astype(np.uint64) << 32, addresses.astype(np.uint64)), axis=1)
        kept, fresh = (each.of_ipv6(six, classes)[0] for each in (again, AddressTables()))
        assert np.array_equal(np.sort(kept), np.sort(fresh)) or kept.size != fresh.size
        assert np.count_nonzero(kept["class"] != layout.NO_CLASS) == addresses.size
    assert stayed > 50


@needs_root
def test_tables_that_do_not_fit_leave_the_old_in_force(web: Web) -> None:
    before = web.datapath.generation
    tables = web.tables(REVOKED)
    rows = np.zeros((layout.HALF_BYTES // 2 // tables.rows.shape[1] + 1, tables.rows.shape[1]))
    with pytest.raises(DoesNotFit, match="bytes in the kernel"):
        web.datapath.publish(replace(tables, rows=rows.astype(np.uint16)))
    assert web.datapath.generation == before
    assert web.leaves(packet(WEB, DB, TCP, port=5432))


@needs_root
def test_a_swap_is_seen_by_every_packet_after_it(web: Web) -> None:
    allowing, denying = (
        LayingOut().lay_out(web.tables(POLICY)),
        LayingOut().lay_out(web.tables(REVOKED)),
    )
    for number in range(50):
        web.datapath.swap(denying)
        assert not web.leaves(packet(WEB, DB, TCP, 10_000 + number, 5432))
        web.datapath.swap(allowing)
        assert web.leaves(packet(WEB, DB, TCP, 10_000 + number, 5432))


@needs_root
def test_the_room_that_tables_take_is_told(web: Web) -> None:
    used, room = web.datapath.table_bytes()
    assert LayingOut().lay_out(web.tables()).header["used"][0] == used < room == layout.HALF_BYTES


@needs_root
def test_generations_go_round_and_halves_keep_taking_turns(web: Web) -> None:
    control: NDArray[np.void] = web.datapath._arena._control
    control["generation"][0] = 0xFFFFFFFD
    seen = [web.datapath.publish(web.tables()) for _ in range(4)]
    assert seen[0] == 0xFFFFFFFE and 0 not in seen
    assert all((a ^ b) & 1 for a, b in pairwise(seen))
    assert web.leaves(packet(WEB, DB, TCP, port=5432))


CIDRS = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress:
  - to: [{ipBlock: {cidr: 198.51.0.0/16, except: [198.51.100.0/24]}}]
    ports: [{port: 443}]
  - to: [{ipBlock: {cidr: 198.51.100.128/25}}]
    ports: [{port: 443}]
  - to: [{ipBlock: {cidr: 203.0.113.77/24}}]
    ports: [{port: 80}]
  - to: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}}]
    ports: [{port: 443}]
"""


@needs_root
@pytest.mark.parametrize(
    ("address", "port", "passes"),
    [
        ("198.51.1.1", 443, True),
        ("198.51.100.1", 443, False),  # the except of the first rule …
        ("198.51.100.200", 443, True),  # … takes nothing from the second
        ("198.51.1.1", 80, False),
        ("203.0.113.1", 80, True),  # a block written with host bits is the whole block
        ("203.0.114.0", 80, False),
        ("203.0.112.255", 80, False),
    ],
)
def test_blocks_and_their_excepts(web: Web, address: str, port: int, passes: bool) -> None:
    web.fresh(CIDRS)
    assert web.leaves(packet(WEB, address, TCP, port=port)) is passes


@needs_root
def test_ipv6_blocks(web: Web) -> None:
    web.fresh(CIDRS)
    assert web.leaves(packet("fd00::1", "2001:db8:2::1", TCP, port=443))
    assert not web.leaves(packet("fd00::1", "2001:db8:1::1", TCP, port=443))
    assert not web.leaves(packet("fd00::1", "2001:db9::", TCP, port=443))


@needs_root
def test_forgetting_an_endpoint_leaves_live_connections_of_others(web: Web) -> None:
    """An address and port that are in use again must not be swept away with the old pod's."""
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80))
    old, _ = web.datapath.bound()[1]
    web.fresh()
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80))
    assert web.datapath.forget_flows([old]) == 1
    assert web.leaves(packet(WEB, CLIENT, TCP, 80, 40000, flags=ACK))


@needs_root
def test_connections_that_have_expired_are_not_counted(web: Web) -> None:
    before, _ = web.datapath.conntrack_size()[4]
    assert web.arrives(packet(CLIENT, WEB, TCP, 40000, 80))
    assert web.datapath.conntrack_size()[4][0] == before + 1
    control = web.datapath._arena._control
    control["tick"] += layout.NO_REPLY_TICKS + 2  # as if that long had passed
    assert web.datapath.conntrack_size()[4][0] < before + 1


@needs_root
def test_another_process_goes_on_with_what_is_pinned(web: Web) -> None:
    assert web.leaves(packet(WEB, DB, UDP, 5353, 53))
    before, bound = web.datapath.generation, web.datapath.bound()
    with pytest.raises(DatapathError, match=r"not for 64, and cannot be made anew.*detach"):
        NodeDatapath.open(web.datapath.folder, flows=64)
    later = NodeDatapath.open(web.datapath.folder)
    try:
        assert (later.generation, later.bound()) == (before, bound)
        assert Bench(later).arrives(packet(DB, WEB, UDP, 53, 5353))
        later.publish(web.tables(REVOKED, Mode.ENFORCE))
        assert not web.leaves(packet(WEB, DB, UDP, 5353, 53))
    finally:
        later.close()


@needs_root
def test_half_a_set_of_pins_is_completed() -> None:
    with bpffs() as folder:
        open_maps(folder / "maps", 64).close()
        for name in ("arena", "events", "flows6"):
            (folder / "maps" / name).unlink()
        maps = open_maps(folder / "maps", 64)
        assert bpf_syscall.map_info(maps.arena).value_size == layout.ARENA_BYTES
        maps.close()
        remove_pins(folder / "maps")
        assert not (folder / "maps").exists()


@needs_root
def test_a_map_of_another_layout_is_refused_by_name() -> None:
    with bpffs() as folder:
        (folder / "maps").mkdir(mode=0o700)
        fd = bpf_syscall.create_map(
            bpf_syscall.MapType.ARRAY, 4, 64, 1, bpf_syscall.Flag.MMAPABLE, "arena"
        )
        bpf_syscall.pin(fd, folder / "maps" / "arena")
        with pytest.raises(DatapathError, match=r"arena is a map of another shape.*detach"):
            open_maps(folder / "maps", 64)


@needs_root
def test_an_array_that_the_kernel_has_no_room_for_is_told_in_words() -> None:
    """Before Linux 6.0 that is one of 4 MB and more, since then one of 2 GB."""
    with pytest.raises(OSError, match=r"a value of 2048 MB needs Linux 6\.0"):
        bpf_syscall.create_map(bpf_syscall.MapType.ARRAY, 4, 1 << 31, 1, 0, "large")


@needs_root
def test_tables_of_another_layout_are_refused() -> None:
    """Also where every map has the same shape as ours."""
    with bpffs() as folder:
        first = NodeDatapath.open(folder / "maps", flows=64, compile_programs=False)
        control = first._arena._control
        assert control["layout"][0] == layout.fingerprint()
        control["layout"] ^= 1
        NodeDatapath.open(
            folder / "maps", flows=64, compile_programs=False
        ).close()  # no tables yet
        control["layout"] ^= 1
        control["generation"] = 7
        with pytest.raises(DatapathError, match=r"another version of the agent.*detach"):
            NodeDatapath.open(folder / "maps", flows=64, compile_programs=False)
        del control
        first.close()


def test_the_first_of_a_total_is_told_by_the_cpu_that_made_it() -> None:
    values = np.zeros((1, 3), layout.TOTAL)
    values[0]["packets"] = [0, 2, 5]
    values[0]["first_ns"] = [0, 100, 0]  # another CPU only adds to what the second made
    values[0]["last_ns"] = [0, 300, 0]
    (total,) = over_cpus(values)
    assert (total["packets"], total["first_ns"], total["last_ns"]) == (7, 100, 300)


@needs_root
def test_a_folder_that_is_no_bpffs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatapathError, match="not on a BPF file system"):
        open_maps(tmp_path / "maps", 64)


@needs_root
def test_counters_count_what_passes_and_what_does_not(web: Web) -> None:
    before = web.datapath.counters()
    frame = packet(WEB, WORLD, TCP, 40000, 443)
    web.leaves(frame)
    web.leaves(packets.packet(WEB, DB, UDP, 1234, 53))
    change = web.datapath.counters() - before
    egress = change[layout.PodDirection.EGRESS]
    assert egress[1, layout.PacketReason.DENIED].tolist() == [1, len(frame)]
    assert egress[0, layout.PacketReason.POLICY, 0] == 1
    assert change[layout.PodDirection.INGRESS].sum() == 0
