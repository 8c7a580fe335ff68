"""Programs loaded without an interface, for BPF_PROG_TEST_RUN: packet in, action out."""

from __future__ import annotations

import os

import pytest

from kubeverdict_agent.datapath import bpf_syscall
from kubeverdict_agent.datapath.node_datapath import NodeDatapath

NOT_ROOT = "needs root: it loads eBPF programs"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason=NOT_ROOT)

PASSES, DROPS = -1, 2
LOOPBACK = 1  # the interface on which a test run sees its packets


class Bench:
    """A datapath whose one interface is the loopback, behind which any endpoint can be put."""

    def __init__(self, datapath: NodeDatapath) -> None:
        self.datapath = datapath

    def bind(self, slot: int, endpoint: int | None = None) -> None:
        self.datapath.bind(LOOPBACK, slot + 1 if endpoint is None else endpoint, slot)

    def leaves(self, frame: bytes) -> bool:
        """Whether a packet from the pod goes through."""
        return self._passes(self.datapath.from_pod, frame)

    def arrives(self, frame: bytes) -> bool:
        """Whether a packet to the pod goes through."""
        return self._passes(self.datapath.to_pod, frame)

    @staticmethod
    def _passes(program: int, frame: bytes) -> bool:
        action, _ = bpf_syscall.test_run(program, frame)
        assert action in (PASSES, DROPS)
        return action == PASSES
