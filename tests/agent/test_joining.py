"""New pods that join the tables in force, against the tables that a compilation would make."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec
import numpy as np
import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.model.addresses import format_address, parse_address
from kubeverdict.model.cluster import Pod
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.lowering.joining import Joiner
from kubeverdict_agent.lowering.tables import Local, Tables, lower
from tests.agent import packets
from tests.agent.packets import TCP, packet
from tests.agent.programs import needs_root
from tests.agent.web import CLIENT, DB, WEB, Web, one_pod
from tests.clusters.generated import random_cluster, without_icmp_types


def replica(pod: Pod, number: int) -> Pod:
    """Another one elsewhere, with other addresses of the same families."""
    addresses = tuple(
        f"fd00::{100 + number:x}" if ":" in text else f"10.0.0.{100 + number}"
        for text in pod.addresses
    )
    name = f"{pod.name}-{number}"
    return msgspec.structs.replace(pod, name=name, addresses=addresses, node="far")


def cells(tables: Tables, peer_class: int) -> list[list[int]]:
    """What each local pod decides about a class, by direction: rows of decisions."""
    subjects = tables.locals["subject"][tables.locals["present"] == 1]
    return [
        tables.rows[each[subjects[:, direction], peer_class]].tolist()
        for direction, each in enumerate(tables.cells)
    ]


def class_in(tables: Tables, text: str) -> int:
    address = parse_address(text)
    assert address is not None
    if address.family == 4:
        return int(tables.class4[tables.ipv4 == address.value][0])
    halves = (address.value >> 64, address.value & (1 << 64) - 1)
    return int(tables.class6[(tables.ipv6 == np.array(halves, np.uint64)).all(axis=1)][0])


def test_a_replica_is_judged_as_a_compilation_would() -> None:
    joined = sum(compare(seed) for seed in range(36))
    assert joined > 60


def compare(seed: int) -> int:
    """How many of some replicas join."""
    cluster = without_icmp_types(random_cluster(seed, pods=16, policies=10, tiers=seed % 3 == 0))
    compiled = compile_cluster(cluster)
    locals = [
        Local(slot, pod.namespace, pod.name, Mode.ENFORCE)
        for slot, pod in enumerate(compiled.pods)
        if pod.addresses
    ]
    tables = lower(compiled, "node-1", locals)
    joiner = Joiner(compiled, tables)
    joined = 0
    for number, pod in enumerate(Random(seed).sample(compiled.pods, min(8, len(compiled.pods)))):
        new = replica(pod, number)
        joinings = joiner.join(new) or []
        joined += bool(joinings)
        grown = msgspec.structs.replace(cluster, pods=(*cluster.pods, new))
        expected = lower(compile_cluster(grown), "node-1", locals)
        for address, peer_class in joinings:
            text = format_address(address.family, address.value)
            mine = cells(tables, peer_class)
            theirs = cells(expected, class_in(expected, text))
            assert named(tables, mine) == named(expected, theirs), (seed, pod, text)
    return joined


def named(tables: Tables, directions: list[list[int]]) -> list[object]:
    """Decisions as the rules that they stand for: the numbers of each side are its own."""
    rules = tables.rules
    out: list[object] = []
    for rows in directions:
        table = np.array(rows)
        out.append(
            [{(int(rules[cell & 0x7FFF]), cell >> 15) for cell in row} for row in table.tolist()]
        )
    return out


def test_what_only_a_compilation_can_tell_does_not_join() -> None:
    cluster = random_cluster(4, pods=16, policies=10)
    compiled = compile_cluster(cluster)
    pod = next(each for each in compiled.pods if len(each.addresses) == 2)
    joiner = Joiner(compiled, lower(compiled, "node-1", []))
    new = replica(pod, 7)
    assert joiner.join(msgspec.structs.replace(new, labels={"never": "seen"})) is None
    assert joiner.join(msgspec.structs.replace(new, namespace="elsewhere")) is None
    assert joiner.join(msgspec.structs.replace(new, addresses=pod.addresses)) is None
    assert joiner.join(msgspec.structs.replace(new, host_network=True)) is None


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with one_pod(tmp_path_factory) as made:
        yield made


@needs_root
def test_a_joined_address_is_known_to_the_next_packet(web: Web) -> None:
    compiled, tables = web.compiled(), web.tables()
    (client,) = [pod for pod in compiled.pods if pod.name == "client"]
    new = replica(client, 9)
    for peer, own in (("10.0.0.109", WEB), ("fd00::6d", "fd00::1")):
        assert not web.arrives(packet(peer, own, TCP, port=80))
    joinings = Joiner(compiled, tables).join(new)
    assert joinings is not None and web.datapath.join(joinings)
    for peer, own in (("10.0.0.109", WEB), ("fd00::6d", "fd00::1")):
        assert web.arrives(packet(peer, own, TCP, port=80))
        assert not web.arrives(packet(peer, own, TCP, port=81))
    assert web.arrives(packet(CLIENT, WEB, packets.UDP, port=9000))
    assert web.leaves(packet(WEB, DB, TCP, port=5432))


@needs_root
def test_full_buckets_take_no_more(web: Web) -> None:
    web.fresh()
    tables = web.tables()
    client = class_in(tables, CLIENT)
    taken = 0
    for number in range(2000):
        address = parse_address(f"10.7.{number >> 8}.{number & 255}")
        assert address is not None
        if not web.datapath._arena.join(address, client):
            break
        taken += 1
    assert 16 <= taken < 2000
    for number in (0, taken - 1):
        peer = f"10.7.{number >> 8}.{number & 255}"
        assert web.arrives(packet(peer, WEB, TCP, port=80))
    web.fresh()
    assert not web.arrives(packet("10.7.0.0", WEB, TCP, port=80))
