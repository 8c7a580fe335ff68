"""kubeverdict as an entrant: the agent's own datapath, on the node of a lab."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.comparison.dataplane import Updated
from bench.comparison.scenarios import NODE
from bench.lab import Lab, bpffs
from kubeverdict import PROFILES, Cluster, CompiledPolicy
from kubeverdict.compile.compiler import compile_populated
from kubeverdict.compile.population import Population, populate
from kubeverdict.model.cluster import Pod
from kubeverdict_agent.datapath import bpf_syscall
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.joining import Joiner
from kubeverdict_agent.lowering.tables import Local, Tables, lower
from kubeverdict_agent.node.attaching import Attacher

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
        self._in_force: tuple[Cluster, CompiledPolicy, Tables]
        self._populated: tuple[Sequence[Pod], Population] | None = None

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
            attacher = Attacher(datapath.folder)
            try:
                for slot, pod in enumerate(pods):
                    index = socket.if_nametoindex(pod.host_ifname)
                    datapath.bind(index, slot + 1, slot)
                    attacher.attach(index, datapath.from_pod, datapath.to_pod)
                    self._attached.append(index)
            finally:
                attacher.close()

        def detach() -> None:
            attacher = Attacher(datapath.folder)
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
        before, compiled, tables = self._in_force
        # As the agent does when it is idle.
        joiner = Joiner(compiled, tables)
        joined = self._join(joiner, _added(before, cluster))
        if joined is not None:
            return joined
        # The agent waits for readers of the old half when it is idle, before the next change.
        self._datapath.settle()
        begin = time.perf_counter()
        tables = self._tables(cluster)
        prepared = time.perf_counter()
        self._datapath.publish(tables)
        return Updated(prepared - begin, time.perf_counter() - prepared)

    def _join(self, joiner: Joiner, pods: Sequence[Pod]) -> Updated | None:
        """New pods as the agent first takes them, before it compiles; None where it must."""
        assert self._datapath is not None
        begin = time.perf_counter()
        found = [joiner.join(pod) for pod in pods]
        prepared = time.perf_counter()
        if not found or not all(each and self._datapath.join(each) for each in found):
            return None
        return Updated(prepared - begin, time.perf_counter() - prepared)

    def remove(self) -> None:
        self._stack.close()
        self._datapath = None

    def kernel_bytes(self) -> int:
        """The maps, as the kernel accounts for them."""
        assert self._datapath is not None
        total = 0
        for pin in self._datapath.folder.iterdir():
            fd = bpf_syscall.open_pin(pin)
            for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
                if line.startswith("memlock:"):
                    total += int(line.split()[1])
            os.close(fd)
        return total

    def _tables(self, cluster: Cluster) -> Tables:
        profile = PROFILES[self.profile]
        # As the agent does where only policies changed.
        if self._populated is None or self._populated[0] is not cluster.pods:
            self._populated = cluster.pods, populate(cluster, profile, False)
        compiled = compile_populated(cluster, self._populated[1], profile)
        tables = lower(compiled, NODE, self._locals)
        self._in_force = (cluster, compiled, tables)
        return tables


def _added(old: Cluster, new: Cluster) -> Sequence[Pod]:
    """The pods that are new, where nothing else is."""
    count = len(old.pods)
    same = all(before is after for before, after in zip(old.pods, new.pods, strict=False))
    return new.pods[count:] if same and new.policies is old.policies else ()
