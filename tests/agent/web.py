"""A datapath for one pod, for packets made by hand.

``shop/web`` at 10.0.0.1 and fd00::1 is local. It may reach ``shop/db`` on TCP 5432 and UDP 53 and
Service ``shop/store``; ``shop/client`` may reach it on TCP 80, UDP 9000 and SCTP 38412.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import kubeverdict as kv
from bench.lab import bpffs
from kubeverdict.compile.compiled import CompiledPolicy
from kubeverdict_agent.datapath import bpf_syscall
from kubeverdict_agent.datapath.layout import Mode, PacketReason, PodDirection
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import Local, Tables, lower
from tests.agent.programs import Bench
from tests.clusters import documents

WEB, DB, CLIENT, NODE, WORLD = "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.168.0.1", "203.0.113.9"
WEB6, DB6, CLIENT6 = "fd00::1", "fd00::2", "fd00::3"
STORE = "10.96.0.10"
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 80}, {port: 9000, protocol: UDP}, {port: 38412, protocol: SCTP}]
  egress:
  - to: [{podSelector: {matchLabels: {app: db}}}]
    ports: [{port: 5432}, {port: 53, protocol: UDP}]
"""
INGRESS_ONLY = POLICY.split("  egress:")[0].replace(", Egress", "")
EGRESS_ONLY = POLICY.replace("Ingress, ", "").replace(
    POLICY[POLICY.index("  ingress:") : POLICY.index("  egress:")], ""
)
REVOKED = POLICY.replace("app: client", "app: nobody").replace("app: db", "app: nobody")


def pod(name: str, four: str, six: str) -> str:
    return documents.text(documents.pod("shop", name, four, six, node="node-1"))


CLUSTER = (
    """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec:
  selector: {app: db}
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10]
  ports: [{name: sql, port: 3306, targetPort: 5432}, {name: web, port: 80, targetPort: 8080}]
"""
    + pod("web", WEB, WEB6)
    + pod("db", DB, DB6)
    + pod("client", CLIENT, CLIENT6)
)


class Web(Bench):
    """The datapath of ``shop/web``."""

    def __init__(self, datapath: NodeDatapath, folder: Path) -> None:
        super().__init__(datapath)
        self._folder = folder
        self.endpoint = 0
        self.fresh()

    def compiled(self, policy: str = POLICY) -> CompiledPolicy:
        path = self._folder / "cluster.yaml"
        path.write_text(f"{CLUSTER}---{policy}")
        return kv.compile_cluster(kv.load([str(path)]).cluster)

    def tables(self, policy: str = POLICY, mode: Mode = Mode.ENFORCE) -> Tables:
        local = Local(0, "shop", "web", mode)
        return lower(self.compiled(policy), "node-1", [local], ["10.0.0.254"])

    def use(self, policy: str = POLICY, mode: Mode = Mode.ENFORCE) -> None:
        self.datapath.publish(self.tables(policy, mode))

    def fresh(self, policy: str = POLICY, mode: Mode = Mode.ENFORCE) -> None:
        """As a pod that has just been started."""
        self.use(policy, mode)
        self.datapath.set_unknown(closed=False)
        self.datapath.totals(drain=True)
        self.endpoint += 1
        self.bind(0, self.endpoint)

    def counted(self, direction: PodDirection, reason: PacketReason, *, dropped: bool) -> int:
        return int(self.datapath.counters()[direction, int(dropped), reason, 0])

    def state(self, local_port: int) -> int:
        """Of the connection of the pod's with this port."""
        for _, keys, values in self.datapath.flows():
            mine = (keys["owner"] >> 8 == self.endpoint) & (keys["local_port"] == local_port)
            if mine.any():
                return int(values["state"][mine][0])
        raise AssertionError(f"no connection with port {local_port}")

    def rewrite(self, family: int, key: np.void, value: np.void) -> None:
        """Change a connection in the kernel's table."""
        table = self.datapath.folder / f"flows{family}"
        fd = bpf_syscall.open_pin(table)
        bpf_syscall.update(fd, key.tobytes(), value.tobytes())
        os.close(fd)

    def connections(self) -> int:
        return sum(
            int(np.count_nonzero(keys["owner"] >> 8 == self.endpoint))
            for _, keys, _ in self.datapath.flows()
        )


@contextmanager
def one_pod(temporary: pytest.TempPathFactory) -> Iterator[Web]:
    """A datapath on a BPF file system of its own."""
    with bpffs() as folder:
        datapath = NodeDatapath.open(folder / "packets", flows=2048)
        yield Web(datapath, temporary.mktemp("cluster"))
        datapath.close()
