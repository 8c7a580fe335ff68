"""A node of the lab with the pods of a scenario, before anything enforces policy on it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from bench import traffic
from bench.comparison.scenarios import NODE_ADDRESS, local_address, local_names
from bench.lab import Lab, LabPod
from kubeverdict import PROFILES, Cluster, CompiledPolicy, compile_cluster


class StagedNode:
    """``local`` pods, the world outside, and a traffic server in one of the pods, on core ``cpu``.

    ``profile`` names what judges there.
    """

    def __init__(self, name: str, profile: str, local: int, cpu: int | None) -> None:
        self.name = name
        self.profile = profile
        self._local = local
        self._cpu = cpu
        self._stack = ExitStack()
        self.pods: list[LabPod] = []

    def __enter__(self) -> Self:
        self.lab = self._stack.enter_context(Lab("routed", node_ipv4=NODE_ADDRESS))
        try:
            for number, (namespace, name) in enumerate(local_names(self._local)):
                self.pods.append(self.lab.add_pod(namespace, name, ipv4=local_address(number)))
            self.outside = self.lab.add_outside()
            traffic.serve(self.pods[0], self._cpu)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def compiled(self, cluster: Cluster) -> CompiledPolicy:
        """The cluster as the profile of this node judges it."""
        return compile_cluster(cluster, PROFILES[self.profile])
