"""The designs that are compared hold the same policy: the engine's."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from bench.comparison.scenarios import NODE, SCENARIOS, SERVER
from bench.designs import DESIGNS, open_designs
from bench.designs.filling import PROTOCOLS, aligned
from bench.lab import missing
from kubeverdict import Protocol, address_ids, judge

needs_root = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@needs_root
@pytest.mark.parametrize("name", ["proof", "rules-10"])
def test_every_design_gives_the_verdicts_of_the_engine(name: str) -> None:
    scenario = SCENARIOS[name]
    compiled = scenario.compiled("reference")
    server = scenario.local_pods[SERVER]
    protocols = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
    with open_designs(compiled, NODE, (server.namespace, server.name)) as designs:
        asked = designs.tuples[:2000]
        verdicts = judge(
            compiled,
            address_ids(compiled, [str(ipaddress.ip_address(int(a))) for a in asked["remote"]]),
            np.full(asked.size, compiled.pod_ids[server.namespace, server.name]),
            np.array([protocols[PROTOCOLS.index(int(p))] for p in asked["protocol"]]),
            asked["port"].astype(np.int64),
        ).allowed.tolist()
        # Pods of the node have policies on what they send, which is not asked here.
        elsewhere = np.flatnonzero(asked["remote"] >= int(ipaddress.ip_address("10.2.0.0")))
        wanted = [verdicts[index] for index in elsewhere]
        assert 200 < sum(wanted) < elsewhere.size - 200
        for design in DESIGNS:
            found = designs.verdicts(design, asked.size)
            assert [found[index] for index in elsewhere] == wanted, design


def test_ranges_become_the_fewest_prefixes() -> None:
    assert list(aligned(0, 1 << 16, 16)) == [(0, 0)]
    assert list(aligned(80, 81, 16)) == [(80, 16)]
    assert list(aligned(1, 8, 16)) == [(1, 16), (2, 15), (4, 14)]
    for first, stop in ((1, 65536), (1024, 30001), (65535, 65536)):
        parts = list(aligned(first, stop, 16))
        covered = [port for value, n in parts for port in range(value, value + (1 << 16 - n))]
        assert covered == list(range(first, stop))
