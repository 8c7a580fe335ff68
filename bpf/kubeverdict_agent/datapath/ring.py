"""Reading a BPF ring buffer with numpy.

bcc calls Python once for each record; mapped and read as an array, a batch costs as much as a
record did. The layout is that of the kernel's ``kernel/bpf/ringbuf.c``: a page that the consumer
writes, a page that the producer writes, and the data, mapped twice in a row so that nothing wraps.
Before each record stands its length, with two flag bits.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from kubeverdict_agent.datapath import bpf_syscall

_PAGE = mmap.PAGESIZE
_HEADER = 8
_ALIGN = 8


class Ring:
    """Records of one size."""

    def __init__(self, fd: int, record: np.dtype[np.void]) -> None:
        self._size = bpf_syscall.map_info(fd).max_entries
        self._consumer = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(
            fd, _PAGE + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE
        )
        self._read = np.frombuffer(self._consumer, np.uint64, 1)
        self._written = np.frombuffer(self._producer, np.uint64, 1)
        padding = -record.itemsize % _ALIGN
        self._record = np.dtype(
            [("length", "<u4"), ("page", "<u4"), ("value", record), ("pad", "u1", (padding,))]
        )
        self._length = record.itemsize

    def read(self) -> NDArray[np.void]:
        """A copy of what has been written since the last call, up to the first record that its
        writer has not finished."""
        first = int(self._read[0])
        count = (int(self._written[0]) - first) // self._record.itemsize
        start = _PAGE + first % self._size
        records = np.frombuffer(self._producer, self._record, count, start)
        # The flags of an unfinished record make its length another number.
        unfinished = np.flatnonzero(records["length"] != self._length)
        if unfinished.size:
            records = records[: unfinished[0]]
        values: NDArray[np.void] = records["value"].copy()
        self._read[0] = first + values.size * self._record.itemsize
        return values

    def close(self) -> None:
        del self._read, self._written
        self._consumer.close()
        self._producer.close()
