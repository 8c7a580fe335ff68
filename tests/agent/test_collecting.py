"""The ledger of denials: what it counts apart, and that it does not grow without bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kubeverdict.compile.compiler import compile_cluster
from kubeverdict.manifests import load
from kubeverdict_agent.datapath import layout
from kubeverdict_agent.observe import collecting
from kubeverdict_agent.observe.collecting import OTHER_ADDRESSES, Collector
from kubeverdict_agent.observe.naming import Naming
from kubeverdict_agent.observe.owners import PodOwners
from tests.clusters import documents

_FULL = 50


class Kernel:
    """In place of the datapath: totals of egress denials of shop/scanner."""

    def __init__(self) -> None:
        self.keys = np.zeros(0, layout.TOTAL_KEY)

    def deny(self, address: str, ports: range) -> None:
        keys = np.zeros(len(ports), layout.TOTAL_KEY)
        packed = b"\0" * 10 + b"\xff\xff" + bytes(int(part) for part in address.split("."))
        keys["remote"] = np.frombuffer(packed, "<u4")
        keys["port"], keys["protocol"] = list(ports), 6
        keys["direction"], keys["mode"] = layout.PodDirection.EGRESS, layout.Mode.AUDIT
        keys["reason"] = layout.PacketReason.DENIED
        self.keys = np.concatenate((self.keys, keys))

    def totals(self, *, drain: bool) -> tuple[Any, Any]:
        keys, self.keys = self.keys, self.keys[:0]
        totals = np.zeros(keys.size, layout.TOTAL)
        totals["packets"] = totals["bytes"] = 1
        return keys, totals


def test_a_pod_that_scans_ports_fills_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_ENTRIES", _FULL)
    path = tmp_path / "pods.yaml"
    pods = [documents.pod("shop", "web", "10.1.0.2"), documents.pod("shop", "scanner", "10.1.0.3")]
    path.write_text(documents.text(pods))
    compiled = compile_cluster(load([str(path)]).cluster)
    naming, kernel = Naming(), Kernel()
    owners = PodOwners("node")
    owners.follow(compiled.pods)
    naming.see_owners(owners)
    collector = Collector(kernel, naming, lambda number: ("shop", "scanner"))  # type: ignore

    def found() -> dict[tuple[str, int], int]:
        collector.drain()
        return {(key.destination, key.port): entry.packets for key, entry in collector.ledger()}

    kernel.deny("10.1.0.2", range(1, _FULL + 1))
    assert found() == {("shop/web", port): 1 for port in range(1, _FULL + 1)}
    # Ports that are known are still counted apart, others of a pod or of the world together.
    kernel.deny("10.1.0.2", range(1, 1001))
    for last in range(1, 101):
        kernel.deny(f"203.0.113.{last}", range(1, 11))
    counted = found()
    assert counted.pop(("shop/web", 0)) == 1000 - _FULL
    assert counted.pop((OTHER_ADDRESSES, 0)) == 1000
    assert counted == {("shop/web", port): 2 for port in range(1, _FULL + 1)}
