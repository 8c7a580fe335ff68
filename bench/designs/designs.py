"""The programs of the designs, loaded and filled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.designs import filling
from bench.lab import bpffs
from bench.lab.packets import first_packet
from kubeverdict import CompiledPolicy, Protocol
from kubeverdict_agent.datapath import bpf_syscall
from kubeverdict_agent.datapath.bpf_syscall import Flag, MapType
from kubeverdict_agent.datapath.compiling import compile_source
from kubeverdict_agent.datapath.layout import Mode
from kubeverdict_agent.datapath.node_datapath import NodeDatapath
from kubeverdict_agent.lowering.tables import Local, lower

DESIGNS = {
    "nothing": "the frame alone",
    "ours": "classes and rows (kubeverdict)",
    "identity": "identities and an LPM trie (as Cilium)",
    "cidr": "CIDRs with lists of ports (as the AWS agent)",
}
TUPLES = 1 << 18
_SOURCE = Path(__file__).with_name("designs.c")
_ETHERNET = bytes(12) + b"\x08\x00"


class Designs:
    """Programs by design, over the same policy and the same tuples."""

    def __init__(self, programs: dict[str, int], turns: int, tuples: NDArray[np.void]) -> None:
        self._programs = programs
        self._turns = turns
        self.tuples = tuples
        packet = first_packet("10.9.9.9", "10.1.0.2", Protocol.TCP, 40000, 80, 1)
        self._packet = _ETHERNET + packet

    def verdicts(self, design: str, count: int) -> list[bool]:
        """What a design says of the first ``count`` tuples."""
        self._begin(TUPLES - 1)
        program = self._programs[design]
        found = [bpf_syscall.test_run(program, self._packet)[0] for _ in range(count)]
        assert set(found) <= {0, 1}
        return [bool(verdict) for verdict in found]

    def nanoseconds(self, design: str, repeat: int, *, hot: bool) -> int:
        """Mean time of a run: on the same tuple each time (``hot``), or on all in turn."""
        self._begin(0 if hot else TUPLES - 1)
        return bpf_syscall.test_run(self._programs[design], self._packet, repeat)[1]

    def _begin(self, mask: int) -> None:
        turn = np.array([0, mask], np.uint32)
        bpf_syscall.update(self._turns, bytes(4), turn.tobytes())


@contextmanager
def open_designs(compiled: CompiledPolicy, node: str, pod: tuple[str, str]) -> Iterator[Designs]:
    """The designs, with the policy on what may reach ``pod`` (namespace and name)."""
    tables = lower(compiled, node, [Local(0, *pod, Mode.ENFORCE)])
    subject = filling.Subject(tables)
    tuples = filling.tuples(subject, TUPLES)
    addresses, numbers, policies = filling.identity_maps(subject)
    cidrs, lists = filling.cidr_maps(subject)
    with ExitStack() as stack:
        folder = stack.enter_context(bpffs()) / "maps"
        datapath = NodeDatapath.open(folder, compile_programs=False)
        stack.callback(datapath.close)
        datapath.publish(tables)

        def new(name: str, kind: MapType, key: int, value: int, entries: int) -> int:
            flags = Flag.NO_PREALLOC if kind is MapType.LPM_TRIE else 0
            fd = bpf_syscall.create_map(kind, key, value, max(entries, 1), flags, name)
            stack.callback(os.close, fd)
            bpf_syscall.pin(fd, folder / name)
            return fd

        prefix = filling.PREFIX.itemsize
        fd = new("tuples", MapType.ARRAY, 4, filling.TUPLE.itemsize, TUPLES)
        bpf_syscall.update_batch(fd, np.arange(TUPLES, dtype=np.uint32), tuples)
        turns = new("turns", MapType.ARRAY, 4, 8, 1)
        fd = new("identities", MapType.LPM_TRIE, prefix, 4, addresses.size)
        bpf_syscall.update_batch(fd, addresses, numbers)
        fd = new("policies", MapType.LPM_TRIE, filling.POLICY.itemsize, 4, policies.size)
        bpf_syscall.update_batch(fd, policies, np.ones(policies.size, np.uint32))
        fd = new("lists", MapType.LPM_TRIE, prefix, filling.LIST.itemsize, cidrs.size)
        bpf_syscall.update_batch(fd, cidrs, lists)
        programs = compile_source(_SOURCE.read_text(), folder, tuple(DESIGNS))
        for program in programs:
            stack.callback(os.close, program)
        yield Designs(dict(zip(DESIGNS, programs, strict=True)), turns, tuples)
