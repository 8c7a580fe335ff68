"""kubeverdict as an entrant: the agent's own datapath, on the node of a lab."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from bench.comparison.dataplane import Updated
from bench.comparison.scenarios import NODE
from bench.lab import Lab, bpffs
from kubeverdict import PROFILES, Cluster, compile_cluster
from kubeverdict_agent import kernel
from kubeverdict_agent.attaching import Attacher
from kubeverdict_agent.layout import Mode
from kubeverdict_agent.lowering import Local, Tables, lower
from kubeverdict_agent.node_datapath import NodeDatapath

VARIANTS = {
    "kubeverdict": "kubeverdict, enforcing",
    "kubeverdict-audit": "kubeverdict, auditing",
    "kubeverdict-stateless": "kubeverdict without connection tracking",
}


class KubeverdictDataplane:
    """The datapath of the agent, with the parts of the agent that put policies into it: compile,
    lower, publish. What it does not have is what waits for changes and reports."""

    profile = "reference"

    def __init__(self, name: str) -> None:
        self.name = name
        self.title = VARIANTS[name]
        self.judges_replies = name == "kubeverdict-stateless"
        self.enforces = name != "kubeverdict-audit"
        self._mode = Mode.ENFORCE if self.enforces else Mode.AUDIT
        self._stack = ExitStack()
        self._datapath: NodeDatapath | None = None
        self._locals: list[Local] = []

    def install(self, lab: Lab, cluster: Cluster) -> None:
        folder = self._stack.enter_context(bpffs())
        datapath = NodeDatapath.open(folder / "maps")
        self._stack.callback(datapath.close)
        self._datapath = datapath
        datapath.set_stateless(self.judges_replies)
        pods = [pod for pod in lab.pods if pod.namespace]
        self._locals = [
            Local(slot, pod.namespace, pod.name, self._mode) for slot, pod in enumerate(pods)
        ]
        datapath.publish(self._tables(cluster))

        def attach() -> None:
            attacher = Attacher()
            try:
                for slot, pod in enumerate(pods):
                    index = socket.if_nametoindex(pod.host_ifname)
                    datapath.bind(index, slot + 1, slot)
                    attacher.attach(index, datapath.from_pod, datapath.to_pod)
                    self._attached.append(index)
            finally:
                attacher.close()

        def detach() -> None:
            attacher = Attacher()
            try:
                for index in self._attached:
                    attacher.detach(index)
            finally:
                attacher.close()

        self._attached: list[int] = []
        self._stack.callback(lab.on_node, detach)
        lab.on_node(attach)

    def update(self, cluster: Cluster) -> Updated:
        assert self._datapath is not None
        # The agent waits for readers of the old half when it is idle, before the next change.
        self._datapath.settle()
        begin = time.perf_counter()
        tables = self._tables(cluster)
        prepared = time.perf_counter()
        self._datapath.publish(tables)
        return Updated(prepared - begin, time.perf_counter() - prepared)

    def remove(self) -> None:
        self._stack.close()
        self._datapath = None

    def kernel_bytes(self) -> int:
        """The maps, as the kernel accounts for them."""
        assert self._datapath is not None
        total = 0
        for pin in self._datapath.folder.iterdir():
            fd = kernel.open_pin(pin)
            for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
                if line.startswith("memlock:"):
                    total += int(line.split()[1])
            os.close(fd)
        return total

    def _tables(self, cluster: Cluster) -> Tables:
        compiled = compile_cluster(cluster, PROFILES[self.profile])
        return lower(compiled, NODE, self._locals)
